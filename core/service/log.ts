import { type Logger, pino } from 'pino';
import { hideSecrets } from '../secret-forms.ts';
import { withoutPassword } from '../url.ts';

export type { Logger } from 'pino';

/**
 * A logger that writes one JSON object a line, by default to standard output. Log no personal data and no secrets; a key
 * or signing secret that stands in somebody's text is hidden.
 *
 * The lines go through `process.stdout`, because pino's own destination (sonic-boom 4.2, `flushSync`) waits forever
 * when the reader has gone: a process whose supervisor was killed would never end.
 */
export function createLogger(options: {
  name: string;
  level: string;
  write?: (line: string) => void;
}): Logger {
  const { name, level, write = (line: string) => void process.stdout.write(line) } = options;
  // The reader has gone; the loss of the supervisor is handled elsewhere.
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => undefined);
  return pino(
    { name, level, base: { name }, serializers: { err: withoutPasswords } },
    { write: (line: string) => write(hideSecrets(line)) },
  );
}

/** An error as pino logs it. A library's can carry the URL that it was given: in its text, its stack, a member. */
function withoutPasswords(error: Error): Record<string, unknown> {
  const members = Object.entries(pino.stdSerializers.err(error));
  return Object.fromEntries(
    members.map(([name, value]) => [name, typeof value === 'string' ? withoutPassword(value) : value]),
  );
}
