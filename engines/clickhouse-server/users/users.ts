import { createHash, timingSafeEqual } from 'node:crypto';
import { ANALYST_USER, programAnalystPassword, programOfAnalyst } from '../../../core/config/analysts.ts';
import { CLICKHOUSE_USER } from '../../../core/config/secrets.ts';
import { QueryError } from '../errors.ts';
import type { TokenCheck } from '../statement/access.ts';
import { tokens } from '../statement/lexer.ts';
import { type AnalystRole, analystSettings, analystStatements } from './config.ts';

/** Who sends a query. */
export interface User {
  readonly name: string;
  /** Whose slots, uploads and sessions its requests take. */
  readonly share: 'owner' | 'analysts' | 'programs';
  /** What makes a new session of the engine this user's. */
  readonly statements: readonly string[];
  /** Settings that these statements leave, by name. */
  readonly settings: ReadonlyMap<string, string>;
}

/** The platform: its session is as the engine opens it. */
export const OWNER: User = {
  name: CLICKHOUSE_USER,
  share: 'owner',
  statements: [],
  settings: new Map(),
};

export interface Passwords {
  readonly owner: string;
  /** Undefined where there are no analysts. */
  readonly analysts: AnalystPasswords | undefined;
}

export interface AnalystPasswords {
  /** Of the analyst of every program. */
  readonly password: string;
  /** What the passwords of programs' analysts are made of. */
  readonly programKey: string;
}

const ACCESS_DENIED = 497;
const AUTHENTICATION_FAILED = 516;
const SET_NON_GRANTED_ROLE = 512;

/** The user of this name and password. @throws QueryError 516. */
export function findUser(passwords: Passwords, given: { name: string; password: string }): User {
  const [user, password] = named(passwords, given.name);
  const matches = [isSame(given.name, user.name), isSame(given.password, password)];
  if (!matches.includes(false)) return user;
  throw new QueryError(
    AUTHENTICATION_FAILED,
    `${given.name}: Authentication failed: password is incorrect, or there is no user with such name`,
    'AUTHENTICATION_FAILED',
  );
}

/** The user of this name with its password; for any other name the owner. */
function named({ owner, analysts }: Passwords, name: string): [User, password: string] {
  if (analysts !== undefined) {
    if (name === ANALYST_USER) return [analystOf(name, 'analyst'), analysts.password];
    const program = programOfAnalyst(name);
    if (program !== undefined)
      return [analystOf(name, 'program_analyst'), programAnalystPassword(analysts.programKey, program)];
  }
  return [OWNER, owner];
}

function analystOf(name: string, role: AnalystRole): User {
  return {
    name,
    share: role === 'analyst' ? 'analysts' : 'programs',
    statements: analystStatements(name, role),
    settings: new Map(analystSettings(name)),
  };
}

/** Takes the same time whatever is given: the digests are equally long. */
function isSame(given: string, wanted: string): boolean {
  const [a, b] = [given, wanted].map((text) => createHash('sha256').update(text).digest()) as [
    Buffer,
    Buffer,
  ];
  return timingSafeEqual(a, b);
}

/** Statements of an analyst beside those that only read. What they may reach is up to the engine. */
const ANALYST_COMMANDS = new Set(['KILL', 'SET', 'USE']);

/**
 * An analyst's session must not take back the role that it was given, which the engine would let it.
 * @param statement one that is no mere reading: as its client writes it, so that nothing is done for what is refused, and as the
 * engine writes it out. Returns its first word. @throws QueryError 497.
 */
export function requireCommandOf(user: User, statement: string): string {
  const [first, , third] = tokens(Buffer.from(statement).toString('latin1'));
  const { word = '' } = first ?? {};
  // SET name = …, and not SET ROLE or SET DEFAULT ROLE.
  const isAllowed = ANALYST_COMMANDS.has(word) && (word !== 'SET' || third?.kind === '=');
  if (user !== OWNER && !isAllowed) throw notAllowed(user, `the statement ${word}`);
  return word;
}

/**
 * Of one program's analyst: an EXPLAIN would tell of the rows below the views, whose they are.
 * @param checks of the platform's queries, and of every analyst's. Its own throws QueryError 497.
 */
export function checksOf(
  user: User,
  checks: Readonly<Record<'owner' | 'analyst', () => TokenCheck>>,
): () => TokenCheck {
  if (user === OWNER) return checks.owner;
  if (user.share !== 'programs') return checks.analyst;
  return () => {
    const check = checks.analyst();
    return (token, text) => {
      if (token.word === 'EXPLAIN') throw notAllowed(user, 'EXPLAIN');
      check(token, text);
    };
  };
}

/** Before rows of a request are kept for the engine. @throws QueryError 497. */
export function requireWriter(user: User): void {
  if (user !== OWNER) throw notAllowed(user, 'INSERT');
}

/** @throws QueryError 512. */
export function requireRole(user: User, role: string | undefined): void {
  if (user === OWNER || role === undefined || role === '') return;
  throw new QueryError(
    SET_NON_GRANTED_ROLE,
    `${user.name}: Role ${role} should be granted to set as a current`,
    'SET_NON_GRANTED_ROLE',
  );
}

function notAllowed({ name }: User, what: string): QueryError {
  return new QueryError(
    ACCESS_DENIED,
    `${name}: Not enough privileges for ${what}: it may only read`,
    'ACCESS_DENIED',
  );
}
