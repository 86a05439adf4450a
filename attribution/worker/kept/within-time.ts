import { DatabaseError } from '../../../core/postgres/connection.ts';
import type { Database, DatabaseTransaction } from '../../../ledger/postgres/db.ts';

/** `query_canceled`: by the time limit of the statement. */
const CANCELED = '57014';

/** What is read, or undefined where one statement takes longer than `limitMs`: then the database stops it. */
export async function withinTime<T>(
  ledger: Database,
  limitMs: number,
  read: (tx: DatabaseTransaction) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await ledger.begin('read only', async (tx) => {
      await tx`select set_config('statement_timeout', ${`${Math.max(1, Math.round(limitMs))}ms`}, true)`;
      return await read(tx);
    });
  } catch (error) {
    if (error instanceof DatabaseError && error.code === CANCELED) return undefined;
    throw error;
  }
}
