import { createHash, randomBytes } from 'node:crypto';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

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
  /** What it may do of what its role may, such as `links:read`; null: all of it. */
  readonly scopes: string[] | null;
  /** The key it took over from. */
  readonly replaces: number | null;
  /** Whether calls may be signed with its secret instead of carrying it. */
  readonly signs: boolean;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
}

const keyColumns = (sql: DatabaseSql) => sql`
  id, role, program_id, affiliate_id, name, scopes, replaces, signing_secret is not null as signs, created_at,
  expires_at, revoked_at, last_used_at`;

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
  sql: DatabaseSql,
  options: {
    role: Role;
    name: string;
    programId?: number | null | undefined;
    affiliateId?: number | null | undefined;
    expiresAt?: Date | null | undefined;
    scopes?: readonly string[] | null | undefined;
    /** Sealed; see {@link findSigningKey}. */
    signingSecret?: Buffer | undefined;
    replaces?: number | undefined;
  },
): Promise<{ key: string; apiKey: ApiKey }> {
  const { role, name, programId, affiliateId, expiresAt, scopes, signingSecret, replaces } = options;
  checkText(name, 'name', MAX_NAME_LENGTH);
  const key = `afx_${role}_${randomBytes(KEY_BYTES).toString('base64url')}`;
  const row = givenColumns({
    role,
    name,
    programId,
    affiliateId,
    expiresAt,
    scopes,
    signingSecret,
    replaces,
    keyHash: hashKey(key),
  });
  const [apiKey] = await answeringInput(
    sql<[ApiKey]>`insert into api_keys ${sql.values(row)} returning ${keyColumns(sql)}`,
  );
  return { key, apiKey };
}

/** The live key behind a plain key, its use recorded; undefined when unknown, revoked or expired. */
export async function findApiKey(
  sql: DatabaseSql,
  options: { key: string; now: Date },
): Promise<ApiKey | undefined> {
  const { now } = options;
  const [apiKey] = await sql<ApiKey[]>`
    select ${keyColumns(sql)} from api_keys
    where key_hash = ${hashKey(options.key)} and revoked_at is null
      and (expires_at is null or expires_at > ${now})`;
  if (apiKey) await recordUse(sql, apiKey, now);
  return apiKey;
}

/** The live key of an id with its encrypted signing secret; undefined when there is none, or it signs nothing. */
export async function findSigningKey(
  sql: DatabaseSql,
  options: { id: number; now: Date },
): Promise<{ apiKey: ApiKey; signingSecret: Buffer } | undefined> {
  const { id, now } = options;
  const [found] = await sql<(ApiKey & { signingSecret: Buffer })[]>`
    select ${keyColumns(sql)}, signing_secret from api_keys
    where id = ${id} and signing_secret is not null and revoked_at is null
      and (expires_at is null or expires_at > ${now})`;
  if (!found) return undefined;
  const { signingSecret, ...apiKey } = found;
  await recordUse(sql, apiKey, now);
  return { apiKey, signingSecret };
}

async function recordUse(sql: DatabaseSql, apiKey: ApiKey, now: Date): Promise<void> {
  const unrecordedMs = now.getTime() - (apiKey.lastUsedAt?.getTime() ?? 0);
  if (unrecordedMs <= LAST_USED_PRECISION_S * 1_000) return;
  await sql`update api_keys set last_used_at = ${now} where id = ${apiKey.id}`;
}

export async function getApiKey(sql: DatabaseSql, id: number): Promise<ApiKey | undefined> {
  const [apiKey] = await sql<ApiKey[]>`select ${keyColumns(sql)} from api_keys where id = ${id}`;
  return apiKey;
}

/** Lets a live key expire at `at`, unless it does so earlier already. */
export async function expireApiKey(sql: DatabaseSql, options: { id: number; at: Date }): Promise<void> {
  const { id, at } = options;
  await sql`
    update api_keys set expires_at = least(expires_at, ${at}::timestamptz) where id = ${id} and revoked_at is null`;
}

/** Keys by id, of one program or of all, of one affiliate or of everybody, of one role or of any. */
export async function listApiKeys(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    role?: Role | undefined;
  },
): Promise<Page<ApiKey, number>> {
  const { programId = null, affiliateId = null, role = null } = request;
  const rows = await sql<ApiKey[]>`
    select ${keyColumns(sql)} from api_keys
    where id > ${request.after ?? 0}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${role}::text is null or role = ${role})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Returns false when there is no such live key. */
export async function revokeApiKey(sql: DatabaseSql, options: { id: number; now: Date }): Promise<boolean> {
  const count = await sql`
    update api_keys set revoked_at = ${options.now} where id = ${options.id} and revoked_at is null`.affected();
  return count === 1;
}
