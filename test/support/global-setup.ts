import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { readConfig } from '../../bin/environment.ts';
import { APP_ROLE } from '../../core/login.ts';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger, type Logger } from '../../core/service/log.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { findNatsServer, type NatsServer } from '../../engines/nats.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { APP_PASSWORD } from '../../loadtest/login.ts';
import { build } from '../../scripts/setup/build.mjs';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { missingNotice } from './programs.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A superuser's URL of the run's PostgreSQL. */
    postgresUrl: string;
    /** A migrated database without data on the run's PostgreSQL, to be copied. */
    ledgerTemplate: string;
    /** URL of the run's ClickHouse. */
    clickhouseUrl: string;
    /** Statements that make an empty database of the run's ClickHouse what the migrations make it, which take four times as long. */
    warehouseSchema: string[];
    natsServer: NatsServer;
    /** Where test/support/programs.ts keeps what was missing. */
    missingFile: string;
  }
}

/** Starts one PostgreSQL and one ClickHouse for the whole run; what it returns ends them, also after failures. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Tests start compiled processes. `npm test` has just built them; `npx vitest` after a change has not.
  await build();
  const folder = mkdtempSync(join(tmpdir(), 'afflux-test-'));
  const missingFile = join(folder, 'missing.jsonl');
  project.provide('missingFile', missingFile);
  const log = createLogger({ name: 'test', level: 'warn' });
  const engines: Engine[] = [];
  async function teardown(): Promise<void> {
    await Promise.allSettled(engines.map((engine) => engine.stop()));
    process.stderr.write(missingNotice(missingFile));
    rmSync(folder, { recursive: true, force: true });
  }
  async function start(name: string, starting: Promise<Engine>): Promise<Engine> {
    const startedAt = Date.now();
    const engine = await starting;
    engines.push(engine);
    process.stderr.write(`${name} is up (${((Date.now() - startedAt) / 1000).toFixed(1)} s)\n`);
    return engine;
  }
  try {
    const config = readConfig();
    const natsServer = await findNatsServer({ explicit: config.natsServer, home: config.home });
    project.provide('natsServer', natsServer);
    const [postgresPort, clickhousePort] = [await freePort(), await freePort()];
    const [postgres, clickhouse] = await Promise.all([
      start(
        'PostgreSQL',
        startPostgres({
          dataDir: join(folder, 'postgres'),
          port: postgresPort,
          password: 'test',
          database: 'afflux',
          log,
          // Tests restart nothing after a power cut; many small databases are made quicker.
          settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
        }),
      ),
      start(
        'ClickHouse',
        startClickHouse({
          dataDir: join(folder, 'clickhouse'),
          port: clickhousePort,
          password: 'test',
          database: 'afflux',
          log,
        }),
      ),
    ]);
    await createLogin(postgres.url);
    await createLedgerTemplate(postgres.url, log);
    project.provide('postgresUrl', postgres.url);
    project.provide('ledgerTemplate', LEDGER_TEMPLATE);
    project.provide('clickhouseUrl', clickhouse.url);
    project.provide('warehouseSchema', await readWarehouseSchema(clickhouse.url));
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

const LEDGER_TEMPLATE = 'ledger_template';
const WAREHOUSE_TEMPLATE = 'warehouse_template';

async function createLedgerTemplate(postgresUrl: string, log: Logger): Promise<void> {
  const sql = openPostgres({ url: postgresUrl, max: 1, name: 'test', as: 'owner' });
  try {
    await sql.unsafe(`create database ${LEDGER_TEMPLATE}`);
    const url = new URL(postgresUrl);
    url.pathname = `/${LEDGER_TEMPLATE}`;
    await migrateLedger({ url: url.href, log });
    // A database that somebody uses cannot be copied.
    await sql.unsafe(`alter database ${LEDGER_TEMPLATE} allow_connections false`);
  } finally {
    await sql.end();
  }
}

/** The migrated database stays: what was applied to it is copied from there. */
async function readWarehouseSchema(clickhouseUrl: string): Promise<string[]> {
  const url = new URL(clickhouseUrl);
  const admin = await connectWarehouse({ url: url.href, name: 'test' });
  await admin.command(`CREATE DATABASE ${WAREHOUSE_TEMPLATE}`);
  await admin.close();
  url.pathname = `/${WAREHOUSE_TEMPLATE}`;
  const warehouse = await connectWarehouse({ url: url.href, name: 'test' });
  try {
    await migrateWarehouse({ warehouse, log: createLogger({ name: 'test', level: 'silent' }) });
    const { rows } = await warehouse.query<{ statement: string }>(
      `SELECT replaceAll(create_table_query, concat(database, '.'), '') AS statement FROM system.tables
       WHERE database = currentDatabase() AND engine != 'Dictionary'
       ORDER BY engine LIKE '%View', create_table_query LIKE '%dictGet(%', name`,
    );
    return [
      ...rows.map(({ statement }) => statement),
      `INSERT INTO migrations SELECT * FROM ${WAREHOUSE_TEMPLATE}.migrations`,
    ];
  } finally {
    await warehouse.close();
  }
}

/** Of every database of the run: migrations of several databases at once would set its password at the same moment. */
async function createLogin(url: string): Promise<void> {
  const sql = openPostgres({ url, max: 1, name: 'test', as: 'owner' });
  await sql.unsafe(`create role ${APP_ROLE} login password '${APP_PASSWORD}'`).finally(() => sql.end());
}
