import { numbers, overTime, type PanelSource } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import {
  ALL_CLICKS,
  adHoc,
  bothPeriods,
  COMMISSION,
  CREDITED,
  chosen,
  HOURS_IN_BOTH,
  HOURS_IN_RANGE,
  ORDERS_IN_BOTH,
  ORDERS_IN_RANGE,
  perClick,
  period,
  REVENUE,
  VALID_CLICKS,
} from '../sql.ts';

/** The figures at the top of Campaigns, each beside the range of equal length before. */

/** Filters of conversions: all but the device, which an order does not have. */
export const ALL = ['program', 'campaign', 'affiliate', 'country', 'device'] as const;
export const OF_ORDERS = ['program', 'campaign', 'affiliate', 'country'] as const;
/** Where a query reads both tables. */
export const BOTH = adHoc('clicks_hourly', 'conversions');

const COMPARED = 'The percentage compares with the previous range of equal length, in whole hours.';

function clickCount(title: string, count: string, description: string): PanelSource {
  const inner = `
    SELECT ${period('hour')} AS period, ${count} AS v
    FROM clicks_hourly AS t
    WHERE ${HOURS_IN_BOTH}
      AND ${chosen(...ALL)}
    GROUP BY period`;
  return numbers({
    title,
    description: `${description} ${COMPARED}`,
    unit: 'short',
    change: 'neither',
    queries: [clickhouse(`${bothPeriods(inner, { as: title })}\n${adHoc('clicks_hourly')}`, 'table')],
  });
}

export const clicks = (): PanelSource =>
  clickCount('Clicks', ALL_CLICKS, 'All recorded clicks, valid or not, without impressions.');
export const valid = (): PanelSource =>
  clickCount('Valid clicks', VALID_CLICKS, 'Clicks of the flag groups ok and repeat.');

function orderCount(options: {
  title: string;
  description: string;
  count: string;
  change: 'more is good' | 'more is bad';
}): PanelSource {
  const { title, description, count, change } = options;
  const inner = `
    SELECT ${period('occurred_at')} AS period, ${count} AS v
    FROM conversions FINAL
    WHERE ${ORDERS_IN_BOTH}
      AND ${chosen(...OF_ORDERS)}
    GROUP BY period`;
  return numbers({
    title,
    description: `${description} By the time of the order. ${COMPARED}`,
    unit: 'short',
    change,
    queries: [clickhouse(`${bothPeriods(inner, { as: title })}\n${adHoc('conversions')}`, 'table')],
  });
}

export const conversions = (): PanelSource =>
  orderCount({
    title: 'Credited conversions',
    description: 'Credited conversions, without fully refunded ones.',
    count: `countIf(${CREDITED})`,
    change: 'more is good',
  });
export const inReview = (): PanelSource =>
  orderCount({
    title: 'In review',
    description: 'Conversions that a fraud rule put in review; none is approved automatically.',
    count: `countIf(state = 'review')`,
    change: 'more is bad',
  });

/** Valid clicks and credited conversions by the same `key`. */
function joined(options: { hours: string; orders: string; hourKey: string; orderKey: string }): string {
  const { hours, orders, hourKey, orderKey } = options;
  return `
      SELECT ${hourKey} AS key, ${VALID_CLICKS} AS valid, 0 AS credited
      FROM clicks_hourly AS t
      WHERE ${hours}
        AND ${chosen(...OF_ORDERS)}
      GROUP BY key
      UNION ALL
      SELECT ${orderKey} AS key, 0, countIf(${CREDITED})
      FROM conversions FINAL
      WHERE ${orders}
        AND ${chosen(...OF_ORDERS)}
      GROUP BY key`;
}

export function rate(): PanelSource {
  const keys = { hourKey: period('hour'), orderKey: period('occurred_at') };
  const inner = `
    SELECT key AS period, ${perClick('sum(credited)', 'sum(valid)')} AS v
    FROM (${joined({ hours: HOURS_IN_BOTH, orders: ORDERS_IN_BOTH, ...keys })}
    ) GROUP BY key`;
  return numbers({
    title: 'Conversion rate',
    description: `Credited conversions per valid click. Orders follow their clicks, so short ranges read low. The device filter does not apply: conversions have no device. ${COMPARED}`,
    unit: 'percentunit',
    decimals: 2,
    change: 'more is good',
    queries: [clickhouse(`${bothPeriods(inner, { as: 'Conversion rate' })}\n${BOTH}`, 'table')],
  });
}

export function rateOverTime(): PanelSource {
  const keys = { hourKey: '$__timeInterval(hour)', orderKey: '$__timeInterval(occurred_at)' };
  return overTime({
    title: 'Conversion rate over time',
    description: 'Credited conversions per valid click of the same interval; empty without clicks.',
    unit: 'percentunit',
    draw: 'lines',
    interval: '1h',
    queries: [
      clickhouse(
        `
SELECT key AS time, ${perClick('sum(credited)', 'sum(valid)')} AS "Conversion rate"
FROM (${joined({ hours: HOURS_IN_RANGE, orders: ORDERS_IN_RANGE, ...keys })}
)
GROUP BY key HAVING sum(valid) > 0 ORDER BY key
${BOTH}`,
        'series',
      ),
    ],
  });
}

/** An amount for each currency: amounts of several have no sum. */
function amount(options: {
  title: string;
  figure: string;
  description: string;
  change: 'more is good' | 'neither';
}): PanelSource {
  const { title, figure, description, change } = options;
  const inner = `
    SELECT ${period('occurred_at')} AS period, toString(currency) AS unit, ${figure} AS v
    FROM conversions FINAL
    WHERE ${ORDERS_IN_BOTH}
      AND ${chosen(...OF_ORDERS)}
    GROUP BY period, currency`;
  return numbers({
    title,
    description: `${description} One number per currency. ${COMPARED}`,
    unit: 'locale',
    decimals: 2,
    money: true,
    seriesBy: 'unit',
    change,
    queries: [
      clickhouse(`${bothPeriods(inner, { as: title, by: 'unit' })}\n${adHoc('conversions')}`, 'series'),
    ],
  });
}

export const revenue = (): PanelSource =>
  amount({
    title: 'Revenue',
    figure: REVENUE,
    description: 'Value of credited orders minus refunds, by the time of the order.',
    change: 'more is good',
  });
export const commission = (): PanelSource =>
  amount({
    title: 'Commission',
    figure: COMMISSION,
    description:
      'Earned at all levels, less what was taken back; without what a review or the shop’s approval holds.',
    change: 'neither',
  });

export function earningsPerClick(): PanelSource {
  const inner = `
    SELECT o.period AS period, o.unit AS unit, ${perClick('o.commission', 'c.valid')} AS v
    FROM (
      SELECT ${period('occurred_at')} AS period, toString(currency) AS unit, ${COMMISSION} AS commission
      FROM conversions FINAL
      WHERE ${ORDERS_IN_BOTH}
        AND ${chosen(...OF_ORDERS)}
      GROUP BY period, currency
    ) AS o
    LEFT JOIN (
      SELECT ${period('hour')} AS period, ${VALID_CLICKS} AS valid
      FROM clicks_hourly AS t
      WHERE ${HOURS_IN_BOTH}
        AND ${chosen(...OF_ORDERS)}
      GROUP BY period
    ) AS c ON c.period = o.period`;
  return numbers({
    title: 'EPC',
    description: `Earned at all levels per valid click and currency. Clicks are not split by currency, so select one program where there are several. ${COMPARED}`,
    unit: 'locale',
    decimals: 3,
    money: true,
    seriesBy: 'unit',
    change: 'neither',
    queries: [clickhouse(`${bothPeriods(inner, { as: 'EPC', by: 'unit' })}\n${BOTH}`, 'series')],
  });
}
