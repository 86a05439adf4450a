import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/**
 * A logger that writes one JSON object a line to standard output. Log no personal data and no secrets.
 *
 * The lines go through `process.stdout`, because pino's own destination (sonic-boom 4.2, `flushSync`) waits forever
 * when the reader has gone: a process whose supervisor was killed would never end.
 */
export function createLogger(options: { name: string; level: string }): Logger {
  // The reader has gone; the loss of the supervisor is handled elsewhere.
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => undefined);
  return pino(
    { name: options.name, level: options.level, base: { name: options.name } },
    { write: (line: string) => process.stdout.write(line) },
  );
}
