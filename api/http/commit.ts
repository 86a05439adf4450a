import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { JsonValue } from '../../core/postgres/sql.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import { type AuditEntry, appendAuditLog } from '../../ledger/access/audit-log.ts';
import {
  claimIdempotencyKey,
  type EarlierRequest,
  findAnswer,
  keepAnswer,
} from '../../ledger/access/idempotency.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { principalOf } from './principal.ts';
import { Problem } from './problems.ts';

/** How a request changes something: one transaction for the change, its audit entry and its idempotency key. */

/** What a change answers, and what the audit log keeps of it. */
export interface Committed<Body> {
  /** Default 200. */
  readonly status?: number;
  readonly body: Body;
  /** Undefined when nothing changed, or when the ledger has written it already. */
  readonly audit?: Omit<AuditEntry, 'actor'> | undefined;
  /**
   * The work of a job: started once, after the commit, and not for a repeated request. The answer does not wait for it,
   * a stop of the server does. A crash ends it, and the job is marked as failed.
   */
  readonly after?: (() => Promise<void>) | undefined;
}

/** For how long a repeated request gets the first one's answer. */
export const IDEMPOTENCY_HOURS = 24;
export const IDEMPOTENCY_HEADER = 'idempotency-key';
const PURPOSE = 'idempotency answer';

/**
 * Runs `work` in one transaction and answers with its result. On a route that declares `idempotent`, a request with an
 * Idempotency-Key that was seen before is answered as the first one was and changes nothing; a request that failed
 * changed nothing, and its repetition is a first request.
 * @throws Problem `idempotency_key_reused`.
 */
export async function commit<Body>(
  { ledger, secretBox }: { ledger: Database; secretBox: SecretBox },
  request: FastifyRequest,
  reply: FastifyReply,
  work: (tx: DatabaseTransaction) => Promise<Committed<Body>>,
): Promise<Body> {
  const { actor } = principalOf(request);
  const claim = claimOf(request);
  const {
    status = 200,
    body,
    after,
  } = await inTransaction(ledger, async (tx): Promise<Committed<Body>> => {
    if (!claim) return await audited(tx);
    const earlier = await claimIdempotencyKey(tx, claim);
    if (earlier.outcome !== 'none') return replayed<Body>(secretBox, reply, earlier);
    const result = await audited(tx);
    await keepAnswer(tx, { ...claim, ...encrypted(secretBox, result) });
    return result;
  });

  async function audited(tx: DatabaseTransaction): Promise<Committed<Body>> {
    const result = await work(tx);
    if (result.audit) await appendAuditLog(tx, { actor, ...result.audit });
    return result;
  }
  if (after) runInBackground(request, after);
  reply.code(status);
  return body;
}

/**
 * For work of many transactions that does no harm when it is repeated: its answer is kept after it, so that a repeated
 * request gets it; two at the same time both do the work. @throws Problem `idempotency_key_reused`.
 */
export async function answerOnce<Body>(
  { ledger, secretBox }: { ledger: Database; secretBox: SecretBox },
  request: FastifyRequest,
  reply: FastifyReply,
  work: () => Promise<{ status?: number; body: Body }>,
): Promise<Body> {
  const claim = claimOf(request);
  const earlier = claim && (await findAnswer(ledger, claim));
  const known = earlier && earlier.outcome !== 'none' ? replayed<Body>(secretBox, reply, earlier) : undefined;
  const { status = 200, body } = known ?? (await work());
  if (claim && !known) {
    await inTransaction(ledger, async (tx) => {
      const rival = await claimIdempotencyKey(tx, claim);
      if (rival.outcome === 'none')
        await keepAnswer(tx, { ...claim, ...encrypted(secretBox, { status, body }) });
    });
  }
  reply.code(status);
  return body;
}

/** Work that outlasts its request; a stop of the server waits for it. */
function runInBackground(request: FastifyRequest, work: () => Promise<void>): void {
  const { inFlight } = request.server;
  const running = work()
    .catch((error: unknown) => request.log.error({ err: error }, 'work after a commit failed'))
    .finally(() => inFlight.delete(running));
  inFlight.add(running);
}

interface Claim {
  readonly actor: string;
  readonly key: string;
  readonly hash: Buffer;
}

/** The Idempotency-Key of a request, where its route declares that it takes one. */
export function claimOf(request: FastifyRequest): Claim | undefined {
  const key = request.headers[IDEMPOTENCY_HEADER];
  if (!request.routeOptions.config.idempotent || typeof key !== 'string') return undefined;
  return { actor: principalOf(request).actor, key, hash: hashOf(request) };
}

function replayed<Body>(
  secretBox: SecretBox,
  reply: FastifyReply,
  earlier: Exclude<EarlierRequest, { outcome: 'none' }>,
): { status: number; body: Body } {
  if (earlier.outcome === 'other_request') {
    throw new Problem('idempotency_key_reused', { detail: 'this key was used with a different request' });
  }
  reply.header('idempotent-replayed', 'true');
  const body: unknown = JSON.parse(secretBox.decrypt(PURPOSE, earlier.answer));
  return { status: earlier.status, body: (body ?? undefined) as Body };
}

function encrypted(
  secretBox: SecretBox,
  { status = 200, body }: { status?: number; body: unknown },
): { status: number; answer: Buffer } {
  return { status, answer: secretBox.encrypt(PURPOSE, JSON.stringify(body ?? null)) };
}

/** Same method, same path, same bytes: the same request. */
function hashOf(request: FastifyRequest): Buffer {
  const hash = createHash('sha256').update(`${request.method} ${request.url}\n`);
  return hash.update(request.rawBody ?? '').digest();
}

/** A view as the audit log keeps it. */
export function auditJson(view: object): JsonValue {
  return view as JsonValue;
}

/** The strong validator of a view: changes whenever the representation changes. */
export function etagOf(view: object): string {
  const hash = createHash('sha256').update(JSON.stringify(view)).digest('base64url');
  return `"${hash.slice(0, 22)}"`;
}

/** Answers with the ETag of the view. */
export function withEtag<View extends object>(reply: FastifyReply, view: View): View {
  reply.header('etag', etagOf(view));
  return view;
}

/**
 * Compares If-Match, when it was sent, with the thing as it is in the transaction that will change it.
 * @throws Problem `precondition_failed` that shows the present ETag.
 */
export function checkMatch(request: FastifyRequest, present: object): void {
  const wanted = request.headers['if-match'];
  if (wanted === undefined || wanted.trim() === '*') return;
  const etag = etagOf(present);
  if (wanted.split(',').some((tag) => tag.trim() === etag)) return;
  throw new Problem('precondition_failed', {
    detail: 'the resource was changed since: read it again, then decide',
    headers: { etag },
  });
}
