import { WATERMARK } from '../sql.ts';

/** How far back gaps are looked for live; `afflux audit` looks at everything. */
export const GAP_HOURS = 6;

/**
 * For every node lease with clicks in the last hours: how many numbers lie between its first and its last click there,
 * and how many clicks. Numbers of a lease have no gap, so the difference is what is missing (above zero) or twice
 * (below). Clicks younger than the watermark are still on their way.
 */
export const GAPS = `
SELECT node, min(ts) AS first_at, max(ts) AS last_at, max(seq) + 1 - min(seq) AS given, count() AS stored,
  toInt64(given) - toInt64(stored) AS missing
FROM clicks
WHERE ts >= now64(3) - INTERVAL ${GAP_HOURS} HOUR AND ts < (${WATERMARK})
GROUP BY node`;
