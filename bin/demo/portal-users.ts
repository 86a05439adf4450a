import { randomBytes } from 'node:crypto';
import { hashPassword } from '../../api/auth/passwords.ts';
import { createUser, setPassword } from '../../ledger/access/users.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';

/** Who may sign in to the demo's portal. */
export interface PortalUser {
  readonly email: string;
  readonly password: string;
}

/** An operator of every program, and a partner who has recruited others. */
export interface PortalUsers {
  readonly operator: PortalUser;
  readonly partner: PortalUser;
}

const PASSWORD_BYTES = 9;

export async function createPortalUsers(
  sql: DatabaseSql,
  options: { programId: number; affiliate: { id: number; name: string; email: string } },
): Promise<PortalUsers> {
  const { programId, affiliate } = options;
  async function create(given: Pick<Parameters<typeof createUser>[1], 'email' | 'name' | 'role'>, own = {}) {
    const password = randomBytes(PASSWORD_BYTES).toString('base64url');
    const user = await createUser(sql, { programId: null, affiliateId: null, ...given, ...own });
    await setPassword(sql, { id: user.id, hash: await hashPassword(password) });
    return { email: user.email, password };
  }
  return {
    operator: await create({ email: 'operator@demo.example', name: 'Olga Operator', role: 'operator' }),
    partner: await create(
      { email: affiliate.email, name: affiliate.name, role: 'affiliate' },
      { programId, affiliateId: affiliate.id },
    ),
  };
}
