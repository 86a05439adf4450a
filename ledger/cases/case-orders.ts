import { InputError } from '../../core/errors.ts';
import { UNKNOWN_IP } from '../../core/ip.ts';
import type { ConversionReason, ConversionState } from '../conversions/conversions.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';

/** The orders of a case, what they share, and others that share it. */

/**
 * Orders that a case holds at the most. They are decided in one transaction, which holds the accounts of the program: until
 * it ends no other order of the program is decided, and no payout built.
 */
export const MAX_CASE_ORDERS = 500;

/** An order as its reviewer sees it. */
export interface CaseOrder {
  readonly conversionId: bigint;
  readonly orderId: string;
  readonly eventName: string;
  readonly state: ConversionState;
  readonly reason: ConversionReason | null;
  readonly affiliateId: number | null;
  readonly linkId: number | null;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly currency: string;
  /** What all levels have by it, whether held or not, in minor units. */
  readonly commissionMinor: bigint;
  readonly occurredAt: Date;
  readonly clickTs: Date | null;
  /** Of the customer and of the click. */
  readonly ip: string | null;
  readonly clickIp: string | null;
  /** 64 bits, unsigned, in decimal. */
  readonly fingerprint: string | null;
  readonly customerId: string | null;
  /** The later order of a subscription: it follows this one. */
  readonly recurringOf: bigint | null;
  readonly addedAt: Date;
  /** By a decision of this case. */
  readonly decidedAs: 'approved' | 'rejected' | null;
}

/** In the order in which they were recorded. */
export async function listCaseOrders(sql: DatabaseSql, caseId: number): Promise<CaseOrder[]> {
  return await sql<CaseOrder[]>`
    select c.id as conversion_id, c.order_id, c.event_name, c.state, c.reason, c.affiliate_id, c.link_id, c.amount_minor,
      c.refunded_minor, c.currency, c.occurred_at, c.click_ts, host(c.ip) as ip, host(c.click_ip) as click_ip,
      ${unsigned(sql)} as fingerprint, c.customer_id, c.recurring_of, o.added_at, o.decided_as, (
        select coalesce(sum(m.amount_minor - m.reversed_minor), 0)::bigint from commissions m
        where m.conversion_id = c.id
      ) as commission_minor
    from case_orders o join conversions c on c.id = o.conversion_id
    where o.case_id = ${caseId} and o.removed_at is null order by c.id`;
}

/** A fingerprint as it was before it was kept in a signed column. */
const unsigned = (sql: DatabaseSql) => sql`
  (case when c.fingerprint < 0 then c.fingerprint::numeric + 18446744073709551616 else c.fingerprint end)::text`;

/**
 * Adds orders of the program to a case that the caller has locked; those that are in it stay in it. Returns how many are
 * new. @throws InputError naming conversion_ids: of another program, in another open case, or too many.
 */
export async function addCaseOrders(
  tx: DatabaseTransaction,
  added: { caseId: number; programId: number; conversionIds: readonly bigint[]; actor: string },
): Promise<number> {
  const { caseId, programId, conversionIds, actor } = added;
  const ids = [...new Set(conversionIds)];
  const found = await tx<{ id: bigint; otherCase: number | null }[]>`
    select c.id, o.case_id as other_case from conversions c
    left join case_orders o on o.conversion_id = c.id and ${inOpenCase(tx)} and o.case_id <> ${caseId}
    where c.id = any(${ids}::bigint[]) and c.program_id = ${programId}`;
  const known = new Set(found.map(({ id }) => id));
  const unknown = ids.find((id) => !known.has(id));
  if (unknown !== undefined)
    throw new InputError('conversion_ids', `there is no order cnv_${unknown} in the program of the case`);
  const taken = found.find(({ otherCase }) => otherCase !== null);
  if (taken)
    throw new InputError('conversion_ids', `cnv_${taken.id} is in the open case cas_${taken.otherCase}`);
  const inserted = await answeringInput(
    tx`
      insert into case_orders (case_id, case_state, conversion_id, added_by)
      select ${caseId}, 'open', id, ${actor} from unnest(${ids}::bigint[]) as id order by id
      on conflict (case_id, conversion_id) do update
      set removed_at = null, added_by = excluded.added_by, added_at = excluded.added_at
      where case_orders.removed_at is not null`.affected(),
  );
  const [{ count }] = await tx<[{ count: bigint }]>`
    select count(*) from case_orders where case_id = ${caseId} and removed_at is null`;
  if (count > MAX_CASE_ORDERS)
    throw new InputError('conversion_ids', `a case holds ${MAX_CASE_ORDERS} orders at the most`);
  return inserted;
}

/** Of orders of cases `o`: an order is in one open case at the most. */
const inOpenCase = (sql: DatabaseSql) => sql`(o.case_state = 'open' and o.removed_at is null)`;

/** The open case that an order is in. */
export async function openCaseOf(sql: DatabaseSql, conversionId: bigint): Promise<number | undefined> {
  const [row] = await sql<{ caseId: number }[]>`
    select case_id from case_orders o where conversion_id = ${conversionId} and ${inOpenCase(sql)}`;
  return row?.caseId;
}

/** Takes an order out of a case that the caller has locked; one that the case has decided stays in it. */
export async function removeCaseOrder(
  tx: DatabaseTransaction,
  { caseId, conversionId }: { caseId: number; conversionId: bigint },
): Promise<'removed' | 'not_found' | 'decided'> {
  const [order] = await tx<{ decidedAs: string | null }[]>`
    select decided_as from case_orders
    where case_id = ${caseId} and conversion_id = ${conversionId} and removed_at is null`;
  if (!order) return 'not_found';
  if (order.decidedAs !== null) return 'decided';
  await tx`
    update case_orders set removed_at = clock_timestamp()
    where case_id = ${caseId} and conversion_id = ${conversionId}`;
  return 'removed';
}

/**
 * What orders can have in common. Networks are /24 of IPv4 and /64 of IPv6, as in the rules; the fingerprint is the one that
 * the shop sent, for that of the click is in no book.
 */
export const SHARED_KINDS = [
  'ip',
  'subnet',
  'fingerprint',
  'customer',
  'payment_account',
  'affiliate',
  'payout_account',
] as const;
export type SharedKind = (typeof SHARED_KINDS)[number];

/** One value that several orders have. */
export interface SharedValue {
  readonly kind: SharedKind;
  /** Of an account: the beginning of its hash, which tells accounts apart and names none. */
  readonly value: string;
  readonly orders: number;
  readonly affiliates: number;
}

/** Each kind and value of each conversion `c`; a customer is known by the id and by the address. */
const values = (sql: DatabaseSql) => sql`
  cross join lateral (
    select 'ip', ${wholeAddress(sql, sql`c.ip`)} union select 'ip', ${wholeAddress(sql, sql`c.click_ip`)}
    union select 'subnet', ${network(sql, sql`c.ip`)} union select 'subnet', ${network(sql, sql`c.click_ip`)}
    union select 'fingerprint', ${unsigned(sql)}
    union select 'customer', c.customer_id
    union select 'customer', 'sha256:' || encode(c.customer_email_hash, 'hex')
    union select 'payment_account', left(encode(c.payment_account_hash, 'hex'), ${HASH_LENGTH})
    union select 'affiliate', 'aff_' || c.affiliate_id
    union select 'payout_account', (
      select left(encode(p.account_hash, 'hex'), ${HASH_LENGTH}) from payout_methods p
      where p.affiliate_id = c.affiliate_id)
  ) as v (kind, value)`;

/** Of 64 digits: 48 bits tell the accounts of a program apart. */
const HASH_LENGTH = 12;

type Part = ReturnType<DatabaseSql>;

/** An address that is one visitor's: none that is not known, and none that a collector has shortened (privacy.ts). */
function wholeAddress(sql: DatabaseSql, address: Part): Part {
  return sql`case when not ${isShortened(sql, address)} then host(${address}) end`;
}

/** The network of an address; that of one that is not known is every visitor's. */
function network(sql: DatabaseSql, address: Part): Part {
  const bits = sql`case when family(${address}) = 4 then 24 when ${isShortened(sql, address)} then 48 else 64 end`;
  return sql`case when host(${address}) <> ${UNKNOWN_IP} then text(network(set_masklen(${address}, ${bits}))) end`;
}

/** Whether it is the first address of a /24 of IPv4, or of a /48 of IPv6. That which is not known is one as well. */
function isShortened(sql: DatabaseSql, address: Part): Part {
  return sql`
    (host(${address}) = host(network(set_masklen(${address}, case family(${address}) when 4 then 24 else 48 end))))`;
}

/** Values of one kind at the most. */
const MAX_SHARED = 20;

/** What at least two orders of a case have in common, the most common first. */
export async function sharedInCase(sql: DatabaseSql, caseId: number): Promise<SharedValue[]> {
  return await sql<SharedValue[]>`
    select kind, value, orders, affiliates from (
      select v.kind, v.value, count(*)::integer as orders, count(distinct c.affiliate_id)::integer as affiliates,
        row_number() over (partition by v.kind order by count(*) desc, v.value) as place
      from case_orders o join conversions c on c.id = o.conversion_id ${values(sql)}
      where o.case_id = ${caseId} and o.removed_at is null and v.value is not null
      group by v.kind, v.value having count(*) > 1
    ) shared
    where place <= ${MAX_SHARED}
    order by array_position(${[...SHARED_KINDS]}::text[], kind), place`;
}

/** An order that shares something with another one. */
export interface RelatedOrder {
  readonly conversionId: bigint;
  readonly orderId: string;
  readonly reason: ConversionReason | null;
  readonly affiliateId: number | null;
  readonly amountMinor: bigint;
  readonly currency: string;
  readonly shared: readonly SharedKind[];
}

/** Orders in review that are looked at, the latest: what each of them has is compared, a tenth of a millisecond an order. */
export const MAX_COMPARED = 10_000;

/**
 * An order, and those in review that share one of `kinds` with it: the order first, the others in the order in which they
 * were recorded; those of open cases, and `except`, are left out. `hasMore`: there are more than `limit`, or more in review
 * than are looked at.
 */
export async function relatedOrders(
  sql: DatabaseSql,
  options: {
    programId: number;
    conversionId: bigint;
    kinds: readonly SharedKind[];
    limit: number;
    except?: readonly bigint[];
  },
): Promise<{ readonly orders: RelatedOrder[]; readonly hasMore: boolean }> {
  const { programId, conversionId, kinds, limit, except = [] } = options;
  const latest = await sql<{ id: bigint }[]>`
    select id from conversions where program_id = ${programId} and state = 'review'
    order by id desc limit ${MAX_COMPARED + 1}`;
  const compared = latest.slice(0, MAX_COMPARED).map(({ id }) => id);
  const rows = await sql<RelatedOrder[]>`
    with wanted as materialized (
      select v.kind, v.value from conversions c ${values(sql)}
      where c.id = ${conversionId} and c.program_id = ${programId} and v.value is not null
        and v.kind = any(${[...kinds]}::text[])
    )
    select c.id as conversion_id, c.order_id, c.reason, c.affiliate_id, c.amount_minor, c.currency,
      coalesce(array_agg(distinct w.kind) filter (where w.kind is not null), '{}') as shared
    from conversions c ${values(sql)} left join wanted w on w.kind = v.kind and w.value = v.value
    where c.program_id = ${programId} and c.id = any(${[conversionId, ...compared]}::bigint[])
      and c.id <> all(${[...except]}::bigint[])
      and not exists (select from case_orders o where o.conversion_id = c.id and ${inOpenCase(sql)})
    group by c.id having c.id = ${conversionId} or count(w.kind) > 0
    order by c.id <> ${conversionId}, c.id limit ${limit + 1}`;
  return {
    orders: rows.slice(0, limit),
    hasMore: rows.length > limit || latest.length > MAX_COMPARED,
  };
}
