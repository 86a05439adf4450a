import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLease } from '../../core/clicks/lease.ts';
import { listClickShards } from '../../core/clicks/shards.ts';
import {
  connectNats,
  ensureStreams,
  LEADERS_BUCKET,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { buildPayouts } from '../../ledger/payouts/build.ts';
import type { PaymentAnswer, PaymentOrder, PayoutProvider } from '../../ledger/payouts/provider.ts';
import { runPayouts } from '../../ledger/payouts/run.ts';
import { connectDatabase, type Database } from '../../ledger/postgres/db.ts';
import {
  freshClickHouseDatabase,
  freshPostgresDatabase,
  startTestNats,
  type TestNats,
  waitFor,
} from '../../test/support/engines.ts';
import { createParties, creditOrder, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import {
  clickCounts,
  clickRecords,
  type Pipeline,
  quietLog,
  startPipeline,
} from '../../test/support/warehouse.ts';
import { auditWarehouse } from '../../warehouse/audit/audit.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { LEADERS_TTL_MS, ShardLeases } from '../../warehouse/leadership/shard-leases.ts';
import { ShardLoaders } from '../../warehouse/loader/shard-loaders.ts';
import { RESTORE_MARK } from '../environment.ts';
import { createBackup } from './create.ts';
import { compareFiles, type Manifest, readManifest } from './manifest.ts';
import { restoreBackup } from './restore.ts';

const PASSPHRASE = 'correct horse battery';

let source: { pipeline: Pipeline; books: TestLedger };
let other: { nats: TestNats; home: string };
let folder: string;
let work: string;
let manifest: Manifest;
const drops: (() => Promise<void>)[] = [];

/** Pays what it is given, and knows it by its key. */
function createTestProvider() {
  const paid = new Map<string, PaymentOrder>();
  let submissions = 0;
  const provider: PayoutProvider = {
    name: 'test',
    limits: { methodKind: 'bank', referenceLength: 100 },
    async submit({ orders }) {
      submissions += orders.length;
      for (const order of orders) paid.set(order.providerKey, order);
      return answers(orders);
    },
    lookUp: async (orders) => answers(orders),
  };
  function answers(orders: readonly PaymentOrder[]): Map<string, PaymentAnswer> {
    const known = orders.filter(({ providerKey }) => paid.has(providerKey));
    return new Map(known.map(({ providerKey }) => [providerKey, { outcome: 'paid' }]));
  }
  return { provider, submissions: () => submissions };
}

function environmentOf(home: string, given: Record<string, string>) {
  return loadConfig({ AFFLUX_HOME: home, NATS_SERVER: 'none', ...given });
}

async function run(ledger: Database, provider: PayoutProvider) {
  return await runPayouts(ledger, { now: new Date(), provider, actor: 'test' });
}

const payments = createTestProvider();

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'afflux-backup-'));
  folder = join(work, 'backup');
  const home = join(work, 'home');
  mkdirSync(join(home, 'payouts'), { recursive: true });
  mkdirSync(join(home, 'reports'));
  writeFileSync(join(home, 'payouts', 'run_1.csv'), 'DE89370400440532013000');
  writeFileSync(join(home, 'reports', 'report.csv'), 'day,clicks');
  source = { pipeline: await startPipeline({ shards: 3 }), books: await freshLedger({ max: 4 }) };
  const { pipeline, books } = source;
  await openLease(pipeline.leasesBucket, Date.now());
  // The third shard has had neither clicks nor a loader.
  const loaders = [pipeline.loader(), pipeline.loader({ shard: 1 })];
  const running = loaders.map((loader) => loader.run());
  await pipeline.publish(clickRecords(10, 0, 200, { ts: Date.now() - 60_000 }));
  await pipeline.publish(clickRecords(11, 0, 100, { ts: Date.now() - 60_000 }), { shard: 1 });
  await waitFor(async () => (await pipeline.counts()).clicks === 300, { deadlineMs: 20_000, what: 'clicks' });
  await Promise.all([...loaders.map((loader) => loader.stop()), ...running]);
  // They wait in the streams, each behind one that is loaded.
  await pipeline.publish(clickRecords(10, 200, 40));
  await pipeline.publish(clickRecords(11, 100, 60), { shard: 1 });

  const first = await createParties(books.ledger);
  const second = await createParties(books.ledger);
  await creditOrder(books.ledger, first, { amountMinor: 10_000n });
  const { provider } = payments;
  await buildPayouts(books.ledger, { now: new Date(), provider, programId: first.programId, actor: 'test' });
  await creditOrder(books.ledger, second, { amountMinor: 20_000n });

  const config = withGeneratedSecrets(
    environmentOf(home, {
      DATABASE_URL: books.appUrl,
      DATABASE_OWNER_URL: books.url,
      CLICKHOUSE_URL: pipeline.warehouse.url,
      NATS_URL: pipeline.natsUrl,
    }),
  );
  manifest = await createBackup({
    config,
    version: '1',
    folder,
    passphrase: PASSPHRASE,
    keysFromEnvironment: [],
  });
  // The world goes on: both payouts are paid.
  await run(books.ledger, provider);
  other = { nats: await startTestNats(), home: join(work, 'other') };
});
afterAll(async () => {
  for (const drop of drops.splice(0)) await drop();
  await other?.nats.stop();
  await source?.books.close();
  await source?.pipeline.stop();
  rmSync(work, { recursive: true, force: true });
});

async function emptyEnvironment(home: string) {
  const postgres = await freshPostgresDatabase();
  const clickhouse = await freshClickHouseDatabase();
  drops.push(
    () => postgres.drop(),
    () => clickhouse.drop(),
  );
  return environmentOf(home, {
    DATABASE_URL: postgres.appUrl,
    DATABASE_OWNER_URL: postgres.url,
    CLICKHOUSE_URL: clickhouse.url,
    NATS_URL: other.nats.url,
  });
}

test('a backup has everything, the secrets sealed, and no table is left behind', async () => {
  expect(await compareFiles(folder, manifest)).toMatchObject({ faults: [] });
  expect(manifest.stream.batches.messages).toBe(2);
  expect(manifest.files.map(({ path }) => path)).toEqual(['reports/report.csv']);
  const written = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  for (const { parentPath, name } of written) {
    expect(readFileSync(join(parentPath, name)).includes('DE89370400440532013000')).toBe(false);
  }
  const { rows } = await source.pipeline.warehouse.query(
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, '_snapshot_')",
  );
  expect(rows).toEqual([]);
});

test('what is not whole, was changed or is not opened is refused, and nothing is written', async () => {
  const environment = await emptyEnvironment(other.home);
  const restore = (from: string, passphrase = PASSPHRASE) =>
    restoreBackup({ environment, folder: from, passphrase: async () => passphrase, log: quietLog });
  await expect(restore(folder, 'wrong')).rejects.toMatchObject({ code: 'passphrase_wrong' });
  await expect(restore(work)).rejects.toMatchObject({ code: 'backup_incomplete' });

  const [table] = manifest.ledger.tables.filter(({ rows }) => rows !== '0');
  const file = join(folder, 'postgres', table?.file.path ?? '');
  const bytes = readFileSync(file);
  const flipped = Buffer.from(bytes);
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  writeFileSync(file, flipped);
  expect((await compareFiles(folder, manifest)).faults).toEqual([
    `postgres/${table?.file.path} was changed (another SHA-256)`,
  ]);
  await expect(restore(folder)).rejects.toMatchObject({ code: 'backup_damaged' });
  writeFileSync(file, bytes);
  const list = join(folder, 'manifest.json');
  const text = readFileSync(list);
  appendFileSync(list, ' ');
  expect(() => readManifest(folder)).toThrow(/manifest.json was changed/);
  writeFileSync(list, text);
  expect(() => readdirSync(other.home)).toThrow(/ENOENT/);
});

describe('another machine', () => {
  let environment: Awaited<ReturnType<typeof emptyEnvironment>>;
  let warehouse: Warehouse;
  let nc: Awaited<ReturnType<typeof connectNats>>;
  let ledger: Database;
  const restore = () =>
    restoreBackup({ environment, folder, passphrase: async () => PASSPHRASE, log: quietLog });

  beforeAll(async () => {
    // The mount point of a disk of its own.
    mkdirSync(join(other.home, 'clickhouse', 'lost+found'), { recursive: true });
    environment = await emptyEnvironment(other.home);
    const { config } = await restore();
    warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'test' });
    nc = await connectNats({ url: config.natsUrl, name: 'test' });
    ledger = await connectDatabase({ url: config.databaseUrl, max: 2, name: 'test' });
  });
  afterAll(async () => {
    await Promise.all([warehouse?.close(), nc?.close(), ledger?.end()]);
  });

  test('has the same secrets and files', () => {
    expect(readFileSync(join(other.home, 'secrets.json'))).toEqual(
      readFileSync(join(work, 'home', 'secrets.json')),
    );
    expect(readFileSync(join(other.home, 'payouts', 'run_1.csv'), 'utf8')).toBe('DE89370400440532013000');
    expect(readFileSync(join(other.home, 'reports', 'report.csv'), 'utf8')).toBe('day,clicks');
  });

  test('loads the waiting clicks of every shard, once, and gives out no node again', async () => {
    expect((await clickCounts(warehouse)).clicks).toBe(300);
    const manager = await ensureStreams(nc);
    expect(await listClickShards(manager)).toEqual([0, 1, 2]);
    const leasesBucket = await openBucket(nc, LEASES_BUCKET);
    const leaders = await openBucket(nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
    const loaders = new ShardLoaders({
      warehouse,
      nc,
      manager,
      loaderBucket: await openBucket(nc, LOADER_BUCKET),
      leasesBucket,
      leases: new ShardLeases({ bucket: leaders, id: 'restored' }),
      log: quietLog,
      metrics: source.pipeline.metrics,
    });
    const running = loaders.run();
    await waitFor(async () => (await clickCounts(warehouse)).clicks === 400, {
      deadlineMs: 20_000,
      what: 'the waiting clicks',
    });
    await loaders.stop();
    await running;
    expect(await clickCounts(warehouse)).toMatchObject({ distinct: 400, rolledUp: 400 });
    expect((await auditWarehouse({ warehouse, nc })).filter(({ ok }) => !ok)).toEqual([]);
    // Far from every number that the lost platform has given out.
    expect((await openLease(leasesBucket, Date.now())).lease.node).toBeGreaterThan(4_000);
  });

  test('pays no payout twice', async () => {
    const before = payments.submissions();
    const result = await run(ledger, payments.provider);
    expect(payments.submissions()).toBe(before);
    expect(result).toMatchObject({ reconciled: { asked: 3, unknown: 0 }, built: 3, awaitingApproval: 3 });
    const states =
      await ledger`select state, count(*)::int as count from payouts group by state order by state`;
    expect(states).toEqual([
      { state: 'awaiting_approval', count: 3 },
      { state: 'paid', count: 3 },
    ]);
    expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
    expect(await ledger`select from sessions`).toEqual([]);
  });

  test('finishes a restore that was ended, and is restored into only when it is empty', async () => {
    // Ended after everything was there: it is finished, and what has come since is left as it is.
    writeFileSync(join(other.home, RESTORE_MARK), JSON.stringify({ backup: manifest.id }));
    await restore();
    expect(readdirSync(other.home)).not.toContain(RESTORE_MARK);
    writeFileSync(join(other.home, RESTORE_MARK), JSON.stringify({ backup: 'another' }));
    await expect(restore()).rejects.toMatchObject({
      code: 'target_not_empty',
      message: expect.stringContaining('another backup'),
    });
    rmSync(join(other.home, RESTORE_MARK));
    await expect(restore()).rejects.toMatchObject({
      code: 'target_not_empty',
      message: expect.stringContaining('the data folder'),
    });
    rmSync(other.home, { recursive: true });
    await expect(restore()).rejects.toMatchObject({
      code: 'target_not_empty',
      message: expect.stringContaining('PostgreSQL'),
    });
  });
});
