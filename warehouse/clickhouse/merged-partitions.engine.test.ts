import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL, INSERT_SETTINGS } from '../loader/inserter.ts';

const BLOCKS = 3;

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

beforeEach(async () => {
  warehouse = await freshWarehouse();
  // Velocity tables take clicks of the last day alone.
  const ts = Date.now();
  for (let node = 0; node < BLOCKS; node++) {
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [encodeClicks(clickRecords(node, 0, 10, { ts }))],
      settings: INSERT_SETTINGS,
    });
  }
});
afterEach(() => warehouse.drop());

/** Of each table that an insert of clicks fills. */
async function partsOf(): Promise<Record<string, number>> {
  const { rows } = await warehouse.query<{ table: string; parts: string }>(
    `SELECT table, count() AS parts FROM system.parts
     WHERE active AND database = currentDatabase() AND match(table, '^(clicks|campaigns|velocity)') GROUP BY table ORDER BY table`,
  );
  return Object.fromEntries(rows.map(({ table, parts }) => [table, Number(parts)]));
}

test('a partition that gets no more clicks becomes one part', async () => {
  const written = await partsOf();
  const tables = Object.keys(written);
  expect(tables).toHaveLength(7);
  expect(written).toEqual(Object.fromEntries(tables.map((table) => [table, BLOCKS])));
  const { rows } = await warehouse.query<{ table: string; age: string; whole: string; bounded: string }>(
    `SELECT name AS table, extract(engine_full, 'min_age_to_force_merge_seconds = (\\\\d+)') AS age,
       extract(engine_full, 'min_age_to_force_merge_on_partition_only = (\\\\w+)') AS whole,
       extract(engine_full, 'enable_max_bytes_limit_for_min_age_to_force_merge = (\\\\w+)') AS bounded
     FROM system.tables WHERE database = currentDatabase() AND name IN {tables:Array(String)} ORDER BY name`,
    { tables },
  );
  const ofDays = /^(velocity_|clicks_minutely$)/;
  expect(rows).toEqual(
    tables.map((table) => ({ table, age: ofDays.test(table) ? '3600' : '86400', whole: '1', bounded: '1' })),
  );
  for (const table of tables) {
    await warehouse.command(`ALTER TABLE ${table} MODIFY SETTING min_age_to_force_merge_seconds = 1`);
  }
  await waitFor(async () => Object.values(await partsOf()).every((parts) => parts === 1), {
    deadlineMs: 60_000,
    what: 'one part of each table',
  });
});

test('merged days of campaigns keep their states apart from their numbers', async () => {
  // Some 700 KB each.
  for (const half of [0, 1]) {
    await warehouse.command(
      `INSERT INTO campaigns_daily (day, program_id, campaign_id, clicks, ips, distinct_visitors)
       SELECT toDateTime('2026-01-05', 'UTC'), 1, 500 * {half:UInt32} + number % 500, count(),
         uniqCombinedState(14)(toUInt32(number)), uniqCombinedState(14)(toUInt32(number))
       FROM numbers(75000) GROUP BY number % 500`,
      { half },
    );
  }
  const formats = async () => {
    const { rows } = await warehouse.query<{ format: string; parts: string }>(
      `SELECT part_type AS format, count() AS parts FROM system.parts
       WHERE active AND database = currentDatabase() AND table = 'campaigns_daily' AND partition = '202601' GROUP BY format`,
    );
    return rows.map(({ format, parts }) => [format, Number(parts)]);
  };
  expect(await formats()).toEqual([['Compact', 2]]);
  await warehouse.command('OPTIMIZE TABLE campaigns_daily FINAL');
  expect(await formats()).toEqual([['Wide', 1]]);
});
