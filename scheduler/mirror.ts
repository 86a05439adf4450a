import type { Registry } from 'prom-client';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import { startLoop } from '../core/service/loop.ts';
import { gaugeOnScrape } from '../core/service/metrics.ts';
import type { Running } from '../core/service/service.ts';
import type { Database } from '../ledger/postgres/db.ts';
import { forgetOutbox, outboxLag, readOutbox } from '../ledger/postgres/outbox.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';
import { mirrorConversions } from '../warehouse/mirror/mirror.ts';

/** One insert into the mirror: large enough for thousands of changes a second, small enough to read at once. */
const BATCH_SIZE = 5_000;
/** Longest delay from a conversion's commit to its report, besides the insert. */
const IDLE_PAUSE_MS = 500;
const RETRY_PAUSE_MS = 1_000;

/** Writes the oldest changes to the warehouse, each at least once. Returns their number. */
export async function mirrorBatch(options: { ledger: Database; warehouse: Warehouse }): Promise<number> {
  const { ledger, warehouse } = options;
  const batch = await readOutbox(ledger, { limit: BATCH_SIZE });
  if (batch.ids.length === 0) return 0;
  await mirrorConversions(warehouse, batch.conversions);
  await forgetOutbox(ledger, batch.ids);
  return batch.ids.length;
}

/** Keeps the warehouse's conversions equal to the ledger's until it is stopped. */
export function startMirror(options: {
  ledger: Database;
  warehouse: Warehouse;
  metrics: Registry;
  log: Logger;
}): Running {
  const { ledger, metrics, log } = options;
  let lagSeconds = 0;
  gaugeOnScrape(
    metrics,
    'afflux_mirror_lag_seconds',
    'Age of the oldest change of a conversion that reports do not show yet',
    () => lagSeconds,
  );
  return startLoop(async () => {
    try {
      const { oldestAt } = await outboxLag(ledger);
      lagSeconds = oldestAt === null ? 0 : (Date.now() - oldestAt.getTime()) / 1_000;
      return (await mirrorBatch(options)) === BATCH_SIZE ? 0 : IDLE_PAUSE_MS;
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'mirroring conversions failed; retrying');
      return RETRY_PAUSE_MS;
    }
  });
}
