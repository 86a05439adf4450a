import { AFFILIATE_COLUMNS, explorer, portalPage } from '../links.ts';
import { type Columns, type PanelSource, rows } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { adHoc, chosen, type Filter, minutesAgo, nameOr, namesOf, withNames } from '../sql.ts';

/**
 * Who is fast now, by the clicks themselves: the tables that the look-ups read know nothing but the campaign, and a
 * panel has to show whose clicks they are, and what came of them.
 */

const ALL = ['program', 'campaign', 'affiliate', 'country', 'device'] as const;
const OF_ORDERS = ['program', 'campaign', 'affiliate', 'country'] as const;

const IPV4 = `ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')`;
const plain = (ip: string): string => `replaceRegexpOne(toString(${ip}), '^::ffff:', '')`;

/** `key` is of a row of clicks, and of one of conversions; `shown` is what the portal's explorer takes. */
const VELOCITY = {
  ip: {
    title: 'Addresses',
    column: 'Address',
    key: 'ip',
    known: `ip != toIPv6('::')`,
    shown: plain('k.key'),
    note: '',
  },
  subnet: {
    title: 'Networks',
    column: 'Network',
    key: `(tupleElement(IPv6CIDRToRange(ip, if(${IPV4}, 120, 64)), 1), if(${IPV4}, '/24', '/64'))`,
    known: `ip != toIPv6('::')`,
    shown: `concat(${plain('k.key.1')}, k.key.2)`,
    note: 'A network is a /24 of IPv4 or a /64 of IPv6. ',
  },
  fingerprint: {
    title: 'Fingerprints',
    column: 'Fingerprint',
    key: 'fingerprint',
    known: 'fingerprint != 0',
    shown: 'toString(k.key)',
    note: 'A fingerprint covers User-Agent and language: many visitors share it, so many campaigns are normal. ',
  },
} as const;

const SPANS: Columns = {
  '1 min': {
    width: 70,
    steps: [
      [30, 'orange'],
      [60, 'red'],
    ],
  },
  '5 min': { width: 70 },
  '60 min': { bar: true },
  'Last seen': { unit: 'dateTimeFromNow' },
};

/** An order, whose page in the portal has the rest. */
const LAST_ORDER: Columns = {
  'Last order': {
    width: 110,
    link: portalPage('conversions', { title: 'this order', search: 'Last order' }),
  },
};

/** The keys with the most clicks within the last hour, whose they are, and their orders. */
export function fastest(key: keyof typeof VELOCITY): PanelSource {
  const { title, column, note } = VELOCITY[key];
  return rows({
    title: `${title}, last hour`,
    description: `The 25 with the most clicks in the last 60 minutes, independent of the range, with the affiliate that has most of them, how many share them, and their orders of the last 24 hours. ${note}Bots are included.`,
    unit: 'short',
    sortBy: '60 min',
    empty: 'No clicks in the last hour',
    columns: {
      [column]: { width: 170, link: explorer(key, { from: column }) },
      ...SPANS,
      ...AFFILIATE_COLUMNS,
      ...LAST_ORDER,
    },
    queries: [clickhouse(fastestSql(key), 'table')],
  });
}

function fastestSql(by: keyof typeof VELOCITY): string {
  const { key, known, shown, column } = VELOCITY[by];
  return `
SELECT ${shown} AS "${column}", k.m1 AS "1 min", k.m5 AS "5 min", k.m60 AS "60 min", k.campaigns AS Campaigns,
  k.agents AS "User agents", ${nameOr('k.affiliate')} AS Affiliate, k.affiliate AS ID, k.affiliates AS Affiliates,
  o.orders AS Orders, o.last AS "Last order", toFloat64(toUnixTimestamp64Milli(k.seen)) AS "Last seen"
FROM (
  SELECT key, sum(c1) AS m1, sum(c5) AS m5, sum(c60) AS m60, argMax(affiliate_id, c60) AS affiliate, count() AS affiliates,
    length(groupUniqArrayArray(c)) AS campaigns, length(groupUniqArrayArray(a)) AS agents, max(last) AS seen
  FROM (
    SELECT ${key} AS key, affiliate_id, countIf(ts >= ${minutesAgo(1)}) AS c1, countIf(ts >= ${minutesAgo(5)}) AS c5,
      count() AS c60, groupUniqArray(campaign_id) AS c, groupUniqArray(user_agent) AS a, max(ts) AS last
    FROM clicks
    WHERE ts >= ${minutesAgo(60)} AND bitAnd(flags, 256) = 0 AND ${known}
      AND ${chosen(...ALL)}
    GROUP BY key, affiliate_id
  ) GROUP BY key ORDER BY m60 DESC, key LIMIT 25
) AS k
LEFT JOIN (
  SELECT ${key} AS key, count() AS orders, concat('cnv_', toString(argMax(conversion_id, occurred_at))) AS last
  FROM conversions FINAL
  WHERE occurred_at >= ${minutesAgo(1_440)} AND ${known}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY key
) AS o ON o.key = k.key
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = k.affiliate
ORDER BY "60 min" DESC, "${column}"
${adHoc('clicks', 'conversions')}`;
}

export function fastestAffiliates(...filters: readonly Filter[]): PanelSource {
  return rows({
    title: 'Affiliates, last hour',
    description:
      'Clicks of the last five minutes compared with the median minute of the last hour (factor). Only affiliates with 20 clicks in the hour.',
    unit: 'short',
    sortBy: 'Factor',
    empty: 'No affiliate had 20 clicks in the last hour',
    columns: {
      ...AFFILIATE_COLUMNS,
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
        `${withNames({
          kind: 'affiliate',
          as: 'Affiliate',
          columns:
            'c.recent AS "5 min", c.hour AS "60 min", c.usual AS "Median minute", c.recent / 5 / greatest(c.usual, 1) AS Factor',
          inner: `
  SELECT id, sumIf(c, minute >= now() - INTERVAL 5 MINUTE) AS recent, sum(c) AS hour, quantileExact(0.5)(c) AS usual
  FROM (
    SELECT affiliate_id AS id, minute, sumIf(t.clicks, flag_group != 'impression') AS c
    FROM clicks_minutely AS t
    WHERE minute >= now() - INTERVAL 60 MINUTE
      AND ${chosen(...filters)}
    GROUP BY id, minute
  ) GROUP BY id HAVING hour >= 20 ORDER BY recent / greatest(usual, 1) DESC, id LIMIT 25`,
          orderBy: 'Factor DESC',
        })}
${adHoc('clicks_minutely')}`,
        'table',
      ),
    ],
  });
}

export function networkOwners(): PanelSource {
  return rows({
    title: 'Owners of networks, last day',
    description:
      'The 25 autonomous systems with the most clicks of the last 24 hours (by RouteViews, DB-IP.com and NRO), and the affiliate that has most of them. Cloud and hosting networks have no human visitors. Unknown until "afflux geo load" has run.',
    unit: 'short',
    sortBy: 'Clicks',
    empty: 'No clicks in the last day',
    columns: {
      Owner: { width: 200 },
      ASN: { unit: 'none', width: 80, link: explorer('asn', { from: 'ASN', prefix: 'AS' }) },
      Clicks: { bar: true },
      ...AFFILIATE_COLUMNS,
    },
    queries: [
      clickhouse(
        `
SELECT if(k.key = 0, 'unknown', dictGet('organisations', 'organisation', k.key)) AS Owner, k.key AS ASN, k.clicks AS Clicks,
  ${nameOr('k.affiliate')} AS Affiliate, k.affiliate AS ID, k.affiliates AS Affiliates
FROM (
  SELECT key, sum(c) AS clicks, argMax(affiliate_id, c) AS affiliate, count() AS affiliates
  FROM (
    SELECT asn AS key, affiliate_id, count() AS c FROM clicks
    WHERE ts >= ${minutesAgo(1_440)} AND bitAnd(flags, 256) = 0
      AND ${chosen(...ALL)}
    GROUP BY key, affiliate_id
  ) GROUP BY key ORDER BY clicks DESC, key LIMIT 25
) AS k
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = k.affiliate
ORDER BY Clicks DESC, ASN
${adHoc('clicks')}`,
        'table',
      ),
    ],
  });
}
