import type { LedgerSql } from './db.ts';

export const ROLES = ['operator', 'finance', 'fraud', 'affiliate', 'advertiser'] as const;
export type Role = (typeof ROLES)[number];

export interface ApiKey {
  readonly id: number;
  readonly role: Role;
  /** Null: every program (operator, finance and fraud only). */
  readonly programId: number | null;
  /** Set for the role affiliate only. */
  readonly affiliateId: number | null;
  readonly name: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
}

/** Creates a key and returns it in plain, `afx_<role>_<random>`: it is shown this once and stored as a hash. */
export async function createApiKey(
  _sql: LedgerSql,
  _options: {
    role: Role;
    name: string;
    programId?: number | null | undefined;
    affiliateId?: number | null | undefined;
    expiresAt?: Date | null | undefined;
  },
): Promise<{ key: string; apiKey: ApiKey }> {
  throw new Error('not built yet');
}

/** The live key behind a plain key, its use recorded at most once a minute; undefined when unknown, revoked or expired. */
export async function findApiKey(
  _sql: LedgerSql,
  _options: { key: string; now: Date },
): Promise<ApiKey | undefined> {
  throw new Error('not built yet');
}

export async function listApiKeys(
  _sql: LedgerSql,
  _options: { programId?: number | undefined },
): Promise<ApiKey[]> {
  throw new Error('not built yet');
}

/** Returns false when there is no such live key. */
export async function revokeApiKey(_sql: LedgerSql, _options: { id: number; now: Date }): Promise<boolean> {
  throw new Error('not built yet');
}
