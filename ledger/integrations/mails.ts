import type { SecretBox } from '../../core/secret-box.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** Plain text. */
  readonly text: string;
  /** Before the address in the From; by default that of the platform. */
  readonly senderName?: string;
}

/** A mail that is to be sent now; {@link readMail} gives what it says. */
export interface DueMail {
  readonly id: bigint;
  readonly encrypted: Buffer;
  /** A UUID; the same at every attempt. */
  readonly messageId: string;
  /** Attempts before this one. */
  readonly attempts: number;
  readonly createdAt: Date;
}

const PURPOSE = 'mail';

/** Sends a mail when, and only when, the transaction commits: then, or `waitSeconds` later. */
export async function queueMail(
  tx: DatabaseTransaction,
  secretBox: SecretBox,
  mail: Mail,
  { waitSeconds = 0 } = {},
): Promise<void> {
  const { to, subject, text, senderName } = mail;
  const encrypted = secretBox.encrypt(PURPOSE, JSON.stringify({ to, subject, text, senderName }));
  await tx`
    insert into mails (encrypted, due_at)
    values (${encrypted}, clock_timestamp() + make_interval(secs => ${waitSeconds}))`;
}

/** Takes mails that are due, the oldest first; no other process gets them for `claimSeconds`. */
export async function claimMails(
  sql: DatabaseSql,
  options: { limit: number; claimSeconds: number },
): Promise<DueMail[]> {
  const { limit, claimSeconds } = options;
  const rows = await sql<DueMail[]>`
    update mails set due_at = clock_timestamp() + make_interval(secs => ${claimSeconds})
    where id in (
      select id from mails where due_at <= clock_timestamp() order by due_at, id limit ${limit} for update skip locked
    )
    returning id, message_id, encrypted, attempts, created_at`;
  return rows.toSorted((a, b) => Number(a.id - b.id));
}

/** @throws OperatingError `data_key_missing` when no key decrypts it. */
export function readMail(secretBox: SecretBox, { encrypted }: Pick<DueMail, 'encrypted'>): Mail {
  return JSON.parse(secretBox.decrypt(PURPOSE, encrypted)) as Mail;
}

/** Of a mail that a server took, or that is given up. */
export async function forgetMail(sql: DatabaseSql, id: bigint): Promise<void> {
  await sql`delete from mails where id = ${id}`;
}

/** Has a mail attempted again. */
export async function retryMail(sql: DatabaseSql, retry: { id: bigint; waitSeconds: number }): Promise<void> {
  const { id, waitSeconds } = retry;
  await sql`
    update mails set attempts = attempts + 1, due_at = clock_timestamp() + make_interval(secs => ${waitSeconds})
    where id = ${id}`;
}
