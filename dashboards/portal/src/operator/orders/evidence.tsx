import { mayRead, useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { formatCount, formatDuration, formatMoney, words, ZONE_NAME } from '../../text/format.ts';
import { reasonText } from '../../text/reasons.ts';
import { RULE_UNITS } from '../../text/rule-units.ts';
import { readable } from '../../text/sentences.ts';
import { t } from '../../text/t.ts';
import { whyText } from '../../text/why.ts';
import { Amount, Loading, Problem, When } from '../../ui/basics.tsx';
import { customerValue, Explored } from '../../ui/explored.tsx';
import { Status } from '../../ui/status.tsx';
import { Table } from '../../ui/table.tsx';

type Conversion = Schemas['Conversion'];
type Explanation = Schemas['Explanation'];
type Names = ReadonlyMap<string, string>;

/** What the sentences name by ids. */
const NAMED = ['affiliates', 'campaigns', 'links', 'users'] as const;

/** The evidence of a decision: timeline, fraud rules, explanation. */
export function Evidence({ conversion }: { conversion: Conversion }) {
  const { user } = useSession();
  const maySee = mayRead('evidence', user.role);
  const names = useNames(NAMED);
  const params = { path: { id: conversion.id } };
  const { data, error, reload } = useData(
    async (signal) =>
      maySee ? await take(api.GET('/v1/conversions/{id}/explanation', { params, signal })) : undefined,
    [
      conversion.id,
      conversion.state,
      conversion.status,
      conversion.refunded.amount,
      conversion.amount.amount,
    ],
  );
  return (
    <div class="stack evidence">
      <Summary conversion={conversion} names={names} />
      {conversion.items && <Items items={conversion.items} />}
      <Problem error={error} onRetry={reload} />
      {maySee && !data && error === undefined && <Loading what={t('evidence.loading_the_evidence')} />}
      {data && (
        <>
          <h3>{t('evidence.from_click_to_payout_zone', { zone: ZONE_NAME })}</h3>
          <Timeline events={data.timeline} names={names} />
          {data.rules.length > 0 && (
            <>
              <h3>{t('common.fraud_rules')}</h3>
              <Rules rules={data.rules} />
            </>
          )}
          <h3>{t('evidence.explanation')}</h3>
          <ul class="sentences">
            {data.lines.map((line) => (
              <li key={line}>{readable(line, names)}</li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

const SUBS = ['sub1', 'sub2', 'sub3', 'sub4', 'sub5'] as const;

function Summary({ conversion, names }: { conversion: Conversion; names: Names }) {
  const { event_name, amount, refunded, state, reason, affiliate_id, coupons } = conversion;
  const { id, customer_id, customer_kind, ip, user_agent } = conversion;
  return (
    <dl class="facts">
      <dt>{t('common.decision')}</dt>
      <dd>
        <Status of={state} /> {whyText(conversion)}
        {reason !== null && state !== 'review' && (
          <span class="sub">
            {t('evidence.reason_of_the_decision_reason', { reason: reasonText(reason) })}
          </span>
        )}
      </dd>
      {event_name !== 'sale' && (
        <>
          <dt>{t('common.event')}</dt>
          <dd>{words(event_name)}</dd>
        </>
      )}
      <dt>{t('common.order_value')}</dt>
      <dd>
        <Amount money={amount} strong />
        {Number(refunded.amount) > 0 && <>, {t('evidence.taken_off', { amount: formatMoney(refunded) })}</>}
      </dd>
      {SUBS.flatMap((name) =>
        conversion[name]
          ? [<dt key={name}>{words(name)}</dt>, <dd key={`${name} value`}>{conversion[name]}</dd>]
          : [],
      )}
      <dt>{t('common.partner')}</dt>
      <dd>
        {affiliate_id === null ? (
          t('common.none_given')
        ) : (
          <Explored of="affiliate" value={affiliate_id} name={names.get(affiliate_id)} />
        )}
      </dd>
      {coupons && coupons.length > 0 && (
        <>
          <dt>{t('common.coupon_codes')}</dt>
          <dd>
            <code>{coupons.join(', ')}</code>
          </dd>
        </>
      )}
      <dt>{t('common.customer')}</dt>
      <dd>
        {customer_id ? (
          <Explored of="customer" value={customerValue(id, customer_id)} name={customer_id} />
        ) : (
          <span class="muted">{t('evidence.not_reported')}</span>
        )}
        {customer_kind && <span class="sub">{words(customer_kind)}</span>}
      </dd>
      <dt>{t('common.from')}</dt>
      <dd>
        {ip ? (
          <Explored of="ip" value={ip} />
        ) : (
          <span class="muted">{t('evidence.no_address_reported')}</span>
        )}
        {user_agent && <span class="sub">{user_agent}</span>}
      </dd>
    </dl>
  );
}

/** What was bought; what each line earns stands in the explanation. */
function Items({ items }: { items: NonNullable<Conversion['items']> }) {
  return (
    <>
      <h3>{t('common.items')}</h3>
      <Table
        label={t('common.items')}
        rows={items.map((item, i) => ({ ...item, line: i + 1 }))}
        rowKey={({ line }) => String(line)}
        columns={[
          {
            title: t('common.item'),
            head: true,
            cell: ({ line, sku, brand, category, gift_card }) => (
              <>
                {`${line}. ${sku ?? ''}`}
                <span class="sub">
                  {[brand, category, gift_card ? t('evidence.gift_card') : null]
                    .filter((mark) => mark !== null)
                    .join(', ')}
                </span>
              </>
            ),
          },
          { title: t('evidence.pieces'), numeric: true, cell: ({ quantity }) => quantity },
          { title: t('common.paid'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
          { title: t('evidence.of_it_tax'), numeric: true, cell: ({ tax }) => <Amount money={tax} /> },
          {
            title: t('evidence.shipping'),
            numeric: true,
            cell: ({ shipping }) => <Amount money={shipping} />,
          },
        ]}
      />
    </>
  );
}

function Timeline({ events, names }: { events: Explanation['timeline']; names: Names }) {
  return (
    <ol class="timeline">
      {events.map((event, i) => (
        <li key={`${event.at} ${event.text}`} class={event.kind}>
          <div class="timeline-head">
            <strong>{readable(event.text, names)}</strong>
            {event.amount && <Amount money={event.amount} />}
          </div>
          <span class="sub">
            <When at={event.at} />
            {i > 0 &&
              event.seconds !== null &&
              `, ${t('evidence.later', { duration: formatDuration(event.seconds) })}`}
            {event.affiliate_id &&
              `, ${t('evidence.partner', { name: names.get(event.affiliate_id) ?? event.affiliate_id })}`}
          </span>
        </li>
      ))}
    </ol>
  );
}

function Rules({ rules }: { rules: Explanation['rules'] }) {
  return (
    <Table
      label={t('evidence.rules')}
      rows={rules.toSorted((a, b) => Number(b.fired) - Number(a.fired))}
      rowKey={({ rule }) => rule}
      columns={[
        {
          title: t('evidence.rule'),
          head: true,
          cell: ({ rule, sentence }) => (
            <>
              {words(rule)}
              <span class="sub">{sentence ?? RULE_UNITS[rule as keyof typeof RULE_UNITS]}</span>
            </>
          ),
        },
        {
          title: t('common.result'),
          cell: ({ fired, effect, observed }) =>
            observed === null ? (
              <span class="muted">{t('evidence.not_observed')}</span>
            ) : (
              <Status of={fired ? effect : 'quiet'} text={resultText(fired, effect)} />
            ),
        },
        { title: t('evidence.observed'), numeric: true, cell: ({ observed }) => formatFigure(observed) },
        { title: t('evidence.threshold'), numeric: true, cell: ({ threshold }) => formatFigure(threshold) },
        {
          title: t('common.within'),
          numeric: true,
          cell: ({ window_seconds }) => (window_seconds === null ? '–' : formatDuration(window_seconds)),
        },
      ]}
    />
  );
}

function resultText(fired: boolean, effect: Explanation['rules'][number]['effect']): string {
  if (!fired) return t('common.passed');
  if (effect === 'none') return t('evidence.fired_and_watches');
  return t('evidence.fired', { effect: words(effect).toLowerCase() });
}

/** What a rule saw is a number, or a name such as that of a country. */
function formatFigure(figure: string | number | null): string {
  if (figure === null) return '–';
  return typeof figure === 'number' ? formatCount(figure) : figure;
}
