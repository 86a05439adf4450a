import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { SMTPServer } from 'smtp-server';
import { afterEach, expect, test } from 'vitest';
import { createMailer } from './mailer.ts';

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

/** A server that lets `user:right` in. */
async function startServer(): Promise<{ url: (password: string) => string; received: Received[] }> {
  const received: Received[] = [];
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth({ username, password }, _session, done) {
      if (username === 'user' && password === 'right') done(null, { user: username });
      else done(new Error('wrong password'));
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

test('a server that refuses or is unavailable is logged without the mail, within a deadline', async () => {
  const { url } = await startServer();
  const refused = mailerTo(url('wrong'));
  await refused.mailer.send(MAIL);
  const unavailable = mailerTo('smtp://127.0.0.1:1');
  await unavailable.mailer.send(MAIL);
  for (const { lines } of [refused, unavailable]) {
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('mail could not be sent');
    expect(lines[0]).not.toMatch(/token=abc|wrong@|user:/);
  }
});

test('without a server it is in the log, for a first start', async () => {
  const { mailer, lines } = mailerTo('');
  await mailer.send(MAIL);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ to: MAIL.to, text: MAIL.text });
});
