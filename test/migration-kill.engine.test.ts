import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { applicationUrl } from '../core/login.ts';
import { readMigrations } from '../core/migrations.ts';
import { type Engine, freePort } from '../engines/engine.ts';
import { startPostgres } from '../engines/postgres.ts';
import { auditLedger } from '../ledger/audit/audit.ts';
import { connectOwner, type Database } from '../ledger/postgres/db.ts';
import { migrateLedger } from '../ledger/postgres/migrate.ts';
import { dumpSchema } from '../ledger/postgres/schema-dump.ts';
import { PACKED, unpackDataFolder } from './support/data-folder.ts';
import { createProcesses, createStops, type Processes, type Stops } from './support/money/kills.ts';
import { freshWarehouse, quietLog } from './support/warehouse.ts';

/** The ledger of an earlier version (test/fixtures/data-folder), whose migration is killed −9 again and again. */

const FOLDER = fromProject('ledger/migrations');
const NAMES = readMigrations(FOLDER).map(({ name }) => name);
/** The first file within which a run is killed. */
const FIRST = NAMES.findIndex((name) => name.startsWith('0035_'));

let home: string;
let engine: Engine;
let owner: Database;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let processes: Processes;
let stops: Stops;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'afflux-migration-'));
  unpackDataFolder(home);
  const port = await freePort();
  const config = withGeneratedSecrets(loadConfig({ AFFLUX_HOME: home, POSTGRES_PORT: String(port) }));
  [engine, warehouse] = await Promise.all([
    startPostgres({
      dataDir: join(home, 'postgres'),
      port,
      password: config.postgresPassword,
      database: 'afflux',
      log: quietLog,
      // Processes are killed here, not the machine.
      settings: { fsync: 'off', full_page_writes: 'off' },
    }),
    freshWarehouse(),
  ]);
  const before = join(home, 'migrations');
  mkdirSync(before);
  for (const name of NAMES.slice(0, FIRST)) cpSync(join(FOLDER, name), join(before, name));
  await migrateLedger({ url: engine.url, log: quietLog, folder: before });
  owner = await connectOwner({ url: engine.url, name: 'test' });
  // What 0035 writes again.
  await owner`
    insert into audit_log (actor, action, subject, after) values ('key:1', 'affiliate.update', 'aff_1', '{"name": "Ann"}')`;
  const appUrl = applicationUrl(engine.url, config.databasePassword);
  processes = createProcesses(
    { books: { appUrl }, warehouse, clickKey: config.clickKeys[0] },
    { DATABASE_OWNER_URL: engine.url },
  );
  stops = createStops(owner);
});
afterAll(async () => {
  await processes?.close();
  await owner?.end({ timeoutMs: 1_000 });
  await Promise.all([engine?.stop(), warehouse?.drop()]);
  rmSync(home, { recursive: true, force: true });
});

const onRecord = (number: string, atCommit: boolean) => () =>
  stops.before('schema_migrations', `new.name like '${number}%'`, atCommit);

/** Where a run is killed, and the file that is the last one on record by then. */
const POINTS: readonly [stop: () => Promise<void>, last: string][] = [
  [() => stops.afterCommand('CREATE TABLE', 'public.adjustments'), '0034'],
  [() => stops.before('audit_log', 'true'), '0034'],
  [onRecord('0035', false), '0034'],
  [onRecord('0035', true), '0035'],
  [() => stops.afterCommand('CREATE TABLE', 'public.statement_documents'), '0035'],
  [onRecord('0036', true), '0036'],
  [() => stops.afterCommand('ALTER TABLE', 'public.conversions'), '0036'],
  [onRecord('0037', true), '0037'],
  [() => stops.afterCommand('ALTER TABLE', 'public.refunds'), '0037'],
  [onRecord('0038', true), '0038'],
];

async function applied(): Promise<string[]> {
  const rows = await owner<{ name: string }[]>`select name from schema_migrations order by name`;
  return rows.map(({ name }) => name);
}

async function books(): Promise<unknown> {
  const [row] = await owner`
    select (select count(*)::integer from conversions) as conversions,
      (select count(*)::integer from commissions) as commissions,
      (select sum(balance_minor)::integer from accounts where kind = 'paid') as "paidMinor",
      (select sum(balance_minor)::integer from accounts
        where kind in ('pending', 'available', 'in_transit', 'debt')) as "owedMinor"`;
  return row;
}

test('a ledger with data is migrated whole, wherever the runs before were killed', {
  timeout: 180_000,
}, async () => {
  for (const [stop, last] of POINTS) {
    const before = { applied: await applied(), schema: await dumpSchema(owner) };
    await stop();
    const run = await processes.start(['migrate']);
    const pid = await stops.isStopped();
    await run.kill();
    await stops.goOn();
    await stops.hasEnded(pid);
    const now = await applied();
    expect([last, now.at(-1)?.slice(0, 4)]).toEqual([last, last]);
    // What is not on record has left nothing.
    if (now.length === before.applied.length) expect(await dumpSchema(owner)).toBe(before.schema);
    expect(await books()).toEqual(PACKED.books);
  }
  expect(await (await processes.start(['migrate'])).exited).toBe(0);
  expect(await applied()).toEqual(NAMES);
  expect(await dumpSchema(owner)).toBe(readFileSync(fromProject('ledger/schema.txt'), 'utf8'));
  expect(await books()).toEqual(PACKED.books);
  expect((await auditLedger(owner)).filter(({ ok }) => !ok)).toEqual([]);
});
