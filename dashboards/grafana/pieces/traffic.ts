import { overTime, type PanelSource } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { adHoc, chosen, type Filter, HOURS_IN_RANGE, ORDERS_IN_RANGE } from '../sql.ts';

/** One colour a verdict, the same everywhere: valid is green and blue, robots red. */
const VERDICT_COLOURS = {
  ok: 'green',
  repeat: 'blue',
  bot: 'red',
  prefetch: 'orange',
  head: 'yellow',
  inactive: 'purple',
} as const;

/** Clicks by the one reason each is told by. */
export function clicksByVerdict(...filters: readonly Filter[]): PanelSource {
  return overTime({
    title: 'Clicks by verdict',
    description:
      'All clicks by hour. Valid are ok and repeat; a bot, a prefetch, a HEAD request and a click on an inactive link are recorded and count for nobody. The last bar is not over yet.',
    unit: 'short',
    draw: 'stacked bars',
    interval: '1h',
    seriesBy: 'verdict',
    colours: VERDICT_COLOURS,
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(hour) AS time, toString(flag_group) AS verdict, sum(t.clicks) AS clicks
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND flag_group != 'impression'
  AND ${chosen(...filters)}
GROUP BY time, verdict ORDER BY time, verdict
${adHoc('clicks_hourly')}`,
        'series',
      ),
    ],
  });
}

/** Conversions by the time of the order, whatever became of them. */
export function conversionsByState(...filters: readonly Filter[]): PanelSource {
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
  AND ${chosen(...filters)}
GROUP BY time, state ORDER BY time, state
${adHoc('conversions')}`,
        'series',
      ),
    ],
  });
}
