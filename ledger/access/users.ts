import { plainText } from '../../core/text/plain-text.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkEmail, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import type { Role } from './api-keys.ts';
import { type Standing, standingOf } from './standing.ts';

export const USER_STATUSES = ['active', 'disabled'] as const;

/** A person who uses the portal. */
export interface User {
  readonly id: number;
  /** In lower case. */
  readonly email: string;
  readonly name: string;
  readonly role: Role;
  /** Null: every program (operator, finance and fraud only). */
  readonly programId: number | null;
  readonly affiliateId: number | null;
  readonly status: (typeof USER_STATUSES)[number];
  /** Whether the invitation was accepted. */
  readonly hasPassword: boolean;
  readonly createdAt: Date;
  readonly lastLoginAt: Date | null;
}

const columns = (sql: DatabaseSql) => sql`
  id, email, name, role, program_id, affiliate_id, status, password_hash is not null as has_password, created_at,
  last_login_at`;

export function normalEmail(email: string): string {
  return plainText(email).toLowerCase();
}

/** @throws InputError naming `email`, `name`, `role`, `program_id` or `affiliate_id`. */
export async function createUser(
  sql: DatabaseSql,
  user: Pick<User, 'email' | 'name' | 'role' | 'programId' | 'affiliateId'>,
): Promise<User> {
  const { email, ...rest } = user;
  checkText(rest.name, 'name', MAX_NAME_LENGTH);
  checkEmail(normalEmail(email), 'email');
  const [created] = await answeringInput(
    sql<
      [User]
    >`insert into users ${sql.values({ ...rest, email: normalEmail(email) })} returning ${columns(sql)}`,
  );
  return created;
}

export async function getUser(sql: DatabaseSql, id: number): Promise<User | undefined> {
  const [user] = await sql<User[]>`select ${columns(sql)} from users where id = ${id}`;
  return user;
}

/** A user who is active now, with the standing of the affiliate. */
export async function findActiveUser(
  sql: DatabaseSql,
  id: number,
): Promise<(User & { standing: Standing }) | undefined> {
  const [user] = await sql<(User & { standing: Standing })[]>`
    select ${columns(sql)}, ${standingOf(sql, 'users.affiliateId')} from users where id = ${id} and status = 'active'`;
  return user;
}

/** The user of an address with the hash of the password, which is null before there is one. */
export async function findUserByEmail(
  sql: DatabaseSql,
  email: string,
): Promise<(User & { passwordHash: string | null }) | undefined> {
  const [user] = await sql<(User & { passwordHash: string | null })[]>`
    select ${columns(sql)}, password_hash from users where email = ${normalEmail(email)}`;
  return user;
}

export async function passwordHashOf(sql: DatabaseSql, id: number): Promise<string | null | undefined> {
  const [user] = await sql<{ passwordHash: string | null }[]>`
    select password_hash from users where id = ${id} and status = 'active'`;
  return user?.passwordHash;
}

export const USER_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    name: { type: 'text', by: (sql) => sql`lower(name)` },
    email: { type: 'text', by: (sql) => sql`email` },
    role: { type: 'text', by: (sql) => sql`role` },
    status: { type: 'text', by: (sql) => sql`status` },
  },
  search: (sql, { pattern, id }) =>
    sql`name ilike ${pattern} or email ilike ${pattern} or id = ${id}::integer`,
};

/** Users by id. */
export async function listUsers(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    role?: Role | undefined;
    status?: User['status'] | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<User, number>> {
  const { programId = null, affiliateId = null, role = null, status = null } = request;
  const { from = null, to = null } = request;
  const page = listClauses(sql, USER_LIST, request);
  const rows = await sql<User[]>`
    select ${columns(sql)}, ${page.key} from users
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${role}::text is null or role = ${role})
      and (${status}::text is null or status = ${status})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Changes the given columns. */
export async function updateUser(
  sql: DatabaseSql,
  options: { id: number; changes: Partial<Pick<User, 'name' | 'status'>> },
): Promise<User | undefined> {
  const given = givenColumns(options.changes);
  if (Object.keys(given).length === 0) return await getUser(sql, options.id);
  const [user] = await sql<User[]>`
    update users set ${sql.set(given)} where id = ${options.id} returning ${columns(sql)}`;
  return user;
}

/** Addresses that hear of a change of where an affiliate's money goes. */
export interface Witnesses {
  /** Of the affiliate's own users. */
  readonly affiliate: readonly string[];
  /** Of the people who run the program. */
  readonly program: readonly string[];
}

/** The users of an affiliate, and the operators and finance people of its program, disabled ones left out. */
export async function listWitnesses(
  sql: DatabaseSql,
  { programId, affiliateId }: { programId: number; affiliateId: number },
): Promise<Witnesses> {
  const rows = await sql<{ email: string; isOwn: boolean }[]>`
    select email, affiliate_id is not null as is_own from users
    where status = 'active' and (
      affiliate_id = ${affiliateId}
      or role in ('operator', 'finance') and (program_id is null or program_id = ${programId})
    )
    order by id`;
  const addresses = (isOwn: boolean) => rows.filter((row) => row.isOwn === isOwn).map(({ email }) => email);
  return { affiliate: addresses(true), program: addresses(false) };
}

/** Who answers for orders of a program: its operators and its fraud team. */
export async function listReviewers(sql: DatabaseSql, programId: number): Promise<string[]> {
  const rows = await sql<{ email: string }[]>`
    select email from users
    where status = 'active' and role in ('operator', 'fraud') and (program_id is null or program_id = ${programId})
    order by id`;
  return rows.map(({ email }) => email);
}

export async function setPassword(sql: DatabaseSql, options: { id: number; hash: string }): Promise<void> {
  await sql`update users set password_hash = ${options.hash} where id = ${options.id}`;
}
