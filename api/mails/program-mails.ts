import type { SecretBox } from '../../core/secret-box.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import { readMailing } from '../../ledger/partners/mail-templates.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { MAIL_KINDS, type MailKindName, type MailValues, renderTemplate } from './templates.ts';

/** Queues a mail of a program in the transaction of what it tells of: in the words and under the name of the program. */
export async function queueProgramMail<Kind extends MailKindName>(
  tx: DatabaseTransaction,
  { secretBox }: { readonly secretBox: SecretBox },
  mail: {
    programId: number;
    kind: Kind;
    to: string;
    values: Omit<MailValues<Kind>, 'program'>;
    /** Until it is sent. */
    waitSeconds?: number;
  },
): Promise<void> {
  const { programId, kind, to, values, waitSeconds = 0 } = mail;
  const { programName, senderName, template } = await readMailing(tx, { programId, kind });
  const filled = renderTemplate(template ?? MAIL_KINDS[kind].template, { ...values, program: programName });
  const sender = senderName !== null && { senderName };
  await queueMail(tx, secretBox, { to, ...filled, ...sender }, { waitSeconds });
}
