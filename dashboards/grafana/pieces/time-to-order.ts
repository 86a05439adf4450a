import { histogram, type PanelSource } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { adHoc, chosen, type Filter, ORDERS_IN_RANGE } from '../sql.ts';

/** Upper ends of the classes, seconds, and what they are called; those of the API's velocity reports. */
const CLASSES = [
  [10, 'under 10 s'],
  [30, 'under 30 s'],
  [60, 'under 1 min'],
  [300, 'under 5 min'],
  [3_600, 'under 1 h'],
  [86_400, 'under 1 day'],
  [604_800, 'under 7 days'],
  [Number.POSITIVE_INFINITY, 'longer'],
] as const;

/** Orders by the time since their click: every class, also the empty ones, from short to long. */
export function timeToOrder(...filters: readonly Filter[]): PanelSource {
  return histogram({
    title: 'From click to order',
    description: 'Conversions of the range by time since their click; orders within seconds are suspicious.',
    unit: 'short',
    x: 'Within',
    queries: [clickhouse(timeToOrderSql(filters), 'table')],
  });
}

function timeToOrderSql(filters: readonly Filter[]): string {
  const counts = CLASSES.map(([end, name], i) => {
    const start = CLASSES[i - 1]?.[0];
    const bounds = [start === undefined ? '' : `s >= ${start}`, Number.isFinite(end) ? `s < ${end}` : ''];
    return `('${name}', countIf(${bounds.filter(Boolean).join(' AND ')}))`;
  });
  return `
SELECT class.1 AS Within, class.2 AS Orders
FROM (
  SELECT arrayJoin([${counts.join(',\n    ')}]) AS class
  FROM (
    SELECT dateDiff('second', assumeNotNull(click_ts), occurred_at) AS s
    FROM conversions FINAL
    WHERE ${ORDERS_IN_RANGE}
      AND isNotNull(click_ts)
      AND ${chosen(...filters)}
  )
)
${adHoc('conversions')}`;
}
