import type { Config } from '../../core/config/config.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { readConfig } from '../environment.ts';

/** `afflux migrate`: both stores, with what was done as its output. */
export async function migrate(): Promise<void> {
  const config = readConfig();
  const done = await migrateStores({
    config,
    log: createLogger({ name: 'migrate', level: config.logLevel }),
  });
  process.stdout.write(`PostgreSQL: ${done.ledger} applied. ClickHouse: ${done.warehouse} applied.\n`);
}

/** Brings both stores to the newest schema; returns how many migrations each needed. */
export async function migrateStores(options: {
  config: Config;
  log: Logger;
}): Promise<{ ledger: number; warehouse: number }> {
  const { config, log } = options;
  const ledger = await migrateLedger({ url: config.databaseUrl, log });
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'afflux-migrate' });
  try {
    const { applied } = await migrateWarehouse({
      warehouse,
      log,
      cluster: config.clickhouseCluster,
    });
    return { ledger: ledger.applied.length, warehouse: applied };
  } finally {
    await warehouse.close();
  }
}
