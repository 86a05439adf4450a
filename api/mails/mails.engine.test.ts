import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { SMTPServer } from 'smtp-server';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createSecretBox } from '../../core/secret-box.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { sendDue } from './mail-worker.ts';
import { createMailer, type Mailer } from './mailer.ts';

/** Mails through a real SMTP server on loopback. */

interface Received {
  readonly from: string;
  readonly to: string;
  readonly user: string;
  readonly text: string;
}

const servers: SMTPServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise<void>((resolve) => server.close(resolve));
});

/** A server that lets `user:right` in and refuses the recipient unknown@…. */
async function startServer(): Promise<{ url: (password: string) => string; received: Received[] }> {
  const received: Received[] = [];
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth({ username, password }, _session, done) {
      if (username === 'user' && password === 'right') done(null, { user: username });
      else done(new Error('wrong password'));
    },
    onRcptTo({ address }, _session, done) {
      if (address.startsWith('unknown@'))
        done(Object.assign(new Error('no such user'), { responseCode: 550 }));
      else done();
    },
    onData(stream, session, done) {
      const { mailFrom, rcptTo } = session.envelope;
      let text = '';
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      stream.on('end', () => {
        const to = rcptTo.map(({ address }) => address).join(',');
        received.push({ from: mailFrom ? mailFrom.address : '', to, user: String(session.user), text });
        done();
      });
    },
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.server.address() as AddressInfo;
  return { url: (password) => `smtp://user:${password}@127.0.0.1:${port}`, received };
}

function mailerTo(url: string) {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  return { mailer: createMailer({ url, from: 'Afflux <no-reply@example.com>', log }), lines };
}

const MAIL = {
  messageId: '11111111-2222-3333-4444-555555555555',
  to: 'ann@example.com',
  subject: 'Your password ✓',
  text: 'Hello Ann,\n\n.\nhttps://portal.example/reset?token=abc\n',
};

test('a mail arrives unchanged, from the configured sender, with the configured credentials', async () => {
  const { url, received } = await startServer();
  const { mailer, lines } = mailerTo(url('right'));
  await mailer.send(MAIL);
  expect(received).toMatchObject([{ from: 'no-reply@example.com', to: MAIL.to, user: 'user' }]);
  const [head = '', body = ''] = (received[0]?.text ?? '').split('\r\n\r\n', 2);
  expect(head).toMatch(/^From: Afflux <no-reply@example\.com>$/m);
  expect(head).toMatch(/^Subject: =\?UTF-8\?[QB]\?/m);
  expect(received[0]?.text).toContain('https://portal.example/reset?token');
  expect(body).toContain('Hello Ann,');
  expect(lines).toEqual([]);
});

test('the name of a program stands before the address of the platform, and writes no header', async () => {
  const { url, received } = await startServer();
  const { mailer } = mailerTo(url('right'));
  await mailer.send({ ...MAIL, senderName: 'Shop, "partners" <eve@example.com>\r\nX-Evil: 1' });
  expect(received).toMatchObject([{ from: 'no-reply@example.com' }]);
  const [folded = ''] = (received[0]?.text ?? '').split('\r\n\r\n', 1);
  const head = folded.replaceAll(/\r\n[ \t]/g, ' ');
  expect(head).toMatch(/^From: .*<no-reply@example\.com>$/m);
  expect(head).not.toMatch(/^X-Evil:/m);
});

test('an address cannot write a header or add a reader', async () => {
  const { url, received } = await startServer();
  const { mailer } = mailerTo(url('right'));
  await mailer.send({ ...MAIL, subject: 'Hello\r\nBcc: eve@example.com\r\nX-Evil: 1' });
  await mailer.send({ ...MAIL, to: 'ann@example.com\r\nBcc: eve@example.com' });
  await mailer.send({ ...MAIL, to: 'ann@example.com,eve@example.com' });
  expect(received.length).toBeGreaterThan(0);
  for (const { to, text } of received) {
    expect(to.split(',')).not.toContain('eve@example.com');
    expect(text).not.toMatch(/^(Bcc|X-Evil):/m);
  }
});

test('without a server it is in the log, for a first start', async () => {
  const { mailer, lines } = mailerTo('');
  await mailer.send(MAIL);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ to: MAIL.to, text: MAIL.text });
});

describe('a queued mail', () => {
  let books: TestLedger;
  const secretBox = createSecretBox([randomBytes(32)]);
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });

  beforeAll(async () => {
    books = await freshLedger({ max: 8 });
  });
  afterAll(async () => {
    await books?.close();
  });
  afterEach(async () => {
    lines.length = 0;
    await books.ledger`delete from mails`;
  });

  const queue = (to = MAIL.to) =>
    inTransaction(books.ledger, (tx) => queueMail(tx, secretBox, { ...MAIL, to }));
  const send = (mailer: Mailer, retryWaitsS?: readonly number[]) =>
    sendDue({ ledger: books.ledger, secretBox, mailer, log, ...(retryWaitsS && { retryWaitsS }) });
  const waiting = async () =>
    (await books.ledger<{ attempts: number }[]>`select attempts from mails order by id`).map(
      ({ attempts }) => attempts,
    );
  const idsOf = (received: readonly Received[]) =>
    received.map(({ text }) => /^Message-ID: <(.+)@afflux>\r$/m.exec(text)?.[1]);

  test('is sent when its transaction commits, and not when it is rolled back', async () => {
    const { url, received } = await startServer();
    const { mailer } = mailerTo(url('right'));
    await inTransaction(books.ledger, async (tx) => {
      await queueMail(tx, secretBox, MAIL);
      throw new Error('rolled back');
    }).catch(() => undefined);
    expect(await send(mailer)).toBe(0);
    await queue();
    expect(await send(mailer)).toBe(1);
    expect(received.map(({ to }) => to)).toEqual([MAIL.to]);
    expect(await waiting()).toEqual([]);
  });

  test('is not readable in the database', async () => {
    await queue();
    const [row] = await books.ledger<{ encrypted: Buffer }[]>`select encrypted from mails`;
    expect(row?.encrypted.toString('latin1')).not.toMatch(/token|ann@|password/);
  });

  test('goes out once, also when several processes send', async () => {
    const { url, received } = await startServer();
    const recipients = Array.from({ length: 40 }, (_, i) => `ann${i}@example.com`);
    for (const to of recipients) await queue(to);
    const { mailer } = mailerTo(url('right'));
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        while ((await send(mailer)) > 0);
      }),
    );
    expect(received.map(({ to }) => to).toSorted()).toEqual(recipients.toSorted());
    expect(new Set(idsOf(received)).size).toBe(recipients.length);
  });

  test('survives the end of a process that had it in hand, under the same Message-ID', async () => {
    const { url, received } = await startServer();
    const { mailer } = mailerTo(url('right'));
    await queue();
    // The server has it; the process ends before it notes that.
    const taken = new Promise<void>((resolve) => {
      void send({
        async send(mail) {
          await mailer.send(mail);
          resolve();
          return await new Promise(() => undefined);
        },
      });
    });
    await taken;
    expect(await send(mailer)).toBe(0);
    await books.ledger`update mails set due_at = clock_timestamp()`;
    expect(await send(mailer)).toBe(1);
    expect(new Set(idsOf(received)).size).toBe(1);
    expect(received).toHaveLength(2);
    expect(await waiting()).toEqual([]);
  });

  test('waits for a server that is unavailable or refuses the credentials, and is logged without its text', async () => {
    await queue();
    expect(await send(mailerTo('smtp://127.0.0.1:1').mailer, [0, 0])).toBe(1);
    const { url, received } = await startServer();
    expect(await send(mailerTo(url('wrong')).mailer, [0, 0])).toBe(1);
    expect(await waiting()).toEqual([2]);
    expect(lines.join()).not.toMatch(/token=abc|wrong@|user:/);
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual(
      Array(2).fill('mail could not be sent; retrying'),
    );
    expect(await send(mailerTo(url('right')).mailer)).toBe(1);
    expect(received).toHaveLength(1);
  });

  test('that no key reads holds up none of the others', async () => {
    const { url, received } = await startServer();
    await inTransaction(books.ledger, (tx) => queueMail(tx, createSecretBox([randomBytes(32)]), MAIL));
    await queue();
    expect(await send(mailerTo(url('right')).mailer)).toBe(2);
    expect(received).toHaveLength(1);
    expect(await waiting()).toEqual([1]);
  });

  test('is given up, with an error in the log, after the last attempt or when its recipient is refused', async () => {
    const { url, received } = await startServer();
    await queue('unknown@example.com');
    await send(mailerTo(url('right')).mailer);
    await queue();
    await send(mailerTo('smtp://127.0.0.1:1').mailer, []);
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual(
      Array(2).fill('mail could not be sent and is given up'),
    );
    expect(await waiting()).toEqual([]);
    expect(received).toEqual([]);
  });
});
