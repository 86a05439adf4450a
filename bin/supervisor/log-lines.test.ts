import { expect, test } from 'vitest';
import { renderLogLine } from './log-lines.ts';

const at = new Date(2026, 0, 2, 3, 4, 5).getTime();

test('renders a line of pino with its fields', () => {
  const line = JSON.stringify({ level: 30, time: at, name: 'api', msg: 'listening', port: 8081, host: '::' });
  expect(renderLogLine('api', line)).toBe('03:04:05 api         info  listening port=8081 host=::');
});

test('shows the stack of an error below its line', () => {
  const line = JSON.stringify({
    level: 60,
    time: at,
    msg: 'boom',
    err: { message: 'boom', stack: 'Error: boom\n at x' },
  });
  expect(renderLogLine('loader', line)).toBe('03:04:05 loader      FATAL boom \nError: boom\n at x');
});

test.each(['not JSON', '{"broken', '', '[1]'])('passes %j on as it is', (line) => {
  expect(renderLogLine('api', line).slice(9)).toBe(`api         ${line}`);
});

test('a stranger cannot steer the terminal by a value, a message or a line of a program', {
  tags: ['attack'],
}, () => {
  const evil = '\x1b]0;pwned\x07\r\n12:00:00 api info all is well';
  const record = JSON.stringify({ level: 30, time: at, msg: evil, value: evil, [evil]: 1 });
  for (const line of [record, evil]) {
    expect(renderLogLine('api', line)).not.toMatch(/\p{Cc}/u);
    expect(renderLogLine('api', line)).toContain('\\x1b]0;pwned\\x07');
  }
});

test('cuts long values', () => {
  const line = JSON.stringify({ level: 30, time: at, msg: 'x', value: 'y'.repeat(500) });
  expect(renderLogLine('api', line).length).toBeLessThan(260);
});

test('leaves a mail that is logged whole: its link is at its end', () => {
  const text = `Hello ${'y'.repeat(200)},\n\nopen https://portal.example/set-password?token=${'x'.repeat(80)} to sign in.`;
  const line = JSON.stringify({ level: 40, time: at, msg: 'x', to: 'ann@example.com', subject: 's', text });
  expect(renderLogLine('api', line)).toContain(`token=${'x'.repeat(80)} to sign in.`);
});
