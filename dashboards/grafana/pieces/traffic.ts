import { overTime, type PanelSource } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { adHoc, chosen, type Filter, HOURS_IN_RANGE, ORDERS_IN_RANGE } from '../sql.ts';

/** One colour per flag group: valid green and blue, bots red. */
const FLAG_GROUP_COLOURS = {
  ok: 'green',
  repeat: 'blue',
  bot: 'red',
  prefetch: 'orange',
  head: 'yellow',
  inactive: 'purple',
} as const;

/** Clicks by flag group. */
export function clicksByFlagGroup(...filters: readonly Filter[]): PanelSource {
  return overTime({
    title: 'Clicks by flag group',
    description:
      'All clicks by hour. Valid: ok and repeat. Bots, prefetches, HEAD requests and clicks on inactive links are recorded and not credited. The last bar is incomplete.',
    unit: 'short',
    draw: 'stacked bars',
    interval: '1h',
    seriesBy: 'group',
    colours: FLAG_GROUP_COLOURS,
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(hour) AS time, toString(flag_group) AS "group", sum(t.clicks) AS clicks
FROM clicks_hourly AS t
WHERE ${HOURS_IN_RANGE}
  AND flag_group != 'impression'
  AND ${chosen(...filters)}
GROUP BY time, "group" ORDER BY time, "group"
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
      'Conversions by time of the order and current state. Credited: attributed, partially refunded, refunded. In review: review. Not credited: rejected, unattributed. Not approved by the shop: awaiting_shop. Undecided: received, awaiting_click.',
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
