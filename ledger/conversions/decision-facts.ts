import { createHash } from 'node:crypto';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { CREDITED_STATES } from './conversions.ts';

/** What attribution asks the books about a batch before it decides. */

/** An order to be decided for a click. */
export interface RateQuestion {
  readonly conversionId: bigint;
  readonly programId: number;
  readonly receivedAt: Date;
  /** Of the click; null for later orders of a subscription, which have none of their own. */
  readonly ip: string | null;
  readonly customerId: string | null;
  /** The coupon that credits it. */
  readonly couponId: number | null;
  /** Hash of the account that paid, in hexadecimal. */
  readonly paymentAccountHash: string | null;
}

/** What was decided before, without the order itself; counted up to {@link MAX_COUNTED}. */
export interface EarlierCounts {
  /** Orders of the program for clicks of this address, received in the hour before this one or later. */
  readonly fromIp: number;
  /** Credited orders of the customer, received in the day before this one or later. */
  readonly fromCustomer: number;
  /** Orders credited by this coupon, received in the day before this one or later. */
  readonly fromCoupon: number;
  /** Credited orders that the same account paid, received within a day of this one; not imports and renewals. */
  readonly fromAccount: number;
}

export const NONE_EARLIER: EarlierCounts = {
  fromIp: 0,
  fromCustomer: 0,
  fromCoupon: 0,
  fromAccount: 0,
};

/** No threshold needs more, and a carrier's gateway may have a million. */
export const MAX_COUNTED = 10_000;

/**
 * Counts what the rate rules compare, one answer a question in the same order. Holds a lock per address, customer, coupon
 * and account until the transaction ends, all taken in one order, so that of concurrent decisions each sees those before it.
 */
export async function countEarlier(
  tx: DatabaseTransaction,
  questions: readonly RateQuestion[],
): Promise<EarlierCounts[]> {
  const keys = questions.flatMap(({ programId, ip, customerId, couponId, paymentAccountHash: account }) => [
    ...(account === null ? [] : [lockKey('account', programId, account)]),
    ...(couponId === null ? [] : [lockKey('coupon', programId, String(couponId))]),
    ...(ip === null ? [] : [lockKey('ip', programId, ip)]),
    ...(customerId === null ? [] : [lockKey('customer', programId, customerId)]),
  ]);
  const sorted = [...new Set(keys)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  await tx`
    select pg_advisory_xact_lock(key) from unnest(${sorted}::bigint[]) with ordinality as k (key, i) order by i`;
  const asked = questions.map((question, index) => ({
    index,
    id: question.conversionId.toString(),
    program_id: question.programId,
    at: question.receivedAt.toISOString(),
    ip: question.ip,
    customer: question.customerId,
    coupon: question.couponId,
    account: question.paymentAccountHash && `\\x${question.paymentAccountHash}`,
  }));
  const rows = await tx<(Record<keyof EarlierCounts, bigint> & { index: number })[]>`
    select q.index,
      (select count(*) from (
        select from conversions c
        where c.program_id = q.program_id and c.click_ip = q.ip and c.received_at >= q.at - interval '1 hour'
          and c.recurring_of is null and c.id <> q.id limit ${MAX_COUNTED}) as near) as from_ip,
      case when q.customer is null then 0 else (select count(*) from (
        select from conversions c
        where c.program_id = q.program_id and c.customer_id = q.customer and c.received_at >= q.at - interval '1 day'
          and c.id <> q.id and c.affiliate_id is not null limit ${MAX_COUNTED}) as near) end as from_customer,
      case when q.coupon is null then 0 else (select count(*) from (
        select from conversions c
        where c.coupon_id = q.coupon and c.received_at >= q.at - interval '1 day'
          and c.id <> q.id limit ${MAX_COUNTED}) as near) end as from_coupon,
      case when q.account is null then 0 else (select count(*) from (
        select from conversions c
        where c.program_id = q.program_id and c.payment_account_hash = q.account
          and c.received_at >= q.at - interval '1 day' and c.received_at < q.at + interval '1 day' and c.id <> q.id
          and c.affiliate_id is not null and c.recurring_of is null and c.source <> 'import'
        limit ${MAX_COUNTED}) as near) end as from_account
    from json_to_recordset(${tx.json(asked)}::json)
      as q (index integer, id bigint, program_id integer, at timestamptz, ip inet, customer text, coupon integer,
        account bytea)`;
  const counts: EarlierCounts[] = questions.map(() => NONE_EARLIER);
  for (const { index, fromIp, fromCustomer, fromCoupon, fromAccount } of rows) {
    counts[index] = {
      fromIp: Number(fromIp),
      fromCustomer: Number(fromCustomer),
      fromCoupon: Number(fromCoupon),
      fromAccount: Number(fromAccount),
    };
  }
  return counts;
}

/** A 64-bit name of what is counted. */
function lockKey(kind: 'ip' | 'customer' | 'coupon' | 'account', programId: number, value: string): bigint {
  return createHash('sha256').update(`conversions.${kind}:${programId}:${value}`).digest().readBigInt64BE(0);
}

/** Of an affiliate's orders before one the latest, {@link PACE_SAMPLE} at the most. */
export const PACE_SAMPLE = 100;
export const FAST_SECONDS = 120;

/** An order decided for a click of its own. */
export interface PacedOrder {
  readonly id: bigint;
  /** It came within {@link FAST_SECONDS} of the click. */
  readonly isFast: boolean;
}

/**
 * The decided orders of an affiliate whose ids lie between two others, the latest {@link PACE_SAMPLE} at the most, one
 * answer a question in the same order. An id tells when an order was reported first.
 */
export async function readPacedOrders(
  sql: DatabaseSql,
  questions: readonly { affiliateId: number; afterId: bigint; beforeId: bigint }[],
): Promise<PacedOrder[][]> {
  const answers: PacedOrder[][] = questions.map(() => []);
  if (questions.length === 0) return answers;
  const asked = questions.map(({ affiliateId, afterId, beforeId }, index) => ({
    index,
    affiliate_id: affiliateId,
    after: afterId.toString(),
    before: beforeId.toString(),
  }));
  const rows = await sql<(PacedOrder & { index: number })[]>`
    select q.index, c.id, c.is_fast
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, affiliate_id integer, after bigint, before bigint)
    cross join lateral (
      select id, extract(epoch from occurred_at - click_ts) < ${FAST_SECONDS} as is_fast from conversions
      where affiliate_id = q.affiliate_id and id > q.after and id < q.before and click_node is not null and recurring_of is null
      order by id desc limit ${PACE_SAMPLE}
    ) c`;
  for (const { index, ...order } of rows) answers[index]?.push(order);
  return answers;
}

/** By program the first order that is undecided, without those that are being decided by who asks. */
export async function firstUndecided(
  sql: DatabaseSql,
  options: { programIds: readonly number[]; except: readonly bigint[] },
): Promise<Map<number, bigint>> {
  const { programIds, except } = options;
  const rows = await sql<{ programId: number; id: bigint }[]>`
    select p.id as program_id, least(received.id, waiting.id) as id
    from unnest(${[...programIds]}::integer[]) as p (id)
    left join lateral (
      select id from conversions
      where program_id = p.id and state = 'received' and id <> all(${except}::bigint[]) order by id limit 1
    ) received on true
    left join lateral (
      select id from conversions
      where program_id = p.id and state = 'awaiting_click' and id <> all(${except}::bigint[]) order by id limit 1
    ) waiting on true
    where least(received.id, waiting.id) is not null`;
  return new Map(rows.map(({ programId, id }) => [programId, id]));
}

/** An order that may continue a subscription of its customer. */
export interface CustomerQuestion {
  readonly programId: number;
  readonly eventName: string;
  readonly conversionId: bigint;
  readonly occurredAt: Date;
  readonly customerId: string | null;
  /** In hexadecimal. */
  readonly customerEmailHash: string | null;
}

/** The first credited order of a customer, by whose affiliate, link and terms the later ones are credited. */
export interface FirstOrder {
  readonly conversionId: bigint;
  readonly occurredAt: Date;
  readonly termsId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  /** Null where it was credited without a link. */
  readonly linkId: number | null;
  /** Where it was credited without a click when it occurred; then the next three are null. */
  readonly clickTs: Date;
  readonly clickNode: number | null;
  readonly clickSeq: number | null;
  readonly clickIp: string | null;
  readonly clickSubs: readonly string[] | null;
  /** Whether it is credited is not decided yet. */
  readonly inReview: boolean;
}

/**
 * Orders of the same customer and event: by the id at the shop, and by the e-mail address where one of two orders has no
 * id.
 */
const ordersOfCustomer = (sql: DatabaseSql) => sql`
  select * from conversions where program_id = q.program_id and customer_id = q.customer
    and event_name = q.event
  union all
  select * from conversions where program_id = q.program_id and customer_email_hash = q.email
    and (q.customer is null or customer_id is null) and event_name = q.event`;

function askedCustomers(questions: readonly CustomerQuestion[]) {
  return questions.map((question, index) => ({
    index,
    program_id: question.programId,
    event: question.eventName,
    customer: question.customerId,
    email: question.customerEmailHash && `\\x${question.customerEmailHash}`,
    id: question.conversionId.toString(),
    at: question.occurredAt.toISOString(),
  }));
}

type StoredFirstOrder = Omit<FirstOrder, 'clickSeq'> & {
  readonly index: number;
  readonly clickSeq: bigint | null;
};

const firstOrderColumns = (sql: DatabaseSql) => sql`
  c.id as conversion_id, c.occurred_at, c.terms_id, c.campaign_id, c.affiliate_id, c.link_id, c.click_ts, c.click_node,
  c.click_seq, host(c.click_ip) as click_ip, c.click_subs, c.state = 'review' as in_review`;

function placed(count: number, rows: readonly StoredFirstOrder[]): (FirstOrder | undefined)[] {
  const answers: (FirstOrder | undefined)[] = Array.from({ length: count }, () => undefined);
  for (const { index, clickSeq, ...first } of rows) {
    answers[index] = { ...first, clickSeq: clickSeq === null ? null : Number(clickSeq) };
  }
  return answers;
}

/**
 * For each customer the first order of a subscription it may be continuing; undefined where there is none. One of a later
 * time is none, and of two of the same time the later one reported: whether it is decided already depends on how orders
 * come together.
 */
export async function findFirstOrders(
  sql: DatabaseSql,
  questions: readonly CustomerQuestion[],
): Promise<(FirstOrder | undefined)[]> {
  if (questions.length === 0) return [];
  const rows = await sql<StoredFirstOrder[]>`
    select q.index, ${firstOrderColumns(sql)}
    from json_to_recordset(${sql.json(askedCustomers(questions))}::json)
      as q (index integer, program_id integer, event text, customer text, email bytea, id bigint, at timestamptz)
    cross join lateral (
      select * from (${ordersOfCustomer(sql)}) of_customer
      where (occurred_at, id) < (q.at, q.id) and recurring_of is null and state = any(${[...CREDITED_STATES]}::text[])
      order by occurred_at, id limit 1
    ) c
    join terms t on t.id = c.terms_id
    where t.recurring_months > 0`;
  return placed(questions.length, rows);
}

/** The first orders with these ids, one answer each; undefined for null. */
export async function getFirstOrders(
  sql: DatabaseSql,
  ids: readonly (bigint | null)[],
): Promise<(FirstOrder | undefined)[]> {
  const asked = ids.flatMap((id, index) => (id === null ? [] : [{ index, id: id.toString() }]));
  if (asked.length === 0) return ids.map(() => undefined);
  const rows = await sql<StoredFirstOrder[]>`
    select q.index, ${firstOrderColumns(sql)}
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, id bigint) join conversions c on c.id = q.id`;
  return placed(ids.length, rows);
}

/**
 * What {@link findFirstOrders} found before version 5 of the rules, for decisions that are made again: by the customer id
 * alone, and with a click. The one by which an order was credited is found also when it was rejected since.
 */
export async function findFirstOrdersBeforeVersion5(
  sql: DatabaseSql,
  questions: readonly CustomerQuestion[],
): Promise<(FirstOrder | undefined)[]> {
  if (questions.length === 0) return [];
  const rows = await sql<StoredFirstOrder[]>`
    select q.index, ${firstOrderColumns(sql)}
    from json_to_recordset(${sql.json(askedCustomers(questions))}::json)
      as q (index integer, program_id integer, event text, customer text, id bigint)
    cross join lateral (
      select * from conversions
      where program_id = q.program_id and customer_id = q.customer and event_name = q.event and id <> q.id
        and recurring_of is null and (state = any(${[...CREDITED_STATES]}::text[])
          or id = (select recurring_of from conversions where id = q.id))
        and click_node is not null
      order by occurred_at, id limit 1
    ) c
    join terms t on t.id = c.terms_id
    where t.recurring_months > 0`;
  return placed(questions.length, rows);
}

/**
 * Whether the customer has an earlier order that is not decided yet and may begin a subscription, one answer each: what
 * a later order continues must not depend on whose click was stored first.
 */
export async function haveUndecidedBefore(
  sql: DatabaseSql,
  questions: readonly CustomerQuestion[],
): Promise<boolean[]> {
  const answers = questions.map(() => false);
  if (questions.length === 0) return answers;
  const rows = await sql<{ index: number }[]>`
    select q.index
    from json_to_recordset(${sql.json(askedCustomers(questions))}::json)
      as q (index integer, program_id integer, event text, customer text, email bytea, id bigint, at timestamptz)
    where exists (select from terms t where t.program_id = q.program_id and t.recurring_months > 0)
      and exists (
        select from (${ordersOfCustomer(sql)}) c
        where c.state in ('received', 'awaiting_click') and (c.occurred_at, c.id) < (q.at, q.id)
      )`;
  for (const { index } of rows) answers[index] = true;
  return answers;
}

/**
 * For each order the earlier one of its customer and event, one answer each; undefined: it is the customer's first. One that
 * was cancelled is no purchase.
 */
export async function findEarlierOrders(
  sql: DatabaseSql,
  questions: readonly CustomerQuestion[],
): Promise<(bigint | undefined)[]> {
  const answers: (bigint | undefined)[] = questions.map(() => undefined);
  if (questions.length === 0) return answers;
  const rows = await sql<{ index: number; id: bigint }[]>`
    select q.index, c.id
    from json_to_recordset(${sql.json(askedCustomers(questions))}::json)
      as q (index integer, program_id integer, event text, customer text, email bytea, id bigint, at timestamptz)
    cross join lateral (
      select * from (${ordersOfCustomer(sql)}) of_customer
      where cancelled_at is null and (occurred_at, id) < (q.at, q.id) order by occurred_at, id limit 1
    ) c`;
  for (const { index, id } of rows) answers[index] = id;
  return answers;
}

/** Notes from where an affiliate itself uses the platform: orders from there are its own. */
export async function noteAffiliateSession(
  sql: DatabaseSql,
  session: { programId: number; affiliateId: number; ip: string; fingerprint: bigint; now: Date },
): Promise<void> {
  const { programId, affiliateId, ip, fingerprint, now } = session;
  await sql`
    insert into affiliate_sessions (program_id, affiliate_id, ip, fingerprint, seen_at)
    values (${programId}, ${affiliateId}, ${ip}, ${BigInt.asIntN(64, fingerprint)}, ${now})
    on conflict (affiliate_id, ip, fingerprint) do update set seen_at = excluded.seen_at`;
}

/** How long a session gives its affiliate away; addresses change hands. */
const SESSION_DAYS = 90;

/** Which of these orders came from where the affiliate itself uses the platform, one answer each. */
export async function fromOwnSessions(
  sql: DatabaseSql,
  questions: readonly { affiliateId: number; ip: string | null; fingerprint: bigint | null; at: Date }[],
): Promise<boolean[]> {
  const asked = questions.flatMap(({ affiliateId, ip, fingerprint, at }, index) =>
    ip === null || fingerprint === null
      ? []
      : [
          {
            index,
            affiliate_id: affiliateId,
            ip,
            fingerprint: BigInt.asIntN(64, fingerprint).toString(),
            at: at.toISOString(),
          },
        ],
  );
  const answers = questions.map(() => false);
  if (asked.length === 0) return answers;
  const rows = await sql<{ index: number }[]>`
    select q.index
    from json_to_recordset(${sql.json(asked)}::json)
      as q (index integer, affiliate_id integer, ip inet, fingerprint bigint, at timestamptz)
    join affiliate_sessions s on s.affiliate_id = q.affiliate_id and s.ip = q.ip and s.fingerprint = q.fingerprint
      and s.seen_at > q.at - make_interval(days => ${SESSION_DAYS})`;
  for (const { index } of rows) answers[index] = true;
  return answers;
}
