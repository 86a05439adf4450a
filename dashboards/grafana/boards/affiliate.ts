import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { payoutAnnotation } from '../annotations.ts';
import { buildBoard, line } from '../board.ts';
import { drillDown, explorer, portalPage } from '../links.ts';
import { numbers, type PanelSource, rows } from '../panels.ts';
import { freshness } from '../pieces/freshness.ts';
import { comingOutOfHold } from '../pieces/hold.ts';
import { timeToOrder } from '../pieces/time-to-order.ts';
import { clicksByFlagGroup, conversionsByState } from '../pieces/traffic.ts';
import { clickhouse, postgres } from '../sources.ts';
import {
  ALL_CLICKS,
  adHoc,
  COMMISSION,
  CONDITIONS,
  CREDITED,
  chosen,
  chosenInLedger,
  HOURS_IN_RANGE,
  major,
  ORDERS_IN_RANGE,
  REVENUE,
  VALID_CLICKS,
  withNames,
} from '../sql.ts';
import { adHocVariables, portalVariable, variable } from '../variables.ts';
import { INVALID_FLAGS } from './fraud.ts';

const ALL = ['campaign', 'affiliate', 'country', 'device'] as const;
const OF_ORDERS = ['campaign', 'affiliate', 'country'] as const;

/** One affiliate in depth: what its clicks are worth, whether they look like people's, and what it has coming. */
export function affiliate(): Dashboard {
  return buildBoard({
    board: 'affiliate',
    description: 'One affiliate: clicks and their quality, conversions with reasons, money by state.',
    from: 'now-30d',
    refresh: '5m',
    variables: [
      variable('program'),
      variable('affiliate', { one: true }),
      variable('campaign'),
      variable('country'),
      variable('device'),
      ...adHocVariables(),
      portalVariable(),
    ],
    annotations: [payoutAnnotation()],
    top: [line(4, [4, freshness()], [10, clickFigures()], [10, orderFigures()]), line(4, [24, balances()])],
    sections: [
      {
        title: 'Clicks and conversions',
        lines: [
          line(9, [12, clicksByFlagGroup(...ALL)], [12, conversionsByState(...OF_ORDERS)]),
          line(9, [12, links()], [12, campaigns()]),
        ],
      },
      {
        title: 'Quality',
        lines: [
          line(9, [8, quality()], [8, reasons()], [8, timeToOrder(...OF_ORDERS)]),
          line(9, [12, referrers()], [12, subs()]),
        ],
      },
      {
        title: 'Money',
        lines: [line(9, [12, payouts()], [12, comingOutOfHold('affiliate')]), line(10, [24, latest()])],
      },
    ],
  });
}

function clickFigures(): PanelSource {
  return numbers({
    title: 'Clicks',
    description:
      'All clicks, valid clicks, and distinct visitors and addresses of valid clicks (exact for small numbers, within 1 % for large ones). A visitor is a browser (User-Agent and language) in a network; none where the range begins before visitors were counted so.',
    unit: 'short',
    columns: { Clicks: {}, Valid: {}, Visitors: {}, Addresses: {} },
    queries: [
      clickhouse(
        `
SELECT ${ALL_CLICKS} AS Clicks, ${VALID_CLICKS} AS Valid,
  if(countIf(t.hour < (SELECT max(since) FROM visitors_known)) > 0, NULL,
    uniqCombinedMergeIf(14)(t.distinct_visitors, flag_group IN ('ok', 'repeat'))) AS Visitors,
  uniqCombinedMergeIf(14)(t.ips, flag_group IN ('ok', 'repeat')) AS Addresses
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND ${chosen(...ALL)}
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function orderFigures(): PanelSource {
  return numbers({
    title: 'Conversions',
    description:
      'Conversions in the range by current state: credited, in review, rejected or unattributed, fully refunded.',
    unit: 'short',
    columns: { Credited: {}, 'In review': {}, Rejected: {}, Refunded: {} },
    queries: [
      clickhouse(
        `
SELECT countIf(${CREDITED}) AS Credited, countIf(state = 'review') AS "In review",
  countIf(state IN ('rejected', 'unattributed')) AS Rejected, countIf(state = 'refunded') AS Refunded
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

function balances(): PanelSource {
  return numbers({
    title: 'Money now',
    description:
      'Current balances from the ledger, independent of the range. Pending: in the hold or in review. Available: part of the next payout. In transit: in a submitted payout. Adjustments: bonuses less deductions, part of the next payout. Debt, zero or negative: paid for orders refunded later.',
    unit: 'locale',
    decimals: 2,
    money: true,
    seriesBy: 'unit',
    queries: [
      postgres(
        `
SELECT now() AS "time", place.name || ' ' || currency AS unit, place.amount::float8 AS "Money"
FROM grafana_balances
CROSS JOIN LATERAL (VALUES ('Pending', pending), ('Available', available), ('In transit', in_transit), ('Paid', paid),
  ('Adjustments', adjustments), ('Debt', debt)) AS place (name, amount)
WHERE ${chosenInLedger('affiliate')}
ORDER BY currency`,
        'series',
      ),
    ],
  });
}

/** What its links, or the campaigns it works for, brought. */
function brought(kind: 'link' | 'campaign', title: string): PanelSource {
  const id = `${kind}_id`;
  return rows({
    title,
    description: `The 50 ${kind}s of this affiliate with the most valid clicks in the range, and the credited conversions they brought, with what was earned at all levels.`,
    unit: 'short',
    sortBy: 'Valid',
    empty: 'No clicks in this range',
    columns: {
      Name: {
        width: 220,
        ...(kind === 'campaign' && {
          link: drillDown('campaigns', { variable: 'campaign', from: 'ID', keep: ['affiliate'] }),
        }),
      },
      ID: { unit: 'none', width: 70 },
      Valid: { bar: true },
      Commission: { unit: 'locale', decimals: 2 },
    },
    queries: [
      clickhouse(
        `${withNames({
          kind,
          as: 'Name',
          columns: 'c.valid AS Valid, o.credited AS Credited, o.commission AS Commission, o.unit AS Currency',
          inner: `
  SELECT ${id} AS id, ${VALID_CLICKS} AS valid
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...ALL)}
  GROUP BY id ORDER BY valid DESC, id LIMIT 50`,
          join: `
LEFT JOIN (
  SELECT ${id} AS id, countIf(${CREDITED}) AS credited, ${major('sum(commission_minor)', 'any(currency)')} AS commission,
    toString(any(currency)) AS unit
  FROM conversions FINAL
  WHERE ${ORDERS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY id
) AS o ON o.id = c.id`,
          orderBy: 'Valid DESC',
        })}
${adHoc('clicks_hourly', 'conversions')}`,
        'table',
      ),
    ],
  });
}

const links = (): PanelSource => brought('link', 'Links');
const campaigns = (): PanelSource => brought('campaign', 'Campaigns');

function quality(): PanelSource {
  return rows({
    title: 'Compared with all affiliates',
    description:
      'Shares of this affiliate and of all affiliates in the same range. Large differences in bots, repeats, forced clicks or clicks per address are worth a review.',
    unit: 'percentunit',
    decimals: 1,
    columns: { 'Clicks an address': { unit: 'short', decimals: 1 }, Who: { width: 130 } },
    queries: [
      clickhouse(
        `
SELECT if(mine, 'This affiliate', 'Everybody') AS Who,
  sumIf(t.clicks, flag_group = 'bot') / sum(t.clicks) AS Bots,
  sumIf(t.clicks, flag_group = 'repeat') / sum(t.clicks) AS Repeats,
  sumIf(t.clicks, flag_group = 'forced') / sum(t.clicks) AS Forced,
  sumIf(t.clicks, flag_group IN ('prefetch', 'head', 'inactive', 'flood', 'blocked')) / sum(t.clicks) AS "Other invalid",
  if(${VALID_CLICKS} = 0, 0, ${VALID_CLICKS} / uniqCombinedMergeIf(14)(t.ips, flag_group IN ('ok', 'repeat'))) AS "Clicks an address"
FROM clicks_hourly AS t
ARRAY JOIN if(${CONDITIONS.affiliate}, [1, 0], [0]) AS mine
WHERE ${HOURS_IN_RANGE}
  AND flag_group != 'impression'
  AND ${chosen('program', 'campaign', 'country', 'device')}
GROUP BY mine ORDER BY mine DESC
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function reasons(): PanelSource {
  return rows({
    title: 'Reasons',
    description: 'Reasons of conversions that are in review, rejected or unattributed.',
    unit: 'short',
    empty: 'No rule fired',
    columns: { Reason: { width: 220 } },
    queries: [
      clickhouse(
        `
SELECT toString(reason) AS Reason, toString(state) AS State, count() AS Orders
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND reason != ''
  AND ${chosen(...OF_ORDERS)}
GROUP BY reason, state ORDER BY Orders DESC, Reason, State
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

/** Clicks of the dashboard's range, without the pixel's loads. */
const CLICKS_IN_RANGE = `ts >= $__fromTime_ms AND ts <= $__toTime_ms
    AND bitAnd(flags, 256) = 0`;

function referrers(): PanelSource {
  return rows({
    title: 'Referrers',
    description:
      'Referrer of the visitors of the range; empty if the browser sent none. The 100 with the most clicks.',
    unit: 'short',
    sortBy: 'Clicks',
    empty: 'No clicks in this range',
    columns: { Clicks: { bar: true }, Value: { width: 280 } },
    queries: [
      clickhouse(
        `
SELECT toString(referrer_domain) AS Value, count() AS Clicks, countIf(bitAnd(flags, 1) != 0) AS Bots
FROM clicks
WHERE ${CLICKS_IN_RANGE}
  AND ${chosen(...ALL)}
GROUP BY Value ORDER BY Clicks DESC, Value LIMIT 100
${adHoc('clicks')}`,
        'table',
      ),
    ],
  });
}

function subs(): PanelSource {
  return rows({
    title: 'Placements (sub1)',
    description:
      'The affiliate’s own labels in its links: clicks of the range and the credited orders of the range that they brought. The 100 with the most orders, then clicks. The device holds for clicks only.',
    unit: 'short',
    empty: 'No clicks in this range',
    columns: {
      Value: { width: 220 },
      Valid: { bar: true },
      Revenue: { unit: 'locale', decimals: 2 },
      Commission: { unit: 'locale', decimals: 2 },
    },
    queries: [
      clickhouse(
        `
SELECT value AS Value, sum(n) AS Clicks, sum(v) AS Valid, sum(credited) AS Orders, sum(revenue) AS Revenue,
  sum(commission) AS Commission, max(unit) AS Currency
FROM (
  SELECT sub1 AS value, count() AS n, countIf(bitAnd(flags, ${INVALID_FLAGS}) = 0) AS v, 0 AS credited, 0 AS revenue,
    0 AS commission, '' AS unit
  FROM clicks
  WHERE ${CLICKS_IN_RANGE}
    AND ${chosen(...ALL)}
  GROUP BY value
  UNION ALL
  SELECT sub1 AS value, 0, 0, countIf(${CREDITED}), ${REVENUE}, ${COMMISSION}, toString(currency)
  FROM conversions FINAL
  WHERE ${ORDERS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY value, currency
)
GROUP BY value ORDER BY Orders DESC, Clicks DESC, Value LIMIT 100
${adHoc('clicks', 'conversions')}`,
        'table',
      ),
    ],
  });
}

function payouts(): PanelSource {
  return rows({
    title: 'Payouts',
    description: 'The last 50 payouts to this affiliate, independent of the range.',
    unit: 'none',
    empty: 'No payout yet',
    columns: {
      Amount: { unit: 'locale', decimals: 2 },
      Payout: { width: 80 },
      Created: { unit: 'dateTimeAsIso' },
    },
    queries: [
      postgres(
        `
SELECT 'pay_' || id AS "Payout", created_at AS "Created", amount::float8 AS "Amount", currency AS "Currency", state AS "State",
  coalesce(failure, '') AS "Failure"
FROM grafana_payouts
WHERE ${chosenInLedger('affiliate')}
ORDER BY id DESC LIMIT 50`,
        'table',
      ),
    ],
  });
}

function latest(): PanelSource {
  return rows({
    title: 'Latest conversions',
    description:
      'The last 100 conversions of the range with the order id of the shop, link, decision and reason; commission of all levels. From the ledger, which knows neither country nor device.',
    unit: 'none',
    empty: 'No conversions in this range',
    columns: {
      Time: { unit: 'dateTimeAsIso', width: 170 },
      Conversion: { link: portalPage('conversions', { title: 'this conversion', search: 'Conversion' }) },
      'Link ID': { width: 80, link: explorer('link', { from: 'Link ID', prefix: 'lnk_' }) },
      Amount: { unit: 'locale', decimals: 2 },
      Commission: { unit: 'locale', decimals: 2 },
      'After the click': { unit: 's' },
    },
    queries: [
      postgres(
        `
SELECT occurred_at AS "Time", 'cnv_' || id AS "Conversion", order_id AS "Order", link AS "Link", link_id AS "Link ID",
  state AS "State", coalesce(reason, '') AS "Reason", amount::float8 AS "Amount", commission::float8 AS "Commission",
  currency AS "Currency", extract(epoch FROM occurred_at - click_ts)::float8 AS "After the click"
FROM grafana_orders
WHERE $__timeFilter(occurred_at) AND ${chosenInLedger('campaign', 'affiliate')}
ORDER BY occurred_at DESC, id DESC LIMIT 100`,
        'table',
      ),
    ],
  });
}
