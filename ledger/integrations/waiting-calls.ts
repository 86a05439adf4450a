import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** Calls of sources that name orders which are not known yet: they are done when these are, by whatever way they come. */

/** An order as calls name it. */
export interface NamedOrder {
  readonly orderId: string;
  readonly eventName: string;
}

/** Of one order: it wakes them all in its own transaction. More than a shop ever reports of an order before the order. */
export const MAX_CALLS_OF_ORDER = 100;
/** Of one source: a month of a large shop whose older orders are not known here. */
export const MAX_CALLS_OF_SOURCE = 50_000;

interface WaitingCall {
  readonly callId: bigint;
  readonly sourceId: number;
  readonly programId: number;
  readonly orders: readonly NamedOrder[];
}

/**
 * Lets calls wait for their orders. They are looked at again at once: the orders may be recorded at this moment. A signed body
 * waits once, however often it comes. What does not fit stays refused in the log, where it can be repeated by hand.
 */
export async function addWaitingCalls(tx: DatabaseTransaction, calls: readonly WaitingCall[]): Promise<void> {
  if (calls.every(({ orders }) => orders.length === 0)) return;
  await tx`
    with known as (
      select call_id from waiting_calls where call_id = any(${calls.map(({ callId }) => callId)}::bigint[])
      order by call_id for no key update
    )
    update waiting_calls w set due = '0', settled = false from known where w.call_id = known.call_id`;
  const rows = await listFitting(tx, calls);
  if (rows.length === 0) return;
  const ids = rows.map(({ callId }) => callId);
  await tx`
    insert into waiting_calls (call_id, source_id, body_hash)
    select distinct c.call_id, c.source_id, p.body_hash
    from unnest(${ids}::bigint[], ${rows.map(({ sourceId }) => sourceId)}::integer[]) as c (call_id, source_id)
      join postback_calls p on p.id = c.call_id
    order by c.source_id, p.body_hash, c.call_id
    on conflict do nothing`;
  await tx`
    insert into waiting_orders (call_id, program_id, order_id, known_as, event_name)
    select call_id, program_id, order_id, order_id, event_name
    from unnest(${ids}::bigint[], ${rows.map(({ programId }) => programId)}::integer[],
      ${rows.map(({ orderId }) => orderId)}::text[], ${rows.map(({ eventName }) => eventName)}::text[])
      as o (call_id, program_id, order_id, event_name)
    where exists (select from waiting_calls w where w.call_id = o.call_id)
    order by call_id, order_id, event_name
    on conflict do nothing`;
}

/** The orders of calls that one more call may wait for. */
async function listFitting(
  tx: DatabaseTransaction,
  calls: readonly WaitingCall[],
): Promise<(Omit<WaitingCall, 'orders'> & NamedOrder)[]> {
  const rows = calls.flatMap(({ orders, ...call }) => orders.map((order) => ({ ...call, ...order })));
  const fitting = await tx<{ place: bigint }[]>`
    with given as (
      select * from unnest(${rows.map(({ sourceId }) => sourceId)}::integer[],
        ${rows.map(({ programId }) => programId)}::integer[], ${rows.map(({ orderId }) => orderId)}::text[],
        ${rows.map(({ eventName }) => eventName)}::text[])
        with ordinality as g (source_id, program_id, order_id, event_name, place)
    ), with_room as (
      select source_id from (select distinct source_id from given) s where (
        select count(*) from (
          select from waiting_calls w where w.source_id = s.source_id limit ${MAX_CALLS_OF_SOURCE}
        ) waiting) < ${MAX_CALLS_OF_SOURCE}
    )
    select place from given g join with_room using (source_id) where (
      select count(*) from (
        select from waiting_orders o join waiting_calls w on w.call_id = o.call_id and w.source_id = g.source_id
        where o.program_id = g.program_id and o.known_as = g.order_id and o.event_name = g.event_name
        limit ${MAX_CALLS_OF_ORDER}
      ) waiting) < ${MAX_CALLS_OF_ORDER}
    order by place`;
  return fitting.flatMap(({ place }) => rows[Number(place) - 1] ?? []);
}

/** A call that can be done, with the orders that are known now. */
export interface FoundCall {
  readonly callId: bigint;
  readonly sourceId: number;
  /** How often it was taken, this time among them. */
  readonly attempts: number;
  readonly orders: readonly NamedOrder[];
}

/** Of what the triggers of orders and names note down at a time. */
const WOKEN_AT_ONCE = 10_000;
/** A process that died with a call keeps it from the others for so long. */
const CLAIM_SECONDS = 300;
/** Between attempts, times the attempts so far. */
const PAUSE_SECONDS = 60;

/**
 * Makes due what orders and names have woken. In a transaction of its own: one that looks has no id before it sees the calls
 * (takeWaitingCalls).
 */
export async function wakeWaitingCalls(sql: DatabaseSql): Promise<void> {
  await sql`
    with woken as (
      delete from woken_calls where id in (
        select id from woken_calls order by id limit ${WOKEN_AT_ONCE} for update skip locked)
      returning call_id
    ), waiting as (
      select call_id from waiting_calls where call_id = any(array(select call_id from woken))
      order by call_id for no key update
    )
    update waiting_calls w set due = '0' from waiting where w.call_id = waiting.call_id`;
}

/**
 * Looks at the calls that are due, at most `limit`, and takes those of which an order is known; others skip what is looked at.
 * An order and a call that are recorded at once do not see each other, so a call is looked at once more when every transaction
 * has ended that may have missed it; after that by the triggers of orders and their names alone. `tx` has done nothing before.
 */
export async function takeWaitingCalls(
  tx: DatabaseTransaction,
  { limit }: { limit: number },
): Promise<{ readonly looked: number; readonly found: FoundCall[] }> {
  // A restored database counts transactions from the beginning: what is due by the count of then is looked at again.
  const due = await tx<{ callId: bigint; sourceId: number; attempts: number; hasPassed: boolean }[]>`
    select call_id, source_id, attempts, due <= pg_snapshot_xmin(pg_current_snapshot()) as has_passed
    from waiting_calls
    where (due <= pg_snapshot_xmin(pg_current_snapshot()) or due >= pg_snapshot_xmax(pg_current_snapshot()))
      and (claimed_until is null or claimed_until <= clock_timestamp())
    order by due, call_id limit ${limit} for no key update skip locked`;
  if (due.length === 0) return { looked: 0, found: [] };
  const ids = due.map(({ callId }) => callId);
  const named = await tx<{ callId: bigint }[]>`
    insert into waiting_orders (call_id, program_id, order_id, known_as, event_name)
    select o.call_id, o.program_id, o.order_id, other.id, o.event_name
    from waiting_orders o join waiting_calls w on w.call_id = o.call_id
      cross join lateral (
        select n.order_id as id from order_names n where n.source_id = w.source_id and n.name = o.order_id
        union select n.name from order_names n where n.source_id = w.source_id and n.order_id = o.order_id
      ) other
    where o.call_id = any(${ids}::bigint[]) and o.known_as = o.order_id
    on conflict do nothing returning call_id`;
  const known = await tx<(NamedOrder & { callId: bigint })[]>`
    select distinct o.call_id, o.order_id, o.event_name from waiting_orders o
      join conversions c on c.program_id = o.program_id and c.order_id = o.known_as and c.event_name = o.event_name
    where o.call_id = any(${ids}::bigint[])`;
  const found = due.flatMap((call) => {
    const orders = known.filter(({ callId }) => callId === call.callId);
    const { callId, sourceId, attempts } = call;
    return orders.length > 0 ? [{ callId, sourceId, attempts: attempts + 1, orders }] : [];
  });
  await tx`
    update waiting_calls set attempts = attempts + 1,
      claimed_until = clock_timestamp() + make_interval(secs => ${CLAIM_SECONDS})
    where call_id = any(${found.map(({ callId }) => callId)}::bigint[])`;
  const renamed = new Set(named.map(({ callId }) => callId));
  // A new name is waited for from the end of this transaction on. A transaction that could not see a call seen here has
  // an id before its own; the end of the snapshot would not do, which is behind the ended transactions and not the open ones.
  await tx`
    update waiting_calls w set settled = not is_renamed,
      due = case when is_renamed then '0' when not settled or not has_passed then pg_current_xact_id() end
    from unnest(${ids}::bigint[], ${ids.map((id) => renamed.has(id))}::boolean[],
      ${due.map(({ hasPassed }) => hasPassed)}::boolean[]) as l (call_id, is_renamed, has_passed)
    where w.call_id = l.call_id and not l.call_id = any(${found.map(({ callId }) => callId)}::bigint[])`;
  return { looked: due.length, found };
}

/** A call was done for these orders; it goes on waiting for others. */
export async function endWaiting(
  tx: DatabaseTransaction,
  { callId, orders }: Pick<FoundCall, 'callId' | 'orders'>,
): Promise<void> {
  await tx`
    delete from waiting_orders where call_id = ${callId} and (order_id, event_name) in (
      select * from unnest(${orders.map(({ orderId }) => orderId)}::text[], ${orders.map(({ eventName }) => eventName)}::text[]))`;
  await tx`
    delete from waiting_calls where call_id = ${callId}
      and not exists (select from waiting_orders where call_id = ${callId})`;
  await tx`update waiting_calls set attempts = 0, claimed_until = null where call_id = ${callId}`;
}

/** A call could not be done; it is taken again later. */
export async function postponeWaiting(sql: DatabaseSql, callId: bigint): Promise<void> {
  await sql`
    update waiting_calls set claimed_until = clock_timestamp() + make_interval(secs => attempts * ${PAUSE_SECONDS}::integer)
    where call_id = ${callId}`;
}

/** Its source is in the way of a call: it is taken again a day later, or once the source is changed, as if for the first time. */
export async function parkWaiting(
  sql: DatabaseSql,
  { callId, attempts }: Pick<FoundCall, 'callId' | 'attempts'>,
): Promise<void> {
  // Where the source was changed while the call was done, the attempts begin again already.
  await sql`
    update waiting_calls set attempts = 0,
      claimed_until = case when attempts = ${attempts} then clock_timestamp() + interval '1 day' end
    where call_id = ${callId}`;
}

/** The source was enabled, or has another secret: what it was in the way of is taken again; what is being done is left to that. */
export async function unparkWaiting(sql: DatabaseSql, sourceId: number): Promise<void> {
  await sql`
    with parked as (
      select call_id from waiting_calls
      where source_id = ${sourceId} and claimed_until is not null order by call_id for no key update
    )
    update waiting_calls w set attempts = 0, claimed_until = case when attempts > 0 then claimed_until end
    from parked where w.call_id = parked.call_id`;
}

/** Forgets calls that have waited for 30 days, at most `limit`: shops report an order within days, or not at all. */
export async function forgetWaitingCalls(sql: DatabaseSql, { limit }: { limit: number }): Promise<void> {
  await sql`
    delete from waiting_calls where call_id in (
      select call_id from waiting_calls where since < clock_timestamp() - interval '30 days'
      order by call_id limit ${limit} for update skip locked)`;
}
