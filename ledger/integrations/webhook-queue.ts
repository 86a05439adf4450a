import { keptText } from '../../core/secret-forms.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import type { EndpointKind, EndpointMethod, WebhookEndpoint, WebhookEventType } from './webhook-endpoints.ts';

/** Something that happened, written by a trigger in the transaction in which it did. */
export interface WebhookEvent {
  readonly id: bigint;
  /** `evt_…`: what a receiver knows the message by, the same at each attempt. */
  readonly messageId: string;
  readonly type: WebhookEventType;
  readonly programId: number;
  readonly affiliateId: number | null;
  readonly endpointId: number | null;
  /** Prefixed id. */
  readonly subject: string;
  readonly at: Date;
  /** What the conversion was then, as JSON by column; null: it is shown as it is. */
  readonly conversion: string | null;
  /** No body could be written for it before. */
  readonly wasPostponed: boolean;
}

export const DELIVERY_STATES = ['pending', 'delivered', 'dead', 'superseded'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** An event on its way to an endpoint. */
export interface WebhookDelivery {
  readonly id: bigint;
  readonly endpointId: number;
  readonly messageId: string;
  readonly type: WebhookEventType;
  readonly subject: string;
  readonly kind: EndpointKind;
  readonly method: EndpointMethod;
  readonly url: string;
  /** JSON: the message; of an outgoing postback the values of the macros. */
  readonly body: string;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly nextAttemptAt: Date;
  /** Of the last answer; null when there was none. */
  readonly lastStatus: number | null;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

/** One attempt at a delivery. */
export interface WebhookAttempt {
  readonly at: Date;
  readonly durationMs: number;
  readonly status: number | null;
  readonly error: string | null;
  /** The beginning of the answer. */
  readonly response: string | null;
}

/** Writes an event for one endpoint: a test. */
export async function addTestEvent(sql: DatabaseSql, endpoint: WebhookEndpoint): Promise<void> {
  const { id, programId, affiliateId } = endpoint;
  await sql`
    insert into webhook_events (type, program_id, affiliate_id, endpoint_id, subject)
    values ('webhook.test', ${programId}, ${affiliateId}, ${id}, ${`whk_${id}`})`;
}

/** Writes the event of a report that was made, for the endpoint that its owner has chosen. */
export async function addReportEvent(
  sql: DatabaseSql,
  { endpoint, jobId }: { endpoint: WebhookEndpoint; jobId: bigint },
): Promise<void> {
  const { id, programId, affiliateId } = endpoint;
  await sql`
    insert into webhook_events (type, program_id, affiliate_id, endpoint_id, subject)
    values ('report.ready', ${programId}, ${affiliateId}, ${id}, ${`job_${jobId}`})`;
}

/** Tests of the last minute to the endpoints of an affiliate; of a program to those of no affiliate. */
export async function countRecentTests(
  sql: DatabaseSql,
  owner: Pick<WebhookEndpoint, 'programId' | 'affiliateId'>,
): Promise<number> {
  const [row] = await sql<[{ tests: number }]>`
    select count(*)::integer as tests from webhook_events
    where at > clock_timestamp() - interval '1 minute' and type = 'webhook.test'
      and program_id = ${owner.programId} and affiliate_id is not distinct from ${owner.affiliateId}`;
  return row.tests;
}

/** Takes the oldest events without deliveries, at most `limit`; others skip them. */
export async function takeEvents(
  tx: DatabaseTransaction,
  options: { limit: number },
): Promise<WebhookEvent[]> {
  return await tx<WebhookEvent[]>`
    with taken as (
      select id, conversion::text as conversion, postponed_until is not null as was_postponed from webhook_events
      where not fanned_out and (postponed_until is null or postponed_until <= clock_timestamp())
      order by id limit ${options.limit} for update skip locked
    )
    update webhook_events v set fanned_out = true, conversion = null from taken where v.id = taken.id
    returning v.id, message_id, type, program_id, affiliate_id, endpoint_id, subject, at, taken.conversion, taken.was_postponed`;
}

/** An event for which no body could be written waits so long. */
const POSTPONED = '1 hour';

/** Puts a taken event back, so that the others do not wait for it. */
export async function postponeEvent(
  tx: DatabaseTransaction,
  { id, conversion }: WebhookEvent,
): Promise<void> {
  await tx`
    update webhook_events
    set fanned_out = false, conversion = ${conversion}::jsonb, postponed_until = clock_timestamp() + ${POSTPONED}::interval
    where id = ${id}`;
}

/** Whether a later event of the same object has its deliveries: what this one says is true no more. */
export async function isOutdated(tx: DatabaseTransaction, { id, subject }: WebhookEvent): Promise<boolean> {
  const later = await tx`
    select from webhook_events where subject = ${subject} and id > ${id} and fanned_out limit 1`;
  return later.length > 0;
}

/**
 * Lets no other transaction write deliveries of these subjects until this one ends: what an endpoint receives last of a
 * conversion is what was true last.
 */
export async function lockSubjects(tx: DatabaseTransaction, subjects: readonly string[]): Promise<void> {
  await tx`
    select pg_advisory_xact_lock(key) from (
      select distinct hashtextextended('webhooks of ' || subject, 0) as key
      from unnest(${[...subjects]}::text[]) as s (subject) order by key
    ) keys`;
}

export type Listener = Pick<WebhookEndpoint, 'id' | 'role' | 'kind' | 'statuses' | 'eventNames'>;

/** More are not kept for a disabled endpoint: orders of a day, and no load on a receiver that comes back. */
export const MAX_KEPT_EVENTS = 10_000;

/** Ends what disabled endpoints are kept, where as much waits for them as {@link MAX_KEPT_EVENTS}. */
export async function endFullKeeping(tx: DatabaseTransaction): Promise<void> {
  await tx`
    update webhook_endpoints set keeps_until = clock_timestamp()
    where id in (
      select e.id from webhook_endpoints e
      where keeps_until > clock_timestamp() and (
        select count(*) from (
          select from webhook_deliveries where endpoint_id = e.id and state = 'pending' limit ${MAX_KEPT_EVENTS}
        ) waiting
      ) >= ${MAX_KEPT_EVENTS}
      for no key update skip locked
    )`;
}

/** The endpoints that receive an event: the active ones, and those that get it once they are active again. */
export async function listenersOf(sql: DatabaseSql, event: WebhookEvent): Promise<Listener[]> {
  const { programId, affiliateId, endpointId, type } = event;
  return await sql<Listener[]>`
    select id, role, kind, statuses, event_names from webhook_endpoints
    where program_id = ${programId} and (status = 'active' or keeps_until > clock_timestamp())
      and (${endpointId}::integer is null or id = ${endpointId})
      and (affiliate_id is null or affiliate_id = ${affiliateId})
      and (cardinality(events) = 0 or ${type} = any(events) or ${endpointId}::integer is not null)
    order by id`;
}

export async function addDelivery(
  sql: DatabaseSql,
  delivery: { endpointId: number; eventId: bigint; body: string },
): Promise<void> {
  const { endpointId, eventId, body } = delivery;
  await sql`
    insert into webhook_deliveries (endpoint_id, event_id, body) values (${endpointId}, ${eventId}, ${body})
    on conflict (endpoint_id, event_id) do nothing`;
}

/**
 * Adds what an outgoing postback says of a conversion, unless that is what it said last; null: nothing that the endpoint wants.
 * It takes the place of what has not been delivered yet: a tracker goes by what came last, and an attempt that was made again
 * would come after a later change. It waits for the end of attempts that are under way.
 */
export async function addPostbackDelivery(
  tx: DatabaseTransaction,
  delivery: { endpointId: number; event: WebhookEvent; body: string | null },
): Promise<void> {
  const { endpointId, event, body } = delivery;
  const { id: eventId, subject } = event;
  // What was superseded before any attempt was never said; what was superseded after one may have arrived.
  await tx`
    with earlier as (
      select d.id, d.body, d.state, d.attempts, d.claimed_until
      from webhook_deliveries d join webhook_events v on v.id = d.event_id
      where d.endpoint_id = ${endpointId} and v.subject = ${subject}
      for no key update of d
    ), said_last as (
      select body, state from earlier
      where state <> 'superseded' or attempts > 0 or claimed_until is not null
      order by id desc limit 1
    ), is_new as (
      select coalesce((select max(claimed_until) from earlier), clock_timestamp()) as not_before
      where not exists (select from said_last where body = ${body} and state <> 'superseded')
    ), replaced as (
      update webhook_deliveries d set state = 'superseded', done_at = clock_timestamp() from earlier e, is_new
      where d.id = e.id and e.state in ('pending', 'dead')
    )
    insert into webhook_deliveries (endpoint_id, event_id, body, next_attempt_at)
    select ${endpointId}, ${eventId}, ${body}, greatest(not_before, clock_timestamp()) from is_new
    where ${body}::text is not null
    on conflict (endpoint_id, event_id) do nothing`;
}

/** A delivery to be attempted now, with where it goes. */
export interface DueDelivery {
  readonly id: bigint;
  readonly endpointId: number;
  readonly kind: EndpointKind;
  readonly method: EndpointMethod;
  readonly url: string;
  readonly messageId: string;
  /** The order that it is about. */
  readonly conversionId: bigint | null;
  /** Whether the endpoint is an affiliate's: how the program's own systems name things is not for it. */
  readonly isOfAffiliate: boolean;
  /** Of the call that reported the order, while the log of calls has it; for endpoints of the program only. */
  readonly requestId: string | null;
  readonly body: string;
  readonly attempts: number;
  /** Whether the endpoint's last attempt failed. */
  readonly isFailing: boolean;
  /** Encrypted; the old one is null unless it still signs. */
  readonly secret: Buffer;
  readonly oldSecret: Buffer | null;
}

/** A worker that died with a claim keeps its deliveries from the others for so long. */
const CLAIM_SECONDS = 60;

/** How many deliveries may be taken. */
export interface ClaimLimits {
  /** Of endpoints whose last attempt succeeded, or that are new. */
  readonly healthy: number;
  /** Of the others together. */
  readonly failing: number;
  /** Under way at a time, of one healthy endpoint; a failing one has one. */
  readonly perEndpoint: number;
}

/**
 * Takes deliveries that are due: of each endpoint its longest waiting, before the second of any other, so that no
 * backlog stands before another.
 */
export async function claimDeliveries(sql: DatabaseSql, limits: ClaimLimits): Promise<DueDelivery[]> {
  const { healthy, failing, perEndpoint } = limits;
  return await sql<DueDelivery[]>`
    with under_way as (
      select endpoint_id, count(*) as deliveries from webhook_deliveries
      where claimed_until > clock_timestamp() group by endpoint_id
    ), due as (
      select d.id, d.next_attempt_at, d.place, e.failing_since is not null as is_failing
      from webhook_endpoints e left join under_way u on u.endpoint_id = e.id
      cross join lateral (
        select w.id, w.next_attempt_at, row_number() over (order by w.next_attempt_at, w.id) as place
        from webhook_deliveries w
        where w.endpoint_id = e.id and w.state = 'pending' and w.next_attempt_at <= clock_timestamp()
          and (w.claimed_until is null or w.claimed_until <= clock_timestamp())
        order by w.next_attempt_at, w.id
        limit greatest(0, case when e.failing_since is null then ${perEndpoint}::integer else 1 end - coalesce(u.deliveries, 0))
      ) d
      where e.status = 'active'
    ), ranked as (
      select id, is_failing, row_number() over (partition by is_failing order by place, next_attempt_at, id) as rank from due
    ), claimed as (
      update webhook_deliveries d set claimed_until = clock_timestamp() + make_interval(secs => ${CLAIM_SECONDS})
      where d.id in (
        select w.id from webhook_deliveries w join ranked r on r.id = w.id
        where r.rank <= case when r.is_failing then ${failing}::bigint else ${healthy}::bigint end and w.state = 'pending'
          and (w.claimed_until is null or w.claimed_until <= clock_timestamp())
        for no key update of w skip locked
      )
      returning d.*
    )
    select c.id, c.endpoint_id, e.kind, e.method, e.url, v.message_id, c.body, c.attempts, e.secret,
      e.failing_since is not null as is_failing, s.conversion_id, e.affiliate_id is not null as is_of_affiliate,
      case when e.affiliate_id is null then (
        select k.request_id from conversions o
        join postback_calls k on k.program_id = o.program_id and k.order_id = o.order_id and k.conversion_id = o.id
        where o.id = s.conversion_id order by k.id limit 1
      ) end as request_id,
      case when e.old_secret_until > clock_timestamp() then e.old_secret end as old_secret
    from claimed c join webhook_endpoints e on e.id = c.endpoint_id join webhook_events v on v.id = c.event_id
    cross join lateral (
      select case when v.subject ~ '^cnv_[0-9]{1,18}$' then substr(v.subject, 5)::bigint end as conversion_id
    ) s
    order by c.id`;
}

const MAX_ERROR_LENGTH = 500;
const MAX_RESPONSE_LENGTH = 1_000;

/** A receiver can answer with what it was sent, or with a key of its own. */
function kept(text: string | null, maxLength: number): string | null {
  return text === null ? null : keptText(text, maxLength);
}

/**
 * Writes down an attempt and what follows from it: done, another attempt at `nextAttemptAt`, or given up. What was superseded
 * meanwhile stays so, unless it has arrived.
 */
export async function recordAttempt(
  tx: DatabaseTransaction,
  attempt: Omit<WebhookAttempt, 'at'> & {
    deliveryId: bigint;
    outcome: { state: 'delivered' | 'dead' } | { state: 'pending'; nextAttemptAt: Date };
  },
): Promise<void> {
  const { deliveryId, durationMs, status, outcome } = attempt;
  const error = kept(attempt.error, MAX_ERROR_LENGTH);
  const response = kept(attempt.response, MAX_RESPONSE_LENGTH);
  const { state } = outcome;
  const nextAttemptAt = state === 'pending' ? outcome.nextAttemptAt : null;
  await tx`
    insert into webhook_attempts (delivery_id, duration_ms, status, error, response)
    values (${deliveryId}, ${durationMs}, ${status}, ${error}, ${response})`;
  await tx`
    with done as (
      update webhook_deliveries set attempts = attempts + 1, last_status = ${status}, last_error = ${error},
        state = case when state = 'superseded' and ${state} <> 'delivered' then state else ${state} end,
        claimed_until = null, next_attempt_at = coalesce(${nextAttemptAt}::timestamptz, next_attempt_at),
        done_at = case when ${state} = 'pending' then null else clock_timestamp() end
      where id = ${deliveryId} returning endpoint_id
    )
    update webhook_endpoints e
    set failing_since = case when ${state} = 'delivered' then null else coalesce(e.failing_since, clock_timestamp()) end
    from done where e.id = done.endpoint_id
      and (${state} = 'delivered') = (e.failing_since is not null)`;
}

/**
 * Disables an active endpoint; returns it when this call did. What waits for it, and what it misses until `keepsUntil`, waits
 * until it is active again.
 */
export async function disableEndpoint(
  sql: DatabaseSql,
  options: { endpointId: number; reason: string; failingForMs?: number },
): Promise<Pick<WebhookEndpoint, 'id' | 'programId' | 'affiliateId' | 'url' | 'keepsUntil'> | undefined> {
  const { endpointId, failingForMs = 0 } = options;
  const reason = keptText(options.reason, MAX_ERROR_LENGTH);
  const [disabled] = await sql<
    Pick<WebhookEndpoint, 'id' | 'programId' | 'affiliateId' | 'url' | 'keepsUntil'>[]
  >`
    update webhook_endpoints set status = 'disabled', disabled_reason = ${reason}
    where id = ${endpointId} and status = 'active'
      and (${failingForMs} = 0 or failing_since <= ${new Date(Date.now() - failingForMs)})
    returning id, program_id, affiliate_id, url, keeps_until`;
  return disabled;
}

const DELIVERY_COLUMNS = (sql: DatabaseSql) => sql`
  d.id, d.endpoint_id, v.message_id, v.type, v.subject, e.kind, e.method, e.url, d.body, d.state, d.attempts,
  d.next_attempt_at, d.last_status, d.last_error, d.created_at, d.done_at`;

export const DELIVERY_LIST: ListOrder = {
  id: (sql) => sql`d.id`,
  newestFirst: true,
  sorts: { created_at: 'id', state: { type: 'text', by: (sql) => sql`d.state` } },
  search: (sql, { text, pattern, id }) =>
    sql`v.type ilike ${pattern} or v.subject = ${text} or v.message_id::text = ${text} or d.id = ${id}::bigint`,
};

/** Deliveries to one endpoint, the newest first. */
export async function listDeliveries(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    endpointId: number;
    state?: DeliveryState | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<WebhookDelivery, bigint>> {
  const { endpointId, state = null, from = null, to = null } = request;
  const page = listClauses(sql, DELIVERY_LIST, request);
  const rows = await sql<WebhookDelivery[]>`
    select ${DELIVERY_COLUMNS(sql)}, ${page.key} from webhook_deliveries d join webhook_events v on v.id = d.event_id
      join webhook_endpoints e on e.id = d.endpoint_id
    where d.endpoint_id = ${endpointId}
      and ${page.where}
      and (${state}::text is null or d.state = ${state})
      and (${from}::timestamptz is null or d.created_at >= ${from})
      and (${to}::timestamptz is null or d.created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

export async function getDelivery(sql: DatabaseSql, id: bigint): Promise<WebhookDelivery | undefined> {
  const [delivery] = await sql<WebhookDelivery[]>`
    select ${DELIVERY_COLUMNS(sql)} from webhook_deliveries d join webhook_events v on v.id = d.event_id
      join webhook_endpoints e on e.id = d.endpoint_id
    where d.id = ${id}`;
  return delivery;
}

/** Attempts at a delivery, the first one first. */
export async function listAttempts(sql: DatabaseSql, deliveryId: bigint): Promise<WebhookAttempt[]> {
  return await sql<WebhookAttempt[]>`
    select at, duration_ms, status, error, response from webhook_attempts
    where delivery_id = ${deliveryId} order by id`;
}

/**
 * Whether another postback of the same conversion, or a status that the endpoint does not want, came after this one: sent
 * again it would overwrite what the tracker has. Holds the conversion's deliveries as they are until the transaction ends.
 */
export async function isOvertaken(tx: DatabaseTransaction, deliveryId: bigint): Promise<boolean> {
  const delivery = await getDelivery(tx, deliveryId);
  if (delivery?.kind !== 'outgoing_postback' || delivery.type === 'webhook.test') return false;
  const { endpointId, subject } = delivery;
  await lockSubjects(tx, [subject]);
  const [row] = await tx<[{ overtaken: boolean }]>`
    select bool_or(d.id > ${deliveryId} or d.state = 'superseded') as overtaken
    from webhook_deliveries d join webhook_events v on v.id = d.event_id
    where d.endpoint_id = ${endpointId} and v.subject = ${subject} and d.id >= ${deliveryId}`;
  return row.overtaken;
}

/**
 * Starts deliveries over: one, or every dead one of an endpoint. Returns how many. At once, unless an attempt is under way: its
 * own, or one of a postback whose place it took, which would arrive behind it.
 */
export async function replayDeliveries(
  sql: DatabaseSql,
  which: { deliveryId: bigint } | { deadOf: number },
): Promise<number> {
  const chosen =
    'deliveryId' in which
      ? sql`d.id = ${which.deliveryId}`
      : sql`d.endpoint_id = ${which.deadOf} and d.state = 'dead'`;
  const count = await sql`
    update webhook_deliveries d set state = 'pending', attempts = 0, done_at = null,
      next_attempt_at = greatest(clock_timestamp(), (
        select max(o.claimed_until) from webhook_events v join webhook_events w on w.subject = v.subject
          join webhook_deliveries o on o.event_id = w.id and o.endpoint_id = d.endpoint_id
        where v.id = d.event_id and o.state = 'superseded'
      ))
    where ${chosen}`.affected();
  return count;
}

/** Forgets events of more than 30 days ago that have nothing left to deliver, at most `limit`. */
export async function forgetWebhookEvents(sql: DatabaseSql, options: { limit: number }): Promise<void> {
  await sql`select forget_webhook_events(${options.limit})`;
}
