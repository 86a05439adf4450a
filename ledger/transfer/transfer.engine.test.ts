import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { freshPostgresDatabase } from '../../test/support/engines.ts';
import { createParties, creditOrder, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { connectDatabase, connectOwner } from '../postgres/db.ts';
import { migrateLedger, readApplied } from '../postgres/migrate.ts';
import { requireEmptyDatabase, restoreLedger } from './copy-in.ts';
import { type LedgerCopy, schemaHash, withLedgerSnapshot } from './copy-out.ts';
import { settleLedger } from './settle.ts';
import { RENEWED_COLUMNS } from './tables.ts';

let db: TestLedger;
let folder: string;
const drops: (() => Promise<void>)[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-copy-'));
  db = await freshLedger({ max: 4 });
});
afterEach(async () => {
  await db?.close();
  for (const drop of drops.splice(0)) await drop();
  rmSync(folder, { recursive: true, force: true });
});

async function emptyDatabase() {
  const database = await freshPostgresDatabase();
  drops.push(() => database.drop());
  return database;
}

/** Of an owner with no other rights, as on a server of one's own. */
async function ownedDatabase() {
  const database = await freshPostgresDatabase();
  const url = new URL(database.url);
  const [name, role] = [url.pathname.slice(1), `owner_${url.pathname.slice(1)}`];
  const admin = openPostgres({ url: database.url, max: 1, name: 'test', as: 'owner' });
  await admin.unsafe(`create role ${role} login password 'owner'; alter database ${name} owner to ${role}`);
  await admin.end();
  drops.push(async () => {
    await database.drop();
    const server = openPostgres({ url: inject('postgresUrl'), max: 1, name: 'test', as: 'owner' });
    await server.unsafe(`drop role ${role}`);
    await server.end();
  });
  url.username = role;
  url.password = 'owner';
  return { url: url.href, appUrl: database.appUrl };
}

const BACKUP = { id: 'b1', madeAt: '2026-11-30T00:00:00.000Z' };

test('a copy makes an equal database, with its guards, and no id comes again', async () => {
  const parties = await createParties(db.ledger);
  await creditOrder(db.ledger, parties, { amountMinor: 12_000n });
  await creditOrder(db.ledger, parties, { amountMinor: 700n, orderId: 'a "quoted", \\ {and} NULL one' });
  const copy = await withLedgerSnapshot(db.owner, async (copyTo) => {
    // Committed after the snapshot: not in the copy.
    await creditOrder(db.ledger, parties, { amountMinor: 1n });
    return await copyTo(folder);
  });
  expect(copy.tables.find(({ name }) => name === 'conversions')?.rows).toBe('2');

  const target = await ownedDatabase();
  await restoreLedger({ url: target.url, copy, folder, backup: BACKUP });
  const restored = await connectDatabase({ url: target.appUrl, max: 2, name: 'test' });
  const owner = await connectOwner({ url: target.url, name: 'test' });
  try {
    const checks = await auditLedger(restored);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(await restored`select order_id from conversions order by id`).toEqual(
      await db.ledger`select order_id from conversions order by id limit 2`,
    );
    await expect(owner`update entries set amount_minor = 1`.execute()).rejects.toThrow(/append|change/i);
    const next = await creditOrder(restored, parties, { amountMinor: 5n });
    expect(next).toBeGreaterThan(1_000_000n);
    const again = await auditLedger(restored);
    expect(again.filter(({ ok }) => !ok)).toEqual([]);
  } finally {
    await restored.end();
    await owner.end();
  }
  await expect(restoreLedger({ url: target.url, copy, folder, backup: BACKUP })).rejects.toMatchObject({
    code: 'target_not_empty',
  });
});

test('a copy that differs from its sums, or was made by a later version, leaves the database empty', async () => {
  await createParties(db.ledger);
  const copy = await withLedgerSnapshot(db.owner, (copyTo) => copyTo(folder));
  const target = await emptyDatabase();
  const restore = (given: Partial<LedgerCopy>) =>
    restoreLedger({ url: target.url, copy: { ...copy, ...given }, folder, backup: BACKUP });
  const tables = copy.tables.map((table) =>
    table.name === 'programs' ? { ...table, checksum: '1' } : table,
  );
  await expect(restore({ tables })).rejects.toMatchObject({
    code: 'backup_damaged',
    message: expect.stringMatching(/^table programs: 1 rows of sum \d+ were restored, 1 of 1 were copied/),
  });
  const later = [...copy.migrations, { name: '9999_later.sql', checksum: '0' }];
  await expect(restore({ migrations: later })).rejects.toMatchObject({ code: 'store_newer' });
  await requireEmptyDatabase(target.url);
});

test('a schema that was changed by hand is refused', async () => {
  const copy = await withLedgerSnapshot(db.owner, (copyTo) => copyTo(folder));
  const target = await emptyDatabase();
  await expect(
    restoreLedger({ url: target.url, copy: { ...copy, schema: 'other' }, folder, backup: BACKUP }),
  ).rejects.toMatchObject({ code: 'backup_damaged', message: expect.stringContaining('by hand') });
  await requireEmptyDatabase(target.url);
});

test.runIf(process.env.AFFLUX_TEST_BACKUP === '1')(
  'a copy of an earlier version is brought to this one',
  { timeout: 120_000 },
  async () => {
    const files = readdirSync(fromProject('ledger/migrations'))
      .filter((name) => name.endsWith('.sql'))
      .sort();
    const old = join(folder, 'migrations');
    mkdirSync(old);
    for (const name of files.slice(0, -2))
      copyFileSync(fromProject(`ledger/migrations/${name}`), join(old, name));
    const source = await emptyDatabase();
    await migrateLedger({
      url: source.url,
      folder: old,
      log: createLogger({ name: 'test', level: 'silent' }),
    });
    const ledger = await connectDatabase({ url: source.appUrl, max: 2, name: 'test' });
    const owner = await connectOwner({ url: source.url, name: 'test' });
    const parties = await createParties(ledger);
    const copy = await withLedgerSnapshot(owner, (copyTo) => copyTo(folder));
    await Promise.all([ledger.end(), owner.end()]);

    const target = await emptyDatabase();
    await restoreLedger({ url: target.url, copy, folder, backup: BACKUP });
    const restored = await connectOwner({ url: target.url, name: 'test' });
    try {
      expect(await restored.begin(schemaHash)).toBe(await db.owner.begin(schemaHash));
      expect(await readApplied(restored)).toHaveLength(files.length);
      expect(await restored`select id from programs`).toEqual([{ id: parties.programId }]);
    } finally {
      await restored.end();
    }
  },
);

test('what PostgreSQL has restored by itself is settled once', async () => {
  const { programId } = await createParties(db.ledger);
  const ends = await settleLedger({ url: db.url, backup: BACKUP });
  expect([...ends]).toEqual([]);
  const [program] = await db.ledger`select payouts_need_approval from programs where id = ${programId}`;
  expect(program).toEqual({ payoutsNeedApproval: true });
  const [next] = await db.owner<{ id: bigint }[]>`select nextval('conversions_id_seq') as id`;
  expect(next?.id).toBeGreaterThan(1_000_000n);
  await expect(settleLedger({ url: db.url, backup: BACKUP })).rejects.toMatchObject({ code: 'usage' });
});

test('every column with the number of a transaction is renewed, or known to stay', async () => {
  const rows = await db.owner<{ column: string }[]>`
    select distinct table_name || '.' || column_name as column from information_schema.columns
    where table_schema = 'public' and data_type = 'xid8' order by 1`;
  const kept = rows
    .map(({ column }) => column)
    .filter((name) => !(String(name.split('.')[1]) in RENEWED_COLUMNS));
  expect(kept).toEqual(['journals.created_xid']);
  const same = await db.owner<{ column: string }[]>`
    select table_name || '.' || column_name as column from information_schema.columns
    where table_schema = 'public' and column_name = any(${Object.keys(RENEWED_COLUMNS)}::text[]) and data_type <> 'xid8'`;
  expect(same).toEqual([]);
});
