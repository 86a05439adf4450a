import { createHash } from 'node:crypto';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/**
 * How many guesses are allowed, in PostgreSQL because several API processes count together and a restart forgets
 * nothing; a guess costs far less there than the hash of the password that it is about.
 */
export interface GuessLimit {
  /** What is limited, such as "account ann@example.com". */
  readonly of: string;
  /** Guesses that are free at once. */
  readonly burst: number;
  /** Then one in this long. */
  readonly everyS: number;
}

function keyOf({ of }: GuessLimit): Buffer {
  return createHash('sha256').update(of).digest();
}

/**
 * Takes a guess from each limit, before the guess is checked: of a hundred at once only the free ones are.
 * @returns Seconds until a guess is free; 0: it was taken. Otherwise the caller rolls back, so that a guess that one limit
 * refuses costs nothing of the others.
 */
export async function takeGuess(tx: DatabaseTransaction, limits: readonly GuessLimit[]): Promise<number> {
  for (const limit of limits) {
    const key = keyOf(limit);
    const step = tx`make_interval(secs => ${limit.everyS})`;
    const taken = await tx`
      insert into guess_limits as g (key, free_at) values (${key}, clock_timestamp() + ${step})
      on conflict (key) do update set free_at = greatest(g.free_at, clock_timestamp()) + ${step}
      where greatest(g.free_at, clock_timestamp()) + ${step}
        <= clock_timestamp() + make_interval(secs => ${limit.everyS * limit.burst})`.affected();
    if (taken === 1) continue;
    const [row] = await tx<{ seconds: number }[]>`
      select ceil(extract(epoch from free_at - clock_timestamp()))::integer as seconds from guess_limits
      where key = ${key}`;
    return Math.max(1, (row?.seconds ?? 0) - limit.everyS * (limit.burst - 1));
  }
  return 0;
}

/**
 * Takes a place in a queue: of `waiting` more than the limit allows each has its turn later. The caller rolls back where
 * there is none.
 * @returns Seconds until its turn, 0: now; or seconds until a place is free.
 */
export async function takePlace(
  tx: DatabaseTransaction,
  { waiting, ...limit }: GuessLimit & { readonly waiting: number },
): Promise<{ turnS: number } | { fullS: number }> {
  const fullS = await takeGuess(tx, [{ ...limit, burst: limit.burst + waiting }]);
  if (fullS > 0) return { fullS };
  const [row] = await tx<[{ seconds: number }]>`
    select ceil(extract(epoch from free_at - clock_timestamp()))::integer as seconds from guess_limits
    where key = ${keyOf(limit)}`;
  return { turnS: Math.max(0, row.seconds - limit.everyS * limit.burst) };
}

/** A right guess costs nothing. Wrong ones before it are not forgotten: somebody's own password must not free guesses at another's. */
export async function returnGuess(sql: DatabaseSql, limits: readonly GuessLimit[]): Promise<void> {
  // One statement each: rows locked together in another order than takeGuess does could deadlock.
  for (const limit of limits) {
    await sql`
      update guess_limits set free_at = free_at - make_interval(secs => ${limit.everyS})
      where key = ${keyOf(limit)}`;
  }
}

/** Removes the rows that limit nothing any more. */
export async function forgetGuesses(sql: DatabaseSql): Promise<void> {
  await sql`delete from guess_limits where free_at < clock_timestamp()`;
}
