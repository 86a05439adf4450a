import type { DatabaseTransaction } from './db.ts';

/**
 * Locks one row until the transaction ends, so that what is read of it next is what will be changed.
 * A row that does not exist locks nothing.
 */
export async function lockRow(
  tx: DatabaseTransaction,
  table:
    | 'programs'
    | 'campaigns'
    | 'affiliates'
    | 'applications'
    | 'blocks'
    | 'links'
    | 'coupons'
    | 'cases'
    | 'api_keys'
    | 'saved_reports'
    | 'sources'
    | 'webhook_endpoints'
    | 'users',
  id: number,
): Promise<void> {
  await tx`select from ${tx(table)} where id = ${id} for no key update`;
}
