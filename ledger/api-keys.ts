import { createHash, randomBytes } from 'node:crypto';
import type { LedgerSql } from './db.ts';
import { answeringInput, checkText, givenColumns } from './input-faults.ts';

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

const KEY_COLUMNS = [
  'id',
  'role',
  'programId',
  'affiliateId',
  'name',
  'createdAt',
  'expiresAt',
  'revokedAt',
  'lastUsedAt',
];

const MAX_NAME_LENGTH = 200;
/** 192 bits: a key cannot be guessed, so its plain SHA-256 is safe to store and to look up by. */
const KEY_BYTES = 24;
/** One write a minute at the most for a key that is used a thousand times a second. */
const LAST_USED_PRECISION_S = 60;

function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/**
 * Creates a key and returns it in plain, `afx_<role>_<random>`: it is shown this once and stored as a hash.
 * @throws InputError.
 */
export async function createApiKey(
  sql: LedgerSql,
  options: {
    role: Role;
    name: string;
    programId?: number | null | undefined;
    affiliateId?: number | null | undefined;
    expiresAt?: Date | null | undefined;
  },
): Promise<{ key: string; apiKey: ApiKey }> {
  const { role, name, programId, affiliateId, expiresAt } = options;
  checkText(name, 'name', MAX_NAME_LENGTH);
  const key = `afx_${role}_${randomBytes(KEY_BYTES).toString('base64url')}`;
  const row = givenColumns({ role, name, programId, affiliateId, expiresAt, keyHash: hashKey(key) });
  const [apiKey] = await answeringInput(
    sql<[ApiKey]>`insert into api_keys ${sql(row)} returning ${sql(KEY_COLUMNS)}`,
  );
  return { key, apiKey };
}

/** The live key behind a plain key, its use recorded; undefined when unknown, revoked or expired. */
export async function findApiKey(
  sql: LedgerSql,
  options: { key: string; now: Date },
): Promise<ApiKey | undefined> {
  const { now } = options;
  const [apiKey] = await sql<ApiKey[]>`
    select ${sql(KEY_COLUMNS)} from api_keys
    where key_hash = ${hashKey(options.key)} and revoked_at is null
      and (expires_at is null or expires_at > ${now})`;
  if (!apiKey) return undefined;
  const unrecordedMs = now.getTime() - (apiKey.lastUsedAt?.getTime() ?? 0);
  if (unrecordedMs > LAST_USED_PRECISION_S * 1_000) {
    await sql`update api_keys set last_used_at = ${now} where id = ${apiKey.id}`;
  }
  return apiKey;
}

/** Keys by id, of one program or of all. */
export async function listApiKeys(
  sql: LedgerSql,
  options: { programId?: number | undefined },
): Promise<ApiKey[]> {
  const { programId = null } = options;
  return await sql<ApiKey[]>`
    select ${sql(KEY_COLUMNS)} from api_keys
    where ${programId}::integer is null or program_id = ${programId} order by id`;
}

/** Returns false when there is no such live key. */
export async function revokeApiKey(sql: LedgerSql, options: { id: number; now: Date }): Promise<boolean> {
  const { count } = await sql`
    update api_keys set revoked_at = ${options.now} where id = ${options.id} and revoked_at is null`;
  return count === 1;
}
