import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { deployAnnotation, payoutAnnotation } from '../annotations.ts';
import { buildBoard, line } from '../board.ts';
import { freshness } from '../freshness.ts';
import { drillDown } from '../links.ts';
import {
  bars,
  type Columns,
  countries,
  numbers,
  overTime,
  type PanelSource,
  rows,
  shares,
} from '../panels.ts';
import { clickhouse, postgres } from '../sources.ts';
import {
  ALL_CLICKS,
  adHoc,
  COMMISSION,
  CREDITED,
  chosen,
  chosenInLedger,
  HOURS_IN_BOTH,
  HOURS_IN_RANGE,
  type Named,
  nameOr,
  namesOf,
  ORDERS_IN_BOTH,
  ORDERS_IN_RANGE,
  period,
  REVENUE,
  VALID_CLICKS,
} from '../sql.ts';
import { adHocVariables, variable } from '../variables.ts';
import { clicksByVerdict } from '../verdicts.ts';

/** Conversions are told by everything but the device, which an order does not have. */
const ALL = ['program', 'campaign', 'affiliate', 'country', 'device'] as const;
const OF_ORDERS = ['program', 'campaign', 'affiliate', 'country'] as const;
const BOTH = adHoc('clicks_hourly', 'conversions');

/** How campaigns do: what was clicked, ordered, earned, and by whom. */
export function campaigns(): Dashboard {
  return buildBoard({
    board: 'campaigns',
    description: 'How campaigns do: clicks, conversions, revenue and commission, by whom and from where.',
    from: 'now-7d',
    refresh: '1m',
    variables: [...ALL.map((filter) => variable(filter)), ...adHocVariables()],
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
          line(9, [12, clicksByVerdict(...ALL)], [12, conversionsByState()]),
          line(8, [12, rateOverTime()], [12, moneyOverTime()]),
        ],
      },
      {
        title: 'Who and where',
        lines: [
          line(9, [24, top('campaign', 'Top campaigns')]),
          line(9, [12, top('affiliate', 'Top affiliates')], [12, top('link', 'Top links')]),
          line(10, [12, map()], [6, devices()], [6, funnel()]),
        ],
      },
    ],
  });
}

/** A count of clicks with the period before. */
function clickCount(title: string, count: string, description: string): PanelSource {
  return numbers({
    title,
    description: `${description} The percentage compares with the range of equal length before; whole hours.`,
    unit: 'short',
    change: 'neither',
    queries: [
      clickhouse(
        `
SELECT ${period('hour')} AS time, ${count} AS "${title}"
FROM clicks_hourly AS t
WHERE ${HOURS_IN_BOTH}
  AND ${chosen(...ALL)}
GROUP BY time ORDER BY time
${adHoc('clicks_hourly')}`,
        'table',
      ),
    ],
  });
}

const clicks = (): PanelSource =>
  clickCount('Clicks', ALL_CLICKS, 'Every recorded click, valid or not, without loads of the pixel.');
const valid = (): PanelSource =>
  clickCount('Valid clicks', VALID_CLICKS, 'Clicks that count for an affiliate: ok and repeat.');

/** A figure of conversions with the period before. */
function orderFigure(options: {
  title: string;
  description: string;
  figure: string;
  change: 'more is good' | 'more is bad' | 'neither';
}): PanelSource {
  const { title, description, figure, change } = options;
  return numbers({
    title,
    description: `${description} By the time of the order. The percentage compares with the range before.`,
    unit: 'short',
    change,
    queries: [
      clickhouse(
        `
SELECT ${period('occurred_at')} AS time, ${figure} AS "${title}"
FROM conversions FINAL
WHERE ${ORDERS_IN_BOTH}
  AND ${chosen(...OF_ORDERS)}
GROUP BY time ORDER BY time
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

const conversions = (): PanelSource =>
  orderFigure({
    title: 'Conversions',
    description: 'Orders that credit an affiliate, without those wholly refunded.',
    figure: `countIf(${CREDITED})`,
    change: 'more is good',
  });
const inReview = (): PanelSource =>
  orderFigure({
    title: 'In review',
    description: 'Orders on which a rule has fired: they wait for a person, and nothing approves itself.',
    figure: `countIf(state = 'review')`,
    change: 'more is bad',
  });

/** Clicks and conversions of the same keys side by side: `keys` are expressions over both tables. */
function joined(options: { hours: string; orders: string; hourKey: string; orderKey: string }): string {
  const { hours, orders, hourKey, orderKey } = options;
  return `
  SELECT ${hourKey} AS key, '' AS currency, ${VALID_CLICKS} AS valid, 0 AS credited, toDecimal64(0, 0) AS commission
  FROM clicks_hourly AS t
  WHERE ${hours}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY key
  UNION ALL
  SELECT ${orderKey} AS key, toString(currency) AS currency, 0, countIf(${CREDITED}), sum(commission_minor)
  FROM conversions FINAL
  WHERE ${orders}
    AND ${chosen(...OF_ORDERS)}
  GROUP BY key, currency`;
}

const IN_BOTH = {
  hours: HOURS_IN_BOTH,
  orders: ORDERS_IN_BOTH,
  hourKey: period('hour'),
  orderKey: period('occurred_at'),
};
const BY_INTERVAL = {
  hours: HOURS_IN_RANGE,
  orders: ORDERS_IN_RANGE,
  hourKey: '$__timeInterval(hour)',
  orderKey: '$__timeInterval(occurred_at)',
};

function rate(): PanelSource {
  return numbers({
    title: 'Conversion rate',
    description:
      'Credited conversions by valid click. Orders come later than their clicks, so a short range reads low. The device is not looked at: an order has none.',
    unit: 'percentunit',
    decimals: 2,
    change: 'more is good',
    queries: [
      clickhouse(
        `
SELECT key AS time, sum(credited) / sum(valid) AS "Conversion rate"
FROM (${joined(IN_BOTH)}
)
GROUP BY key HAVING sum(valid) > 0 ORDER BY key
${BOTH}`,
        'table',
      ),
    ],
  });
}

function rateOverTime(): PanelSource {
  return overTime({
    title: 'Conversion rate',
    description: 'Credited conversions by valid click of the same interval; nothing where nobody clicked.',
    unit: 'percentunit',
    draw: 'lines',
    interval: '1h',
    queries: [
      clickhouse(
        `
SELECT key AS time, sum(credited) / sum(valid) AS "Conversion rate"
FROM (${joined(BY_INTERVAL)}
)
GROUP BY key HAVING sum(valid) > 0 ORDER BY key
${BOTH}`,
        'series',
      ),
    ],
  });
}

/** An amount for each currency: amounts of several have no sum. */
function amount(title: string, figure: string, description: string): PanelSource {
  return numbers({
    title,
    description: `${description} One number for each currency.`,
    unit: 'locale',
    decimals: 2,
    perRow: true,
    queries: [
      clickhouse(
        `
SELECT toString(currency) AS Currency, ${figure} AS "${title}"
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
GROUP BY currency ORDER BY "${title}" DESC, Currency LIMIT 10
${adHoc('conversions')}`,
        'table',
      ),
    ],
  });
}

const revenue = (): PanelSource =>
  amount('Revenue', REVENUE, 'What credited orders came to, less refunds, by the time of the order.');
const commission = (): PanelSource =>
  amount(
    'Commission',
    COMMISSION,
    'What affiliates of every level earned by these orders, less what was taken back; that of orders in review included.',
  );

function earningsPerClick(): PanelSource {
  return numbers({
    title: 'EPC',
    description:
      'Commission by valid click, for each currency: clicks of the programs with that currency are not told apart, so choose one program where there are several.',
    unit: 'locale',
    decimals: 3,
    perRow: true,
    queries: [
      clickhouse(
        `
WITH (
  SELECT ${VALID_CLICKS} FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...OF_ORDERS)}
) AS valid
SELECT toString(currency) AS Currency, if(valid = 0, 0, ${COMMISSION} / valid) AS EPC
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
GROUP BY currency ORDER BY EPC DESC, Currency LIMIT 10
${BOTH}`,
        'table',
      ),
    ],
  });
}

function conversionsByState(): PanelSource {
  return overTime({
    title: 'Conversions by state',
    description:
      'Orders by their time and present state: attributed, partially refunded and refunded were credited; review waits for a person; rejected and unattributed credit nobody; received and awaiting_click are not decided.',
    unit: 'short',
    draw: 'stacked bars',
    interval: '1h',
    seriesBy: 'state',
    colours: { attributed: 'green', review: 'orange', rejected: 'red', refunded: 'purple' },
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(occurred_at) AS time, toString(state) AS state, count() AS conversions
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
GROUP BY time, state ORDER BY time, state
${adHoc('conversions')}`,
        'series',
      ),
    ],
  });
}

function moneyOverTime(): PanelSource {
  return overTime({
    title: 'Commission',
    description:
      'Commission of all levels by the time of the order, less what was taken back; a series a currency.',
    unit: 'locale',
    draw: 'bars',
    interval: '1h',
    seriesBy: 'unit',
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(occurred_at) AS time, toString(currency) AS unit, ${COMMISSION} AS commission
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
GROUP BY time, currency ORDER BY time, unit
${adHoc('conversions')}`,
        'series',
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

/** The campaigns, affiliates or links with the most valid clicks, and what came of them. */
function top(kind: Exclude<Named, 'program'>, title: string): PanelSource {
  const id = `${kind}_id`;
  const owner = kind === 'link';
  return rows({
    title,
    description: `The 50 with the most valid clicks, with their conversions and commission in the range. ${owner ? 'The code leads to the affiliate whose link it is.' : 'The name leads on, in the same range.'} Commission is that of all levels; where currencies mix it is left empty.`,
    unit: 'short',
    sortBy: 'Valid',
    empty: 'No clicks in this range',
    columns: {
      Name: { ...DRILL_DOWNS[kind], width: 260 },
      ID: { unit: 'none', width: 70 },
      ...(owner ? { Affiliate: { unit: 'none', width: 90 } } : {}),
      Valid: { bar: true },
      Rate: { unit: 'percentunit', decimals: 2, width: 90 },
      Commission: { unit: 'locale', decimals: 2 },
    },
    queries: [
      clickhouse(
        `
SELECT ${nameOr('c.id')} AS Name, c.id AS ID${owner ? ', c.affiliate AS Affiliate' : ''}, c.clicks AS Clicks, c.valid AS Valid,
  o.credited AS Conversions, if(c.valid = 0, 0, o.credited / c.valid) AS Rate,
  if(length(o.currencies) > 1, NULL, o.commission) AS Commission, arrayStringConcat(o.currencies, ', ') AS Currency
FROM (
  SELECT ${id} AS id, ${owner ? 'any(affiliate_id) AS affiliate, ' : ''}${ALL_CLICKS} AS clicks, ${VALID_CLICKS} AS valid
  FROM clicks_hourly AS t
  WHERE ${HOURS_IN_RANGE}
    AND ${chosen(...ALL)}
  GROUP BY id ORDER BY valid DESC, id LIMIT 50
) AS c
LEFT JOIN (
  SELECT id, sum(credited) AS credited, sum(commission) AS commission, arraySort(groupUniqArray(unit)) AS currencies
  FROM (
    SELECT ${id} AS id, toString(currency) AS unit, countIf(${CREDITED}) AS credited, ${COMMISSION} AS commission
    FROM conversions FINAL
    WHERE ${ORDERS_IN_RANGE}
      AND ${chosen(...OF_ORDERS)}
    GROUP BY id, currency
  ) GROUP BY id
) AS o ON o.id = c.id
LEFT JOIN ${namesOf(kind)} AS n ON n.id = c.id
ORDER BY Valid DESC, ID
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
      'Valid clicks by the country of the visitor’s address, as the registries have it. Unknown ones are left out.',
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
    description: 'Valid clicks by the device that the User-Agent tells.',
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
      'Valid clicks, orders reported, orders approved (credited), and orders whose own commission has been paid, the last from the ledger, whatever the country. Clicks and orders by their own time: later steps of young clicks are still to come.',
    unit: 'short',
    queries: [
      clickhouse(
        `
SELECT 'Valid clicks' AS Step, toFloat64(${VALID_CLICKS}) AS Count
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
UNION ALL
SELECT 'Orders', toFloat64(count())
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
UNION ALL
SELECT 'Approved', toFloat64(countIf(${CREDITED}))
FROM conversions FINAL
WHERE ${ORDERS_IN_RANGE}
  AND ${chosen(...OF_ORDERS)}
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
