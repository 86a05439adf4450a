import { createTransport } from 'nodemailer';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { DueMail, Mail } from '../../ledger/integrations/mails.ts';

/** What became of an attempt: taken by the server, refused for good, or to be tried again. */
export type Sending = { outcome: 'sent' } | { outcome: 'refused' | 'failed'; reason: string };

export interface Mailer {
  send(mail: Mail & Pick<DueMail, 'messageId'>): Promise<Sending>;
}

/** A server that takes longer is unavailable. */
export const SMTP_TIMEOUT_MS = 10_000;
/** RFC 5321: replies from 500 on are permanent. */
const PERMANENT = 500;
/** What nodemailer calls a reply that concerns this mail, not the connection or our credentials. */
const CODES_OF_THE_MAIL = ['EENVELOPE', 'EMESSAGE'];

/** Mails by SMTP, or into the log when `url` is empty: for a first start without a mail server. */
export function createMailer({ url, from, log }: { url: string; from: string; log: Logger }): Mailer {
  if (url === '') {
    return {
      async send({ to, subject, text }) {
        log.warn({ to, subject, text }, 'MAIL_URL is not set: the mail is logged instead');
        return { outcome: 'sent' };
      },
    };
  }
  const transport = createTransport(url, {
    from,
    connectionTimeout: SMTP_TIMEOUT_MS,
    greetingTimeout: SMTP_TIMEOUT_MS,
    socketTimeout: SMTP_TIMEOUT_MS,
  } as object);
  return {
    async send({ to, subject, text, senderName, messageId }) {
      try {
        await transport.sendMail({
          // As an object it is one address, whatever stands in it; as text it would be read as a list.
          to: { name: '', address: to },
          from: senderName === undefined ? from : { name: senderName, address: addressOf(from) },
          subject,
          text,
          messageId: `<${messageId}@afflux>`,
        });
        return { outcome: 'sent' };
      } catch (error) {
        const { code = '', responseCode = 0 } = error as { code?: string; responseCode?: number };
        const refused = CODES_OF_THE_MAIL.includes(code) && responseCode >= PERMANENT;
        return { outcome: refused ? 'refused' : 'failed', reason: errorText(error) };
      }
    },
  };
}

/** Of `Afflux <no-reply@example.com>` the address. */
function addressOf(from: string): string {
  return /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from;
}
