import { type Logger, pino } from 'pino';
import { hideSecrets } from '../secret-forms.ts';
import { withoutPassword } from '../url.ts';
import { formatLogLine, type LogFormat } from './log-lines.ts';

export type { Logger } from 'pino';

/**
 * A logger that writes one line for each event, by default as JSON to standard output. Log no personal data and no
 * secrets; a key or signing secret that stands in somebody's text is hidden.
 *
 * The lines go through `process.stdout`, because pino's own destination (sonic-boom 4.2, `flushSync`) waits forever
 * when the reader has gone: a process whose supervisor was killed would never end.
 */
export function createLogger(options: {
  /** `service` of its lines. */
  name: string;
  level: string;
  format?: LogFormat;
  /** Takes a line with its end. */
  write?: (line: string) => void;
}): Logger {
  const { name, level, format = 'json', write = (line: string) => void process.stdout.write(line) } = options;
  // The reader has gone; the loss of the supervisor is handled elsewhere.
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => undefined);
  const shown =
    format === 'json'
      ? (line: string) => write(hideSecrets(line))
      : (line: string) => write(`${formatLogLine(format, name, hideSecrets(line).trimEnd())}\n`);
  return pino(
    {
      level,
      base: { service: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: withoutPasswords },
    },
    { write: shown },
  );
}

/** An error as pino logs it. A library's can carry the URL that it was given: in its text, its stack, a member. */
function withoutPasswords(error: Error): Record<string, unknown> {
  const members = Object.entries(pino.stdSerializers.err(error));
  return Object.fromEntries(
    members.map(([name, value]) => [name, typeof value === 'string' ? withoutPassword(value) : value]),
  );
}
