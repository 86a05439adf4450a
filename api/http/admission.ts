import { ROLES, type Role } from '../../ledger/access/api-keys.ts';
import type { Principal } from './principal.ts';
import { scopeOf } from './scopes.ts';

/** What a principal wants to use: a route, by who may call it and by its scope. */
export interface Use {
  readonly roles: readonly Role[];
  readonly method: string;
  /** The first one is the scope's. */
  readonly tags: readonly string[];
  /** Scopes that it needs as well, because it acts in other parts of the API, too. */
  readonly scopes?: readonly string[] | undefined;
}

/** What the link of a report's file needs, wherever it is shown: it opens the file to every holder. */
export const READING_REPORTS: Use = { roles: ROLES, method: 'GET', tags: ['reports'] };

/** What the users and keys of a terminated affiliate still read: its money, and what is kept about it. */
const EARNINGS_TAGS: readonly string[] = ['money', 'affiliates', 'keys', 'session'];

/**
 * Why a principal may not use something; undefined when it may. Asked for every request, and again for what outlasts one:
 * open streams, and files that are fetched later.
 */
export function refusalOf(
  principal: Principal,
  { roles, method, tags, scopes: further = [] }: Use,
): string | undefined {
  const { role, scopes, standing } = principal;
  if (!roles.includes(role)) return `the role ${role} is not permitted to do this`;
  const lacking = [scopeOf({ method, tags }), ...further].filter(
    (scope) => scopes?.includes(scope) === false,
  );
  if (lacking.length > 0) return `this key lacks the scope ${lacking.join(' and ')}`;
  const [tag = ''] = tags;
  const reads = method === 'GET' || method === 'HEAD';
  if (standing !== 'full' && !reads && tag !== 'session') {
    return 'the affiliate is suspended or terminated, and changes nothing';
  }
  if (standing === 'earnings' && !EARNINGS_TAGS.includes(tag)) {
    return 'the affiliate is terminated, and reads its account, earnings, statements and payouts only';
  }
  return undefined;
}
