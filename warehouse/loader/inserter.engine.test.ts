import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { clickCounts, clickRecords, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import type { Block } from './block.ts';
import { INSERT_CLICKS_SQL, INSERT_SETTINGS, insertBlock, verifyBlock } from './inserter.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

beforeEach(async () => {
  warehouse = await freshWarehouse();
});
afterEach(() => warehouse.drop());

const BATCH_ROWS = 1_000;
/** Where a row's seq begins: behind ts (8 bytes) and node (2). */
const SEQ_OFFSET = 10;

const MONTH_TURN = Date.UTC(2026, 11, 1);

/** A block whose batches lie half before, half after `turn`. */
function block(rows: number, turn = MONTH_TURN): Block {
  // One batch for each half is encoded; the others are copies with the seqs rewritten, which is much quicker.
  const templates = [-1, 0].map((offset) =>
    encodeClicks(clickRecords(5, 0, BATCH_ROWS, { ts: turn + offset, device: 'desktop' })),
  );
  const batches = Array.from({ length: rows / BATCH_ROWS }, (_, i) => {
    const firstSeq = i * BATCH_ROWS;
    const ts = turn + (i % 2 === 0 ? -1 : 0);
    const data = Buffer.from(templates[i % 2] ?? '');
    const rowBytes = data.length / BATCH_ROWS;
    for (let row = 0; row < BATCH_ROWS; row++)
      data.writeUInt32LE(firstSeq + row, row * rowBytes + SEQ_OFFSET);
    return {
      message: { seq: i + 1, headers: undefined, data },
      node: 5,
      firstSeq,
      rows: BATCH_ROWS,
      data,
      minTs: ts,
      maxTs: ts,
    };
  });
  const intent = {
    token: `0:1-${batches.length}@test`,
    stream: 'test',
    lo: 1,
    hi: batches.length,
    rows,
    skipped: [],
  };
  return {
    intent,
    batches,
    rejects: [],
    repeated: 0,
    checkpointAfter: { stream: 'test', seq: batches.length, accepted: new Map() },
  };
}

describe('a block of 200,000 rows in two partitions', () => {
  it('inserted again changes neither the table nor the rollup', async () => {
    const large = block(200_000);
    for (let i = 0; i < 3; i++) await insertBlock(warehouse, large);
    expect(await clickCounts(warehouse)).toEqual({
      clicks: 200_000,
      distinct: 200_000,
      rolledUp: 200_000,
      rolledUpValid: 180_000,
    });
    const { rows } = await warehouse.query<{ partition: string; parts: string }>(
      `SELECT partition, count() AS parts FROM system.parts
       WHERE database = currentDatabase() AND table = 'clicks' AND level = 0 GROUP BY partition ORDER BY partition`,
    );
    expect(rows).toEqual([
      { partition: '202611', parts: '1' },
      { partition: '202612', parts: '1' },
    ]);
    await verifyBlock(warehouse, large);
  });
});

describe('a block that an earlier version inserted, which fed the views one after the other', () => {
  it('is dropped when it is repeated', async () => {
    const small = block(4_000);
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: small.batches.map((batch) => batch.data),
      settings: {
        ...INSERT_SETTINGS,
        parallel_view_processing: 0,
        max_threads: 1,
        insert_deduplication_token: small.intent.token,
      },
    });
    await insertBlock(warehouse, small);
    expect(await clickCounts(warehouse)).toMatchObject({
      clicks: 4_000,
      rolledUp: 4_000,
      rolledUpValid: 3_600,
    });
  });
});

/** A view's statement with one more condition. */
function withCondition(sql: string, condition: string): string {
  if (sql.includes(' WHERE ')) return sql.replace(' WHERE ', ` WHERE ${condition} AND `);
  if (sql.includes(' GROUP BY ')) return sql.replace(' GROUP BY ', ` WHERE ${condition} GROUP BY `);
  return `${sql} WHERE ${condition}`;
}

describe('an interrupted insert', () => {
  it.each(['clicks_hourly', 'clicks_minutely', 'campaigns_hourly', 'campaigns_daily'])(
    'that had reached the table but not %s is completed by its repeat, and nothing counts twice',
    async (rollup) => {
      // Of the last hours: the rollup by minute takes no clicks that it would drop soon.
      const small = block(4_000, Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
      const { rows } = await warehouse.query<{ sql: string }>(
        `SELECT create_table_query AS sql FROM system.tables WHERE database = currentDatabase() AND name = '${rollup}_feed'`,
      );
      const feed = rows[0]?.sql ?? '';
      await warehouse.command(`DROP TABLE ${rollup}_feed SYNC`);
      await warehouse.command(withCondition(feed, 'NOT throwIf(campaign_id >= 0)'));
      await expect(insertBlock(warehouse, small)).rejects.toMatchObject({ code: 'rows_refused' });
      const counts = async () => {
        const { rows: sums } = await warehouse.query<Record<string, string>>(
          `SELECT (SELECT count() FROM clicks) AS clicks, (SELECT sum(clicks) FROM clicks_hourly) AS clicks_hourly,
             (SELECT sum(clicks) FROM clicks_minutely) AS clicks_minutely,
             (SELECT sum(clicks) FROM campaigns_hourly) AS campaigns_hourly,
             (SELECT sum(clicks) FROM campaigns_daily) AS campaigns_daily`,
        );
        return sums[0];
      };
      expect(await counts()).toMatchObject({ clicks: '4000', [rollup]: '0' });
      await warehouse.command(`DROP TABLE ${rollup}_feed SYNC`);
      await warehouse.command(feed);
      for (let i = 0; i < 2; i++) await insertBlock(warehouse, small);
      expect(await counts()).toEqual({
        clicks: '4000',
        clicks_hourly: '4000',
        clicks_minutely: '4000',
        campaigns_hourly: '4000',
        campaigns_daily: '4000',
      });
    },
  );

  it('that lost rows is noticed', async () => {
    const small = block(2_000);
    await insertBlock(warehouse, { ...small, batches: small.batches.slice(0, 1) });
    await expect(verifyBlock(warehouse, small)).rejects.toMatchObject({
      code: 'block_miscounted',
      message: expect.stringContaining('1000 of the 2000'),
    });
  });

  it('cut off in the middle of a row stores nothing', async () => {
    const [batch] = block(1_000).batches;
    const cut = batch?.data.subarray(0, -1) ?? Buffer.alloc(0);
    await expect(
      warehouse.insertBytes({
        sql: INSERT_CLICKS_SQL,
        data: [cut],
        settings: {},
      }),
    ).rejects.toMatchObject({ code: 'rows_refused' });
    expect(await clickCounts(warehouse)).toMatchObject({ clicks: 0, rolledUp: 0 });
  });
});

it('the engine forgets a token by inserts into other partitions of its table: one window for all', async () => {
  await warehouse.command(
    'CREATE TABLE tokens (part UInt32) ENGINE = MergeTree PARTITION BY part ORDER BY part SETTINGS non_replicated_deduplication_window = 10',
  );
  const insert = (token: string, select: string) =>
    warehouse.command(
      `INSERT INTO tokens SETTINGS insert_deduplication_token = '${token}', insert_deduplicate = 1, async_insert = 0 SELECT ${select}`,
    );
  const rows = async () =>
    Number(
      (await warehouse.query<{ n: string }>('SELECT count() AS n FROM tokens WHERE part = 0')).rows[0]?.n,
    );
  await insert('a', '0');
  await insert('b', '1 + number FROM numbers(9)');
  await insert('a', '0');
  expect(await rows()).toBe(1);
  await insert('c', '10 + number FROM numbers(10)');
  await insert('a', '0');
  expect(await rows()).toBe(2);
});
