import { AFFILIATE_COLUMNS } from '../links.ts';
import { type Columns, type PanelSource, rows, shares } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { adHoc, CHOSEN_BY_CAMPAIGN, chosen, type Filter, minutesAgo, NO_AD_HOC, withNames } from '../sql.ts';

/** Who is fast now: panels over the tables of velocity, which keep 26 hours and know nothing but the campaign. */

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
export function fastest(key: keyof typeof VELOCITY): PanelSource {
  const { title, table, show, keys, column } = VELOCITY[key];
  return rows({
    title: `${title}, last hour`,
    description: `The 25 with the most clicks in the last 60 minutes, independent of the range; the variables program and campaign apply. ${key === 'subnet' ? 'A network is a /24 of IPv4 or a /64 of IPv6. ' : ''}${key === 'fingerprint' ? 'A fingerprint covers User-Agent and language, so it has one user agent; many visitors share it, so many campaigns are normal. ' : ''}Bots are included.`,
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
  AND ${CHOSEN_BY_CAMPAIGN}
GROUP BY ${keys} ORDER BY "60 min" DESC, "${column}" LIMIT 25
${NO_AD_HOC}`,
        'table',
      ),
    ],
  });
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

export function networks(): PanelSource {
  return shares({
    title: 'Networks by owner, last day',
    description:
      'Autonomous systems of the clicks of the last 24 hours (by RouteViews, DB-IP.com and NRO): the ten largest and all others. Cloud and hosting networks have no human visitors. Unknown until "afflux geo load" has run. The variables program and campaign apply.',
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT if(place <= 10, owner, 'all others') AS Network, sum(clicks) AS Clicks
FROM (
  SELECT if(asn = 0, 'unknown', concat('AS', toString(asn), ' ', dictGet('organisations', 'organisation', asn))) AS owner,
    clicks, row_number() OVER (ORDER BY clicks DESC, asn) AS place
  FROM (
    SELECT dictGet('asn', 'asn', subnet) AS asn, sum(clicks) AS clicks
    FROM (
      SELECT subnet, count() AS clicks FROM velocity_ip
      WHERE ts >= ${minutesAgo(1_440)}
        AND ${CHOSEN_BY_CAMPAIGN}
      GROUP BY subnet
    )
    GROUP BY asn
  )
)
GROUP BY Network ORDER BY min(place)
${NO_AD_HOC}`,
        'table',
      ),
    ],
  });
}
