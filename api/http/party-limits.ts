import { type GuessLimit, takeGuess } from '../../ledger/access/guess-limits.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { Problem } from './problems.ts';

/** What one party may have. A limit names itself in the problem that refuses one more. */

/** Keys of an affiliate that work, the old ones of a rotation included: one for each of its sites and tools. */
export const MAX_AFFILIATE_KEYS = 20;
/** Of a program, without its affiliates', and of the operator's people: one for each integration and environment. */
export const MAX_PROGRAM_KEYS = 100;
/** Each event is delivered to each of them. */
export const MAX_AFFILIATE_WEBHOOKS = 10;
export const MAX_PROGRAM_WEBHOOKS = 50;

/** Who owns what is counted: an affiliate; without one a program; without both the operator of every program. */
export interface Owner {
  readonly programId: number | null;
  readonly affiliateId: number | null;
}

/**
 * Refuses one more than `most`. To be called in the transaction that adds it: rivals wait for each other, so that two do
 * not take the last place. @throws Problem `limit_reached`.
 */
export async function requireRoom(
  tx: DatabaseTransaction,
  options: { what: string; owner: Owner; most: number; count: (tx: DatabaseTransaction) => Promise<number> },
): Promise<void> {
  const { what, owner, most, count } = options;
  const name = `limit ${what} ${owner.programId ?? ''} ${owner.affiliateId ?? ''}`;
  await tx`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`;
  if ((await count(tx)) < most) return;
  const party =
    owner.affiliateId !== null ? 'an affiliate' : owner.programId !== null ? 'a program' : 'an operator';
  throw new Problem('limit_reached', {
    detail: `${party} has at most ${most} ${what}; remove one first`,
    members: { limit: most },
  });
}

/** Takes from each limit, or from none. @throws Problem `rate_limited`. */
export async function limitRate(tx: DatabaseTransaction, limits: readonly GuessLimit[]): Promise<void> {
  const seconds = await takeGuess(tx, limits);
  if (seconds > 0) throw tooOften(seconds);
}

/** @param seconds Until it is free. */
export function tooOften(seconds: number): Problem {
  return new Problem('rate_limited', {
    detail: `this is too often; try again in ${seconds} s`,
    headers: { 'retry-after': String(seconds) },
  });
}
