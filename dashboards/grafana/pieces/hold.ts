import { type PanelSource, rows } from '../panels.ts';
import { postgres } from '../sources.ts';
import { chosenInLedger, type LedgerFilter } from '../sql.ts';

/** Pending money by the day on which it becomes available; from the ledger. */
export function comingOutOfHold(...filters: readonly LedgerFilter[]): PanelSource {
  return rows({
    title: 'End of holds',
    description:
      'Pending commissions by the day (UTC) they become available; commissions in review stay until a reviewer decides.',
    unit: 'locale',
    decimals: 2,
    empty: 'Nothing in the hold',
    columns: { 'Day (UTC)': { width: 110 }, Commissions: { unit: 'short', decimals: 0 } },
    queries: [
      postgres(
        `
SELECT to_char(available_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS "Day (UTC)", count(*) AS "Commissions",
  coalesce(sum(amount) FILTER (WHERE state = 'pending'), 0)::float8 AS "Amount",
  coalesce(sum(amount) FILTER (WHERE state = 'held'), 0)::float8 AS "In review", currency AS "Currency"
FROM grafana_commissions
WHERE state IN ('pending', 'held') AND ${chosenInLedger(...filters)}
GROUP BY 1, currency ORDER BY 1, currency LIMIT 400`,
        'table',
      ),
    ],
  });
}
