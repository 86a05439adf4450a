import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLICK_COLUMNS, ClickFlag, INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { fromProject } from '../../core/config/paths.ts';
import { readMigrations } from '../../core/migrations.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { freshWarehouse, quietLog } from '../../test/support/warehouse.ts';
import { checkDeduplication } from '../loader/inserter.ts';
import { connectWarehouse, type Warehouse } from './client.ts';
import { migrateWarehouse, statementsOf } from './migrate.ts';
import { dumpWarehouseSchema } from './schema-dump.ts';

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let warehouse: Warehouse;

beforeEach(async () => {
  database = await freshClickHouseDatabase();
  warehouse = await connectWarehouse({ url: database.url, name: 'test' });
});
afterEach(async () => {
  await warehouse.close();
  await database.drop();
});

const migrations = readMigrations(fromProject('warehouse/migrations'));
const migrate = () => migrateWarehouse({ warehouse, log: quietLog });

describe('migrations', () => {
  it('may race one another, and do nothing the second time', async () => {
    await Promise.all(Array.from({ length: 5 }, migrate));
    expect(await migrate()).toEqual({ applied: 0 });
    const { rows } = await warehouse.query<{ numbers: number[] }>(
      'SELECT arraySort(groupUniqArray(number)) AS numbers FROM migrations',
    );
    expect(rows[0]?.numbers).toEqual(migrations.map((_migration, i) => i + 1));
  });

  it('end in the schema that is committed', async () => {
    await migrate();
    await expect(await dumpWarehouseSchema(warehouse)).toMatchFileSnapshot('../schema.sql');
  });

  it('end in the schema that other tests begin with', async () => {
    await migrate();
    const copy = await freshWarehouse();
    try {
      expect(await dumpWarehouseSchema(copy)).toBe(await dumpWarehouseSchema(warehouse));
      expect(await migrateWarehouse({ warehouse: copy, log: quietLog })).toEqual({ applied: 0 });
    } finally {
      await copy.drop();
    }
  });

  it('give clicks the columns of the record', async () => {
    await migrate();
    const { rows } = await warehouse.query<{ name: string; type: string; codec: string }>(
      `SELECT name, type, compression_codec AS codec FROM system.columns
       WHERE database = currentDatabase() AND table = 'clicks' AND default_kind = '' ORDER BY position`,
    );
    // The server adds the width that it takes from the type.
    const written = rows.map((row) => ({ ...row, codec: row.codec.replace(/Delta\(\d\)/, 'Delta') }));
    expect(written).toEqual(
      CLICK_COLUMNS.map(({ name, type, codec }) => ({ name, type, codec: `CODEC(${codec})` })),
    );
  });

  it('sync every table that an insert of clicks is written to', async () => {
    await migrate();
    const { rows } = await warehouse.query<{ name: string; synced: number }>(
      `SELECT name, engine_full LIKE '%fsync_after_insert = 1, fsync_part_directory = 1%' AS synced FROM system.tables
       WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND (name = 'clicks' OR name IN (
         SELECT extract(create_table_query, ' TO (?:[^ .]+\\\\.)?([^ (]+)') FROM system.tables
         WHERE database = currentDatabase() AND engine = 'MaterializedView'))
       ORDER BY name`,
    );
    const tables = ['campaigns_daily', 'campaigns_hourly', 'clicks', 'clicks_hourly', 'clicks_minutely'];
    const velocity = ['velocity_fingerprint', 'velocity_ip'];
    expect(rows).toEqual([...tables, ...velocity].map((name) => ({ name, synced: 1 })));
  });

  it('are statements that may run twice, of one kind each', () => {
    const statements = migrations.flatMap(({ text }) => statementsOf(text));
    const heads = statements.map((statement) =>
      statement
        .split('\n')
        .find((line) => !line.startsWith('--') && line !== '')
        ?.replace(/^(ALTER TABLE) .*|(.*?) \w+(?: TO \w+ AS)?$/, '$1$2'),
    );
    expect(new Set(heads)).toEqual(
      new Set([
        'CREATE TABLE IF NOT EXISTS',
        'CREATE VIEW IF NOT EXISTS',
        'CREATE DICTIONARY IF NOT EXISTS',
        'CREATE MATERIALIZED VIEW IF NOT EXISTS',
        'ALTER TABLE',
        'INSERT INTO',
      ]),
    );
    // One statement has no second semicolon, but in its comments.
    for (const statement of statements) expect(statement.replace(/--.*$/gm, '')).not.toContain(';');
  });

  it('count as invalid what core/clicks/click-record.ts says', () => {
    // The numbers that the migration "forced_clicks" is written with.
    expect(INVALID_CLICK_FLAGS).toBe(15223);
    expect(ClickFlag).toMatchObject({
      bot: 1,
      prefetch: 2,
      head: 4,
      repeat: 8,
      paused: 16,
      expired: 32,
      suspended: 64,
      impression: 256,
      capped: 512,
      forced: 2048,
      flood: 4096,
      blocked: 8192,
    });
  });
});

describe('the check of deduplication', () => {
  it('names the table that would count a retry twice', async () => {
    await migrate();
    await expect(checkDeduplication(warehouse)).resolves.toBeUndefined();
    await warehouse.command(
      'ALTER TABLE clicks_hourly MODIFY SETTING non_replicated_deduplication_window = 10',
    );
    await expect(checkDeduplication(warehouse)).rejects.toMatchObject({
      code: 'deduplication_off',
      message: expect.stringContaining('clicks_hourly'),
    });
  });
});
