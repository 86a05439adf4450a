import type { DatabaseSql } from '../postgres/db.ts';

/**
 * What orders were like before another one, as the books have it. Imported orders, which came all at once, and later orders of
 * subscriptions, which come by themselves, are left out.
 */

/** Days before the day of the order with which it is compared. */
export const HISTORY_DAYS = 28;
/** Orders whose times from click to order are compared. */
export const TIMES_SAMPLE = 50;

/** Orders of an affiliate or a coupon by days of UTC. */
export interface DayCounts {
  /** On the day, up to the time of the question. */
  readonly today: number;
  /** Of each day before it, from the first one in the {@link HISTORY_DAYS} that has any. */
  readonly before: readonly number[];
}

/** `until`: only orders received before this count. */
export interface HistoryQuestion {
  readonly affiliateId: number;
  readonly until: Date;
}

const DAY_OF = (sql: DatabaseSql) =>
  sql`floor(extract(epoch from c.received_at - date_trunc('day', q.until, 'UTC')) / 86400)::integer`;

/** Orders of affiliates by day, one answer a question in the same order. */
export async function readAffiliateDays(
  sql: DatabaseSql,
  questions: readonly HistoryQuestion[],
): Promise<DayCounts[]> {
  const asked = questions.map(({ affiliateId, until }, index) => ({
    ...{ index, affiliate_id: affiliateId, until: until.toISOString() },
  }));
  const rows = await sql<DayRow[]>`
    select q.index, ${DAY_OF(sql)} as day, count(*) as orders
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, affiliate_id integer, until timestamptz)
    join conversions c on c.affiliate_id = q.affiliate_id and c.received_at < q.until
      and c.received_at >= date_trunc('day', q.until, 'UTC') - make_interval(days => ${HISTORY_DAYS})
      and c.recurring_of is null and c.source <> 'import'
    group by 1, 2`;
  return dayCounts(questions.length, rows);
}

/** Orders that coupons credited and that named no click, by day, one answer a question in the same order. */
export async function readCouponDays(
  sql: DatabaseSql,
  questions: readonly { couponId: number; until: Date }[],
): Promise<DayCounts[]> {
  const asked = questions.map(({ couponId, until }, index) => ({
    ...{ index, coupon_id: couponId, until: until.toISOString() },
  }));
  const rows = await sql<DayRow[]>`
    select q.index, ${DAY_OF(sql)} as day, count(*) as orders
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, coupon_id integer, until timestamptz)
    join conversions c on c.coupon_id = q.coupon_id and c.received_at < q.until
      and c.received_at >= date_trunc('day', q.until, 'UTC') - make_interval(days => ${HISTORY_DAYS})
      and c.click_id is null and c.recurring_of is null and c.source <> 'import'
    group by 1, 2`;
  return dayCounts(questions.length, rows);
}

interface DayRow {
  readonly index: number;
  /** 0 is the day of the question, -1 the one before. */
  readonly day: number;
  readonly orders: bigint;
}

function dayCounts(count: number, rows: readonly DayRow[]): DayCounts[] {
  const days = Array.from({ length: count }, () => new Map<number, number>());
  for (const { index, day, orders } of rows) days[index]?.set(day, Number(orders));
  return days.map((byDay) => {
    const first = -Math.min(0, ...byDay.keys());
    return {
      today: byDay.get(0) ?? 0,
      before: Array.from({ length: first }, (_, i) => byDay.get(i - first) ?? 0),
    };
  });
}

/** Times from click to order, of orders with a click of their own. */
export interface ClickToOrder {
  readonly orders: number;
  readonly meanSeconds: number;
  /** Standard deviation. */
  readonly deviationSeconds: number;
}

/** The times of the affiliates' latest orders, {@link TIMES_SAMPLE} at the most, one answer a question in the same order. */
export async function readClickToOrder(
  sql: DatabaseSql,
  questions: readonly HistoryQuestion[],
): Promise<ClickToOrder[]> {
  const asked = questions.map(({ affiliateId, until }, index) => ({
    ...{ index, affiliate_id: affiliateId, until: until.toISOString() },
  }));
  const rows = await sql<(ClickToOrder & { index: number })[]>`
    select q.index, count(*)::integer as orders, coalesce(avg(c.seconds), 0)::float8 as mean_seconds,
      coalesce(stddev_pop(c.seconds), 0)::float8 as deviation_seconds
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, affiliate_id integer, until timestamptz)
    cross join lateral (
      select extract(epoch from occurred_at - click_ts) as seconds from conversions
      where affiliate_id = q.affiliate_id and received_at < q.until and click_node is not null
        and recurring_of is null and source <> 'import'
      order by received_at desc, id desc limit ${TIMES_SAMPLE}
    ) c
    group by q.index`;
  const answers: ClickToOrder[] = questions.map(() => ({ orders: 0, meanSeconds: 0, deviationSeconds: 0 }));
  for (const { index, ...times } of rows) answers[index] = times;
  return answers;
}

/** Orders for the clicks of a campaign in a time: of one affiliate, and of all others. */
export interface CampaignOrders {
  readonly own: number;
  readonly others: number;
}

export interface CampaignQuestion extends HistoryQuestion {
  readonly campaignId: number;
  /** Of the clicks; `to` is outside. */
  readonly from: Date;
  readonly to: Date;
}

/** Counts the orders, one answer a question in the same order. */
export async function readCampaignOrders(
  sql: DatabaseSql,
  questions: readonly CampaignQuestion[],
): Promise<CampaignOrders[]> {
  const asked = questions.map(({ affiliateId, campaignId, until, from, to }, index) => ({
    ...{ index, affiliate_id: affiliateId, campaign_id: campaignId, until: until.toISOString() },
    ...{ from_time: from.toISOString(), to_time: to.toISOString() },
  }));
  const rows = await sql<{ index: number; own: bigint; others: bigint }[]>`
    select q.index, count(*) filter (where c.affiliate_id = q.affiliate_id) as own,
      count(*) filter (where c.affiliate_id <> q.affiliate_id) as others
    from json_to_recordset(${sql.json(asked)}::json) as q (index integer, affiliate_id integer, campaign_id integer,
      until timestamptz, from_time timestamptz, to_time timestamptz)
    join conversions c on c.campaign_id = q.campaign_id and c.click_ts >= q.from_time and c.click_ts < q.to_time
      and c.received_at < q.until and c.click_node is not null and c.affiliate_id is not null and c.recurring_of is null
    group by q.index`;
  const answers: CampaignOrders[] = questions.map(() => ({ own: 0, others: 0 }));
  for (const { index, own, others } of rows) {
    answers[index] = { own: Number(own), others: Number(others) };
  }
  return answers;
}

/** Days in which a customer is looked for at the other affiliates of one payout account. */
export const SHARED_CUSTOMER_DAYS = 30;

/** What a customer has bought of others that are paid to the account of an affiliate. */
export interface SharedCustomer {
  /** Other affiliates of the program that are paid to the same account. */
  readonly affiliates: number;
  /** Orders of the customer that are credited to them. */
  readonly orders: number;
}

/**
 * Orders of customers with others that share the affiliate's payout account, one answer a question in the same order. An
 * affiliate that was merged has become another one, and shares nothing.
 */
export async function readSharedCustomers(
  sql: DatabaseSql,
  questions: readonly (HistoryQuestion & { programId: number; customerId: string })[],
): Promise<SharedCustomer[]> {
  const asked = questions.map(({ affiliateId, programId, customerId, until }, index) => ({
    ...{ index, affiliate_id: affiliateId, program_id: programId, customer: customerId },
    until: until.toISOString(),
  }));
  const rows = await sql<{ index: number; affiliates: number; orders: bigint }[]>`
    select q.index, count(*)::integer as affiliates, sum(bought.orders)::bigint as orders
    from json_to_recordset(${sql.json(asked)}::json)
      as q (index integer, affiliate_id integer, program_id integer, customer text, until timestamptz)
    join payout_methods m on m.affiliate_id = q.affiliate_id and m.account_hash is not null
    join payout_methods o on o.account_hash = m.account_hash and o.affiliate_id <> m.affiliate_id
    join affiliates a on a.id = o.affiliate_id and a.program_id = q.program_id and a.merged_into is null
    cross join lateral (
      select count(*) as orders from conversions c
      where c.program_id = q.program_id and c.customer_id = q.customer and c.affiliate_id = a.id
        and c.received_at < q.until and c.received_at >= q.until - make_interval(days => ${SHARED_CUSTOMER_DAYS})
    ) bought
    group by q.index`;
  const answers: SharedCustomer[] = questions.map(() => ({ affiliates: 0, orders: 0 }));
  for (const { index, affiliates, orders } of rows) answers[index] = { affiliates, orders: Number(orders) };
  return answers;
}
