import { createHash } from 'node:crypto';
import type { DatabaseSql } from '../postgres/db.ts';
import { type Standing, standingOf } from './standing.ts';
import { normalEmail, type User } from './users.ts';

/** A signed-in user. */
export interface Session {
  readonly id: bigint;
  readonly user: User;
  readonly standing: Standing;
  readonly expiresAt: Date;
}

interface SessionRow extends User {
  readonly sessionId: bigint;
  readonly standing: Standing;
  readonly expiresAt: Date;
  readonly seenLongAgo: boolean;
}

/** One write a minute at the most. */
const LAST_SEEN_PRECISION_S = 60;

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

export async function createSession(
  sql: DatabaseSql,
  session: { userId: number; token: string; expiresAt: Date },
): Promise<void> {
  const { userId, token, expiresAt } = session;
  await sql`
    insert into sessions (user_id, token_hash, expires_at) values (${userId}, ${hashToken(token)}, ${expiresAt})`;
  await sql`update users set last_login_at = clock_timestamp() where id = ${userId}`;
}

/** The live session of a token: not expired, seen within `idleMs`, of an active user. */
export async function findSession(
  sql: DatabaseSql,
  options: { token: string; idleMs: number },
): Promise<Session | undefined> {
  const [row] = await sql<SessionRow[]>`
    select u.id, u.email, u.name, u.role, u.program_id, u.affiliate_id, u.status, true as has_password, u.created_at,
      u.last_login_at, ${standingOf(sql, 'u.affiliateId')}, s.id as session_id, s.expires_at,
      s.last_seen_at < clock_timestamp() - make_interval(secs => ${LAST_SEEN_PRECISION_S}) as seen_long_ago
    from sessions s join users u on u.id = s.user_id
    where s.token_hash = ${hashToken(options.token)} and u.status = 'active'
      and s.expires_at > clock_timestamp()
      and s.last_seen_at > ${new Date(Date.now() - options.idleMs)}`;
  if (!row) return undefined;
  const { sessionId: id, expiresAt, standing, seenLongAgo, ...user } = row;
  if (seenLongAgo) await sql`update sessions set last_seen_at = clock_timestamp() where id = ${id}`;
  return { id, user, standing, expiresAt };
}

/** Those of the sessions that are live now, as {@link findSession} sees it, without noting them as seen. */
export async function liveSessions(
  sql: DatabaseSql,
  options: { ids: readonly bigint[]; idleMs: number },
): Promise<{ id: bigint; standing: Standing }[]> {
  const { ids, idleMs } = options;
  if (ids.length === 0) return [];
  return await sql<{ id: bigint; standing: Standing }[]>`
    select s.id, ${standingOf(sql, 'u.affiliateId')} from sessions s join users u on u.id = s.user_id
    where s.id = any(${[...ids]}::bigint[]) and u.status = 'active' and s.expires_at > clock_timestamp()
      and s.last_seen_at > ${new Date(Date.now() - idleMs)}`;
}

export async function endSession(sql: DatabaseSql, id: bigint): Promise<void> {
  await sql`delete from sessions where id = ${id}`;
}

/** Ends every session of a user, but for one. */
export async function endSessionsOf(
  sql: DatabaseSql,
  options: { userId: number; except?: bigint | undefined },
): Promise<void> {
  const { userId, except = null } = options;
  await sql`
    delete from sessions where user_id = ${userId} and (${except}::bigint is null or id <> ${except})`;
}

export async function forgetSessions(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`delete from sessions where expires_at < ${options.before}`;
  await sql`delete from login_failures where last_at < ${options.before}`;
}

/** Guesses that are free; each further one doubles the wait. */
const FREE_GUESSES = 5;
const FIRST_LOCK_S = 30;
const LONGEST_LOCK_S = 3_600;

function hashEmail(email: string): Buffer {
  return createHash('sha256').update(normalEmail(email)).digest();
}

/** Seconds for which an address is locked; 0: it is not. */
export async function lockedFor(sql: DatabaseSql, email: string): Promise<number> {
  const [row] = await sql<{ seconds: number }[]>`
    select ceil(extract(epoch from locked_until - clock_timestamp()))::integer as seconds from login_failures
    where email_hash = ${hashEmail(email)} and locked_until > clock_timestamp()`;
  return row?.seconds ?? 0;
}

/**
 * Counts a guess before it is checked, and returns whether it is allowed: of a hundred at once only the first few are.
 * {@link forgetGuesses} takes a right one back.
 */
export async function mayGuess(sql: DatabaseSql, email: string): Promise<boolean> {
  const count = await sql`
    insert into login_failures as f (email_hash, failures, locked_until)
    values (${hashEmail(email)}, 1, '-infinity')
    on conflict (email_hash) do update set failures = f.failures + 1, last_at = clock_timestamp(),
      locked_until = case when f.failures + 1 < ${FREE_GUESSES} then '-infinity'
        else clock_timestamp() + make_interval(secs => least(${LONGEST_LOCK_S},
          ${FIRST_LOCK_S} * power(2, least(f.failures + 1 - ${FREE_GUESSES}, 20)))) end
    where f.locked_until <= clock_timestamp()`.affected();
  return count === 1;
}

/** A right guess: the wrong ones before it are forgotten. */
export async function forgetGuesses(sql: DatabaseSql, email: string): Promise<void> {
  await sql`delete from login_failures where email_hash = ${hashEmail(email)}`;
}
