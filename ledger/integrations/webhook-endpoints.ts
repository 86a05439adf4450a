import type { Role } from '../access/api-keys.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

export const WEBHOOK_EVENT_TYPES = [
  'conversion.created',
  'conversion.changed',
  'conversion.confirmed',
  'conversion.paid',
  'payout.created',
  'payout.changed',
  'affiliate.created',
  'affiliate.status_changed',
  'report.ready',
  'webhook.test',
] as const;
export type WebhookEventType = (typeof WEBHOOK_EVENT_TYPES)[number];

/** What changes a conversion: all that an outgoing postback hears of. */
export const POSTBACK_EVENT_TYPES = [
  'conversion.changed',
  'conversion.confirmed',
  'conversion.paid',
] as const;

/** An outgoing postback is a URL with macros, called for the tracker of an affiliate. */
export const ENDPOINT_KINDS = ['webhook', 'outgoing_postback'] as const;
export type EndpointKind = (typeof ENDPOINT_KINDS)[number];
export const ENDPOINT_METHODS = ['GET', 'POST'] as const;
export type EndpointMethod = (typeof ENDPOINT_METHODS)[number];

export const ENDPOINT_STATUSES = ['active', 'disabled'] as const;

/** Where webhooks and outgoing postbacks go. */
export interface WebhookEndpoint {
  readonly id: number;
  readonly programId: number;
  /** Null: it receives the events of all affiliates of the program. */
  readonly affiliateId: number | null;
  /** Whose eyes the bodies are written for. */
  readonly role: Role;
  readonly kind: EndpointKind;
  /** Of an outgoing postback with macros. */
  readonly url: string;
  /** POST of a webhook. */
  readonly method: EndpointMethod;
  /** Empty: every event. */
  readonly events: WebhookEventType[];
  /** Of the conversions that an outgoing postback is called for; empty: every one. Empty of a webhook. */
  readonly statuses: string[];
  readonly eventNames: string[];
  readonly status: (typeof ENDPOINT_STATUSES)[number];
  readonly disabledReason: string | null;
  /** Since when every attempt has failed. */
  readonly failingSince: Date | null;
  /** Of a disabled one: until then it is kept what it misses. Null: it is active, or misses for good. */
  readonly keepsUntil: Date | null;
  readonly createdAt: Date;
}

const COLUMNS = [
  'id',
  'programId',
  'affiliateId',
  'role',
  'kind',
  'url',
  'method',
  'events',
  'statuses',
  'eventNames',
  'status',
  'disabledReason',
  'failingSince',
  'keepsUntil',
  'createdAt',
];

/** Who has said where an endpoint is: it is disabled with that user, or with that key. */
interface Behind {
  readonly userId: number | null;
  readonly madeBy: number | null;
}

type NewEndpoint = Pick<WebhookEndpoint, 'programId' | 'affiliateId' | 'role' | 'url' | 'events'> &
  Partial<Pick<WebhookEndpoint, 'kind' | 'method' | 'statuses' | 'eventNames'>>;

/** `secret` is encrypted. @throws InputError. */
export async function createWebhookEndpoint(
  sql: DatabaseSql,
  endpoint: NewEndpoint & { secret: Buffer } & Behind,
): Promise<WebhookEndpoint> {
  const [created] = await answeringInput(
    sql<[WebhookEndpoint]>`
      insert into webhook_endpoints ${sql.values({ ...endpoint })} returning ${sql(COLUMNS)}`,
  );
  return created;
}

export async function getWebhookEndpoint(sql: DatabaseSql, id: number): Promise<WebhookEndpoint | undefined> {
  const [endpoint] = await sql<WebhookEndpoint[]>`
    select ${sql(COLUMNS)} from webhook_endpoints where id = ${id}`;
  return endpoint;
}

/** Endpoints by id. */
export async function listWebhookEndpoints(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    role?: Role | undefined;
  },
): Promise<Page<WebhookEndpoint, number>> {
  const { programId = null, affiliateId = null, role = null } = request;
  const rows = await sql<WebhookEndpoint[]>`
    select ${sql(COLUMNS)} from webhook_endpoints
    where id > ${request.after ?? 0}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${role}::text is null or role = ${role})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Endpoints of an affiliate; of a program those of no affiliate. */
export async function countWebhookEndpoints(
  sql: DatabaseSql,
  owner: { programId: number | null; affiliateId: number | null },
): Promise<number> {
  const [row] = await sql<[{ endpoints: number }]>`
    select count(*)::integer as endpoints from webhook_endpoints
    where program_id = ${owner.programId} and affiliate_id is not distinct from ${owner.affiliateId}`;
  return row.endpoints;
}

/** Disables the active endpoints that one of these keys has made. */
export async function disableWebhooksMadeBy(sql: DatabaseSql, keyIds: readonly number[]): Promise<void> {
  await sql`
    update webhook_endpoints set status = 'disabled', disabled_reason = 'the key that made it was revoked'
    where made_by = any(${[...keyIds]}::integer[]) and status = 'active'`;
}

type EndpointChanges = Partial<
  Pick<WebhookEndpoint, 'url' | 'method' | 'events' | 'statuses' | 'eventNames' | 'status'> & Behind
>;

/** Changes the given columns; making it active again forgets why it was disabled. */
export async function updateWebhookEndpoint(
  sql: DatabaseSql,
  options: { id: number; changes: EndpointChanges },
): Promise<WebhookEndpoint | undefined> {
  const given = givenColumns(options.changes);
  if (options.changes.status === 'active') Object.assign(given, { disabledReason: null, failingSince: null });
  if (Object.keys(given).length === 0) return await getWebhookEndpoint(sql, options.id);
  const [endpoint] = await sql<WebhookEndpoint[]>`
    update webhook_endpoints set ${sql.set(given)} where id = ${options.id} returning ${sql(COLUMNS)}`;
  return endpoint;
}

/** Puts a new encrypted secret; the old one signs as well until `oldUntil`. */
export async function rotateWebhookSecret(
  sql: DatabaseSql,
  options: { id: number; secret: Buffer; oldUntil: Date },
): Promise<void> {
  const { id, secret, oldUntil } = options;
  await sql`
    update webhook_endpoints set old_secret = secret, old_secret_until = ${oldUntil}, secret = ${secret}
    where id = ${id}`;
}

/** Removes an endpoint with everything that was or is to be delivered to it. */
export async function deleteWebhookEndpoint(sql: DatabaseSql, id: number): Promise<void> {
  await sql`select remove_webhook_endpoint(${id})`;
}
