import { formatAmount } from '../../../../core/money.ts';
import type { Schemas } from '../data/api.ts';
import { formatCalendarDay, formatMoney, isZero } from '../text/format.ts';
import { rich, t } from '../text/t.ts';
import { Amount, Card, When } from '../ui/basics.tsx';

const SHOWN_DAYS = 5;

/** When the partner is paid next, from which amount on, and when pending money becomes available. */
export function UpcomingCard({ upcoming }: { upcoming: Schemas['UpcomingPayout'] }) {
  const { becomes_available: days, held } = upcoming;
  const later = days.slice(SHOWN_DAYS);
  return (
    <Card title={t('upcoming.next_payout')} note={<NextRun upcoming={upcoming} />}>
      <dl class="balance">
        {days.slice(0, SHOWN_DAYS).map(({ day, amount }) => (
          <div key={day}>
            <dt>{t('upcoming.becomes_available_on_day', { day: formatCalendarDay(day) })}</dt>
            <dd>
              <Amount money={amount} />
            </dd>
          </div>
        ))}
        {later.length > 0 && (
          <div>
            <dt>
              {t('upcoming.later')}
              <span>{t('upcoming.until_day', { day: formatCalendarDay(later.at(-1)?.day ?? '') })}</span>
            </dt>
            <dd>{formatMoney(sumOf(later, held.currency))}</dd>
          </div>
        )}
        {!isZero(held) && (
          <div>
            <dt>
              {t('upcoming.held')}
              <span>{t('upcoming.in_review_or_not_approved')}</span>
            </dt>
            <dd>
              <Amount money={held} />
            </dd>
          </div>
        )}
      </dl>
      {days.length === 0 && isZero(held) && <p class="muted">{t('upcoming.nothing_is_pending')}</p>}
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
  if (minimum === null) return <>{t('upcoming.no_terms_are_in_force')}</>;
  const isEnough = Number(payable.amount) >= Number(minimum.amount) && Number(payable.amount) > 0;
  return (
    <>
      {next_run_at === null
        ? t('upcoming.the_program_starts_payouts_by')
        : rich('upcoming.the_next_run_is_on', { nextRunAt: <When at={next_run_at} /> })}{' '}
      {isEnough
        ? t('upcoming.payable_are_due', { payable: formatMoney(payable) })
        : t('upcoming.payable_are_available_the_minimum', {
            payable: formatMoney(payable),
            minimum: formatMoney(minimum),
          })}
    </>
  );
}
