import { extendHashChains } from '../ledger/audit/hash-chains.ts';
import type { Database } from '../ledger/postgres/db.ts';
import type { Task } from '../ledger/postgres/tasks.ts';

/** Chains what was written to the audit log and the journals, so that it cannot be changed unseen from then on. */
export function hashChainTask(ledger: Database): Task {
  return { name: 'hash_chains', run: async () => ({ ...(await extendHashChains(ledger)) }) };
}
