import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { buildBoard, line } from '../board.ts';
import { AFFILIATE_COLUMNS, drillDown, explorer } from '../links.ts';
import { numbers, overTime, type PanelSource, rows } from '../panels.ts';
import { freshness } from '../pieces/freshness.ts';
import { timeToOrder } from '../pieces/time-to-order.ts';
import { clicksByFlagGroup } from '../pieces/traffic.ts';
import { clickhouse, postgres } from '../sources.ts';
import {
  adHoc,
  chosen,
  chosenInLedger,
  HOURS_IN_RANGE,
  idsOf,
  major,
  namesOf,
  ORDERS_IN_RANGE,
  withNames,
} from '../sql.ts';
import { adHocVariables, portalVariable, variable } from '../variables.ts';
import { fastest, fastestAffiliates, networkOwners } from './velocity.ts';

const ALL = ['program', 'campaign', 'affiliate', 'country', 'device'] as const;
const OF_ORDERS = ['program', 'campaign', 'affiliate', 'country'] as const;

/** Bits of `flags` that make a click invalid (core/clicks/click-record.ts; a test compares). */
export const INVALID_FLAGS = 15223;
/** An address with more affiliates than this is a provider's gateway, and says nothing of any of them. */
const MAX_AFFILIATES_AN_ADDRESS = 20;

/** Who is too fast, from where, which rules have fired, and what is held because of it. */
export function fraud(): Dashboard {
  return buildBoard({
    board: 'fraud',
    description: 'Click velocity, networks, fired rules, and commission held for review.',
    from: 'now-24h',
    refresh: '30s',
    variables: [...ALL.map((filter) => variable(filter)), ...adHocVariables(), portalVariable()],
    annotations: [],
    top: [line(4, [4, freshness()], [5, robots()], [5, hits()], [5, waiting()], [5, held()])],
    sections: [
      {
        title: 'Velocity now',
        lines: [
          line(9, [24, fastest('ip')]),
          line(9, [24, fastest('subnet')]),
          line(9, [24, fastest('fingerprint')]),
          line(9, [12, fastestAffiliates(...ALL)], [12, networkOwners()]),
        ],
      },
      {
        title: 'Rules',
        lines: [
          line(9, [14, hitsOverTime()], [10, hitsByRule()]),
          line(9, [12, timeToOrder(...OF_ORDERS)], [12, fastAffiliates()]),
        ],
      },
      {
        title: 'Traffic',
        lines: [line(9, [12, clicksByFlagGroup(...ALL)], [12, robotsByAffiliate()]), line(9, [24, shared()])],
      },
      { title: 'Held', lines: [line(9, [24, heldByAffiliate()])] },
    ],
  });
}

function robots(): PanelSource {
  return numbers({
    title: 'Bots',
    description: 'Share of bot clicks and of all invalid clicks in the range.',
    unit: 'percentunit',
    decimals: 1,
    columns: {
      Bots: {
        steps: [
          [0.3, 'orange'],
          [0.6, 'red'],
        ],
      },
      Invalid: {
        steps: [
          [0.4, 'orange'],
          [0.7, 'red'],
        ],
      },
    },
    queries: [
      clickhouse(
        `
SELECT sumIf(t.clicks, flag_group = 'bot') / greatest(sum(t.clicks), 1) AS Bots,
  sumIf(t.clicks, flag_group NOT IN ('ok', 'repeat')) / greatest(sum(t.clicks), 1) AS Invalid
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND flag_group != 'impression'
  AND ${chosen(...ALL)}
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

/** Counts of orders that a rule has stopped. */
function stopped(title: string, count: string, description: string): PanelSource {
  return numbers({
    title,
    description,
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT ${count} AS "${title}"
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

const hits = (): PanelSource =>
  stopped(
    'Conversions stopped',
    `countIf(state IN ('review', 'rejected') AND reason != '')`,
    'Conversions of the range with a fired rule: in review or rejected.',
  );
const waiting = (): PanelSource =>
  stopped(
    'In review',
    `countIf(state = 'review')`,
    'Conversions of the range in review; none is approved automatically.',
  );

function held(): PanelSource {
  return numbers({
    title: 'Held money',
    description:
      'Commission currently held for review, by currency, independent of the range; from the ledger.',
    unit: 'locale',
    decimals: 2,
    money: true,
    seriesBy: 'unit',
    queries: [
      postgres(
        `
SELECT now() AS "time", currency AS unit, sum(amount)::float8 AS "Held"
FROM grafana_commissions
WHERE state = 'held' AND ${chosenInLedger('program', 'campaign', 'affiliate')}
GROUP BY currency ORDER BY currency`,
        'series',
      ),
    ],
  });
}

function hitsOverTime(): PanelSource {
  return overTime({
    title: 'Rule hits',
    description: 'Conversions in review or rejected, by deciding rule and time of the order.',
    unit: 'short',
    draw: 'stacked bars',
    interval: '1m',
    seriesBy: 'reason',
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(occurred_at) AS time, toString(reason) AS reason, count() AS orders
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND state IN ('review', 'rejected')
  AND ${chosen(...OF_ORDERS)}
GROUP BY time, reason ORDER BY time, reason
${adHoc('conversions')}`,
        'series',
      ),
    ],
  });
}

function hitsByRule(): PanelSource {
  return rows({
    title: 'Rules',
    description: 'Conversions stopped by each rule in the range, with outcome and order value.',
    unit: 'short',
    sortBy: 'Orders',
    empty: 'No rule fired',
    columns: { Rule: { width: 230 }, Amount: { unit: 'locale', decimals: 2 } },
    queries: [
      clickhouse(
        `
SELECT toString(reason) AS Rule, count() AS Orders, countIf(state = 'review') AS "In review", countIf(state = 'rejected') AS Rejected,
  ${major('sum(amount_minor)')} AS Amount, toString(currency) AS Currency
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND state IN ('review', 'rejected')
  AND ${chosen(...OF_ORDERS)}
GROUP BY reason, currency ORDER BY Orders DESC, Rule, Currency
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

function fastAffiliates(): PanelSource {
  return rows({
    title: 'Affiliates with fast orders',
    description:
      'Share of an affiliate’s conversions within two minutes of the click; affiliates with five conversions or more.',
    unit: 'short',
    sortBy: 'Fast',
    empty: 'No affiliate with five conversions in this range',
    columns: {
      ...AFFILIATE_COLUMNS,
      Fast: {
        unit: 'percentunit',
        decimals: 0,
        steps: [
          [0.3, 'orange'],
          [0.5, 'red'],
        ],
      },
      'Median delay': { unit: 's' },
    },
    queries: [
      clickhouse(
        `${withNames({
          kind: 'affiliate',
          as: 'Affiliate',
          columns: 'c.orders AS Orders, c.fast AS Fast, c.delay AS "Median delay"',
          inner: `
  SELECT affiliate_id AS id, count() AS orders, countIf(s < 120) / count() AS fast, quantileExact(0.5)(s) AS delay
  FROM (
    SELECT affiliate_id, dateDiff('second', assumeNotNull(click_ts), occurred_at) AS s
    FROM conversions FINAL
    WHERE ${ORDERS_IN_RANGE}
      AND isNotNull(click_ts)
      AND ${chosen(...OF_ORDERS)}
  ) GROUP BY id HAVING orders >= 5 ORDER BY fast DESC, id LIMIT 25`,
          orderBy: 'Fast DESC',
        })}
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

function robotsByAffiliate(): PanelSource {
  return rows({
    title: 'Bots by affiliate',
    description:
      'Affiliates by number of invalid clicks in the range, with the shares of bots, forced clicks and repeats.',
    unit: 'short',
    sortBy: 'Invalid',
    empty: 'No clicks in this range',
    columns: {
      ...AFFILIATE_COLUMNS,
      Bots: {
        unit: 'percentunit',
        decimals: 1,
        steps: [
          [0.3, 'orange'],
          [0.6, 'red'],
        ],
      },
      Forced: {
        unit: 'percentunit',
        decimals: 1,
        steps: [
          [0.05, 'orange'],
          [0.2, 'red'],
        ],
      },
      Repeats: { unit: 'percentunit', decimals: 1 },
      Invalid: { bar: true },
    },
    queries: [
      clickhouse(
        `${withNames({
          kind: 'affiliate',
          as: 'Affiliate',
          columns:
            'c.clicks AS Clicks, c.invalid AS Invalid, c.robots AS Bots, c.forced AS Forced, c.repeats AS Repeats',
          inner: `
  SELECT affiliate_id AS id, sum(t.clicks) AS clicks, sumIf(t.clicks, flag_group NOT IN ('ok', 'repeat')) AS invalid,
    sumIf(t.clicks, flag_group = 'bot') / sum(t.clicks) AS robots,
    sumIf(t.clicks, flag_group = 'forced') / sum(t.clicks) AS forced, sumIf(t.clicks, flag_group = 'repeat') / sum(t.clicks) AS repeats
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND flag_group != 'impression'
    AND ${chosen(...ALL)}
  GROUP BY id ORDER BY invalid DESC, id LIMIT 25`,
          orderBy: 'Invalid DESC',
        })}
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function shared(): PanelSource {
  return rows({
    title: 'Affiliates sharing addresses',
    description: `Pairs of affiliates with valid clicks from the same addresses in the last day of the range: one person with two accounts, or customers of one provider. Addresses with more than ${MAX_AFFILIATES_AN_ADDRESS} affiliates are provider gateways and are omitted.`,
    unit: 'short',
    sortBy: 'Addresses',
    empty: 'No pair with two shared addresses',
    columns: {
      First: {
        width: 180,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { unit: 'none', width: 70, link: explorer('affiliate', { from: 'ID', prefix: 'aff_' }) },
      Second: {
        width: 180,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'Second ID', keep: ['program'] }),
      },
      'Second ID': {
        unit: 'none',
        width: 90,
        link: explorer('affiliate', { from: 'Second ID', prefix: 'aff_' }),
      },
      Addresses: { bar: true },
    },
    queries: [
      clickhouse(
        `
SELECT if(a.name = '', toString(p.one), a.name) AS First, p.one AS ID, if(b.name = '', toString(p.two), b.name) AS Second, p.two AS "Second ID",
  p.addresses AS Addresses, p.total AS Clicks
FROM (
  SELECT affiliates[i] AS one, affiliates[j] AS two, count() AS addresses, sum(clicks) AS total
  FROM (
    SELECT ip, arraySort(groupUniqArray(${MAX_AFFILIATES_AN_ADDRESS + 1})(affiliate_id)) AS affiliates, count() AS clicks
    FROM clicks
    WHERE ts >= greatest($__fromTime_ms, $__toTime_ms - INTERVAL 1 DAY) AND ts <= $__toTime_ms
      AND bitAnd(flags, ${INVALID_FLAGS}) = 0 AND ip != toIPv6('::')
      AND ${chosen('program', 'campaign', 'country', 'device')}
    GROUP BY ip HAVING length(affiliates) BETWEEN 2 AND ${MAX_AFFILIATES_AN_ADDRESS}
  )
  ARRAY JOIN arrayEnumerate(affiliates) AS i
  ARRAY JOIN range(i + 1, length(affiliates) + 1) AS j
  WHERE $__conditionalAll(hasAny([affiliates[i], affiliates[j]], ${idsOf('affiliate')}), $affiliate)
  GROUP BY one, two HAVING addresses >= 2
  ORDER BY addresses DESC, one, two LIMIT 50
) AS p
LEFT JOIN ${namesOf('affiliate')} AS a ON a.id = p.one
LEFT JOIN ${namesOf('affiliate')} AS b ON b.id = p.two
ORDER BY Addresses DESC, ID, "Second ID"
${adHoc('clicks')}`,
        'table',
      ),
    ],
  });
}

function heldByAffiliate(): PanelSource {
  return rows({
    title: 'Held for review, by affiliate',
    description:
      'Commission currently held for review with the age of the oldest conversion, independent of the range; from the ledger.',
    unit: 'none',
    sortBy: 'Held',
    empty: 'Nothing held for review',
    columns: {
      ...AFFILIATE_COLUMNS,
      Orders: { unit: 'short' },
      Held: { unit: 'locale', decimals: 2 },
      'Oldest order': { unit: 'dateTimeFromNow' },
    },
    queries: [
      postgres(
        `
SELECT affiliate AS "Affiliate", affiliate_id AS "ID", program AS "Program", count(*) AS "Orders",
  sum(amount)::float8 AS "Held", currency AS "Currency", min(occurred_at) AS "Oldest order"
FROM grafana_commissions
WHERE state = 'held' AND ${chosenInLedger('program', 'campaign', 'affiliate')}
GROUP BY affiliate, affiliate_id, program, currency ORDER BY 5 DESC, 2 LIMIT 100`,
        'table',
      ),
    ],
  });
}
