import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClickFlag, INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { checkDeduplication } from '../loader/inserter.ts';
import { connectWarehouse, type Warehouse } from './client.ts';
import { migrateWarehouse, readMigrations } from './migrate.ts';
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

const migrate = () => migrateWarehouse({ warehouse, log: quietLog });

describe('migrations', () => {
  it('may race one another, and do nothing the second time', async () => {
    await Promise.all(Array.from({ length: 5 }, migrate));
    expect(await migrate()).toEqual({ applied: 0 });
    const { rows } = await warehouse.query<{ numbers: number[] }>(
      'SELECT arraySort(groupUniqArray(number)) AS numbers FROM migrations',
    );
    expect(rows[0]?.numbers).toEqual(readMigrations().map(({ number }) => number));
  });

  it('end in the schema that is committed', async () => {
    await migrate();
    await expect(await dumpWarehouseSchema(warehouse)).toMatchFileSnapshot('../schema.sql');
  });

  it('refuse a file that was changed after it was applied', async () => {
    await migrate();
    await warehouse.command(
      `ALTER TABLE migrations UPDATE checksum = 'other' WHERE number = 2 SETTINGS mutations_sync = 1`,
    );
    await expect(migrate()).rejects.toMatchObject({ code: 'migration_changed' });
  });

  it('refuse a store that a newer program has migrated', async () => {
    await migrate();
    await warehouse.insertRows('migrations', [{ number: 9_999, name: 'later', checksum: 'x' }]);
    await expect(migrate()).rejects.toMatchObject({ code: 'schema_newer' });
  });

  it('count as invalid what core/clicks/click-record.ts says', () => {
    // The numbers that 0006_clicks_hourly_feed.sql and its like are written with.
    expect(INVALID_CLICK_FLAGS).toBe(887);
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
