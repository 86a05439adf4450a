import { liveApiKeys } from '../../ledger/access/api-keys.ts';
import { liveSessions } from '../../ledger/access/sessions.ts';
import { findActiveUser } from '../../ledger/access/users.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { refusalOf, type Use } from '../http/admission.ts';
import { type Principal, principalFrom, principalOfUser } from '../http/principal.ts';
import { IDLE_MS } from './sessions.ts';

/** Rights are checked again for what outlasts a request: the end of a key, session, user or affiliate is its end as well. */

/** Those of the principals who may still use it. */
export async function stillAdmitted(
  ledger: Database,
  principals: readonly Principal[],
  use: Use,
): Promise<ReadonlySet<Principal>> {
  const [keys, sessions] = await Promise.all([
    liveApiKeys(ledger, [...new Set(principals.flatMap(({ keyId }) => keyId ?? []))]),
    liveSessions(ledger, {
      ids: [...new Set(principals.flatMap(({ sessionId }) => sessionId ?? []))],
      idleMs: IDLE_MS,
    }),
  ]);
  const keyById = new Map(keys.map((key) => [key.id, key]));
  const sessionById = new Map(sessions.map((session) => [session.id, session]));
  return new Set(
    principals.filter((principal) => {
      const key = keyById.get(principal.keyId ?? 0);
      const session = sessionById.get(principal.sessionId ?? 0n);
      const standing = (key ?? session)?.standing;
      return standing !== undefined && refusalOf({ ...principal, standing }, use) === undefined;
    }),
  );
}

/** The principal behind an actor of the audit log, as it is now; undefined when it has ended or has no rights. */
export async function principalOfActor(ledger: Database, actor: string): Promise<Principal | undefined> {
  const [, kind, id] = /^(key|user):([1-9]\d{0,8})$/.exec(actor) ?? [];
  if (kind === 'key') {
    const [key] = await liveApiKeys(ledger, [Number(id)]);
    return key && principalFrom(key);
  }
  const user = kind === 'user' ? await findActiveUser(ledger, Number(id)) : undefined;
  return user && principalOfUser(user, { standing: user.standing, sessionId: null });
}
