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
import { inTransaction, type Ledger, type LedgerTransaction } from '../../ledger/postgres/db.ts';
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
}

/** For how long a repeated request gets the first one's answer. */
export const IDEMPOTENCY_HOURS = 24;
export const IDEMPOTENCY_HEADER = 'idempotency-key';
const PURPOSE = 'idempotency answer';

/**
 * Runs `work` in one transaction and answers with what it gives. With an Idempotency-Key a repeated request is answered
 * as the first one was and changes nothing; one that failed changed nothing and is simply done again.
 * @throws Problem `idempotency_key_reused`.
 */
export async function commit<Body>(
  { ledger, secretBox }: { ledger: Ledger; secretBox: SecretBox },
  request: FastifyRequest,
  reply: FastifyReply,
  work: (tx: LedgerTransaction) => Promise<Committed<Body>>,
): Promise<Body> {
  const { actor } = principalOf(request);
  const key = idempotencyKeyOf(request);
  const { status = 200, body } = await inTransaction(ledger, async (tx): Promise<Committed<Body>> => {
    if (key === undefined) return await audited(tx);
    const earlier = await claimIdempotencyKey(tx, { actor, key, hash: hashOf(request) });
    if (earlier.outcome !== 'none') return replayed<Body>(secretBox, reply, earlier);
    const fresh = await audited(tx);
    await keepAnswer(tx, { actor, key, ...encryptedAnswer(secretBox, fresh) });
    return fresh;
  });

  async function audited(tx: LedgerTransaction): Promise<Committed<Body>> {
    const done = await work(tx);
    if (done.audit) await appendAuditLog(tx, { actor, ...done.audit });
    return done;
  }
  reply.code(status);
  return body;
}

/**
 * For work of many transactions that does no harm when it is done again: its answer is kept after it, so that a repeated
 * request gets it; two at the same time both do the work. @throws Problem `idempotency_key_reused`.
 */
export async function answerOnce<Body>(
  { ledger, secretBox }: { ledger: Ledger; secretBox: SecretBox },
  request: FastifyRequest,
  reply: FastifyReply,
  work: () => Promise<{ status?: number; body: Body }>,
): Promise<Body> {
  const { actor } = principalOf(request);
  const key = idempotencyKeyOf(request);
  const claim = key === undefined ? undefined : { actor, key, hash: hashOf(request) };
  const earlier = claim && (await findAnswer(ledger, claim));
  const known = earlier && earlier.outcome !== 'none' ? replayed<Body>(secretBox, reply, earlier) : undefined;
  const { status = 200, body } = known ?? (await work());
  if (claim && !known) {
    await inTransaction(ledger, async (tx) => {
      const rival = await claimIdempotencyKey(tx, claim);
      if (rival.outcome === 'none')
        await keepAnswer(tx, { ...claim, ...encryptedAnswer(secretBox, { status, body }) });
    });
  }
  reply.code(status);
  return body;
}

function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  const key = request.headers[IDEMPOTENCY_HEADER];
  return typeof key === 'string' ? key : undefined;
}

function replayed<Body>(
  secretBox: SecretBox,
  reply: FastifyReply,
  earlier: Exclude<EarlierRequest, { outcome: 'none' }>,
): { status: number; body: Body } {
  if (earlier.outcome === 'other_request') {
    throw new Problem('idempotency_key_reused', { detail: 'this key came with another request before' });
  }
  reply.header('idempotent-replayed', 'true');
  return { status: earlier.status, body: JSON.parse(secretBox.decrypt(PURPOSE, earlier.answer)) as Body };
}

function encryptedAnswer(
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

/** The strong validator of a view: what is shown differs, so does it. */
export function etagOf(view: object): string {
  const hash = createHash('sha256').update(JSON.stringify(view)).digest('base64url');
  return `"${hash.slice(0, 22)}"`;
}

/** Answers one thing with its ETag. */
export function tagged<View extends object>(reply: FastifyReply, view: View): View {
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
    detail: 'it was changed in the meantime: read it again, then decide',
    headers: { etag },
  });
}
