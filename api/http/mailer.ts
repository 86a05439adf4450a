import { createTransport } from 'nodemailer';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';

export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** Plain text. */
  readonly text: string;
}

/** Sends mails. A mail that cannot be sent is logged and given up: its recipient can request it again. */
export interface Mailer {
  send(mail: Mail): Promise<void>;
}

/** A server that takes longer is unavailable. */
const TIMEOUT_MS = 10_000;

/** Mails by SMTP, or into the log when `url` is empty: for a first start without a mail server. */
export function createMailer({ url, from, log }: { url: string; from: string; log: Logger }): Mailer {
  if (url === '') {
    return {
      async send({ to, subject, text }) {
        log.warn({ to, subject, text }, 'MAIL_URL is not set: the mail is logged instead');
      },
    };
  }
  const transport = createTransport(url, {
    from,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
  } as object);
  return {
    async send(mail) {
      try {
        // As an object it is one address, whatever stands in it; as text it would be read as a list.
        const to = { name: '', address: mail.to };
        await transport.sendMail({ ...mail, to, from });
      } catch (error) {
        log.error({ subject: mail.subject, reason: errorText(error) }, 'mail could not be sent');
      }
    },
  };
}
