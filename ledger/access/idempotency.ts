import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** What a key was first used for: `none` means that this transaction is the first. */
export type EarlierRequest =
  | { readonly outcome: 'none' }
  | { readonly outcome: 'answered'; readonly status: number; readonly answer: Buffer }
  /** The key came with another request. */
  | { readonly outcome: 'other_request' };

/**
 * Claims an idempotency key for the transaction, which must end with {@link keepAnswer}. A rival with the same key
 * waits here until the first commits, and then gets its answer; when the first fails, the rival is the first.
 */
export async function claimIdempotencyKey(
  tx: DatabaseTransaction,
  request: { actor: string; key: string; hash: Buffer },
): Promise<EarlierRequest> {
  const { actor, key, hash } = request;
  const count = await tx`
    insert into idempotency_keys (actor, key, request_hash) values (${actor}, ${key}, ${hash})
    on conflict (actor, key) do nothing`.affected();
  if (count === 1) return { outcome: 'none' };
  const earlier = await findAnswer(tx, request);
  // Deleted for its age between the two statements.
  return earlier.outcome === 'none' ? await claimIdempotencyKey(tx, request) : earlier;
}

/** What a key was first used for, without claiming it. */
export async function findAnswer(
  sql: DatabaseSql,
  request: { actor: string; key: string; hash: Buffer },
): Promise<EarlierRequest> {
  const { actor, key, hash } = request;
  const [earlier] = await sql<{ same: boolean; status: number; answer: Buffer }[]>`
    select request_hash = ${hash} as same, status, answer from idempotency_keys
    where actor = ${actor} and key = ${key}`;
  if (!earlier) return { outcome: 'none' };
  if (!earlier.same) return { outcome: 'other_request' };
  return { outcome: 'answered', status: earlier.status, answer: earlier.answer };
}

export async function keepAnswer(
  tx: DatabaseTransaction,
  answered: { actor: string; key: string; status: number; answer: Buffer },
): Promise<void> {
  const { actor, key, status, answer } = answered;
  await tx`
    update idempotency_keys set status = ${status}, answer = ${answer} where actor = ${actor} and key = ${key}`;
}

/** Forgets the keys first used before `before`. */
export async function forgetIdempotencyKeys(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`delete from idempotency_keys where created_at < ${options.before}`;
}
