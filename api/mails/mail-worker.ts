import { errorText } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import {
  claimMails,
  type DueMail,
  forgetMail,
  type Mail,
  readMail,
  retryMail,
} from '../../ledger/integrations/mails.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { type Mailer, type Sending, SMTP_TIMEOUT_MS } from './mailer.ts';

/**
 * Sends what the ledger has queued. A mail goes out once; a second time only when this process ends between the server's
 * answer and the note of it, and then under the same Message-ID.
 */

/** Seven attempts within a day: later, what most mails say (a link, a warning) is of no use. */
const RETRY_WAITS_S = [60, 300, 1_800, 7_200, 21_600, 54_000];
const MAILS_AT_ONCE = 10;
/** Longer than an attempt, whose connection, greeting and answers may each take a time-out. */
const CLAIM_SECONDS = (6 * SMTP_TIMEOUT_MS) / 1_000;
const IDLE_PAUSE_MS = 500;
const RETRY_PAUSE_MS = 2_000;

export interface MailWorkerOptions {
  readonly ledger: Database;
  readonly secretBox: SecretBox;
  readonly mailer: Mailer;
  readonly log: Logger;
  /** For tests; default {@link RETRY_WAITS_S}. */
  readonly retryWaitsS?: readonly number[];
}

export function startMailWorker(options: MailWorkerOptions): Running {
  return startLoop(async () => {
    try {
      return (await sendDue(options)) > 0 ? 0 : IDLE_PAUSE_MS;
    } catch (error) {
      options.log.warn({ reason: errorText(error) }, 'mails could not be read from the ledger; retrying');
      return RETRY_PAUSE_MS;
    }
  });
}

/** Attempts what is due. Returns how many attempts were made. */
export async function sendDue(options: MailWorkerOptions): Promise<number> {
  const { ledger } = options;
  const due = await claimMails(ledger, { limit: MAILS_AT_ONCE, claimSeconds: CLAIM_SECONDS });
  await Promise.all(due.map((mail) => attempt(options, mail)));
  return due.length;
}

async function attempt(options: MailWorkerOptions, mail: DueMail): Promise<void> {
  const { ledger, log, retryWaitsS = RETRY_WAITS_S } = options;
  const sending = await send(options, mail);
  if (sending.outcome === 'sent') return await forgetMail(ledger, mail.id);
  const waitSeconds = sending.outcome === 'failed' ? retryWaitsS[mail.attempts] : undefined;
  const note = { mail: mail.messageId, queuedAt: mail.createdAt, reason: sending.reason };
  if (waitSeconds === undefined) {
    log.error(note, 'mail could not be sent and is given up');
    await forgetMail(ledger, mail.id);
  } else {
    log.warn({ ...note, waitSeconds }, 'mail could not be sent; retrying');
    await retryMail(ledger, { id: mail.id, waitSeconds });
  }
}

/** A mail that no key reads fails by itself, and holds up none of those that were claimed with it. */
async function send({ secretBox, mailer }: MailWorkerOptions, due: DueMail): Promise<Sending> {
  let mail: Mail;
  try {
    mail = readMail(secretBox, due);
  } catch (error) {
    return { outcome: 'failed', reason: errorText(error) };
  }
  return await mailer.send({ ...mail, messageId: due.messageId });
}
