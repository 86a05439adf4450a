import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** A logger that writes one JSON object a line to standard output. Log no personal data and no secrets. */
export function createLogger(options: { name: string; level: string }): Logger {
  return pino({ name: options.name, level: options.level, base: { name: options.name } });
}
