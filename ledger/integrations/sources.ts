import type { JsonValue } from '../../core/postgres/sql.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { unparkWaiting } from './waiting-calls.ts';

export const SOURCE_STATUSES = ['active', 'disabled'] as const;

/** What sends orders to a program. */
export interface Source {
  readonly id: number;
  readonly programId: number;
  readonly kind: string;
  readonly name: string;
  readonly status: (typeof SOURCE_STATUSES)[number];
  /** The secret part of its address, encrypted. */
  readonly address: Buffer;
  /** Whose calls of /aff_lsr are its own. */
  readonly host: string | null;
  /** Encrypted. */
  readonly secret: Buffer | null;
  readonly oldSecret: Buffer | null;
  readonly oldSecretUntil: Date | null;
  /** Null: the mapping of the kind. */
  readonly mapping: JsonValue | null;
  readonly createdAt: Date;
}

const COLUMNS = [
  'id',
  'programId',
  'kind',
  'name',
  'status',
  'address',
  'host',
  'secret',
  'oldSecret',
  'oldSecretUntil',
  'mapping',
  'createdAt',
];

type Changes = Partial<Pick<Source, 'name' | 'status' | 'host' | 'mapping'>>;

/** @throws InputError. */
export async function createSource(
  sql: DatabaseSql,
  source: Pick<Source, 'programId' | 'kind' | 'name' | 'address' | 'host' | 'secret' | 'mapping'> & {
    addressHash: Buffer;
  },
): Promise<Source> {
  const { mapping, ...rest } = source;
  const [created] = await answeringInput(
    sql<[Source]>`
      insert into sources ${sql.values({ ...rest, mapping: mapping === null ? null : sql.json(mapping) })}
      returning ${sql(COLUMNS)}`,
  );
  return created;
}

export async function getSource(sql: DatabaseSql, id: number): Promise<Source | undefined> {
  const [source] = await sql<Source[]>`select ${sql(COLUMNS)} from sources where id = ${id}`;
  return source;
}

/** The source of an address or, for calls of /aff_lsr, of a host name. */
export async function findSource(
  sql: DatabaseSql,
  by: { addressHash: Buffer } | { host: string },
): Promise<Source | undefined> {
  const [hash, host] = 'host' in by ? [null, by.host] : [by.addressHash, null];
  const [source] = await sql<Source[]>`
    select ${sql(COLUMNS)} from sources where address_hash = ${hash}::bytea or host = ${host}::text`;
  return source;
}

/** Sources by id. */
export async function listSources(
  sql: DatabaseSql,
  request: PageRequest<number> & { programId?: number | undefined },
): Promise<Page<Source, number>> {
  const { after = null, programId = null } = request;
  const rows = await sql<Source[]>`
    select ${sql(COLUMNS)} from sources
    where id > ${after ?? 0} and (${programId}::integer is null or program_id = ${programId})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

export async function countSources(sql: DatabaseSql, programId: number): Promise<number> {
  const [row] = await sql<[{ sources: number }]>`
    select count(*)::integer as sources from sources where program_id = ${programId}`;
  return row.sources;
}

/** Changes the given columns. @throws InputError. */
export async function updateSource(
  sql: DatabaseSql,
  { id, changes }: { id: number; changes: Changes },
): Promise<Source | undefined> {
  const { mapping, ...rest } = changes;
  const given = {
    ...givenColumns(rest),
    ...(mapping !== undefined && { mapping: mapping === null ? null : sql.json(mapping) }),
  };
  if (Object.keys(given).length === 0) return await getSource(sql, id);
  if (changes.status === 'active') await unparkWaiting(sql, id);
  const [source] = await answeringInput(
    sql<Source[]>`update sources set ${sql.set(given)} where id = ${id} returning ${sql(COLUMNS)}`,
  );
  return source;
}

/** Puts a new encrypted secret; the old one, where there is one, is right as well until `oldUntil`. */
export async function rotateSourceSecret(
  sql: DatabaseSql,
  { id, secret, oldUntil }: { id: number; secret: Buffer; oldUntil: Date },
): Promise<void> {
  await sql`
    update sources set old_secret = secret,
      old_secret_until = case when secret is null then null else ${oldUntil}::timestamptz end, secret = ${secret}
    where id = ${id}`;
  await unparkWaiting(sql, id);
}

/** Its calls stay in the log. */
export async function deleteSource(sql: DatabaseSql, id: number): Promise<void> {
  await sql`delete from sources where id = ${id}`;
}

/** What the log of calls says of a source. */
export interface SourceState {
  readonly sourceId: number;
  readonly lastCallAt: Date | null;
  /** The newest call that was refused and has not been done since. */
  readonly refusedId: bigint | null;
  readonly refusedAt: Date | null;
  readonly refusedCode: string | null;
  readonly refusedDetail: string | null;
  /** Orders that were new within the last 24 hours, each once. */
  readonly newOrders: number;
}

/** In their order. `isSigned`: a call of the source proves its secret by its body, unless it is a ping. */
export async function readSourceStates(
  sql: DatabaseSql,
  sources: readonly { readonly id: number; readonly isSigned: boolean }[],
  now: Date,
): Promise<SourceState[]> {
  const since = new Date(now.getTime() - 24 * HOUR_MS);
  return await sql<SourceState[]>`
    select s.id as source_id, last.received_at as last_call_at, refused.id as refused_id,
      refused.received_at as refused_at, refused.code as refused_code, refused.detail as refused_detail,
      (select count(distinct c.id)::integer from postback_calls p join conversions c on c.id = p.conversion_id
        where p.source_id = s.id and p.received_at >= ${since} and p.outcome = 'accepted'
          and c.received_at >= ${since}) as new_orders
    from unnest(${sources.map(({ id }) => id)}::integer[], ${sources.map(({ isSigned }) => isSigned)}::boolean[])
        with ordinality as s (id, is_signed, place)
      left join lateral (
        select received_at from postback_calls where source_id = s.id and replay_of is null order by id desc limit 1
      ) as last on true
      left join lateral (
        select id, received_at, code, detail from postback_calls r
        where source_id = s.id and outcome = 'rejected' and replay_of is null
          and not exists (select from postback_calls where replay_of = r.id and outcome <> 'rejected')
          -- What a wrong secret refused is over when a new call proves the secret; where it is stored, once it was tried again since.
          and (request is not null and code is distinct from 'signature_required' or not exists (
            select from postback_calls l
            where l.source_id = s.id and l.id > r.id and l.replay_of is null
              and case when s.is_signed then l.body_hash is not null
                else coalesce(l.code, '') not in ('signature_required', 'unauthorized') end
              and (r.request is null
                or exists (select from postback_calls t where t.replay_of = r.id and t.id > l.id))))
        order by id desc limit 1
      ) as refused on true
    order by s.place`;
}

/** Ids of calls that were refused, are of no replay and have not been done since, the oldest first. */
export async function listRefusedCalls(
  sql: DatabaseSql,
  options: {
    sourceId: number;
    limit: number;
    /** Only calls behind this one. */
    after?: bigint | undefined;
  },
): Promise<bigint[]> {
  const { sourceId, limit, after = 0n } = options;
  const rows = await sql<{ id: bigint }[]>`
    select r.id from postback_calls r
    where source_id = ${sourceId} and id > ${after} and outcome = 'rejected' and replay_of is null and request is not null
      and not exists (select from postback_calls where replay_of = r.id and outcome <> 'rejected')
    order by id limit ${limit}`;
  return rows.map(({ id }) => id);
}

/** Of signed bodies, those that this source has sent before and that were done: by their SHA-256 in hexadecimal. */
export async function findDoneBodies(
  sql: DatabaseSql,
  bodies: readonly { sourceId: number; bodyHash: Buffer }[],
): Promise<Set<string>> {
  if (bodies.length === 0) return new Set();
  const rows = await sql<{ sourceId: number; bodyHash: Buffer }[]>`
    select distinct source_id, body_hash from postback_calls c
    where (source_id, body_hash) in (select * from unnest(
        ${bodies.map(({ sourceId }) => sourceId)}::integer[], ${bodies.map(({ bodyHash }) => bodyHash)}::bytea[]))
      and (outcome in ('accepted', 'duplicate') or exists (
        select from postback_calls where replay_of = c.id and outcome in ('accepted', 'duplicate')))`;
  return new Set(rows.map(({ sourceId, bodyHash }) => `${sourceId} ${bodyHash.toString('hex')}`));
}

/** Of stored calls that are done again, those behind which a later call of the source has done something to the same order. */
export async function findOutdated(sql: DatabaseSql, callIds: readonly bigint[]): Promise<Set<bigint>> {
  if (callIds.length === 0) return new Set();
  const rows = await sql<{ id: bigint }[]>`
    select c.id from postback_calls c
    where c.id = any(${[...callIds]}::bigint[]) and exists (
      select from postback_calls l
      where l.source_id = c.source_id and l.order_id = c.order_id and l.id > c.id and l.replay_of is null
        and l.outcome in ('accepted', 'duplicate'))`;
  return new Set(rows.map(({ id }) => id));
}

/** An order, and another id by which its source names it. */
export interface OrderName {
  readonly sourceId: number;
  readonly orderId: string;
  readonly name: string;
}

/** Keeps other ids of orders; what an id names first stays. */
export async function addOrderNames(sql: DatabaseSql, names: readonly OrderName[]): Promise<void> {
  if (names.length === 0) return;
  await sql`
    insert into order_names (source_id, name, order_id)
    select source_id, name, order_id from unnest(
      ${names.map(({ sourceId }) => sourceId)}::integer[], ${names.map(({ name }) => name)}::text[],
      ${names.map(({ orderId }) => orderId)}::text[]) as given (source_id, name, order_id)
    order by source_id, name
    on conflict (source_id, name) do nothing`;
}

/** The other ids of an order's id, whichever of them the order is recorded under. */
const otherIds = (sql: DatabaseSql) => sql`(
  select n.order_id as id from order_names n where n.source_id = given.source_id and n.name = given.id
  union select n.name from order_names n where n.source_id = given.source_id and n.order_id = given.id)`;

/** Where no order has the id that is given: the id of the one that has it as another. In their order. */
export async function findNamedOrders(
  sql: DatabaseSql,
  given: readonly { sourceId: number; programId: number; orderId: string }[],
): Promise<(string | undefined)[]> {
  if (given.length === 0) return [];
  const rows = await sql<{ place: bigint; id: string }[]>`
    select distinct on (given.place) given.place, other.id
    from unnest(${given.map(({ sourceId }) => sourceId)}::integer[], ${given.map(({ programId }) => programId)}::integer[],
        ${given.map(({ orderId }) => orderId)}::text[]) with ordinality as given (source_id, program_id, id, place)
      cross join lateral ${otherIds(sql)} other
      join conversions c on c.program_id = given.program_id and c.order_id = other.id
    where not exists (select from conversions o where o.program_id = given.program_id and o.order_id = given.id)
    order by given.place, other.id`;
  const found = new Map(rows.map(({ place, id }) => [Number(place), id]));
  return given.map((_, i) => found.get(i + 1));
}

/** Names that are looked at in one go. */
const NAMES_AT_ONCE = 10_000;

/** Forgets names whose order has not come in 90 days; those whose order has are kept with it. */
export async function forgetOrderNames(sql: DatabaseSql): Promise<void> {
  await sql`
    with looked as (
      select n.source_id, n.name, exists (
          select from sources s join conversions c on c.program_id = s.program_id and c.order_id = any(array[n.order_id, n.name])
          where s.id = n.source_id
        ) as is_seen
      from order_names n where unseen_until < clock_timestamp() order by unseen_until limit ${NAMES_AT_ONCE}
    ), kept as (
      update order_names n set unseen_until = null from looked l
      where n.source_id = l.source_id and n.name = l.name and l.is_seen
    )
    delete from order_names n using looked l where n.source_id = l.source_id and n.name = l.name and not l.is_seen`;
}
