import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import { startLoop } from '../core/service/loop.ts';
import type { Running } from '../core/service/service.ts';
import type { Database } from '../ledger/postgres/db.ts';
import { FROM_THE_BEGINNING, readNameChanges } from '../ledger/programs/names.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';
import { mirrorNames } from '../warehouse/mirror/mirror.ts';

/** Longest delay from a name's commit to the dashboards. */
const PAUSE_MS = 5_000;

/**
 * Keeps the warehouse's names equal to the ledger's until it is stopped. It begins with all of them, so that an
 * emptied mirror is filled again.
 */
export function startNames(options: { ledger: Database; warehouse: Warehouse; log: Logger }): Running {
  const { ledger, warehouse, log } = options;
  let since = FROM_THE_BEGINNING;
  return startLoop(async () => {
    try {
      since = await mirrorNameChanges({ ledger, warehouse, since });
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'mirroring names failed; retrying');
    }
    return PAUSE_MS;
  });
}

/** Writes the names changed since `since` to the warehouse; returns the next `since`. */
export async function mirrorNameChanges(options: {
  ledger: Database;
  warehouse: Warehouse;
  since: string;
}): Promise<string> {
  const { ledger, warehouse, since } = options;
  return await readNameChanges(ledger, {
    since,
    take: (names, version) => mirrorNames(warehouse, names, version),
  });
}
