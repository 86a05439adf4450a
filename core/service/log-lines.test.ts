import { expect, test } from 'vitest';
import { createLogger } from './log.ts';
import { formatLogLine, logFormat } from './log-lines.ts';

const time = '2026-01-02T03:04:05.678Z';
const CLOCK = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d) /;

/** A line for people without its time, which is checked here. */
function rendered(service: string, line: string): string {
  const text = formatLogLine('text', service, line);
  const shown = CLOCK.exec(text)?.[1] ?? '';
  expect(Date.parse(shown), text).not.toBeNaN();
  return text.slice(shown.length + 1);
}

/** What a logger wrote, in JSON. */
function logged(write: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLogger({ name: 'api', level: 'trace', write: (line) => void lines.push(line) }));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('the time of a line for people is the time of the event, with its date and zone', () => {
  const line = JSON.stringify({ level: 'info', time, service: 'api', msg: 'x' });
  const shown = CLOCK.exec(formatLogLine('text', 'api', line))?.[1] ?? '';
  expect(new Date(shown).toISOString()).toBe('2026-01-02T03:04:05.000Z');
});

test('a line for people has its fields', () => {
  const line = JSON.stringify({
    level: 'info',
    time,
    service: 'api',
    msg: 'listening',
    port: 8081,
    host: '::',
  });
  expect(rendered('api', line)).toBe('api         info  listening port=8081 host=::');
});

test('shows the stack of an error below its line', () => {
  const err = { message: 'boom', stack: 'Error: boom\n at x' };
  const line = JSON.stringify({ level: 'fatal', time, msg: 'boom', err });
  expect(rendered('loader', line)).toBe('loader      FATAL boom \nError: boom\n at x');
});

test.each(['not JSON', '{"broken', '', '[1]', '{"level":30,"time":1}'])(
  'a line %j that is not the platform’s own follows its service, and is the message of a JSON line',
  (line) => {
    expect(rendered('api', line)).toBe(`api         ${line}`);
    const record = JSON.parse(formatLogLine('json', 'api', line)) as Record<string, string>;
    expect(record).toEqual({ level: 'info', time: expect.any(String), service: 'api', msg: line });
    expect(new Date(record.time ?? '').toISOString()).toBe(record.time);
  },
);

test('a line of the platform’s own stays as it is in JSON', () => {
  const line = JSON.stringify({ level: 'info', time, service: 'loader', msg: 'x' });
  expect(formatLogLine('json', 'collector', line)).toBe(line);
});

test('a stranger cannot steer the terminal by a value, a message or a line of a program', {
  tags: ['attack'],
}, () => {
  const evil = '\x1b]0;pwned\x07\r\n12:00:00 api info all is well';
  const record = JSON.stringify({ level: 'info', time, msg: evil, value: evil, [evil]: 1 });
  const disguised = JSON.stringify({ level: evil, time: evil, msg: 'x' });
  for (const line of [record, evil, disguised]) {
    expect(formatLogLine('text', 'api', line)).not.toMatch(/\p{Cc}/u);
    expect(formatLogLine('text', 'api', line)).toContain('\\x1b]0;pwned\\x07');
    expect(formatLogLine('json', 'api', line)).not.toMatch(/\p{Cc}/u);
  }
});

test('cuts long values', () => {
  const line = JSON.stringify({ level: 'info', time, msg: 'x', value: 'y'.repeat(500) });
  expect(rendered('api', line).length).toBeLessThan(260);
});

test('leaves a mail that is logged whole: its link is at its end', () => {
  const text = `Hello ${'y'.repeat(200)},\n\nopen https://portal.example/set-password?token=${'x'.repeat(80)} to sign in.`;
  const line = JSON.stringify({ level: 'warn', time, msg: 'x', to: 'ann@example.com', subject: 's', text });
  expect(rendered('api', line)).toContain(`token=${'x'.repeat(80)} to sign in.`);
});

test('a logger writes names of levels, times of ISO 8601 and its service', () => {
  const before = Date.now();
  const [info, fatal] = logged((log) => {
    log.info({ port: 1 }, 'listening');
    log.child({ request_id: 'r' }).fatal({ code: 'port_unavailable' }, 'no port');
  });
  expect(info).toEqual({
    level: 'info',
    time: expect.any(String),
    service: 'api',
    msg: 'listening',
    port: 1,
  });
  expect(fatal).toMatchObject({ level: 'fatal', request_id: 'r', code: 'port_unavailable', msg: 'no port' });
  const at = new Date(String(info?.time));
  expect(at.toISOString()).toBe(info?.time);
  expect(at.getTime()).toBeGreaterThanOrEqual(before);
});

test('a logger for people writes the text form, without secrets', () => {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  createLogger({ name: 'api', level: 'info', format: 'text', write }).warn(
    { key: 'afx_operator_abc' },
    'odd',
  );
  expect(lines[0]?.replace(CLOCK, '')).toBe('api         WARN  odd key=afx_operator_[hidden]\n');
});

test('without a terminal lines are JSON, unless a form is configured', () => {
  expect([logFormat('text'), logFormat('json')]).toEqual(['text', 'json']);
  expect(logFormat('')).toBe(process.stdout.isTTY ? 'text' : 'json');
});
