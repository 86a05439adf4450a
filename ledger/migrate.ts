import type { Logger } from '../core/log.ts';

/**
 * Brings the database to the newest schema. Safe to run by many processes at once.
 * @throws OperatingError `postgres_unreachable`, `migration_changed`, `migration_failed`.
 */
export async function migrateLedger(options: { url: string; log: Logger }): Promise<{ applied: string[] }> {
  throw new Error(`not built yet: ${options.url}`);
}
