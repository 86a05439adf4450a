import { createHash } from 'node:crypto';
import type { DatabaseSql } from '../postgres/db.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';
import { requiresSecondFactor } from './second-factors.ts';
import type { User } from './users.ts';

/** A signed-in user. */
export interface Session {
  readonly id: bigint;
  readonly user: User;
  readonly expiresAt: Date;
  /** When the password, and the second factor where there is one, was last given. */
  readonly authenticatedAt: Date;
  /** A program requires a second factor of the user, who has none yet. */
  readonly mustEnrol: boolean;
}

/** A session in the list of its user. */
export interface ListedSession {
  readonly id: bigint;
  /** Such as "Firefox on Linux"; empty: unknown. */
  readonly device: string;
  /** The address of the sign-in. */
  readonly address: string;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly expiresAt: Date;
}

/** One write a minute at the most. */
const LAST_SEEN_PRECISION_S = 60;

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

export async function createSession(
  sql: DatabaseSql,
  session: { userId: number; token: string; expiresAt: Date; device: string; address: string },
): Promise<void> {
  const { token, ...rest } = session;
  await sql`insert into sessions ${sql.values({ ...rest, tokenHash: hashToken(token) })}`;
  await sql`update users set last_login_at = clock_timestamp() where id = ${session.userId}`;
}

/** The live session of a token: not expired, seen within `idleMs`, of an active user. */
export async function findSession(
  sql: DatabaseSql,
  options: { token: string; idleMs: number },
): Promise<Session | undefined> {
  const [row] = await sql<
    (User & Omit<Session, 'id' | 'user'> & { sessionId: bigint; seenLongAgo: boolean })[]
  >`
    select u.id, u.email, u.name, u.role, u.program_id, u.affiliate_id, u.status, true as has_password, u.created_at,
      u.last_login_at, s.id as session_id, s.expires_at, s.authenticated_at,
      s.last_seen_at < clock_timestamp() - make_interval(secs => ${LAST_SEEN_PRECISION_S}) as seen_long_ago,
      ${requiresSecondFactor(sql)} and not exists (
        select from second_factors f where f.user_id = u.id and f.confirmed_at is not null) as must_enrol
    from sessions s join users u on u.id = s.user_id
    where s.token_hash = ${hashToken(options.token)} and u.status = 'active'
      and s.expires_at > clock_timestamp()
      and s.last_seen_at > ${new Date(Date.now() - options.idleMs)}`;
  if (!row) return undefined;
  const { sessionId: id, expiresAt, authenticatedAt, mustEnrol, seenLongAgo, ...user } = row;
  if (seenLongAgo) await sql`update sessions set last_seen_at = clock_timestamp() where id = ${id}`;
  return { id, user, expiresAt, authenticatedAt, mustEnrol };
}

/** The password was given again. */
export async function renewAuthentication(sql: DatabaseSql, id: bigint): Promise<void> {
  await sql`update sessions set authenticated_at = clock_timestamp() where id = ${id}`;
}

/** The live sessions of a user, the newest first. */
export async function listSessions(
  sql: DatabaseSql,
  request: PageRequest<bigint> & { userId: number; idleMs: number },
): Promise<Page<ListedSession, bigint>> {
  const { after = null, userId, idleMs } = request;
  const rows = await sql<ListedSession[]>`
    select id, device, address, created_at, last_seen_at, expires_at from sessions
    where user_id = ${userId} and expires_at > clock_timestamp()
      and last_seen_at > ${new Date(Date.now() - idleMs)} and (${after}::bigint is null or id < ${after})
    order by id desc limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Ends a session of a user. @returns False when the user has no such session. */
export async function endSession(
  sql: DatabaseSql,
  options: { id: bigint; userId: number },
): Promise<boolean> {
  const { id, userId } = options;
  return (await sql`delete from sessions where id = ${id} and user_id = ${userId}`.affected()) === 1;
}

/** Ends every session of a user, but for one. @returns How many there were. */
export async function endSessionsOf(
  sql: DatabaseSql,
  options: { userId: number; except?: bigint | undefined },
): Promise<number> {
  const { userId, except = null } = options;
  return await sql`
    delete from sessions where user_id = ${userId}
      and (${except}::bigint is null or id <> ${except})`.affected();
}

export async function forgetSessions(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`delete from sessions where expires_at < ${options.before}`;
}
