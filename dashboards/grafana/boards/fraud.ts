import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { buildBoard, line } from '../board.ts';
import { freshness } from '../freshness.ts';
import { drillDown } from '../links.ts';
import { type Columns, histogram, numbers, overTime, type PanelSource, rows, shares } from '../panels.ts';
import { clickhouse, postgres } from '../sources.ts';
import {
  adHoc,
  chosen,
  chosenInLedger,
  HOURS_IN_RANGE,
  major,
  minutesAgo,
  nameOr,
  namesOf,
  ORDERS_IN_RANGE,
} from '../sql.ts';
import { timeToOrder } from '../time-to-order.ts';
import { adHocVariables, variable } from '../variables.ts';
import { clicksByVerdict } from '../verdicts.ts';

const ALL = ['program', 'campaign', 'affiliate', 'country', 'device'] as const;
const OF_ORDERS = ['program', 'campaign', 'affiliate', 'country'] as const;
/** Tables of velocity know the campaign, and whose it is. */
const OF_VELOCITY = ['campaign'] as const;

/** Bits of `flags` that make a click invalid (core/click-record.ts; a test compares). */
export const INVALID_FLAGS = 887;
/** An address with more affiliates than this is a provider's gateway, and says nothing of any of them. */
const MAX_AFFILIATES_AN_ADDRESS = 20;

/** Who is too fast, from where, which rules have fired, and what is held because of it. */
export function fraud(): Dashboard {
  return buildBoard({
    board: 'fraud',
    description: 'Who is too fast, from where, which rules have fired, and what money is held because of it.',
    from: 'now-24h',
    refresh: '30s',
    variables: [...ALL.map((filter) => variable(filter)), ...adHocVariables()],
    annotations: [],
    top: [line(4, [4, freshness()], [5, robots()], [5, hits()], [5, waiting()], [5, held()])],
    sections: [
      {
        title: 'Velocity now',
        lines: [
          line(9, [12, fastest('ip')], [12, fastest('subnet')]),
          line(9, [12, fastest('fingerprint')], [12, fastestAffiliates()]),
        ],
      },
      {
        title: 'Rules',
        lines: [
          line(9, [14, hitsOverTime()], [10, hitsByRule()]),
          line(9, [12, delay()], [12, fastAffiliates()]),
        ],
      },
      {
        title: 'Traffic',
        lines: [
          line(9, [12, clicksByVerdict(...ALL)], [12, robotsByAffiliate()]),
          line(9, [10, networks()], [14, shared()]),
        ],
      },
      { title: 'Held', lines: [line(9, [24, heldByAffiliate()])] },
    ],
  });
}

function robots(): PanelSource {
  return numbers({
    title: 'Robots',
    description: 'Share of the clicks in the range that a robot made, and of all that count for nobody.',
    unit: 'percentunit',
    decimals: 1,
    columns: {
      Robots: {
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
SELECT sumIf(t.clicks, flag_group = 'bot') / greatest(sum(t.clicks), 1) AS Robots,
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
    'Orders stopped',
    `countIf(state IN ('review', 'rejected') AND reason != '')`,
    'Orders of the range on which a rule has fired: in review or rejected.',
  );
const waiting = (): PanelSource =>
  stopped(
    'In review',
    `countIf(state = 'review')`,
    'Orders of the range that wait for a person. Nothing approves itself with time.',
  );

function held(): PanelSource {
  return numbers({
    title: 'Held money',
    description:
      'Commission that waits for a review now, whatever the range, for each currency; from the ledger.',
    unit: 'locale',
    decimals: 2,
    perRow: true,
    queries: [
      postgres(
        `
SELECT currency AS "Currency", sum(amount)::float8 AS "Held"
FROM grafana_commissions
WHERE state = 'held' AND ${chosenInLedger('program', 'campaign', 'affiliate')}
GROUP BY currency ORDER BY currency LIMIT 10`,
        'table',
      ),
    ],
  });
}

const VELOCITY = {
  ip: {
    title: 'Addresses',
    table: 'velocity_ip',
    show: `replaceRegexpOne(toString(ip), '^::ffff:', '')`,
    keys: 'subnet, ip',
    column: 'Address',
  },
  subnet: {
    title: 'Networks',
    table: 'velocity_ip',
    show: `replaceRegexpOne(toString(subnet), '^::ffff:', '')`,
    keys: 'subnet',
    column: 'Network',
  },
  fingerprint: {
    title: 'Fingerprints',
    table: 'velocity_fingerprint',
    show: 'toString(fingerprint)',
    keys: 'fingerprint',
    column: 'Fingerprint',
  },
} as const;

const SPANS: Columns = {
  '1 min': {
    width: 80,
    steps: [
      [30, 'orange'],
      [60, 'red'],
    ],
  },
  '5 min': { width: 80 },
  '60 min': { bar: true },
  'Last seen': { unit: 'dateTimeFromNow' },
};

/** The keys with the most clicks within the last hour. */
function fastest(key: keyof typeof VELOCITY): PanelSource {
  const { title, table, show, keys, column } = VELOCITY[key];
  return rows({
    title: `${title}, last hour`,
    description: `The 25 with the most clicks in the last 60 minutes, whatever the range at the top; of the variables only the campaign is looked at. ${key === 'subnet' ? 'A network is a /24 of IPv4 or a /64 of IPv6. ' : ''}${key === 'fingerprint' ? 'Thousands of visitors share one User-Agent and language: many user agents are impossible here, many campaigns are not. ' : ''}Robots are counted too.`,
    unit: 'short',
    sortBy: '60 min',
    empty: 'No clicks in the last hour',
    columns: { ...SPANS, [column]: { width: 190 } },
    queries: [
      clickhouse(
        `
SELECT ${show} AS "${column}", countIf(ts >= ${minutesAgo(1)}) AS "1 min", countIf(ts >= ${minutesAgo(5)}) AS "5 min",
  count() AS "60 min", uniqExact(campaign_id) AS Campaigns, uniqExact(agent) AS "User agents",
  toFloat64(toUnixTimestamp64Milli(max(ts))) AS "Last seen"
FROM ${table}
WHERE ts >= ${minutesAgo(60)}
  AND ${chosen(...OF_VELOCITY)}
GROUP BY ${keys} ORDER BY "60 min" DESC, "${column}" LIMIT 25
SETTINGS $__adHocFilters('none')`,
        'table',
      ),
    ],
  });
}

function fastestAffiliates(): PanelSource {
  return rows({
    title: 'Affiliates, last hour',
    description:
      'Clicks of the last five minutes beside the affiliate’s median minute of the last hour: the factor says how much faster it has become. Only affiliates with 20 clicks in the hour.',
    unit: 'short',
    sortBy: 'Factor',
    empty: 'No affiliate had 20 clicks in the last hour',
    columns: {
      Affiliate: {
        width: 220,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { unit: 'none', width: 70 },
      Factor: {
        decimals: 1,
        steps: [
          [3, 'orange'],
          [10, 'red'],
        ],
      },
    },
    queries: [
      clickhouse(
        `
SELECT ${nameOr('v.id')} AS Affiliate, v.id AS ID, v.recent AS "5 min", v.hour AS "60 min", v.usual AS "Median minute", v.recent / 5 / greatest(v.usual, 1) AS Factor
FROM (
  SELECT id, sumIf(c, minute >= now() - INTERVAL 5 MINUTE) AS recent, sum(c) AS hour, quantileExact(0.5)(c) AS usual
  FROM (
    SELECT affiliate_id AS id, minute, sumIf(t.clicks, flag_group != 'impression') AS c
    FROM clicks_minutely AS t
    WHERE minute >= now() - INTERVAL 60 MINUTE
      AND ${chosen(...ALL)}
    GROUP BY id, minute
  ) GROUP BY id HAVING hour >= 20 ORDER BY recent / greatest(usual, 1) DESC, id LIMIT 25
) AS v
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = v.id
ORDER BY Factor DESC, ID
${adHoc('clicks_minutely')}`,
        'table',
      ),
    ],
  });
}

function hitsOverTime(): PanelSource {
  return overTime({
    title: 'Rule hits',
    description: 'Orders in review or rejected by the rule that named the reason, by the time of the order.',
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
    description: 'What each rule stopped in the range, what became of it, and the orders’ amounts.',
    unit: 'short',
    sortBy: 'Orders',
    empty: 'No rule has fired',
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

const delay = (): PanelSource =>
  histogram({
    title: 'From click to order',
    description:
      'Orders of the range by the time since their click: those within seconds are seldom people’s.',
    unit: 'short',
    x: 'Within',
    queries: [clickhouse(timeToOrder(...OF_ORDERS), 'table')],
  });

function fastAffiliates(): PanelSource {
  return rows({
    title: 'Affiliates with hasty orders',
    description:
      'Share of an affiliate’s orders that came within two minutes of the click; affiliates with five orders or more.',
    unit: 'short',
    sortBy: 'Hasty',
    empty: 'No affiliate with five orders in this range',
    columns: {
      Affiliate: {
        width: 220,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { unit: 'none', width: 70 },
      Hasty: {
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
        `
SELECT ${nameOr('c.id')} AS Affiliate, c.id AS ID, c.orders AS Orders, c.hasty AS Hasty, c.delay AS "Median delay"
FROM (
  SELECT affiliate_id AS id, count() AS orders, countIf(s < 120) / count() AS hasty, quantileExact(0.5)(s) AS delay
  FROM (
    SELECT affiliate_id, dateDiff('second', assumeNotNull(click_ts), occurred_at) AS s
    FROM conversions FINAL
    WHERE ${ORDERS_IN_RANGE}
      AND isNotNull(click_ts)
      AND ${chosen(...OF_ORDERS)}
  ) GROUP BY id HAVING orders >= 5 ORDER BY hasty DESC, id LIMIT 25
) AS c
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = c.id
ORDER BY Hasty DESC, ID
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

function robotsByAffiliate(): PanelSource {
  return rows({
    title: 'Robots by affiliate',
    description:
      'Affiliates by the number of invalid clicks in the range, with the share of robots and of repeats.',
    unit: 'short',
    sortBy: 'Invalid',
    empty: 'No clicks in this range',
    columns: {
      Affiliate: {
        width: 200,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { unit: 'none', width: 70 },
      Robots: {
        unit: 'percentunit',
        decimals: 1,
        steps: [
          [0.3, 'orange'],
          [0.6, 'red'],
        ],
      },
      Repeats: { unit: 'percentunit', decimals: 1 },
      Invalid: { bar: true },
    },
    queries: [
      clickhouse(
        `
SELECT ${nameOr('c.id')} AS Affiliate, c.id AS ID, c.clicks AS Clicks, c.invalid AS Invalid, c.robots AS Robots, c.repeats AS Repeats
FROM (
  SELECT affiliate_id AS id, sum(t.clicks) AS clicks, sumIf(t.clicks, flag_group NOT IN ('ok', 'repeat')) AS invalid,
    sumIf(t.clicks, flag_group = 'bot') / sum(t.clicks) AS robots, sumIf(t.clicks, flag_group = 'repeat') / sum(t.clicks) AS repeats
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND flag_group != 'impression'
    AND ${chosen(...ALL)}
  GROUP BY id ORDER BY invalid DESC, id LIMIT 25
) AS c
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = c.id
ORDER BY Invalid DESC, ID
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function networks(): PanelSource {
  return shares({
    title: 'Networks of the last day',
    description:
      'How the clicks of the last 24 hours divide among networks (/24, /64): the ten largest and all others. A few networks with most of the clicks are no audience. Of the variables only the campaign is looked at.',
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT if(place <= 10, network, 'all others') AS Network, sum(clicks) AS Clicks
FROM (
  SELECT replaceRegexpOne(toString(subnet), '^::ffff:', '') AS network, count() AS clicks,
    row_number() OVER (ORDER BY count() DESC, subnet) AS place
  FROM velocity_ip
  WHERE ts >= ${minutesAgo(1_440)}
    AND ${chosen(...OF_VELOCITY)}
  GROUP BY subnet
)
GROUP BY Network ORDER BY min(place)
SETTINGS $__adHocFilters('none')`,
        'table',
      ),
    ],
  });
}

function shared(): PanelSource {
  return rows({
    title: 'Affiliates that share addresses',
    description: `Pairs of affiliates with valid clicks from the same addresses within the last day of the range: one person behind two accounts, or two offices of one provider. Addresses with more than ${MAX_AFFILIATES_AN_ADDRESS} affiliates are a provider’s gateway and are left out.`,
    unit: 'short',
    sortBy: 'Addresses',
    empty: 'No pair shares two addresses',
    columns: {
      First: {
        width: 180,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { unit: 'none', width: 70 },
      Second: {
        width: 180,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'Second ID', keep: ['program'] }),
      },
      'Second ID': { unit: 'none', width: 90 },
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
      'Commission that waits for a review now, whatever the range, and how long the oldest of it has waited; from the ledger.',
    unit: 'none',
    sortBy: 'Held',
    empty: 'Nothing is held for review',
    columns: {
      Affiliate: {
        width: 240,
        link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program'] }),
      },
      ID: { width: 80 },
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
