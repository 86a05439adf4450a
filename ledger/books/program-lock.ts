import type { DatabaseTransaction } from '../postgres/db.ts';

/**
 * The one lock of a program’s balances, until the transaction ends: vesting, building payouts and giving up debt take
 * it before any row, so that each sees all that the one before has done, and none passes over what another is doing.
 */
export async function lockProgramBalances(tx: DatabaseTransaction, programId: number): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.build', ${programId}))`;
}
