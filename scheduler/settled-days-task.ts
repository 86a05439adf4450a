import type { Task } from '../ledger/postgres/tasks.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';
import { settleDays } from '../warehouse/reports/settled-days.ts';

/** Counts the distinct visitors of days that are complete, for reports by day and campaign. */
export function settledDaysTask(warehouse: Warehouse): Task {
  return {
    name: 'settled_days',
    run: async (_now, signal) => ({ days: await settleDays(warehouse, { signal }) }),
  };
}
