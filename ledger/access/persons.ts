import type { DatabaseSql } from '../postgres/db.ts';

/** Keys that made keys, or that were rotated: a longer chain of them has no good reason. */
const MAX_CHAIN = 50;

/**
 * The user behind an actor of the audit log: the user itself, or the one who made the key, over rotations and keys that
 * made keys. Null where no user is known: the command line, the scheduler, a key that was made on the command line.
 */
export async function userBehind(sql: DatabaseSql, actor: string): Promise<number | null> {
  let present = actor;
  for (let i = 0; i < MAX_CHAIN; i++) {
    const [, kind, id] = /^(user|key):([1-9]\d{0,9})$/.exec(present) ?? [];
    if (kind === undefined) return null;
    if (kind === 'user') return Number(id);
    const [made] = await sql<{ actor: string }[]>`
      select l.actor from audit_log l
      where l.subject = ${`key_${id}`} and l.action = 'api_key.create'
        or l.action = 'api_key.rotate' and l.after ->> 'id' = ${`key_${id}`}
          and l.subject = (select 'key_' || replaces from api_keys where id = ${Number(id)})
      order by l.id limit 1`;
    if (!made) return null;
    present = made.actor;
  }
  return null;
}
