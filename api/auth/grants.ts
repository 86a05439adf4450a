import type { Role } from '../../ledger/access/api-keys.ts';
import type { Principal } from '../http/principal.ts';
import { invalidField, Problem } from '../http/problems.ts';

/** What a caller may pass on: never more than it has itself, in scopes or in time. */

/** The scopes and the role of a key to be made. @throws Problem `forbidden`, or naming `scopes`. */
export function checkGrantedScopes(
  principal: Principal,
  asked: { role: Role; scopes: readonly string[] | undefined },
): void {
  if (principal.role !== 'operator' && asked.role !== principal.role) {
    throw new Problem('forbidden', {
      detail: `this caller can create keys of the role ${principal.role} only`,
    });
  }
  if (!coversScopes(principal, asked.scopes ?? null)) {
    throw invalidField('scopes', `must be among ${principal.scopes?.join(', ')}, the scopes of your own key`);
  }
}

/** Whether the principal has each of the scopes; null are all of them. */
export function coversScopes({ scopes: own }: Principal, scopes: readonly string[] | null): boolean {
  return own === null || (scopes?.every((scope) => own.includes(scope)) ?? false);
}

/** When a key to be made expires: as asked, and not after the key that makes it. @throws Problem naming `expires_at`. */
export function grantedExpiry(principal: Principal, asked: Date | undefined): Date | null {
  const own = principal.expiresAt;
  if (own !== null && asked !== undefined && asked.getTime() > own.getTime()) {
    throw invalidField('expires_at', `must not be after ${own.toISOString()}, when your own key expires`);
  }
  return asked ?? own;
}

/** A user has every right of its role, without end: a key that has less makes none. */
export function mayCreateUsers({ scopes, expiresAt }: Principal): boolean {
  return scopes === null && expiresAt === null;
}

/** @throws Problem `forbidden` for a key that may not create users. */
export function checkMayCreateUsers(principal: Principal): void {
  if (mayCreateUsers(principal)) return;
  throw new Problem('forbidden', {
    detail: 'a key with scopes or an expiry cannot create users, which have neither',
  });
}
