import { numbers, type PanelSource } from '../panels.ts';
import { clickhouse } from '../sources.ts';
import { WATERMARK } from '../sql.ts';

/** Above these ages, in seconds, figures are not to be believed without a look at the pipeline. */
export const LATE_SECONDS = 30;
export const STUCK_SECONDS = 120;

/** The fifth promise: every dashboard begins with how fresh its figures are. */
export function freshness(): PanelSource {
  return numbers({
    title: 'Complete to',
    description:
      'Figures include every click before this time. A collector with clicks in its spool holds it back; see Pipeline when it lags. Conversions follow within a second of their commit.',
    unit: 'none',
    queries: [
      clickhouse(
        `
SELECT toFloat64(toUnixTimestamp64Milli(at)) AS "Complete to", dateDiff('second', at, now64(3)) AS Behind
FROM (SELECT (${WATERMARK}) AS at)
WHERE at > toDateTime64(0, 3)`,
        'table',
      ),
    ],
    columns: {
      'Complete to': { unit: 'dateTimeAsIsoNoDateIfToday' },
      Behind: {
        unit: 's',
        steps: [
          [LATE_SECONDS, 'orange'],
          [STUCK_SECONDS, 'red'],
        ],
      },
    },
    steps: [],
  });
}
