import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Config, loadConfig } from '../../core/config/config.ts';
import { fromProject } from '../../core/config/paths.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { type AppliedMigration, readMigrations } from '../../core/migrations.ts';
import { connectOwner, type Database } from '../../ledger/postgres/db.ts';
import { dumpSchema } from '../../ledger/postgres/schema-dump.ts';
import { freshClickHouseDatabase, freshPostgresDatabase, waitFor } from '../../test/support/engines.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { dumpWarehouseSchema } from '../../warehouse/clickhouse/schema-dump.ts';
import { migrateStores } from './migrate.ts';

const LEDGER = readMigrations(fromProject('ledger/migrations'));
const WAREHOUSE = readMigrations(fromProject('warehouse/migrations'));

let postgres: Awaited<ReturnType<typeof freshPostgresDatabase>>;
let clickhouse: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let owner: Database;
let warehouse: Warehouse;
let home: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  postgres = await freshPostgresDatabase();
  clickhouse = await freshClickHouseDatabase();
  owner = await connectOwner({ url: postgres.url, name: 'test' });
  warehouse = await connectWarehouse({ url: clickhouse.url, name: 'test' });
  home = mkdtempSync(join(tmpdir(), 'afflux-migrate-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await owner.end({ timeoutMs: 1_000 });
  await warehouse.close();
  await postgres.drop();
  await clickhouse.drop();
  rmSync(home, { recursive: true });
});

function environment(): Record<string, string> {
  return {
    AFFLUX_HOME: home,
    DATABASE_URL: postgres.appUrl,
    DATABASE_OWNER_URL: postgres.url,
    CLICKHOUSE_URL: clickhouse.url,
  };
}

/** Everything that a migration can add, as text. */
async function stateOf(): Promise<string> {
  const { rows } = await warehouse.query<{ text: string }>(
    `SELECT concat(name, ' ', toString(total_rows)) AS text FROM system.tables
     WHERE database = currentDatabase() ORDER BY name`,
  );
  return `${await dumpSchema(owner)}${rows.map(({ text }) => text).join('\n')}`;
}

const migrate = (changes: Partial<Config> = {}) =>
  migrateStores({
    config: { ...withGeneratedSecrets(loadConfig(environment())), ...changes },
    log: quietLog,
  });

describe('a store that these migrations do not fit', () => {
  const record = {
    async postgres(applied: readonly AppliedMigration[]) {
      await owner`create table schema_migrations (name text primary key, checksum text not null,
        applied_at timestamptz not null default clock_timestamp())`;
      await owner`insert into schema_migrations ${owner.values(applied.map(({ name, checksum }) => ({ name, checksum })))}`;
    },
    async clickhouse(applied: readonly AppliedMigration[]) {
      await warehouse.command(`CREATE TABLE migrations (number UInt32, name String, checksum String,
        applied_at DateTime64(3, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY number`);
      await warehouse.insertRows(
        'migrations',
        applied.map(({ name, checksum }) => ({
          number: Number(name.slice(0, 4)),
          name: name.slice(5, -4),
          checksum,
        })),
      );
    },
  };
  const files = { postgres: LEDGER, clickhouse: WAREHOUSE };
  const other = { name: '0002_other.sql', checksum: 'x' };
  const cases: Record<string, (known: AppliedMigration[]) => AppliedMigration[]> = {
    store_pre_release: () => [{ name: '0001_parties.sql', checksum: 'x' }, other],
    store_newer: (known) => [...known, { name: '9999_later.sql', checksum: 'x' }],
    migration_missing: (known) => [...known.slice(0, 1), other],
    migration_changed: ([first, ...rest]) => [{ name: first?.name ?? '', checksum: 'x' }, ...rest],
  };

  test.each(
    (['postgres', 'clickhouse'] as const).flatMap((store) =>
      Object.entries(cases).map(([code, applied]) => ({ store, code, applied })),
    ),
  )('is refused, and nothing is changed in either: $store $code', async ({ store, code, applied }) => {
    await record[store](applied([...files[store]]));
    const before = await stateOf();
    await expect(migrate()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(
        new RegExp(
          `^the ${store === 'postgres' ? 'PostgreSQL' : 'ClickHouse'} database 127\\.0\\.0\\.1:\\d+/t_\\w+ `,
        ),
      ),
    });
    expect(await stateOf()).toBe(before);
  });

  test('says which folder, how to keep the data and what to do', async () => {
    await record.clickhouse([{ name: '0001_geo_networks.sql', checksum: 'x' }]);
    const embedded = { postgres: true, clickhouse: true, nats: true };
    await expect(migrate({ embedded })).rejects.toMatchObject({
      code: 'store_pre_release',
      message:
        `the data folder ${home} was made by a version before 1.0.0-alpha.1, and this version cannot read its data. ` +
        'Nothing was changed. Start the version that made it and export the data you need (docs/upgrade.md says how); ' +
        'then set AFFLUX_HOME to a new folder, or DATABASE_URL and CLICKHOUSE_URL to empty databases, and start this ' +
        'version again',
    });
  });
});

describe('a run that is killed', () => {
  /** `afflux migrate` as a process of its own. */
  function start(changes: Record<string, string> = {}): { child: ChildProcess; output: () => string } {
    const env = { PATH: process.env.PATH ?? '', ...environment(), ...changes };
    const child = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), 'migrate'], { env, cwd: home });
    children.push(child);
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
    return { child, output: () => text };
  }
  const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

  async function kill(child: ChildProcess): Promise<void> {
    child.kill('SIGKILL');
    await waitFor(() => hasEnded(child), { deadlineMs: 5_000, what: 'the killed process to end' });
    expect(child.signalCode).toBe('SIGKILL');
  }

  async function continues(applied: { postgres: number; clickhouse: number }): Promise<void> {
    const { child, output } = start();
    await waitFor(() => hasEnded(child), { deadlineMs: 20_000, what: 'the next run' });
    expect(output()).toContain(
      `PostgreSQL: ${applied.postgres} applied. ClickHouse: ${applied.clickhouse} applied.\n`,
    );
    await expect(await dumpSchema(owner)).toMatchFileSnapshot('../../ledger/schema.txt');
    await expect(await dumpWarehouseSchema(warehouse)).toMatchFileSnapshot('../../warehouse/schema.sql');
  }

  const BOOKS = LEDGER.findIndex(({ name }) => name === '0008_books.sql');

  test('between two files of PostgreSQL is continued by the next run', async () => {
    const rival = await connectOwner({ url: postgres.url, name: 'rival' });
    try {
      await owner`create table schema_migrations (name text primary key, checksum text not null,
        applied_at timestamptz not null default clock_timestamp())`;
      // The same row in an open transaction: the run waits behind it, its file done and not yet on record.
      await rival.unsafe(`begin; insert into schema_migrations values ('0008_books.sql', 'x')`);
      const { child, output } = start();
      const waiting = async () =>
        (
          await owner`select from pg_stat_activity where datname = current_database()
          and wait_event = 'transactionid' and query like 'insert into schema_migrations%'`
        ).length === 1;
      await waitFor(async () => hasEnded(child) || (await waiting()), {
        deadlineMs: 20_000,
        what: `the run to wait: ${output()}`,
      });
      await kill(child);
    } finally {
      // Its transaction ends with it.
      await rival.end({ timeoutMs: 1_000 });
    }
    const names = await owner<{ name: string }[]>`select name from schema_migrations order by name`;
    expect(names.map(({ name }) => name)).toEqual(LEDGER.slice(0, BOOKS).map(({ name }) => name));
    expect(await owner`select from pg_class where relname = 'journals'`).toHaveLength(0);
    await continues({ postgres: LEDGER.length - BOOKS, clickhouse: WAREHOUSE.length });
  });

  /** ClickHouse behind a proxy that keeps to itself the first request that `isHeld`, and resolves `held`. */
  async function holdRequest(isHeld: (sql: string) => boolean) {
    const target = new URL(clickhouse.url);
    let resolveHeld = () => {};
    const held = new Promise<void>((resolve) => {
      resolveHeld = resolve;
    });
    async function pass(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      const { searchParams } = new URL(incoming.url ?? '/', target);
      if (isHeld(searchParams.get('query') ?? body.toString())) {
        resolveHeld();
        return;
      }
      const { method, headers, url: path } = incoming;
      const onward = request(
        { host: target.hostname, port: target.port, method, headers, path },
        (response) => {
          answer.writeHead(response.statusCode ?? 500, response.headers);
          response.pipe(answer);
        },
      );
      onward.end(body);
    }
    const server = createServer((incoming, answer) => void pass(incoming, answer));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(clickhouse.url);
    url.port = String((server.address() as AddressInfo).port);
    return {
      url: url.href,
      held,
      close() {
        server.closeAllConnections();
        server.close();
      },
    };
  }

  const ROLLUPS = WAREHOUSE.findIndex(({ name }) => name === '0003_click_rollups.sql');

  test.each([
    // No transaction spans its statements: half of the file is done.
    [
      'within a file of ClickHouse',
      (sql: string) => /^CREATE TABLE IF NOT EXISTS clicks_minutely/m.test(sql),
      true,
    ],
    // The file is done, and not on record.
    ['before a file of ClickHouse is on record', recordOf(ROLLUPS + 1), false],
  ])('%s is continued by the next run', async (_where, isHeld, isHalf) => {
    const proxy = await holdRequest(isHeld);
    try {
      const { child, output } = start({ CLICKHOUSE_URL: proxy.url });
      const ended = waitFor(() => hasEnded(child), { deadlineMs: 40_000, what: 'the run' });
      await Promise.race([proxy.held, ended.then(() => Promise.reject(new Error(output())))]);
      await kill(child);
      await ended;
    } finally {
      proxy.close();
    }
    const { rows } = await warehouse.query<{ number: number }>(
      'SELECT number FROM migrations ORDER BY number',
    );
    expect(rows.map(({ number }) => number)).toEqual(WAREHOUSE.slice(0, ROLLUPS).map((_file, i) => i + 1));
    const { rows: tables } = await warehouse.query<{ name: string }>(
      `SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'clicks_%'`,
    );
    expect(tables.map(({ name }) => name).includes('clicks_hourly')).toBe(true);
    expect(tables.map(({ name }) => name).includes('clicks_minutely_feed')).toBe(!isHalf);
    await continues({ postgres: 0, clickhouse: WAREHOUSE.length - ROLLUPS });
  });

  /** Whether a request is the nth insert into the table of applied migrations. */
  function recordOf(n: number): (sql: string) => boolean {
    let count = 0;
    return (sql) => sql.startsWith('INSERT INTO migrations') && ++count === n;
  }
});
