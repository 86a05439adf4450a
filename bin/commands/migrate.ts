import type { Config } from '../../core/config/config.ts';
import { clickhouseServer } from '../../core/config/servers.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { logFormat } from '../../core/service/log-lines.ts';
import { databasePlace, splitUrls } from '../../core/url.ts';
import { checkLedgerMigrations, migrateLedger } from '../../ledger/postgres/migrate.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import {
  checkWarehouseMigrations,
  migrateWarehouse,
  renewDictionaries,
} from '../../warehouse/clickhouse/migrate.ts';
import { checkDefinition } from '../../warehouse/cluster/servers.ts';
import { readConfig } from '../environment.ts';
import { requireOwnerUrl, withWarehouse } from '../stores.ts';

/** `afflux migrate`: both stores, with what was done as its output. */
export async function migrate(): Promise<void> {
  const config = readConfig();
  const done = await migrateStores({
    config,
    log: createLogger({
      name: 'migrate',
      level: config.logLevel,
      format: logFormat(config.logFormat),
    }),
  });
  process.stdout.write(`PostgreSQL: ${done.ledger} applied. ClickHouse: ${done.warehouse} applied.\n`);
}

/** `afflux warehouse credentials`: from now on the dictionaries read their tables as the user of CLICKHOUSE_URL. */
export async function renewCredentials(): Promise<void> {
  await withWarehouse('afflux-credentials', async (warehouse) => {
    const { renewed } = await renewDictionaries(warehouse);
    process.stdout.write(`Renewed ${renewed} dictionaries.\n`);
  });
}

/**
 * Brings both stores to the newest schema; says how many migrations each needed. Both are checked before either is
 * changed: a store of another version leaves the other one as it was.
 */
export async function migrateStores(options: {
  config: Config;
  log: Logger;
}): Promise<{ ledger: number; warehouse: number }> {
  const { config, log } = options;
  const ownerUrl = requireOwnerUrl(config);
  const warehouse = await connectWarehouse({
    ...clickhouseServer(config),
    name: 'afflux-migrate',
    reads: 'server',
  });
  try {
    const postgres = {
      url: ownerUrl,
      store: storeName(config, 'postgres'),
      log,
      appPassword: config.embedded.postgres ? config.databasePassword : undefined,
    };
    const clickhouse = { warehouse, store: storeName(config, 'clickhouse'), log };
    if (warehouse.cluster !== '') await checkDefinition(warehouse);
    await checkLedgerMigrations(postgres);
    await checkWarehouseMigrations(clickhouse);
    const ledger = await migrateLedger(postgres);
    const { applied } = await migrateWarehouse(clickhouse);
    return { ledger: ledger.applied.length, warehouse: applied };
  } finally {
    await warehouse.close();
  }
}

/** A store as its owner knows it: the data folder of an embedded engine, else the database without its password. */
function storeName(config: Config, engine: 'postgres' | 'clickhouse'): string {
  if (config.embedded[engine]) return `the data folder ${config.home}`;
  if (engine === 'postgres') return `the PostgreSQL database ${databasePlace(config.databaseUrl)}`;
  const [first = ''] = splitUrls(config.clickhouseUrl);
  const { host, pathname } = new URL(first);
  return `the ClickHouse database ${host}${pathname}`;
}
