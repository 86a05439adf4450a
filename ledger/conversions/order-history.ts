import type { Fragment } from '../../core/postgres/sql.ts';
import type { DatabaseSql } from '../postgres/db.ts';

/**
 * What orders were like before another one, as the books have it. Imported orders, which came all at once, and later orders of
 * subscriptions, which come by themselves, are left out. Every question reads a bounded number of orders, or is asked of a
 * bounded time.
 */

/** Orders of an affiliate, a coupon (those that named no click) or a whole program. */
export interface CountQuestion {
  readonly of: 'affiliate' | 'coupon' | 'program';
  readonly id: number;
  /** Of receipt; `to` is outside. */
  readonly from: Date;
  readonly to: Date;
  /** Length of the spans that are counted, seconds: of a day (UTC) or of a quarter hour. */
  readonly span: 86_400 | 900;
}

/** Orders of one span. */
export interface SpanCount {
  /** Its beginning, Unix ms. */
  readonly at: number;
  readonly orders: number;
}

/** Orders by spans that have any, one answer a question in the same order; all questions are `of` one kind. */
export async function countOrders(
  sql: DatabaseSql,
  questions: readonly CountQuestion[],
): Promise<SpanCount[][]> {
  const asked = questions.map(({ id, from, to, span }, index) => ({
    ...{ index, id, span, from_time: from.toISOString(), to_time: to.toISOString() },
  }));
  const of = questions[0]?.of ?? 'affiliate';
  const rows = await sql<{ index: number; at: number; orders: number }[]>`
    select q.index, (extract(epoch from c.at) * 1000)::float8 as at, sum(c.orders)::integer as orders
    from json_to_recordset(${sql.json(asked)}::json)
      as q (index integer, id integer, span integer, from_time timestamptz, to_time timestamptz)
    ${ORDERS_OF[of](sql)}
    group by q.index, c.at`;
  const answers: SpanCount[][] = questions.map(() => []);
  for (const { index, ...count } of rows) answers[index]?.push(count);
  return answers;
}

/** Grouped for each question, so that PostgreSQL reads the index of each, whatever it thinks of their number. */
const spansOf = (sql: DatabaseSql, whose: Fragment) => sql`cross join lateral (
  select date_bin(make_interval(secs => q.span), received_at, 'epoch') as at, count(*) as orders from conversions
  where ${whose} and received_at >= q.from_time and received_at < q.to_time
    and recurring_of is null and source <> 'import'
  group by 1
) c`;

const ORDERS_OF = {
  affiliate: (sql: DatabaseSql) => spansOf(sql, sql`affiliate_id = q.id`),
  coupon: (sql: DatabaseSql) => spansOf(sql, sql`coupon_id = q.id and click_id is null`),
  // By the index of each affiliate: a program needs none of its own.
  program: (sql: DatabaseSql) => sql`
    join affiliates a on a.program_id = q.id ${spansOf(sql, sql`affiliate_id = a.id`)}`,
} as const;

/** An affiliate's orders in a campaign; `affiliateIds` are it and those that were merged into it. */
export interface TimesQuestion {
  readonly affiliateIds: readonly number[];
  readonly campaignId: number;
  /** Only orders received before this count. */
  readonly until: Date;
}

/** Times from click to order, of orders with a click of their own: their number, sum (s) and sum of squares. */
export interface ClickToOrder {
  readonly orders: number;
  readonly seconds: number;
  readonly squares: number;
}

/** Orders whose times from click to order are compared. */
export const TIMES_SAMPLE = 50;
/** Among so many of the affiliate's latest orders they are looked for. */
const LATEST_OF_AFFILIATE = 200;
/** Of the program's latest orders, so many say what is usual in its campaigns. */
const LATEST_OF_PROGRAM = 1_000;

/** The times of the affiliates' latest orders, {@link TIMES_SAMPLE} at the most, one answer a question in the same order. */
export async function readClickToOrder(
  sql: DatabaseSql,
  questions: readonly TimesQuestion[],
): Promise<ClickToOrder[]> {
  const asked = questions.flatMap(({ affiliateIds, campaignId, until }, index) =>
    affiliateIds.map((id) => ({ index, id, campaign_id: campaignId, until: until.toISOString() })),
  );
  const rows = await sql<(ClickToOrder & { index: number })[]>`
    select index, count(*)::integer as orders, sum(seconds)::float8 as seconds, sum(seconds * seconds)::float8 as squares
    from (
      select q.index, c.seconds, row_number() over (partition by q.index order by c.received_at desc, c.id desc) as place
      from json_to_recordset(${sql.json(asked)}::json)
        as q (index integer, id integer, campaign_id integer, until timestamptz)
      cross join lateral (
        select id, received_at, campaign_id, click_node, extract(epoch from occurred_at - click_ts) as seconds
        from conversions
        where affiliate_id = q.id and received_at < q.until and recurring_of is null and source <> 'import'
        order by received_at desc limit ${LATEST_OF_AFFILIATE}
      ) c
      where c.campaign_id = q.campaign_id and c.click_node is not null
    ) latest
    where place <= ${TIMES_SAMPLE} group by index`;
  const answers: ClickToOrder[] = questions.map(() => ({ orders: 0, seconds: 0, squares: 0 }));
  for (const { index, ...times } of rows) answers[index] = times;
  return answers;
}

/** The times of one affiliate among the latest orders of its program in a campaign. */
export interface UsualTimes extends ClickToOrder {
  readonly campaignId: number;
  readonly affiliateId: number;
}

/** What is usual in the campaigns of programs, one answer a question in the same order: credited orders alone. */
export async function readUsualTimes(
  sql: DatabaseSql,
  questions: readonly { programId: number; until: Date }[],
): Promise<UsualTimes[][]> {
  const asked = questions.map(({ programId, until }, index) => ({
    ...{ index, program_id: programId, until: until.toISOString() },
  }));
  const rows = await sql<(UsualTimes & { index: number })[]>`
    select q.index, c.campaign_id, c.affiliate_id, count(*)::integer as orders, sum(c.seconds)::float8 as seconds,
      sum(c.seconds * c.seconds)::float8 as squares
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, program_id integer, until timestamptz)
    cross join lateral (
      select campaign_id, affiliate_id, click_node, recurring_of, source,
        extract(epoch from occurred_at - click_ts) as seconds
      from conversions
      where program_id = q.program_id and state = 'attributed' and received_at < q.until
      order by id desc limit ${LATEST_OF_PROGRAM}
    ) c
    where c.click_node is not null and c.recurring_of is null and c.source <> 'import'
    group by 1, 2, 3`;
  const answers: UsualTimes[][] = questions.map(() => []);
  for (const { index, ...times } of rows) answers[index]?.push(times);
  return answers;
}

/** Sales of an affiliate by its clicks of one hour. */
export interface HourlySales {
  readonly affiliateId: number;
  /** Beginning of the hour of the clicks, Unix ms. */
  readonly hour: number;
  /** The first whole hour by which they were {@link SETTLED_MINUTES} old, Unix ms. */
  readonly settledBy: number;
  /** Clicks that led to an order. */
  readonly clicks: number;
}

/** Orders are decided so long after they are received, unless their click is missing. */
export const SETTLED_MINUTES = 15;

/**
 * Who has sold by the valid clicks of campaigns in a time, one answer a question in the same order. A click counts once,
 * however many orders it led to.
 */
export async function readCampaignSales(
  sql: DatabaseSql,
  questions: readonly { campaignId: number; from: Date; to: Date }[],
): Promise<HourlySales[][]> {
  const asked = questions.map(({ campaignId, from, to }, index) => ({
    ...{ index, campaign_id: campaignId, from_time: from.toISOString(), to_time: to.toISOString() },
  }));
  const rows = await sql<(HourlySales & { index: number })[]>`
    select index, affiliate_id, (extract(epoch from hour) * 1000)::float8 as hour,
      (extract(epoch from settled + interval '1 hour') * 1000)::float8 as settled_by, clicks
    from (
    select q.index, c.affiliate_id, date_bin('1 hour', c.click_ts, 'epoch') as hour,
      date_bin('1 hour', c.received_at + make_interval(mins => ${SETTLED_MINUTES}), 'epoch') as settled,
      count(*)::integer as clicks
    from json_to_recordset(${sql.json(asked)}::json)
      as q (index integer, campaign_id integer, from_time timestamptz, to_time timestamptz)
    cross join lateral (
      select min(affiliate_id) as affiliate_id, click_ts, min(received_at) as received_at from conversions
      where campaign_id = q.campaign_id and click_ts >= q.from_time and click_ts < q.to_time and click_node is not null
        and affiliate_id is not null and recurring_of is null and source <> 'import'
        and reason is distinct from 'bot_click' and reason is distinct from 'forced_click'
      group by click_ts, click_node, click_seq
    ) c
    group by 1, 2, 3, 4
    ) counted`;
  const answers: HourlySales[][] = questions.map(() => []);
  for (const { index, ...sales } of rows) answers[index]?.push(sales);
  return answers;
}

/** Days in which a customer is looked for at the other affiliates of one payout account. */
export const SHARED_CUSTOMER_DAYS = 30;
/** No threshold needs more. */
const MAX_SHARED_ORDERS = 1_000;

export interface SharedQuestion {
  readonly affiliateId: number;
  readonly programId: number;
  readonly customerId: string;
  readonly until: Date;
}

/** What a customer has bought of others that are paid to the account of an affiliate. */
export interface SharedCustomer {
  /** Other affiliates of the program that are paid to the same account. */
  readonly affiliates: number;
  /** Orders of the customer that are credited to them, none of them rejected or wholly refunded. */
  readonly orders: number;
}

/**
 * Orders of customers with others that share the affiliate's payout account, one answer a question in the same order. An
 * affiliate that was merged has become another one, and shares nothing.
 */
export async function readSharedCustomers(
  sql: DatabaseSql,
  questions: readonly SharedQuestion[],
): Promise<SharedCustomer[]> {
  const asked = questions.map(({ affiliateId, programId, customerId, until }, index) => ({
    ...{ index, affiliate_id: affiliateId, program_id: programId, customer: customerId },
    until: until.toISOString(),
  }));
  const rows = await sql<{ index: number; affiliates: number; orders: bigint }[]>`
    with asked as (
      select * from json_to_recordset(${sql.json(asked)}::json)
        as q (index integer, affiliate_id integer, program_id integer, customer text, until timestamptz)
    ), others as (
      select q.index, o.affiliate_id from asked q
      join payout_methods m on m.affiliate_id = q.affiliate_id and m.account_hash is not null
      join payout_methods o on o.account_hash = m.account_hash and o.affiliate_id <> m.affiliate_id
      join affiliates a on a.id = o.affiliate_id and a.program_id = q.program_id and a.merged_into is null
    )
    select q.index, (select count(*)::integer from others o where o.index = q.index) as affiliates,
      (
        select count(*) from (
          select affiliate_id from conversions c
          where c.program_id = q.program_id and c.customer_id = q.customer and c.received_at < q.until
            and c.received_at >= q.until - make_interval(days => ${SHARED_CUSTOMER_DAYS})
            and c.recurring_of is null and c.source <> 'import'
            and c.state in ('attributed', 'review', 'partially_refunded')
          order by c.received_at desc limit ${MAX_SHARED_ORDERS}
        ) bought
        where bought.affiliate_id in (select o.affiliate_id from others o where o.index = q.index)
      ) as orders
    from asked q where exists (select from others o where o.index = q.index)`;
  const answers: SharedCustomer[] = questions.map(() => ({ affiliates: 0, orders: 0 }));
  for (const { index, affiliates, orders } of rows) answers[index] = { affiliates, orders: Number(orders) };
  return answers;
}

/** The oldest orders of a program that are not decided yet, by their receipt. */
export interface Undecided {
  readonly oldest: Date | null;
  /** Of those that were tried fewer than {@link FEW_ATTEMPTS} times. */
  readonly oldestUntried: Date | null;
}

/** An order that was tried more often does not wait for its turn, but for a click that may never come. */
const FEW_ATTEMPTS = 10;
/** Among so many of the oldest ones. */
const MAX_UNDECIDED = 1_000;

/**
 * By program what is not decided yet; programs without are missing. `between`, so that the order is that of the index by
 * program and state alone: for a state that is equal PostgreSQL may read all orders by their id, of which nearly every one
 * is decided (0.3 s of 200,000).
 */
export async function readUndecided(
  sql: DatabaseSql,
  programIds: readonly number[],
): Promise<Map<number, Undecided>> {
  const rows = await sql<(Undecided & { programId: number })[]>`
    select p.id as program_id, min(c.received_at) as oldest,
      min(c.received_at) filter (where c.attempts < ${FEW_ATTEMPTS}) as oldest_untried
    from unnest(${[...programIds]}::integer[]) as p (id)
    cross join unnest(array['received', 'awaiting_click']) as s (state)
    cross join lateral (
      select received_at, attempts from conversions
      where program_id = p.id and state between s.state and s.state order by state, id limit ${MAX_UNDECIDED}
    ) c
    group by p.id`;
  return new Map(rows.map(({ programId, ...undecided }) => [programId, undecided]));
}
