import type { FastifyRequest } from 'fastify';
import { assert } from '../../core/errors.ts';
import type { LiveApiKey, Role } from '../../ledger/access/api-keys.ts';
import type { Standing } from '../../ledger/access/standing.ts';
import type { User } from '../../ledger/access/users.ts';
import { formatId } from '../schemas/ids.ts';
import { notFound, Problem } from './problems.ts';

/**
 * The caller, and the one place that decides what belongs to them. A key without a program sees every program; an
 * affiliate's key sees that affiliate's own data. What a caller may not see is answered exactly as what does not exist.
 */
export interface Principal {
  /** Null for a user of the portal. */
  readonly keyId: number | null;
  /** Null for a key. */
  readonly userId: number | null;
  /** The user who asks, or who is behind the key; null: the key is of no user. */
  readonly userBehind: number | null;
  /** Null for a key. */
  readonly sessionId: bigint | null;
  readonly role: Role;
  readonly name: string;
  readonly programId: number | null;
  readonly affiliateId: number | null;
  /** What it is narrowed to; null: all that the role may do. */
  readonly scopes: readonly string[] | null;
  /** When the key expires; null: never, or a user. */
  readonly expiresAt: Date | null;
  readonly standing: Standing;
  /** How the audit log names them. */
  readonly actor: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the authentication hook on every route that is not public. */
    principal: Principal | undefined;
  }
}

export function principalFrom(key: LiveApiKey): Principal {
  return {
    keyId: key.id,
    userId: null,
    userBehind: key.userId,
    sessionId: null,
    role: key.role,
    name: key.name,
    programId: key.programId,
    affiliateId: key.affiliateId,
    scopes: key.scopes,
    expiresAt: key.expiresAt,
    standing: key.standing,
    actor: `key:${key.id}`,
  };
}

export function principalOfUser(
  user: User,
  { standing, sessionId }: { standing: Standing; sessionId: bigint | null },
): Principal {
  return {
    keyId: null,
    userId: user.id,
    userBehind: user.id,
    sessionId,
    role: user.role,
    name: user.name,
    programId: user.programId,
    affiliateId: user.affiliateId,
    scopes: null,
    expiresAt: null,
    standing,
    actor: `user:${user.id}`,
  };
}

/**
 * Whom a limit counts: an affiliate with all its keys and users, a user, or the keys of one role of a program. More keys
 * are not more of what a limit allows.
 */
export function partyOf(principal: Principal): string {
  const { affiliateId, userId, programId, role } = principal;
  if (affiliateId !== null) return `affiliate ${affiliateId}`;
  if (userId !== null) return `user ${userId}`;
  return `${role} keys of ${programId === null ? 'every program' : `program ${programId}`}`;
}

/** The caller of a route that is not public. */
export function principalOf(request: FastifyRequest): Principal {
  assert(request.principal, 'a route that is not public has a principal');
  return request.principal;
}

/** The row if its program is the principal's. @throws Problem `not_found`. */
export function inProgram<Row extends { readonly programId: number }>(
  principal: Principal,
  row: Row | undefined,
  what: string,
): Row {
  const foreign = principal.programId !== null && row?.programId !== principal.programId;
  if (row === undefined || foreign) throw notFound(what);
  return row;
}

/** The row if it is the principal's: of its program, and for an affiliate its own. @throws Problem `not_found`. */
export function owned<Row extends { readonly programId: number; readonly affiliateId: number | null }>(
  principal: Principal,
  row: Row | undefined,
  what: string,
): Row {
  const visible = inProgram(principal, row, what);
  const foreign = principal.affiliateId !== null && visible.affiliateId !== principal.affiliateId;
  if (foreign) throw notFound(what);
  return visible;
}

/**
 * The program a list is narrowed to: the key's own, or the requested one; undefined for all.
 * @throws Problem `forbidden` when another program than the key's is requested.
 */
export function programFilter(principal: Principal, requested: number | undefined): number | undefined {
  const own = principal.programId;
  if (own === null) return requested;
  if (requested !== undefined && requested !== own) {
    throw new Problem('forbidden', { detail: `this key belongs to program ${formatId('program', own)}` });
  }
  return own;
}

/** The affiliate a list is narrowed to. @throws Problem `forbidden` when an affiliate requests another. */
export function affiliateFilter(principal: Principal, requested: number | undefined): number | undefined {
  const own = principal.affiliateId;
  if (own === null) return requested;
  if (requested !== undefined && requested !== own) {
    throw new Problem('forbidden', { detail: `this key belongs to affiliate ${formatId('affiliate', own)}` });
  }
  return own;
}

/** The one program a request is about. @throws Problem `forbidden` or `invalid_input` (program_id is missing). */
export function programRequired(principal: Principal, requested: number | undefined): number {
  const program = programFilter(principal, requested);
  if (program !== undefined) return program;
  const message = 'is required, because this key belongs to no single program';
  throw new Problem('invalid_input', {
    detail: `program_id: ${message}`,
    errors: [{ field: 'program_id', message }],
  });
}

/** The caller, if it sees every program. @throws Problem `forbidden` for a key of one program. */
export function everyProgram(principal: Principal): Principal {
  if (principal.programId === null) return principal;
  throw new Problem('forbidden', {
    detail: 'this covers every program: it needs a key of no single program',
  });
}
