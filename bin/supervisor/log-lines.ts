import { type Logger, pino } from 'pino';
import { printable } from '../../core/printable.ts';
import { hideSecrets } from '../../core/secret-forms.ts';

/** Renders the JSON log lines of all processes as short lines for people. */

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'WARN',
  50: 'ERROR',
  60: 'FATAL',
};
/** Shown at the start of the line already. */
const LEFT_OUT = new Set(['level', 'time', 'name', 'pid', 'hostname', 'msg', 'err']);
const MAX_VALUE_LENGTH = 200;
/** Of a mail that is logged instead of being sent, whose links would lead nowhere without their ends. */
const MAX_MAIL_LENGTH = 12_000;
const NAME_WIDTH = 11;

/** `12:03:07 collector   info  listening host=127.0.0.1 port=8080`; a line that is not JSON follows its process name. */
export function renderLogLine(name: string, line: string): string {
  const record = parse(line);
  if (record === undefined) return `${clock(Date.now())} ${name.padEnd(NAME_WIDTH)} ${printable(line)}`;
  const fields = Object.entries(record)
    .filter(([key]) => !LEFT_OUT.has(key))
    .map(([key, value]) =>
      printable(`${key}=${shorten(value, key === 'text' ? MAX_MAIL_LENGTH : MAX_VALUE_LENGTH)}`),
    );
  const level = LEVELS[Number(record.level)] ?? 'info';
  const head = `${clock(Number(record.time))} ${name.padEnd(NAME_WIDTH)} ${level.padEnd(5)}`;
  return [head, printable(String(record.msg ?? '')), ...fields, ...stackOf(record.err)].join(' ');
}

function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function clock(timeMs: number): string {
  return new Date(timeMs).toTimeString().slice(0, 8);
}

function shorten(value: unknown, max: number): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

function stackOf(err: unknown): string[] {
  const stack = (err as { stack?: string } | undefined)?.stack;
  return stack ? [`\n${stack.split('\n').map(printable).join('\n')}`] : [];
}

/** A logger whose lines are rendered for people on standard output. */
export function createLineLogger(options: { name: string; level: string }): Logger {
  return pino(
    { level: options.level, base: null },
    { write: (line: string) => process.stdout.write(`${renderLogLine(options.name, hideSecrets(line))}\n`) },
  );
}
