import type { LedgerSql } from './db.ts';

/** One thing that must hold of the books. */
export interface LedgerCheck {
  readonly name: string;
  readonly ok: boolean;
  /** In words: what was compared, or what is off, with the first example. */
  readonly detail: string;
  /** How many things were compared and how many are off. */
  readonly counts: { readonly checked: bigint; readonly off: bigint };
}

/** Proves the books from the entries up. */
export async function auditLedger(_sql: LedgerSql): Promise<LedgerCheck[]> {
  throw new Error('not built yet');
}
