import type { DatabaseSql } from '../postgres/db.ts';

/** A mail of a program in its own words. */
export interface MailTemplate {
  readonly subject: string;
  readonly text: string;
}

export const MAX_SUBJECT_LENGTH = 200;
export const MAX_MAIL_LENGTH = 10_000;

/** The own words of a program, by kind. */
export async function listMailTemplates(
  sql: DatabaseSql,
  programId: number,
): Promise<ReadonlyMap<string, MailTemplate>> {
  const rows = await sql<(MailTemplate & { kind: string })[]>`
    select kind, subject, text from mail_templates where program_id = ${programId}`;
  return new Map(rows.map(({ kind, subject, text }) => [kind, { subject, text }]));
}

export async function setMailTemplate(
  sql: DatabaseSql,
  template: MailTemplate & { programId: number; kind: string },
): Promise<void> {
  const { programId, kind, subject, text } = template;
  await sql`
    insert into mail_templates ${sql.values({ programId, kind, subject, text })}
    on conflict (program_id, kind) do update set ${sql.set({ subject, text })}`;
}

/** The mail is in the words of the platform again. */
export async function removeMailTemplate(
  sql: DatabaseSql,
  { programId, kind }: { programId: number; kind: string },
): Promise<void> {
  await sql`delete from mail_templates where program_id = ${programId} and kind = ${kind}`;
}

/** What a mail of a program is made of. */
export async function readMailing(
  sql: DatabaseSql,
  { programId, kind }: { programId: number; kind: string },
): Promise<{ programName: string; senderName: string | null; template: MailTemplate | null }> {
  const [row] = await sql<
    [{ programName: string; senderName: string | null; subject: string | null; text: string | null }]
  >`
    select p.name as program_name, p.mail_sender_name as sender_name, t.subject, t.text
    from programs p left join mail_templates t on t.program_id = p.id and t.kind = ${kind}
    where p.id = ${programId}`;
  const { programName, senderName, subject, text } = row;
  return { programName, senderName, template: subject === null || text === null ? null : { subject, text } };
}
