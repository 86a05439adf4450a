import {
  type BlockAction,
  type BlockKind,
  type BlockRow,
  canonicalValue,
  MAX_BLOCK_VALUE_LENGTH,
} from '../../core/blocks/block.ts';
import { InputError, OperatingError } from '../../core/errors.ts';
import { formatNetwork, networkBytes, parseIp, UNKNOWN_IP } from '../../core/ip.ts';
import { MAX_NOTE_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';

/** An entry of the block lists. It is never changed but ended, so that a click that it blocked can be explained later. */
export interface Block extends Omit<BlockRow, 'endsAtMs'> {
  readonly reason: string;
  /** As the audit log names them. */
  readonly createdBy: string;
  readonly createdAt: Date;
  /** Outside of the time in which it is in force; null: until somebody ends it. */
  readonly endsAt: Date | null;
  /** Null: its date, or not ended. */
  readonly endedBy: string | null;
}

export interface NewBlock {
  readonly kind: BlockKind;
  /** In any of its forms. */
  readonly value: string;
  /** Of a `sub_id`: whose, and which of sub1 to sub5. */
  readonly affiliateId?: number | undefined;
  readonly sub?: number | undefined;
  readonly action: BlockAction;
  readonly reason: string;
  readonly endsAt?: Date | undefined;
}

/** In force at once, of a program or of every one. A longer list of addresses is one of networks. */
export const MAX_BLOCKS = 100_000;
/** In force at once, of all programs together: each collector holds them all, some 100 MB. */
export const MAX_ALL_BLOCKS = 250_000;
/** Of a program or of every one: each is tried on every new User-Agent, some 20 µs for all: as long as parsing it takes. */
export const MAX_PATTERNS = 200;
/** Of one request: one statement of at most some megabytes. */
export const MAX_NEW_BLOCKS = 1_000;

const COLUMNS = [
  'id',
  'programId',
  'kind',
  'value',
  'affiliateId',
  'sub',
  'action',
  'reason',
  'createdBy',
  'createdAt',
  'endsAt',
  'endedBy',
];

/** What is matched, as far as it can be compared. */
type Target = Pick<BlockRow, 'kind' | 'value' | 'affiliateId' | 'sub'>;

/** The canonical target of an entry. @throws InputError naming value, affiliate_id or sub. */
export function blockTarget({
  kind,
  value,
  affiliateId,
  sub,
}: Pick<NewBlock, 'kind' | 'value' | 'affiliateId' | 'sub'>): Target {
  checkText(value, 'value', MAX_BLOCK_VALUE_LENGTH);
  const isSub = kind === 'sub_id';
  for (const [field, given] of [
    ['affiliate_id', affiliateId],
    ['sub', sub],
  ] as const) {
    if (isSub && given === undefined) throw new InputError(field, 'is required for a sub_id');
    if (!isSub && given !== undefined) throw new InputError(field, 'belongs to a sub_id');
  }
  return { kind, value: canonicalValue(kind, value), affiliateId: affiliateId ?? null, sub: sub ?? null };
}

/** Who makes entries, and of which program; null: of every one. */
interface Making {
  readonly programId: number | null;
  readonly entries: readonly NewBlock[];
  readonly actor: string;
}

/**
 * Makes entries, all or none, in their order.
 * @throws InputError whose field begins with `entries.N`, OperatingError `wrong_state` where too many would be in force.
 */
export async function createBlocks(sql: DatabaseSql, making: Making): Promise<Block[]> {
  const created = await insertBlocks(sql, making);
  await checkBlockRoom(sql, making.programId);
  return created;
}

/** As {@link createBlocks}, for a caller that counts: see {@link BlockRoom}. */
export async function insertBlocks(sql: DatabaseSql, making: Making): Promise<Block[]> {
  const { programId, entries, actor } = making;
  const targets = entries.map((entry, index) => inEntry(index, () => checkedEntry(entry, programId)));
  await refuseForeign(sql, { programId, targets });
  await refuseRepeated(sql, { programId, targets });
  const rows = entries.map(({ action, reason, endsAt }, i) => ({
    ...targets[i],
    n: i,
    action,
    reason,
    ends_at: endsAt?.toISOString() ?? null,
  }));
  const created = await answeringInput(sql<Block[]>`
    insert into blocks (program_id, kind, value, affiliate_id, sub, action, reason, created_by, ends_at)
    select ${programId}::integer, e.kind, e.value, e."affiliateId", e.sub, e.action, e.reason, ${actor}, e.ends_at
    from json_to_recordset(${sql.json(rows)}::json) as e
      (kind text, value text, "affiliateId" integer, sub smallint, action text, reason text, ends_at timestamptz, n integer)
    order by n
    returning ${sql(COLUMNS)}`);
  return created.toSorted((a, b) => a.id - b.id);
}

function checkedEntry(entry: NewBlock, programId: number | null): Target {
  checkText(entry.reason, 'reason', MAX_NOTE_LENGTH);
  if (entry.kind === 'sub_id' && programId === null)
    throw new InputError('kind', 'sub_id is of one program, since its affiliate is');
  if (entry.endsAt !== undefined && entry.endsAt.getTime() <= Date.now())
    throw new InputError('ends_at', 'must be in the future');
  return blockTarget(entry);
}

/** Names the entry in the fault of one. @throws InputError whose field begins with `entries.N`. */
export function inEntry<T>(index: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(`entries.${index}.${error.field}`, error.reason);
  }
}

async function refuseForeign(
  sql: DatabaseSql,
  { programId, targets }: { programId: number | null; targets: readonly Target[] },
): Promise<void> {
  const wanted = [...new Set(targets.flatMap(({ affiliateId }) => affiliateId ?? []))];
  if (wanted.length === 0) return;
  const found = await sql<{ id: number }[]>`
    select id from affiliates where program_id = ${programId} and id = any (${wanted}::integer[])`;
  const known = new Set(found.map(({ id }) => id));
  const index = targets.findIndex(({ affiliateId }) => affiliateId !== null && !known.has(affiliateId));
  if (index >= 0)
    throw new InputError(`entries.${index}.affiliate_id`, 'there is no such affiliate in the program');
}

/** Ending an entry has to end it: the same thing is not blocked twice at a time. */
async function refuseRepeated(
  sql: DatabaseSql,
  { programId, targets }: { programId: number | null; targets: readonly Target[] },
): Promise<void> {
  const seen = new Map<string, number>();
  for (const [index, { kind, value, affiliateId, sub }] of targets.entries()) {
    const key = JSON.stringify([kind, value, affiliateId, sub]);
    const before = seen.get(key);
    if (before !== undefined)
      throw new InputError(`entries.${index}.value`, `is the same as of entries.${before}`);
    seen.set(key, index);
  }
  // For each entry by itself: a join of both would read all entries of all programs.
  const [known] = await sql<{ id: number; n: number }[]>`
    select b.id, e.n
    from json_to_recordset(${sql.json(targets.map((target, n) => ({ ...target, n })))}::json) as e
      (kind text, value text, "affiliateId" integer, sub smallint, n integer)
    cross join lateral (
      select id from blocks
      where kind = e.kind and value = e.value and program_id is not distinct from ${programId}
        and affiliate_id is not distinct from e."affiliateId" and sub is not distinct from e.sub
        and (ends_at is null or ends_at > clock_timestamp())
      limit 1) b
    order by e.n limit 1`;
  if (known) throw new InputError(`entries.${known.n}.value`, `is blocked already, by blk_${known.id}`);
}

/** How many more entries can be in force at once; below 0: so many too many. */
export interface BlockRoom {
  /** Of all programs together. */
  readonly all: number;
  /** Of the program, or of every one. */
  readonly own: number;
  /** Of `own`, patterns of User-Agents. */
  readonly patterns: number;
}

/** The room for entries of a program, or of every one. Others may take of it until {@link checkBlockRoom}. */
export async function readBlockRoom(sql: DatabaseSql, programId: number | null): Promise<BlockRoom> {
  const isOwn = programId === null ? sql`program_id is null` : sql`program_id = ${programId}`;
  // Two counts each, and a stable time: so that the indices serve.
  const [taken] = await sql<[BlockRoom]>`
    select (select count(*)::integer from blocks where ends_at is null)
        + (select count(*)::integer from blocks where ends_at > statement_timestamp()) as all,
      count(*)::integer as own, count(*) filter (where kind = 'user_agent')::integer as patterns
    from blocks where ${isOwn} and (ends_at is null or ends_at > statement_timestamp())`;
  return {
    all: MAX_ALL_BLOCKS - taken.all,
    own: MAX_BLOCKS - taken.own,
    patterns: MAX_PATTERNS - taken.patterns,
  };
}

/** The room without one more entry. */
export function roomAfter({ all, own, patterns }: BlockRoom, kind: BlockKind): BlockRoom {
  return { all: all - 1, own: own - 1, patterns: kind === 'user_agent' ? patterns - 1 : patterns };
}

/** What there is too much of, as the end of a sentence; undefined: nothing. */
export function beyondRoom({ all, own, patterns }: BlockRoom): string | undefined {
  if (patterns < 0) return `at most ${MAX_PATTERNS} entries of user agents can be in force at once`;
  if (own < 0) return `at most ${MAX_BLOCKS} entries can be in force at once`;
  if (all < 0) return `at most ${MAX_ALL_BLOCKS} entries of all programs together can be in force at once`;
  return undefined;
}

/**
 * Whether what was made in this transaction has room. Until its end no other one gets an answer: two that have room alone may
 * have none together. @throws OperatingError `wrong_state`.
 */
export async function checkBlockRoom(sql: DatabaseSql, programId: number | null): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('blocks.room', 0))`;
  const beyond = beyondRoom(await readBlockRoom(sql, programId));
  if (beyond !== undefined) throw new OperatingError('wrong_state', `${beyond}: end others first`);
}

export async function getBlock(sql: DatabaseSql, id: number): Promise<Block | undefined> {
  const [block] = await sql<Block[]>`select ${sql(COLUMNS)} from blocks where id = ${id}`;
  return block;
}

/**
 * Ends an entry now. @throws OperatingError `wrong_state` for one that has ended. Returns undefined when there is no such
 * entry.
 */
export async function endBlock(
  sql: DatabaseSql,
  { id, actor }: { id: number; actor: string },
): Promise<Block | undefined> {
  // The time is that of the database: its trigger sets it, and lets nothing else be changed.
  const [block] = await answeringInput(
    sql<Block[]>`update blocks set ended_by = ${actor} where id = ${id} returning ${sql(COLUMNS)}`,
  );
  return block;
}

export const BLOCK_STATES = ['in_force', 'ended'] as const;
export type BlockState = (typeof BLOCK_STATES)[number];

export const BLOCK_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    created_at: 'id',
    kind: { type: 'text', by: (sql) => sql`kind` },
    value: { type: 'text', by: (sql) => sql`value` },
    ends_at: {
      type: 'bigint',
      by: (sql) => sql`coalesce((extract(epoch from ends_at) * 1000)::bigint, 9223372036854775807)`,
    },
  },
  search: (sql, { pattern, id }) =>
    sql`value ilike ${pattern} or reason ilike ${pattern} or id = ${id}::integer`,
};

/** Entries, the newest first. */
export async function listBlocks(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    /** Undefined: of all programs. */
    programId?: number | undefined;
    /** Beside those of the program, the entries of every program. */
    withGlobal: boolean;
    /** Those of every program alone, or none of them. */
    global?: boolean | undefined;
    kind?: BlockKind | undefined;
    affiliateId?: number | undefined;
    state?: BlockState | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Block, number>> {
  const { programId = null, withGlobal, global = null, kind = null, affiliateId = null, state } = request;
  const { from = null, to = null } = request;
  const isInForce = state === undefined ? null : state === 'in_force';
  const page = listClauses(sql, BLOCK_LIST, request);
  const rows = await sql<Block[]>`
    select ${sql(COLUMNS)}, ${page.key} from blocks
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId} or (${withGlobal} and program_id is null))
      and (${global}::boolean is null or (program_id is null) = ${global})
      and (${kind}::text is null or kind = ${kind})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${isInForce}::boolean is null or (coalesce(ends_at, 'infinity') > clock_timestamp()) = ${isInForce})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/**
 * A collector applies a change within a second, and its clock is not the database's: so near to its beginning or its end an
 * entry may have been in force or not.
 */
const IN_FORCE_TOLERANCE = '10 seconds';

/** The entries by which a click was blocked, as far as what is stored of it says. */
export interface BlockingEntries {
  /** In force without doubt, and of its address as it is stored. */
  readonly certain: readonly Block[];
  /** In force perhaps, or of something that is not known here: one of these, unless `certain` has any. */
  readonly possible: readonly Block[];
  /** How many more there are than `limit`. */
  readonly others: number;
}

/** The newest entries that may have blocked a click, at most `limit`; `ip` null or "::": not known. */
export async function entriesInForce(
  sql: DatabaseSql,
  click: { programId: number; at: Date; affiliateId: number; ip: string | null; limit: number },
): Promise<BlockingEntries> {
  const { programId, at, affiliateId, ip, limit } = click;
  const stored = storedNetwork(ip);
  const rows = await sql<(Block & { isCertain: boolean; total: number })[]>`
    select ${sql(COLUMNS)}, is_certain, count(*) over ()::integer as total from (
      select *, case when kind in ('address', 'network') then coalesce(value::inet && ${stored}::inet, true)
          else coalesce(affiliate_id, ${affiliateId}) = ${affiliateId} end as is_possible,
        case when kind in ('address', 'network') then coalesce(value::inet >>= ${stored}::inet, false)
            and created_at + ${IN_FORCE_TOLERANCE}::interval <= ${at}
            and coalesce(ends_at - ${IN_FORCE_TOLERANCE}::interval > ${at}, true)
          else false end as is_certain
      from blocks
      where (program_id = ${programId} or program_id is null)
        and created_at - ${IN_FORCE_TOLERANCE}::interval <= ${at}
        and (ends_at is null or ends_at + ${IN_FORCE_TOLERANCE}::interval > ${at})
    ) b
    where is_possible
    order by is_certain desc, id desc limit ${limit}`;
  const certain = rows.filter(({ isCertain }) => isCertain);
  const possible = rows.filter(({ isCertain }) => !isCertain);
  return { certain, possible, others: (rows[0]?.total ?? 0) - rows.length };
}

/**
 * What is known of the address of a click: all of it; its network, where that may be all that was kept, by the program or of a
 * visitor who opted out; null: nothing.
 */
function storedNetwork(ip: string | null): string | null {
  const address = ip === null || ip === UNKNOWN_IP ? undefined : parseIp(ip);
  if (!address) return null;
  const network = formatNetwork({ address, bits: 8 * networkBytes(address) });
  return network.split('/')[0] === ip ? network : ip;
}
