import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import type { CommissionState } from '../books/commissions.ts';
import {
  CONVERSION_COLUMNS,
  type Conversion,
  type ConversionState,
  fromStored,
  type StoredConversion,
} from '../conversions/conversions.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { customerMarks } from './erase.ts';

/** What the books say of the orders that the explorer has found, and whose orders a customer's are. */

/** Parties of orders, the most frequent ones. */
const MAX_PARTIES = 20;

/** Orders by id, the newest first; those of other programs are left out. */
export async function readOrders(
  sql: DatabaseSql,
  { ids, programId = null }: { ids: readonly bigint[]; programId?: number | null | undefined },
): Promise<Conversion[]> {
  const rows = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, status from conversions_with_status
    where id = any(${[...ids]}::bigint[]) and (${programId}::integer is null or program_id = ${programId})
    order by id desc`;
  return rows.map(fromStored);
}

/** Orders of one state and currency. */
export interface OrderSum {
  readonly state: ConversionState;
  readonly currency: string;
  readonly orders: number;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
}

/** Commissions of one state and currency. */
export interface CommissionSum {
  readonly state: CommissionState;
  readonly currency: string;
  readonly commissions: number;
  /** Without what was reversed. */
  readonly amountMinor: bigint;
}

/** A party of orders, by what it is known by. */
export interface OrderParty {
  readonly kind: 'affiliate' | 'link' | 'customer' | 'email';
  /** A number; of customers the shop's id, or the hash of the e-mail address in hexadecimal. */
  readonly value: string;
  readonly orders: number;
  /** The newest of them. */
  readonly newestId: bigint;
}

export interface OrderFacts {
  readonly sums: readonly OrderSum[];
  readonly commissions: readonly CommissionSum[];
  readonly parties: readonly OrderParty[];
}

/** Money and parties of orders. `ids` are of what the caller may see. */
export async function readOrderFacts(sql: DatabaseSql, ids: readonly bigint[]): Promise<OrderFacts> {
  if (ids.length === 0) return { sums: [], commissions: [], parties: [] };
  const wanted = sql`${[...ids]}::bigint[]`;
  const [sums, commissions, parties] = await Promise.all([
    sql<OrderSum[]>`
      select state, currency, count(*)::integer as orders, sum(amount_minor)::bigint as amount_minor,
        sum(refunded_minor)::bigint as refunded_minor
      from conversions where id = any(${wanted}) group by state, currency order by currency, state`,
    sql<CommissionSum[]>`
      select state, currency, count(*)::integer as commissions, sum(amount_minor - reversed_minor)::bigint as amount_minor
      from commissions where conversion_id = any(${wanted}) group by state, currency order by currency, state`,
    sql<OrderParty[]>`
      with found as materialized (
        select id, affiliate_id, link_id, customer_id, customer_email_hash from conversions where id = any(${wanted})
      ), parties as (
        select 'affiliate' as kind, affiliate_id::text as value, id from found
        union all
        select 'link', link_id::text, id from found
        union all
        select 'customer', customer_id, id from found
        union all
        select 'email', encode(customer_email_hash, 'hex'), id from found
      ), counted as (
        select kind, value, count(*)::integer as orders, max(id) as newest_id, row_number() over (partition by kind order by count(*) desc, value) as place
        from parties where value is not null group by kind, value
      )
      select kind, value, orders, newest_id from counted where place <= ${MAX_PARTIES} order by kind, place`,
  ]);
  return { sums, commissions, parties };
}

/** A customer's orders, and the clicks that won them. */
export interface CustomerOrders {
  readonly conversionIds: readonly bigint[];
  readonly clicks: readonly ClickIdentity[];
}

/**
 * The newest orders of a customer by the shop's id, the e-mail address, or its hash as `sha256:` and 64 digits; those
 * received since `from`, in one program or in each.
 */
export async function findCustomerOrders(
  sql: DatabaseSql,
  options: { named: string; programId: number | undefined; from: Date; limit: number },
): Promise<CustomerOrders> {
  const { named, programId = null, from, limit } = options;
  const { customerId, emailHash } = customerMarks(named);
  const hash = emailHash === null ? null : Buffer.from(emailHash, 'hex');
  const rows = await sql<
    { id: bigint; clickTs: Date | null; clickNode: number | null; clickSeq: bigint | null }[]
  >`
    select found.* from programs p cross join lateral (
      select id, click_ts, click_node, click_seq from conversions
      where program_id = p.id and customer_id = ${customerId} and received_at >= ${from}
      union
      select id, click_ts, click_node, click_seq from conversions
      where program_id = p.id and customer_email_hash = ${hash}::bytea and received_at >= ${from}
    ) found
    where ${programId}::integer is null or p.id = ${programId}
    order by id desc limit ${limit}`;
  return {
    conversionIds: rows.map(({ id }) => id),
    clicks: rows.flatMap(({ clickTs, clickNode, clickSeq }) =>
      clickTs === null || clickNode === null || clickSeq === null
        ? []
        : [{ ts: clickTs.getTime(), node: clickNode, seq: Number(clickSeq) }],
    ),
  };
}

/** Affiliates that are paid to one account. */
export interface AccountHolder {
  readonly affiliateId: number;
  readonly programId: number;
  readonly name: string;
  /** Such as "…3000". */
  readonly hint: string;
}

export interface AccountHolders {
  /** The affiliate itself first; none where it has no account. */
  readonly holders: readonly AccountHolder[];
  /** More are paid to the account. */
  readonly isPartial: boolean;
}

/** Who is paid to the account of an affiliate. */
export async function findAccountHolders(
  sql: DatabaseSql,
  options: { affiliateId: number; programId: number | undefined },
): Promise<AccountHolders> {
  const { affiliateId, programId = null } = options;
  const rows = await sql<AccountHolder[]>`
    select f.id as affiliate_id, f.program_id, f.name, m.hint
    from payout_methods own
    join payout_methods m on m.account_hash = own.account_hash or m.affiliate_id = own.affiliate_id
    join affiliates f on f.id = m.affiliate_id
    where own.affiliate_id = ${affiliateId} and (${programId}::integer is null or f.program_id = ${programId})
    order by f.id <> own.affiliate_id, f.id limit ${MAX_HOLDERS + 1}`;
  return { holders: rows.slice(0, MAX_HOLDERS), isPartial: rows.length > MAX_HOLDERS };
}

/** More affiliates of one account are a payment service's, and no person. */
const MAX_HOLDERS = 100;

/** From where an affiliate itself uses the platform. */
export interface OwnSession {
  readonly affiliateId: number;
  readonly ip: string;
  readonly fingerprint: bigint;
  readonly seenAt: Date;
}

/** The newest since `from`. */
export async function readOwnSessions(
  sql: DatabaseSql,
  options: { affiliateIds: readonly number[]; from: Date; limit: number },
): Promise<OwnSession[]> {
  const { affiliateIds, from, limit } = options;
  const rows = await sql<OwnSession[]>`
    select affiliate_id, host(ip) as ip, fingerprint, seen_at from affiliate_sessions
    where affiliate_id = any(${[...affiliateIds]}::integer[]) and seen_at >= ${from}
    order by seen_at desc limit ${limit}`;
  return rows.map((row) => ({ ...row, fingerprint: BigInt.asUintN(64, row.fingerprint) }));
}

/** Which of these affiliates share a payout account with another of the program, and how many have it. */
export async function countSharedAccounts(
  sql: DatabaseSql,
  options: { affiliateIds: readonly number[]; programId: number | undefined },
): Promise<{ affiliateId: number; hint: string; holders: number }[]> {
  const { affiliateIds, programId = null } = options;
  return await sql<{ affiliateId: number; hint: string; holders: number }[]>`
    select own.affiliate_id, own.hint, count(*)::integer as holders
    from payout_methods own
    join payout_methods m on m.account_hash = own.account_hash or m.affiliate_id = own.affiliate_id
    join affiliates f on f.id = m.affiliate_id
    where own.affiliate_id = any(${[...affiliateIds]}::integer[])
      and (${programId}::integer is null or f.program_id = ${programId})
    group by own.affiliate_id, own.hint having count(*) > 1 order by holders desc, own.affiliate_id`;
}

/** Codes of links by id. */
export async function readLinkCodes(
  sql: DatabaseSql,
  ids: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const rows = await sql<{ id: number; code: string }[]>`
    select id, code from links where id = any(${[...ids]}::integer[])`;
  return new Map(rows.map(({ id, code }) => [id, code]));
}

/** Links with this code, of one program or of all. */
export async function findLinksByCode(
  sql: DatabaseSql,
  { code, programId = null }: { code: string; programId?: number | null | undefined },
): Promise<{ id: number; code: string }[]> {
  return await sql<{ id: number; code: string }[]>`
    select id, code from links where code = ${code} and (${programId}::integer is null or program_id = ${programId})`;
}

/**
 * The campaigns that affiliates have, or had, links in: all that they can have clicks of. A link leaves its affiliate only
 * for the one that the affiliate was merged into, and never its campaign.
 */
export async function readLinkedCampaignIds(
  sql: DatabaseSql,
  affiliateIds: readonly number[],
): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    with recursive present (id) as (
      select unnest(${[...affiliateIds]}::integer[])
      union
      select a.merged_into from present join affiliates a on a.id = present.id where a.merged_into is not null
    )
    select distinct campaign_id as id from links where affiliate_id in (select id from present) order by id`;
  return rows.map(({ id }) => id);
}

/** The campaigns of programs, by which some tables of the warehouse know them. */
export async function readCampaignIds(sql: DatabaseSql, programIds: readonly number[]): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select id from campaigns where program_id = any(${[...programIds]}::integer[])`;
  return rows.map(({ id }) => id);
}
