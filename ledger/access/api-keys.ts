import { createHash, randomBytes } from 'node:crypto';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import { type Standing, standingOf } from './standing.ts';

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
  /** The user behind it, who made it or the key that made it: it works while that user is active. Null: no user. */
  readonly userId: number | null;
  /** The key that made it; null: a user or the command line did. */
  readonly madeBy: number | null;
  /** Whether calls may be signed with its secret instead of carrying it. */
  readonly signs: boolean;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
}

/** A key that works now. */
export interface LiveApiKey extends ApiKey {
  readonly standing: Standing;
}

const keyColumns = (sql: DatabaseSql) => sql`
  id, role, program_id, affiliate_id, name, scopes, replaces, user_id, made_by, signing_secret is not null as signs, created_at,
  expires_at, revoked_at, last_used_at`;
const liveKeyColumns = (sql: DatabaseSql) =>
  sql`${keyColumns(sql)}, ${standingOf(sql, 'apiKeys.affiliateId')}`;
/** Whether a row of api_keys works at a time. */
export const isLiveKey = (sql: DatabaseSql, now: Date) => sql`
  revoked_at is null and (expires_at is null or expires_at > ${now})
  and not exists (select from users where users.id = api_keys.user_id and users.status <> 'active')`;

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
    userId?: number | null | undefined;
    madeBy?: number | null | undefined;
  },
): Promise<{ key: string; apiKey: ApiKey }> {
  const { role, name } = options;
  checkText(name, 'name', MAX_NAME_LENGTH);
  const key = `afx_${role}_${randomBytes(KEY_BYTES).toString('base64url')}`;
  const row = givenColumns({ ...options, keyHash: hashKey(key) });
  const [apiKey] = await answeringInput(
    sql<[ApiKey]>`insert into api_keys ${sql.values(row)} returning ${keyColumns(sql)}`,
  );
  return { key, apiKey };
}

/** The live key behind a plain key, its use recorded; undefined when unknown, revoked, expired or of a disabled user. */
export async function findApiKey(
  sql: DatabaseSql,
  options: { key: string; now: Date },
): Promise<LiveApiKey | undefined> {
  const { now } = options;
  const [apiKey] = await sql<LiveApiKey[]>`
    select ${liveKeyColumns(sql)} from api_keys where key_hash = ${hashKey(options.key)} and ${isLiveKey(sql, now)}`;
  if (apiKey) await recordUse(sql, apiKey, now);
  return apiKey;
}

/** The live key of an id with its encrypted signing secret; undefined when there is none, or it signs nothing. */
export async function findSigningKey(
  sql: DatabaseSql,
  options: { id: number; now: Date },
): Promise<{ apiKey: LiveApiKey; signingSecret: Buffer } | undefined> {
  const { id, now } = options;
  const [found] = await sql<(LiveApiKey & { signingSecret: Buffer })[]>`
    select ${liveKeyColumns(sql)}, signing_secret from api_keys
    where id = ${id} and signing_secret is not null and ${isLiveKey(sql, now)}`;
  if (!found) return undefined;
  const { signingSecret, ...apiKey } = found;
  await recordUse(sql, apiKey, now);
  return { apiKey, signingSecret };
}

/** Those of the keys that work now. */
export async function liveApiKeys(sql: DatabaseSql, ids: readonly number[]): Promise<LiveApiKey[]> {
  if (ids.length === 0) return [];
  return await sql<LiveApiKey[]>`
    select ${liveKeyColumns(sql)} from api_keys where id = any(${[...ids]}::integer[]) and ${isLiveKey(sql, new Date())}`;
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

export const API_KEY_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    name: { type: 'text', by: (sql) => sql`lower(name)` },
    role: { type: 'text', by: (sql) => sql`role` },
    last_used_at: {
      type: 'bigint',
      by: (sql) => sql`coalesce(extract(epoch from last_used_at) * 1000, 0)::bigint`,
    },
  },
  search: (sql, { pattern, id }) => sql`name ilike ${pattern} or id = ${id}::integer`,
};

/** Keys by id, of one program or of all, of one affiliate or of everybody, of one role or of any. */
export async function listApiKeys(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    role?: Role | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<ApiKey, number>> {
  const { programId = null, affiliateId = null, role = null, from = null, to = null } = request;
  const page = listClauses(sql, API_KEY_LIST, request);
  const rows = await sql<ApiKey[]>`
    select ${keyColumns(sql)}, ${page.key} from api_keys
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${role}::text is null or role = ${role})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Live keys of an affiliate; of a program those of no affiliate; of null those of every program. */
export async function countLiveKeys(
  sql: DatabaseSql,
  owner: { programId: number | null; affiliateId: number | null },
): Promise<number> {
  const [row] = await sql<[{ keys: number }]>`
    select count(*)::integer as keys from api_keys
    where program_id is not distinct from ${owner.programId} and affiliate_id is not distinct from ${owner.affiliateId}
      and revoked_at is null and (expires_at is null or expires_at > ${new Date()})`;
  return row.keys;
}

/** The keys that a key has made, and those that these have, whether they still work or not. */
export async function keysMadeBy(sql: DatabaseSql, id: number): Promise<number[]> {
  const made = await sql<{ id: number }[]>`
    with recursive made (id) as (
      select id from api_keys where made_by = ${id}
      union
      select k.id from made join api_keys k on k.made_by = made.id
    )
    select id from made where id <> ${id} order by id`;
  return made.map((key) => key.id);
}

/** Revokes those of the keys that are not revoked yet. */
export async function revokeApiKeys(
  sql: DatabaseSql,
  options: { ids: readonly number[]; now: Date },
): Promise<void> {
  await sql`
    update api_keys set revoked_at = ${options.now}
    where id = any(${[...options.ids]}::integer[]) and revoked_at is null`;
}
