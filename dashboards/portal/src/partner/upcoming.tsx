import { formatAmount } from '../../../../core/money.ts';
import type { Schemas } from '../data/api.ts';
import { formatDay, formatMoney, isZero } from '../text/format.ts';
import { Amount, Card, When } from '../ui/basics.tsx';

const SHOWN_DAYS = 5;

/** When the partner is paid next, from which amount on, and when pending money becomes available. */
export function UpcomingCard({ upcoming }: { upcoming: Schemas['UpcomingPayout'] }) {
  const { becomes_available: days, held } = upcoming;
  const later = days.slice(SHOWN_DAYS);
  return (
    <Card title="Next payout" note={<NextRun upcoming={upcoming} />}>
      <dl class="balance">
        {days.slice(0, SHOWN_DAYS).map(({ day, amount }) => (
          <div key={day}>
            <dt>Becomes available on {formatDay(day)}</dt>
            <dd>
              <Amount money={amount} />
            </dd>
          </div>
        ))}
        {later.length > 0 && (
          <div>
            <dt>
              Later
              <span>until {formatDay(later.at(-1)?.day ?? '')}</span>
            </dt>
            <dd>{formatMoney(sumOf(later, held.currency))}</dd>
          </div>
        )}
        {!isZero(held) && (
          <div>
            <dt>
              Held
              <span>in review, or not approved by the shop yet: without a day</span>
            </dt>
            <dd>
              <Amount money={held} />
            </dd>
          </div>
        )}
      </dl>
      {days.length === 0 && isZero(held) && <p class="muted">Nothing is pending.</p>}
    </Card>
  );
}

function sumOf(days: Schemas['UpcomingPayout']['becomes_available'], currency: string): Schemas['Money'] {
  // Amounts have all decimals of their currency: without the point they are minor units.
  const minor = days.reduce((sum, { amount }) => sum + BigInt(amount.amount.replace('.', '')), 0n);
  return { amount: formatAmount(minor, currency), currency };
}

function NextRun({ upcoming }: { upcoming: Schemas['UpcomingPayout'] }) {
  const { next_run_at, minimum, payable } = upcoming;
  if (minimum === null) return <>No terms are in force.</>;
  const isEnough = Number(payable.amount) >= Number(minimum.amount) && Number(payable.amount) > 0;
  return (
    <>
      {next_run_at === null ? (
        'The program starts payouts by hand.'
      ) : (
        <>
          The next run is on <When at={next_run_at} />.
        </>
      )}{' '}
      {isEnough
        ? `${formatMoney(payable)} are due.`
        : `${formatMoney(payable)} are available; the minimum is ${formatMoney(minimum)}.`}
    </>
  );
}
