import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { deployAnnotation, payoutAnnotation } from '../annotations.ts';
import { buildBoard, line } from '../board.ts';
import { drillDown, explorer } from '../links.ts';
import { bars, type Columns, countries, overTime, type PanelSource, rows, shares } from '../panels.ts';
import { freshness } from '../pieces/freshness.ts';
import { clicksByFlagGroup, conversionsByState } from '../pieces/traffic.ts';
import { clickhouse, postgres } from '../sources.ts';
import {
  ALL_CLICKS,
  adHoc,
  COMMISSION,
  CREDITED,
  chosen,
  chosenInLedger,
  HOURS_IN_RANGE,
  type Named,
  ORDERS_IN_RANGE,
  perClick,
  REVENUE,
  VALID_CLICKS,
  withNames,
} from '../sql.ts';
import { adHocVariables, portalVariable, variable } from '../variables.ts';
import {
  ALL,
  BOTH,
  clicks,
  commission,
  conversions,
  earningsPerClick,
  inReview,
  OF_ORDERS,
  rate,
  rateOverTime,
  revenue,
  valid,
} from './campaign-figures.ts';

/** How campaigns do: what was clicked, ordered, earned, and by whom. */
export function campaigns(): Dashboard {
  return buildBoard({
    board: 'campaigns',
    description:
      'Campaigns: clicks, conversions, revenue and commission by affiliate, link, country and device.',
    from: 'now-7d',
    refresh: '1m',
    variables: [...ALL.map((filter) => variable(filter)), ...adHocVariables(), portalVariable()],
    annotations: [payoutAnnotation(), deployAnnotation()],
    top: [
      line(
        4,
        [4, freshness()],
        [4, clicks()],
        [4, valid()],
        [4, conversions()],
        [4, rate()],
        [4, inReview()],
      ),
      line(4, [8, revenue()], [8, commission()], [8, earningsPerClick()]),
    ],
    sections: [
      {
        title: 'Over time',
        lines: [
          line(9, [12, clicksByFlagGroup(...ALL)], [12, conversionsByState(...OF_ORDERS)]),
          line(8, [12, rateOverTime()], [12, moneyOverTime()]),
          line(9, [24, cohorts()]),
        ],
      },
      {
        title: 'Affiliates, links, countries',
        lines: [
          line(9, [24, top('campaign', 'Top campaigns')]),
          line(9, [12, top('affiliate', 'Top affiliates')], [12, top('link', 'Top links')]),
          line(10, [12, map()], [6, devices()], [6, funnel()]),
        ],
      },
    ],
  });
}

function moneyOverTime(): PanelSource {
  return overTime({
    title: 'Revenue and commission',
    description:
      'By the time of the order, a series for each and each currency. Revenue: value of credited orders minus refunds. Commission: earned at all levels, less what was taken back.',
    unit: 'locale',
    money: true,
    draw: 'lines',
    interval: '1h',
    seriesBy: 'unit',
    queries: [
      clickhouse(
        `
SELECT time, concat(pair.1, ' ', unit) AS unit, pair.2 AS amount
FROM (
  SELECT $__timeInterval(occurred_at) AS time, toString(currency) AS unit,
    arrayJoin([('Revenue', ${REVENUE}), ('Commission', ${COMMISSION})]) AS pair
  FROM conversions FINAL
  WHERE ${ORDERS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY time, currency
)
ORDER BY time, unit
${adHoc('conversions')}`,
        'series',
      ),
    ],
  });
}

/** Within which time of the click an order counts, in seconds. */
const COHORT_SPANS = [
  ['Within 1 h', 3_600],
  ['Within 1 day', 86_400],
  ['Within 7 days', 604_800],
  ['Within 30 days', 2_592_000],
] as const;

/** Orders by the day of their click: a day is complete only when the spans behind it have passed. */
function cohorts(): PanelSource {
  const counts = COHORT_SPANS.map(
    ([name, span]) =>
      `countIf(${CREDITED} AND dateDiff('second', assumeNotNull(click_ts), occurred_at) <= ${span}) AS "${name}"`,
  );
  return rows({
    title: 'Orders by the day of their click',
    description:
      'Valid clicks of each day (UTC) of the range, and how many credited orders they brought within which time. The last days are incomplete: their orders are still to come. Orders without a click are omitted.',
    unit: 'short',
    empty: 'No clicks in this range',
    columns: {
      'Day (UTC)': { width: 110 },
      Rate: { unit: 'percentunit', decimals: 2 },
      'Valid clicks': { bar: true },
    },
    queries: [
      clickhouse(
        `
SELECT toString(c.day) AS "Day (UTC)", c.valid AS "Valid clicks", ${COHORT_SPANS.map(([name]) => `o."${name}" AS "${name}"`).join(', ')},
  o.orders AS "In all", ${perClick('o.orders', 'c.valid')} AS Rate
FROM (
  SELECT toDate(hour, 'UTC') AS day, ${VALID_CLICKS} AS valid
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY day
) AS c
LEFT JOIN (
  SELECT toDate(assumeNotNull(click_ts), 'UTC') AS day, ${counts.join(',\n    ')},
    countIf(${CREDITED}) AS orders
  FROM conversions FINAL
  WHERE isNotNull(click_ts) AND click_ts >= toDateTime64(toStartOfHour($__fromTime), 3) AND click_ts <= $__toTime_ms
    AND ${chosen(...OF_ORDERS)}
  GROUP BY day
) AS o ON o.day = c.day
ORDER BY c.day DESC
${BOTH}`,
        'table',
      ),
    ],
  });
}

const DRILL_DOWNS: Readonly<Record<'campaign' | 'affiliate' | 'link', Columns[string]>> = {
  campaign: {
    link: drillDown('campaigns', {
      variable: 'campaign',
      from: 'ID',
      keep: ['program', 'country', 'device'],
    }),
  },
  affiliate: {
    link: drillDown('affiliate', { variable: 'affiliate', from: 'ID', keep: ['program', 'campaign'] }),
  },
  link: { link: drillDown('affiliate', { variable: 'affiliate', from: 'Affiliate', keep: ['program'] }) },
};

const explored = (kind: 'affiliate' | 'link') =>
  explorer(kind, { from: 'ID', prefix: kind === 'affiliate' ? 'aff_' : 'lnk_' });

/** The campaigns, affiliates or links with the most valid clicks, and what came of them. */
function top(kind: Exclude<Named, 'program'>, title: string): PanelSource {
  const id = `${kind}_id`;
  const owner = kind === 'link';
  return rows({
    title,
    description: `The 50 with the most valid clicks, with credited conversions and commission of the range. ${owner ? 'The code links to the dashboard of its affiliate.' : 'The name links to its dashboard, in the same range.'} Commission of all levels; empty for mixed currencies.`,
    unit: 'short',
    sortBy: 'Valid',
    empty: 'No clicks in this range',
    columns: {
      Name: { ...DRILL_DOWNS[kind], width: 260 },
      ID: { unit: 'none', width: 70, ...(kind !== 'campaign' && { link: explored(kind) }) },
      ...(owner ? { Affiliate: { unit: 'none', width: 90 } } : {}),
      Valid: { bar: true },
      Rate: { unit: 'percentunit', decimals: 2, width: 90 },
      Commission: { unit: 'locale', decimals: 2 },
    },
    queries: [
      clickhouse(
        `${withNames({
          kind,
          as: 'Name',
          columns: `${owner ? 'c.affiliate AS Affiliate, ' : ''}c.clicks AS Clicks, c.valid AS Valid,
  o.credited AS Credited, ${perClick('o.credited', 'c.valid')} AS Rate,
  if(length(o.currencies) > 1, NULL, o.commission) AS Commission, arrayStringConcat(o.currencies, ', ') AS Currency`,
          inner: `
  SELECT ${id} AS id, ${owner ? 'any(affiliate_id) AS affiliate, ' : ''}${ALL_CLICKS} AS clicks, ${VALID_CLICKS} AS valid
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...ALL)}
  GROUP BY id ORDER BY valid DESC, id LIMIT 50`,
          join: `
LEFT JOIN (
  SELECT id, sum(credited) AS credited, sum(commission) AS commission, arraySort(groupUniqArray(unit)) AS currencies
  FROM (
    SELECT ${id} AS id, toString(currency) AS unit, countIf(${CREDITED}) AS credited, ${COMMISSION} AS commission
    FROM conversions FINAL
    WHERE ${ORDERS_IN_RANGE}
      AND ${chosen(...OF_ORDERS)}
    GROUP BY id, currency
  ) GROUP BY id
) AS o ON o.id = c.id`,
          orderBy: 'Valid DESC',
        })}
${BOTH}`,
        'table',
      ),
    ],
  });
}

function map(): PanelSource {
  return countries({
    title: 'Countries',
    description:
      'Valid clicks by the registry country of the visitor’s address; unknown countries are omitted.',
    unit: 'short',
    country: 'Country',
    value: 'Valid clicks',
    queries: [
      clickhouse(
        `
SELECT toString(country) AS Country, ${VALID_CLICKS} AS "Valid clicks"
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND country != ''
  AND ${chosen(...ALL)}
GROUP BY country ORDER BY "Valid clicks" DESC, Country LIMIT 250
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function devices(): PanelSource {
  return shares({
    title: 'Devices',
    description: 'Valid clicks by the device in the User-Agent.',
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT toString(device) AS Device, ${VALID_CLICKS} AS "Valid clicks"
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND ${chosen(...ALL)}
GROUP BY device ORDER BY "Valid clicks" DESC, Device
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

function funnel(): PanelSource {
  return bars({
    title: 'From click to payment',
    description:
      'Valid clicks, conversions, credited conversions, and conversions with a paid level-1 commission (from the ledger, all countries). Each step by its own time: later steps of recent clicks are incomplete.',
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT Step, Count
FROM (
  SELECT 1 AS place, 'Valid clicks' AS Step, toFloat64(${VALID_CLICKS}) AS Count
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  UNION ALL
  SELECT 2, 'Orders', toFloat64(count())
  FROM conversions FINAL
  WHERE ${ORDERS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
  UNION ALL
  SELECT 3, 'Approved', toFloat64(countIf(${CREDITED}))
  FROM conversions FINAL
  WHERE ${ORDERS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
)
ORDER BY place
${BOTH}`,
        'table',
      ),
      postgres(
        `
SELECT 'Paid' AS "Step", count(*)::float8 AS "Count"
FROM grafana_commissions
WHERE level = 1 AND state = 'paid' AND $__timeFilter(occurred_at)
  AND ${chosenInLedger('program', 'campaign', 'affiliate')}`,
        'table',
        'B',
      ),
    ],
  });
}
