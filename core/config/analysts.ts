import { createHmac } from 'node:crypto';
import { InputError } from '../errors.ts';
import { splitUrls } from '../url.ts';
import type { Config } from './config.ts';
import { readingDatabase } from './servers.ts';

/** Users of ClickHouse for people and dashboards, who only read: one for every program, and one for each. */
export const ANALYST_USER = 'analyst';

/** What the views of warehouse/migrations/0015_analyst_views.sql take a program from. */
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

/** Follows from a key that is no login, to which it does not lead back: a new one changes them all. */
export function programAnalystPassword(programAnalystKey: string, programId: number): string {
  return createHmac('sha256', programAnalystKey)
    .update(programAnalyst(programId))
    .digest('base64url')
    .slice(0, 32);
}

/** How an analyst reaches ClickHouse, without the password. */
export interface AnalystAddress {
  /** Without user, password and database. */
  readonly url: string;
  readonly database: string;
  readonly user: string;
}

/**
 * Of the analyst of every program, or of one, at the platform's own ClickHouse; of a cluster at its first server.
 * @throws InputError `program_id`: whether a cluster keeps the rights of a view's owner on other shards is not known.
 */
export function analystAddress(
  { clickhouseUrl, clickhouseCluster: cluster }: Pick<Config, 'clickhouseUrl' | 'clickhouseCluster'>,
  programId?: number,
): AnalystAddress {
  if (cluster !== '' && programId !== undefined) {
    throw new InputError(
      'program_id',
      'cannot be given: on a ClickHouse cluster analysts read every program',
    );
  }
  const [first = ''] = splitUrls(clickhouseUrl);
  const { origin, pathname } = new URL(first);
  return {
    url: origin,
    database: readingDatabase(decodeURIComponent(pathname.slice(1)) || 'default', cluster),
    user: programId === undefined ? ANALYST_USER : programAnalyst(programId),
  };
}

/** With the password. @throws InputError as {@link analystAddress}. */
export function analystLogin(
  config: Pick<Config, 'clickhouseUrl' | 'clickhouseCluster' | 'analystPassword' | 'programAnalystKey'>,
  programId?: number,
): AnalystAddress & { password: string } {
  const password =
    programId === undefined
      ? config.analystPassword
      : programAnalystPassword(config.programAnalystKey, programId);
  return { ...analystAddress(config, programId), password };
}
