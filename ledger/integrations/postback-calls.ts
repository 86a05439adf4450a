import type { JsonValue } from '../../core/postgres/sql.ts';
import { keptJson, keptText } from '../../core/secret-forms.ts';
import { MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';

export const CALL_WAYS = ['postback', 'pixel', 'api', 'batch', 'refund', 'replay', 'source'] as const;
export type CallWay = (typeof CALL_WAYS)[number];
/** `ignored`: it was read, and says nothing that matters here, such as a test. */
export const CALL_OUTCOMES = ['accepted', 'duplicate', 'rejected', 'ignored'] as const;
export type CallOutcome = (typeof CALL_OUTCOMES)[number];

/** One call by which an order or a refund was reported, with what became of it. */
export interface PostbackCall {
  readonly id: bigint;
  readonly receivedAt: Date;
  readonly requestId: string;
  readonly via: CallWay;
  /** Null for a call without a valid key. */
  readonly programId: number | null;
  readonly actor: string | null;
  readonly ip: string | null;
  /** As they came, without secrets. */
  readonly params: JsonValue;
  readonly outcome: CallOutcome;
  /** Of the HTTP answer. */
  readonly status: number;
  /** Why it was refused: a problem's code. */
  readonly code: string | null;
  readonly detail: string | null;
  readonly orderId: string | null;
  readonly conversionId: bigint | null;
  readonly replayOf: bigint | null;
  /** Of a call of a source. */
  readonly sourceId: number | null;
}

export type NewPostbackCall = Omit<PostbackCall, 'id' | 'receivedAt' | 'sourceId'> & {
  readonly sourceId?: number;
  /** The whole request of a source, encrypted. */
  readonly request?: Buffer;
  /** SHA-256 of a signed body. */
  readonly bodyHash?: Buffer | undefined;
};

const COLUMNS = [
  'id',
  'receivedAt',
  'requestId',
  'via',
  'programId',
  'actor',
  'ip',
  'params',
  'outcome',
  'status',
  'code',
  'detail',
  'orderId',
  'conversionId',
  'replayOf',
  'sourceId',
];

const MAX_DETAIL_LENGTH = 2_000;

/** Appends calls to the log, without keys and signing secrets, and returns their ids, in their order. */
export async function insertPostbackCalls(
  sql: DatabaseSql,
  calls: readonly NewPostbackCall[],
): Promise<bigint[]> {
  if (calls.length === 0) return [];
  const rows = calls.map((call) => ({
    request_id: call.requestId,
    via: call.via,
    program_id: call.programId,
    actor: call.actor,
    ip: call.ip,
    params: keptJson(call.params),
    outcome: call.outcome,
    status: call.status,
    code: call.code,
    detail: call.detail === null ? null : keptText(call.detail, MAX_DETAIL_LENGTH),
    order_id: call.orderId === null ? null : keptText(call.orderId, MAX_REFERENCE_LENGTH),
    conversion_id: call.conversionId?.toString() ?? null,
    replay_of: call.replayOf?.toString() ?? null,
    source_id: call.sourceId ?? null,
    request: call.request ? `\\x${call.request.toString('hex')}` : null,
    body_hash: call.bodyHash ? `\\x${call.bodyHash.toString('hex')}` : null,
  }));
  const inserted = await sql<{ id: bigint }[]>`
    insert into postback_calls (request_id, via, program_id, actor, ip, params, outcome, status, code, detail,
      order_id, conversion_id, replay_of, source_id, request, body_hash)
    select * from json_to_recordset(${sql.json(rows)}::json) as r (
      request_id text, via text, program_id integer, actor text, ip inet, params jsonb, outcome text, status integer,
      code text, detail text, order_id text, conversion_id bigint, replay_of bigint, source_id integer,
      request bytea, body_hash bytea)
    returning id`;
  return inserted.map(({ id }) => id);
}

export async function getPostbackCall(sql: DatabaseSql, id: bigint): Promise<PostbackCall | undefined> {
  const [call] = await sql<PostbackCall[]>`select ${sql(COLUMNS)} from postback_calls where id = ${id}`;
  return call;
}

/** Of each call of a source that its secret does not prove, and of no other. */
const UNPROVEN = 'signature_required';

/** The request of a call of a source, as it is stored once. */
export interface StoredRequest {
  /** Of the call that it came by. */
  readonly id: bigint;
  readonly sourceId: number;
  /** Encrypted. */
  readonly request: Buffer;
  readonly receivedAt: Date;
  /** By the secret of the source when it came, or in a replay since. */
  readonly wasProven: boolean;
}

/** The request of a call of a source; of a replay that of the call it repeats. */
export async function getCallRequest(sql: DatabaseSql, id: bigint): Promise<StoredRequest | undefined> {
  const [call] = await sql<StoredRequest[]>`
    select o.id, o.source_id, o.request, o.received_at,
      o.code is distinct from ${UNPROVEN} or exists (
        select from postback_calls r where r.replay_of = o.id and r.code is distinct from ${UNPROVEN}
      ) as was_proven
    from postback_calls c join postback_calls o on o.id = coalesce(c.replay_of, c.id)
    where c.id = ${id} and o.request is not null and o.source_id is not null`;
  return call;
}

/** What is stored of the calls of a source that nothing has proven yet, their size as it is encrypted. */
export async function countUnproven(
  sql: DatabaseSql,
  sourceId: number,
): Promise<{ calls: number; bytes: number }> {
  const [row] = await sql<[{ calls: number; bytes: number }]>`
    select count(*)::integer as calls, coalesce(sum(length(request)), 0)::float8 as bytes from postback_calls r
    where source_id = ${sourceId} and ${isUnproven(sql)}`;
  return row;
}

/** Forgets calls received before `before` that nothing has proven, at most `limit`. */
export async function forgetUnproven(
  sql: DatabaseSql,
  { before, limit }: { before: Date; limit: number },
): Promise<void> {
  await sql`
    delete from postback_calls where id in (
      select id from postback_calls r where received_at < ${before} and ${isUnproven(sql)} order by id limit ${limit})`;
}

/** Of rows `r`; written as the index postback_calls_unproven has it. */
const isUnproven = (sql: DatabaseSql) => sql`
  r.code = 'signature_required' and r.replay_of is null and r.request is not null and not exists (
    select from postback_calls p where p.replay_of = r.id and p.code is distinct from 'signature_required')`;

export const POSTBACK_CALL_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: { received_at: 'id', outcome: { type: 'text', by: (sql) => sql`outcome` } },
  search: (sql, { text, id, programId }) => sql`
    id in (
      select found.id from programs p cross join lateral (
        select r.id from postback_calls r where r.program_id = p.id and r.order_id = ${text}
        union all
        select r.id from postback_calls r where r.program_id = p.id and r.code = ${text}
      ) found
      where ${programId}::integer is null or p.id = ${programId}
      union all
      select r.id from postback_calls r where r.program_id is null and r.order_id = ${text}
      union all
      select r.id from postback_calls r where r.program_id is null and r.code = ${text}
      union all
      select ${id}::bigint
    )`,
};

/** Calls, the newest first. */
export async function listPostbackCalls(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    outcome?: CallOutcome | undefined;
    via?: CallWay | undefined;
    sourceId?: number | undefined;
    code?: string | undefined;
    orderId?: string | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<PostbackCall, bigint>> {
  const { programId = null, outcome = null, via = null, code = null, orderId = null } = request;
  const { sourceId = null, from = null, to = null } = request;
  const page = listClauses(sql, POSTBACK_CALL_LIST, request);
  const rows = await sql<PostbackCall[]>`
    select ${sql(COLUMNS)}, ${page.key} from postback_calls
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${outcome}::text is null or outcome = ${outcome})
      and (${via}::text is null or via = ${via})
      and (${sourceId}::integer is null or source_id = ${sourceId})
      and (${code}::text is null or code = ${code})
      and (${orderId}::text is null or order_id = ${orderId})
      and (${from}::timestamptz is null or received_at >= ${from})
      and (${to}::timestamptz is null or received_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Of one statement: a fraction of its time limit, also after an outage of weeks. */
const FORGOTTEN_AT_ONCE = 10_000;
/** Of one run: more than an hour brings anybody. */
const FORGOTTEN_BATCHES = 100;

/** Forgets the calls received before `before`, at most a million; returns how many. */
export async function forgetPostbackCalls(sql: DatabaseSql, options: { before: Date }): Promise<number> {
  let forgotten = 0;
  for (let batch = 0; batch < FORGOTTEN_BATCHES; batch++) {
    const count = await sql`
      delete from postback_calls where id in (
        select id from postback_calls where received_at < ${options.before}
        order by received_at limit ${FORGOTTEN_AT_ONCE})`.affected();
    forgotten += count;
    if (count < FORGOTTEN_AT_ONCE) break;
  }
  return forgotten;
}

/** Takes note of a signed message; false when it has been seen before. */
export async function noteSignature(
  sql: DatabaseSql,
  message: { keyId: number; messageId: string; signedAt: Date },
): Promise<boolean> {
  const { keyId, messageId, signedAt } = message;
  const count = await sql`
    insert into seen_signatures (key_id, message_id, signed_at) values (${keyId}, ${messageId}, ${signedAt})
    on conflict do nothing`.affected();
  return count === 1;
}

/** Forgets signatures that are too old to be accepted anyway. */
export async function forgetSignatures(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`delete from seen_signatures where signed_at < ${options.before}`;
}
