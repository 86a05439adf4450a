import { createHmac } from 'node:crypto';

/** Users of ClickHouse for people and dashboards, who only read: one for every program, and one for each. */
export const ANALYST_USER = 'analyst';

/** What the views of warehouse/migrations/0014_analyst_views.sql take a program from. */
const PROGRAM_ANALYST = /^analyst_prg_([1-9]\d{0,9})$/;

/** The user who reads the rows of one program. */
export function programAnalyst(programId: number): string {
  return `${ANALYST_USER}_prg_${programId}`;
}

/** The program of such a user; undefined for any other name. */
export function programOfAnalyst(user: string): number | undefined {
  const digits = PROGRAM_ANALYST.exec(user)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Follows from the analysts' password, from which it does not lead back: a new one changes them all. */
export function programAnalystPassword(analystPassword: string, programId: number): string {
  return createHmac('sha256', analystPassword)
    .update(programAnalyst(programId))
    .digest('base64url')
    .slice(0, 32);
}
