import type { DatabaseSql } from '../postgres/db.ts';

/** What a user sees of the own second factor. */
export interface SecondFactorState {
  /** Null: there is none. */
  readonly enrolledAt: Date | null;
  readonly recoveryCodesLeft: number;
  /** Whether a program of the user requires one of the user's role. */
  readonly required: boolean;
}

/** Roles that move money or may give that right. */
const ROLES_WITH_SECOND_FACTOR = ['operator', 'finance'] as const;

/** Whether a program requires a second factor of user `u`: its own, and of a user of every program any. */
export function requiresSecondFactor(sql: DatabaseSql) {
  return sql`(u.role = any(${ROLES_WITH_SECOND_FACTOR}) and exists (
    select from programs p where p.require_second_factor and (u.program_id is null or p.id = u.program_id)))`;
}

export async function secondFactorState(sql: DatabaseSql, userId: number): Promise<SecondFactorState> {
  const [row] = await sql<[SecondFactorState]>`
    select f.confirmed_at as enrolled_at, ${requiresSecondFactor(sql)} as required,
      (select count(*)::integer from recovery_codes c where c.user_id = u.id) as recovery_codes_left
    from users u left join second_factors f on f.user_id = u.id where u.id = ${userId}`;
  return row;
}

/** The encrypted secret of a user: confirmed, or waiting for its first code. */
export async function findSecondFactor(
  sql: DatabaseSql,
  userId: number,
): Promise<{ secret: Buffer; isConfirmed: boolean } | undefined> {
  const [row] = await sql<{ secret: Buffer; isConfirmed: boolean }[]>`
    select secret, confirmed_at is not null as is_confirmed from second_factors where user_id = ${userId}`;
  return row;
}

/** Keeps a secret that a first code has to confirm. @returns False when the user has a second factor already. */
export async function startSecondFactor(
  sql: DatabaseSql,
  options: { userId: number; secret: Buffer },
): Promise<boolean> {
  const { userId, secret } = options;
  const count = await sql`
    insert into second_factors as f (user_id, secret) values (${userId}, ${secret})
    on conflict (user_id) do update set secret = excluded.secret where f.confirmed_at is null`.affected();
  return count === 1;
}

/** The first code was right: from now on sign-in asks for one. @returns False when it was confirmed already. */
export async function confirmSecondFactor(
  sql: DatabaseSql,
  options: { userId: number; step: number },
): Promise<boolean> {
  const count = await sql`
    update second_factors set confirmed_at = clock_timestamp(), last_step = ${options.step}
    where user_id = ${options.userId} and confirmed_at is null`.affected();
  return count === 1;
}

/** Records the step of a right code. @returns False when that code, or a later one, was used before. */
export async function useCodeOfStep(
  sql: DatabaseSql,
  options: { userId: number; step: number },
): Promise<boolean> {
  const count = await sql`
    update second_factors set last_step = ${options.step}
    where user_id = ${options.userId} and last_step < ${options.step}`.affected();
  return count === 1;
}

/** @returns Whether it was one of the user's codes; it is none after this. */
export async function useRecoveryCode(
  sql: DatabaseSql,
  options: { userId: number; hash: Buffer },
): Promise<boolean> {
  const count = await sql`
    delete from recovery_codes where user_id = ${options.userId} and code_hash = ${options.hash}`.affected();
  return count === 1;
}

/** The codes before are void. */
export async function replaceRecoveryCodes(
  sql: DatabaseSql,
  options: { userId: number; hashes: readonly Buffer[] },
): Promise<void> {
  const { userId, hashes } = options;
  await sql`delete from recovery_codes where user_id = ${userId}`;
  await sql`insert into recovery_codes ${sql.values(hashes.map((codeHash) => ({ userId, codeHash })))}`;
}

/** Removes a second factor with its recovery codes. @returns False when there was none. */
export async function removeSecondFactor(sql: DatabaseSql, userId: number): Promise<boolean> {
  return (await sql`delete from second_factors where user_id = ${userId}`.affected()) === 1;
}
