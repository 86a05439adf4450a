import { printable } from '../printable.ts';

/**
 * The two forms of a log line. `json`: one object a line, with `time` (ISO 8601), `level` (a name), `service` and `msg`.
 * `text`: a short line for people, in local time with its date and zone.
 */
export type LogFormat = 'json' | 'text';

/** People read a terminal, programs everything else. */
export function logFormat(configured: LogFormat | ''): LogFormat {
  return configured || (process.stdout.isTTY ? 'text' : 'json');
}

/** A line of one of the platform's processes, which write JSON to the process that started them, in the form wanted. */
export function formatLogLine(format: LogFormat, service: string, line: string): string {
  const record = parse(line);
  if (format === 'text') return renderText(service, line, record);
  return record
    ? line
    : JSON.stringify({ level: 'info', time: new Date().toISOString(), service, msg: line });
}

/** Those that a reader must not overlook are in capitals. */
const LOUD = new Set(['warn', 'error', 'fatal']);
/** Shown at the start of the line already. */
const LEFT_OUT = new Set(['level', 'time', 'service', 'msg', 'err']);
const MAX_VALUE_LENGTH = 200;
/** Of a mail that is logged instead of being sent, whose links would lead nowhere without their ends. */
const MAX_MAIL_LENGTH = 12_000;
const SERVICE_WIDTH = 11;

/** `2026-01-02T12:03:07+01:00 collector   info  listening host=127.0.0.1 port=8080` */
function renderText(service: string, line: string, record: Record<string, unknown> | undefined): string {
  if (record === undefined) return `${clock(new Date())} ${service.padEnd(SERVICE_WIDTH)} ${printable(line)}`;
  const fields = Object.entries(record)
    .filter(([key]) => !LEFT_OUT.has(key))
    .map(([key, value]) =>
      printable(`${key}=${shorten(value, key === 'text' ? MAX_MAIL_LENGTH : MAX_VALUE_LENGTH)}`),
    );
  const level = String(record.level);
  const shown = printable(LOUD.has(level) ? level.toUpperCase() : level).padEnd(5);
  const head = `${clock(new Date(String(record.time)))} ${service.padEnd(SERVICE_WIDTH)} ${shown}`;
  return [head, printable(String(record.msg ?? '')), ...fields, ...stackOf(record.err)].join(' ');
}

/** Undefined for a line that is none of ours: it has no level, or is not JSON. */
function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const record = JSON.parse(line) as Record<string, unknown>;
    return typeof record.level === 'string' && typeof record.time === 'string' ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Local time as ISO 8601 has it, with the distance to UTC. */
function clock(time: Date): string {
  const shown = Number.isNaN(time.getTime()) ? new Date() : time;
  const offset = -shown.getTimezoneOffset();
  const local = new Date(shown.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const [hours, minutes] = [Math.trunc(Math.abs(offset) / 60), Math.abs(offset) % 60];
  return `${local}${offset < 0 ? '-' : '+'}${twoDigits(hours)}:${twoDigits(minutes)}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

function shorten(value: unknown, max: number): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

function stackOf(err: unknown): string[] {
  const stack = (err as { stack?: string } | undefined)?.stack;
  return stack ? [`\n${stack.split('\n').map(printable).join('\n')}`] : [];
}
