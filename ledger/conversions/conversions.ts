import { assert, InputError } from '../../core/errors.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import {
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';
import { DEFAULT_EVENT } from '../programs/events.ts';
import type { CommissionBase } from '../programs/programs.ts';
import type { CustomerKind } from '../programs/special-rates.ts';
import { type BookedItem, itemFromStored, type OrderItem, type StoredItem, storedItems } from './items.ts';
import {
  type ConversionSource,
  type CustomerStatus,
  conversionRow,
  payloadHash,
  priceConversions,
  type ReportedConversion,
} from './reported-conversion.ts';

export const CONVERSION_STATES = [
  'received',
  'awaiting_click',
  'attributed',
  'unattributed',
  'review',
  'rejected',
  'partially_refunded',
  'refunded',
] as const;
export type ConversionState = (typeof CONVERSION_STATES)[number];

/** States in which an affiliate is credited, or will be once a reviewer agrees. */
export const CREDITED_STATES = ['attributed', 'review', 'partially_refunded', 'refunded'] as const;

/** Why a conversion was put in review, rejected or left unattributed. */
export const CONVERSION_REASONS = [
  'self_referral',
  'affiliate_not_active',
  'bot_click',
  'forced_click',
  'high_conversion_rate_from_ip',
  'instant_conversion',
  'click_velocity_ip',
  'click_velocity_subnet',
  'click_velocity_fingerprint',
  'geo_mismatch',
  'data_centre',
  'repeat_orders',
  'coupon_without_click',
  'fast_conversions',
  'repeat_payment_account',
  'shared_payout_account',
  'leaked_coupon',
  'forced_clicks_share',
  'regular_click_to_order',
  'conversion_rate',
  'anomaly',
  'fingerprint_match',
  'first_order_in_review',
  'several_affiliates',
  'blocked_click',
  'invalid_click',
  'no_click',
  'invalid_click_id',
  'click_not_found',
  'click_of_other_program',
  'click_after_order',
  'outside_window',
  'unknown_coupon',
  'coupon_not_valid',
  'subscription_ended',
  'no_terms',
  'customer_not_eligible',
  'rejected_by_reviewer',
] as const;
export type ConversionReason = (typeof CONVERSION_REASONS)[number];

/**
 * The words the outside sees:
 * - pending: received, awaiting its click, in review, or credited and still in the hold;
 * - confirmed: credited, and the hold of the affiliate's own commission has ended;
 * - paid: that commission has been paid;
 * - rejected: rejected, without an affiliate, or wholly refunded.
 */
export const CONVERSION_STATUSES = ['pending', 'confirmed', 'rejected', 'paid'] as const;
export type ConversionStatus = (typeof CONVERSION_STATUSES)[number];

export interface Conversion {
  readonly id: bigint;
  readonly programId: number;
  readonly orderId: string;
  /** What it is of: an order id counts once per event. */
  readonly eventName: string;
  /** In the program's currency. */
  readonly amountMinor: bigint;
  readonly currency: string;
  /** As the shop reported it, and the rates it was converted by; null where that is the program's currency. */
  readonly orderCurrency: string | null;
  readonly orderAmountMinor: bigint | null;
  readonly rateId: number | null;
  readonly crossRateId: number | null;
  readonly refundedMinor: bigint;
  /** The shop has reported it as pending and not approved it yet: its commissions are held. */
  readonly awaitsShop: boolean;
  /** As the shop reported it. */
  readonly customerStatus: CustomerStatus | null;
  /** What was bought, where the shop said so. */
  readonly items: readonly BookedItem[] | null;
  /** While it is set the order earns nothing. */
  readonly cancelledAt: Date | null;
  readonly state: ConversionState;
  readonly status: ConversionStatus;
  readonly reason: ConversionReason | null;
  readonly source: ConversionSource;
  readonly occurredAt: Date;
  readonly receivedAt: Date;
  readonly decidedAt: Date | null;
  /** As the shop gave it. */
  readonly clickId: string | null;
  /** Codes, as the shop gave them. */
  readonly coupons: readonly string[];
  /** The one of them that credits it, unless a click or its customer's first order does. */
  readonly couponId: number | null;
  /** The winning click; of an order that is credited without one when it occurred, and nothing in the next three. */
  readonly clickTs: Date | null;
  readonly clickNode: number | null;
  readonly clickSeq: number | null;
  readonly clickIp: string | null;
  /** sub1 to sub5 of the winning click; null without one, and of orders from before they were kept. */
  readonly clickSubs: readonly string[] | null;
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  readonly linkId: number | null;
  readonly termsId: number | null;
  readonly evidence: JsonValue;
  readonly customerId: string | null;
  readonly customerEmailHash: string | null;
  readonly customerMailboxHash: string | null;
  readonly paymentAccountHash: string | null;
  /** The first order of the subscription by which this one was credited. */
  readonly recurringOf: bigint | null;
  /** By which customer rate and on what it earns; written with the decision. */
  readonly customerKind: CustomerKind | null;
  readonly commissionBase: CommissionBase | null;
  readonly ip: string | null;
  readonly userAgent: string | null;
  readonly fingerprint: bigint | null;
  readonly attempts: number;
}

export const CONVERSION_COLUMNS = [
  'id',
  'programId',
  'orderId',
  'eventName',
  'amountMinor',
  'currency',
  'orderCurrency',
  'orderAmountMinor',
  'rateId',
  'crossRateId',
  'refundedMinor',
  'awaitsShop',
  'customerStatus',
  'items',
  'cancelledAt',
  'state',
  'reason',
  'source',
  'occurredAt',
  'receivedAt',
  'decidedAt',
  'clickId',
  'coupons',
  'couponId',
  'clickTs',
  'clickNode',
  'clickSeq',
  'clickIp',
  'clickSubs',
  'campaignId',
  'affiliateId',
  'linkId',
  'termsId',
  'evidence',
  'customerId',
  'customerEmailHash',
  'customerMailboxHash',
  'paymentAccountHash',
  'recurringOf',
  'customerKind',
  'commissionBase',
  'ip',
  'userAgent',
  'fingerprint',
  'attempts',
];

/** Columns whose type in PostgreSQL is not the one of {@link Conversion}. */
export type StoredConversion = Omit<
  Conversion,
  'clickSeq' | 'customerEmailHash' | 'customerMailboxHash' | 'paymentAccountHash' | 'items'
> & {
  readonly items: readonly StoredItem[] | null;
  readonly clickSeq: bigint | null;
  readonly customerEmailHash: Buffer | null;
  readonly customerMailboxHash: Buffer | null;
  readonly paymentAccountHash: Buffer | null;
};

export function fromStored<Row extends StoredConversion>(row: Row) {
  const { clickSeq, customerEmailHash, customerMailboxHash, paymentAccountHash, fingerprint, items } = row;
  return {
    ...row,
    items: items?.map(itemFromStored) ?? null,
    clickSeq: clickSeq === null ? null : Number(clickSeq),
    customerEmailHash: customerEmailHash?.toString('hex') ?? null,
    customerMailboxHash: customerMailboxHash?.toString('hex') ?? null,
    paymentAccountHash: paymentAccountHash?.toString('hex') ?? null,
    fingerprint: fingerprint === null ? null : BigInt.asUintN(64, fingerprint),
  };
}

export type RecordedConversion =
  | { readonly outcome: 'accepted'; readonly conversion: Conversion }
  /** The same order with the same payload: the stored answer. */
  | { readonly outcome: 'duplicate'; readonly conversion: Conversion }
  /** The same order with another payload: the stored one stays; `differing` names the fields. */
  | { readonly outcome: 'conflict'; readonly conversion: Conversion; readonly differing: string[] };

/** Records an order once per (program, order id, event). @throws InputError. */
export async function recordConversion(
  sql: DatabaseSql,
  conversion: ReportedConversion,
): Promise<RecordedConversion> {
  const [recorded] = await recordConversions(sql, [conversion]);
  assert(recorded, 'every order has an answer');
  if (recorded instanceof InputError) throw recorded;
  return recorded;
}

/**
 * Records orders, each once per (program, order id, event), and answers in their order: what {@link recordConversion} would
 * have answered one by one, with the InputError of those that are at fault. One insert, of one parameter so that batches of
 * any length are one statement to the planner, and one query for those that were there already.
 */
export async function recordConversions(
  sql: DatabaseSql,
  conversions: readonly ReportedConversion[],
): Promise<(RecordedConversion | InputError)[]> {
  const priced = await priceConversions(sql, conversions);
  const answers = priced.map((one): RecordedConversion | InputError | undefined =>
    one instanceof InputError ? one : undefined,
  );
  const good = priced.flatMap((one, i) => {
    if (one instanceof InputError) return [];
    const { conversion } = one;
    return [{ i, priced: one, conversion, hash: payloadHash(conversion), key: orderKey(conversion) }];
  });
  // In one order everywhere, so that two batches with the same orders wait for each other and never in a circle.
  const rows = good
    .toSorted((a, b) => (a.key === b.key ? a.i - b.i : a.key < b.key ? -1 : 1))
    .map(({ priced, hash }) => conversionRow(priced, hash));
  const inserted =
    rows.length === 0
      ? []
      : await answeringInput(sql<StoredConversion[]>`
          insert into conversions (program_id, order_id, event_name, amount_minor, currency, order_currency, order_amount_minor,
            rate_id, cross_rate_id, source, received_at, next_attempt_at, occurred_at, click_id, customer_id,
            customer_email_hash, customer_mailbox_hash, payment_account_hash, ip, user_agent, fingerprint, payload_hash,
            awaits_shop, coupons, customer_status, items)
          select * from json_to_recordset(${sql.json(rows)}::json) as r (
            program_id integer, order_id text, event_name text, amount_minor bigint, currency text, order_currency text,
            order_amount_minor bigint, rate_id integer, cross_rate_id integer, source text, received_at timestamptz,
            next_attempt_at timestamptz, occurred_at timestamptz, click_id text, customer_id text,
            customer_email_hash bytea, customer_mailbox_hash bytea, payment_account_hash bytea, ip inet,
            user_agent text, fingerprint bigint, payload_hash bytea, awaits_shop boolean, coupons text[],
            customer_status text, items jsonb)
          on conflict (program_id, order_id, event_name) do nothing
          returning ${sql(CONVERSION_COLUMNS)}, conversion_status(state, null) as status`);
  const accepted = new Map(inserted.map((row) => [orderKey(row), row]));
  const later = good.filter(({ i, key }) => {
    const row = accepted.get(key);
    if (!row) return true;
    // Further orders of the batch with the same id are repetitions of this first one.
    accepted.delete(key);
    answers[i] = { outcome: 'accepted', conversion: fromStored(row) };
    return false;
  });
  const stored = await storedOrders(sql, later);
  for (const { i, conversion, hash, key } of later) {
    const row = stored.get(key);
    assert(row, 'an order that cannot be inserted is there');
    const { payloadHash: before, raisedMinor, ...rest } = row;
    const known = fromStored(rest);
    // Of an order that was raised since, its present amount says the same as the first one.
    const amountMinor = conversion.amountMinor - raisedMinor;
    answers[i] =
      before.equals(hash) || (raisedMinor > 0n && before.equals(payloadHash({ ...conversion, amountMinor })))
        ? { outcome: 'duplicate', conversion: known }
        : { outcome: 'conflict', conversion: known, differing: differingFields(known, conversion) };
  }
  return answers.map((answer) => {
    assert(answer, 'every order has an answer');
    return answer;
  });
}

function orderKey({ programId, orderId, eventName = DEFAULT_EVENT }: OrderName): string {
  return `${programId} ${eventName} ${orderId}`;
}

async function storedOrders(
  sql: DatabaseSql,
  orders: readonly { conversion: ReportedConversion }[],
): Promise<Map<string, StoredConversion & { payloadHash: Buffer; raisedMinor: bigint }>> {
  if (orders.length === 0) return new Map();
  const rows = await sql<(StoredConversion & { payloadHash: Buffer; raisedMinor: bigint })[]>`
    select ${sql(CONVERSION_COLUMNS)}, status, payload_hash, (
        select coalesce(sum(raised_minor), 0)::bigint from order_changes where conversion_id = c.id
      ) as raised_minor
    from conversions_with_status c
    where (program_id, order_id, event_name) in (
      select * from unnest(
        ${orders.map(({ conversion }) => conversion.programId)}::integer[],
        ${orders.map(({ conversion }) => conversion.orderId)}::text[],
        ${orders.map(({ conversion }) => conversion.eventName ?? DEFAULT_EVENT)}::text[]
      )
    )`;
  return new Map(rows.map((row) => [orderKey(row), row]));
}

function differingFields(stored: Conversion, reported: ReportedConversion): string[] {
  const pairs: [string, unknown, unknown][] = [
    ['amount', stored.orderAmountMinor ?? stored.amountMinor, reported.amountMinor],
    ['currency', stored.orderCurrency ?? stored.currency, reported.currency],
    ['click_id', stored.clickId, reported.clickId ?? null],
    ['coupon', stored.coupons.join(), (reported.coupons ?? []).join()],
    ['customer_id', stored.customerId, reported.customerId ?? null],
    ['customer_email_hash', stored.customerEmailHash, reported.customerEmailHash ?? null],
    ['payment_account_hash', stored.paymentAccountHash, reported.paymentAccountHash ?? null],
    ['customer_status', stored.customerStatus, reported.customerStatus ?? null],
    ['items', itemsText(stored.items), itemsText(reported.items ?? null)],
  ];
  const differing = pairs.filter(([, before, now]) => before !== now).map(([field]) => field);
  return differing.length > 0 ? differing : ['occurred_at'];
}

/** As the shop reports them, to be compared. */
function itemsText(items: readonly OrderItem[] | null): string | null {
  return items && JSON.stringify(storedItems(items, undefined));
}

export async function getConversion(sql: DatabaseSql, id: bigint): Promise<Conversion | undefined> {
  const [row] = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, status from conversions_with_status where id = ${id}`;
  return row && fromStored(row);
}

/** A conversion with `columns` (JSON) in the place of its present ones: as it was at an event. */
export async function getConversionAsOf(
  sql: DatabaseSql,
  id: bigint,
  columns: string,
): Promise<Conversion | undefined> {
  const [row] = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, conversion_status(state, (
      select m.state from commissions m where m.conversion_id = at_event.id and m.level = 1
      order by m.state in ('rejected', 'reversed') limit 1
    )) as status
    from (
      select past.* from conversions c cross join lateral jsonb_populate_record(c, ${columns}::text::jsonb) past
      where c.id = ${id}
    ) at_event`;
  return row && fromStored(row);
}

/** An order by the names that its shop gives it; without an event it is a sale. */
export interface OrderName {
  readonly programId: number;
  readonly orderId: string;
  readonly eventName?: string | undefined;
}

export async function findConversionByOrder(
  sql: DatabaseSql,
  { programId, orderId, eventName = DEFAULT_EVENT }: OrderName,
): Promise<Conversion | undefined> {
  const [row] = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, status from conversions_with_status
    where program_id = ${programId} and order_id = ${orderId} and event_name = ${eventName}`;
  return row && fromStored(row);
}

export const CONVERSION_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    received_at: 'id',
    occurred_at: { type: 'bigint', by: (sql) => sql`(extract(epoch from occurred_at) * 1000000)::bigint` },
    order_id: { type: 'text', by: (sql) => sql`order_id` },
    amount: { type: 'bigint', by: (sql) => sql`amount_minor` },
    status: { type: 'text', by: (sql) => sql`status` },
    affiliate: BY_AFFILIATE,
  },
  // Whole ids alone: orders are many. Whose customer it is, some roles do not learn.
  search: (sql, { text, id, programId }) => sql`
    id in (
      select found.id from programs p cross join lateral (
        select c.id from conversions c where c.program_id = p.id and c.order_id = ${text}
        union all
        select c.id from conversions c where c.program_id = p.id and c.click_id = ${text}
      ) found
      where ${programId}::integer is null or p.id = ${programId}
      union all
      select ${id}::bigint
    )`,
};

/** Conversions, the newest first. */
export async function listConversions(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    state?: ConversionState | undefined;
    status?: ConversionStatus | undefined;
    campaignId?: number | undefined;
    reason?: ConversionReason | undefined;
    orderId?: string | undefined;
    eventName?: string | undefined;
    customerId?: string | undefined;
    clickId?: string | undefined;
    /** Of receipt; `to` is outside. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Conversion, bigint>> {
  const { programId = null, affiliateId = null, state = null, status = null } = request;
  const { campaignId = null, reason = null, orderId = null, customerId = null, clickId = null } = request;
  const { from = null, to = null, eventName = null } = request;
  const page = listClauses(sql, CONVERSION_LIST, request);
  const rows = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, status, ${page.key} from conversions_with_status
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${state}::text is null or state = ${state})
      and (${status}::text is null or status = ${status})
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
      and (${reason}::text is null or reason = ${reason})
      and (${orderId}::text is null or order_id = ${orderId})
      and (${eventName}::text is null or event_name = ${eventName})
      and (${customerId}::text is null or customer_id = ${customerId})
      and (${clickId}::text is null or click_id = ${clickId})
      and (${from}::timestamptz is null or received_at >= ${from})
      and (${to}::timestamptz is null or received_at < ${to})
    ${page.order}`;
  const read = pageOf(rows, request);
  return { ...read, rows: read.rows.map(fromStored) };
}

/** Decided conversions by id, those after `after`, received between two times. */
export async function listDecided(
  sql: DatabaseSql,
  options: { from: Date; to: Date; after: bigint; limit: number; programId?: number | undefined },
): Promise<Conversion[]> {
  const { from, to, after, limit, programId = null } = options;
  const rows = await sql<StoredConversion[]>`
    select ${sql(CONVERSION_COLUMNS)}, status from conversions_with_status
    where id > ${after} and received_at >= ${from} and received_at < ${to} and decided_at is not null
      and (${programId}::integer is null or program_id = ${programId})
    order by id limit ${limit}`;
  return rows.map(fromStored);
}

/** When the oldest of the latest `count` decided conversions was received; undefined when none is decided. */
export async function latestDecidedSince(
  sql: DatabaseSql,
  options: { count: number },
): Promise<Date | undefined> {
  const [row] = await sql<{ since: Date | null }[]>`
    select min(received_at) as since from (
      select received_at from conversions where decided_at is not null order by id desc limit ${options.count}
    ) as latest`;
  return row?.since ?? undefined;
}
