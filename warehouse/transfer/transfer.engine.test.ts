import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { firstShards, readClicksStream } from '../../core/clicks/shards.ts';
import { type Bucket, LEADERS_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  clickCounts,
  clickRecords,
  freshWarehouse,
  type Pipeline,
  quietLog,
  startPipeline,
} from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { LEADERS_TTL_MS, ShardLeases } from '../leadership/shard-leases.ts';
import { createLoaderStore } from '../loader/loader-store.ts';
import { ShardLoaders } from '../loader/shard-loaders.ts';
import { type ExportedPartition, exportSnapshot, takeSnapshot } from './export.ts';
import { forgetLaterLedger } from './forget.ts';
import { type HeldShard, withLoadersHeld } from './hold-loaders.ts';
import { importPartitions } from './import.ts';
import { CARRIED_TABLES, unreplicated } from './tables.ts';

const NOW = Date.now();
const SHARDS = 3;
const LAST_MONTH = Date.UTC(2026, 9, 22, 12);
/** Clicks in it. */
const OCTOBER = 3_000;
/** Clicks of this month. */
const RECENT = SHARDS * 300 + 50;

let pipeline: Pipeline;
let leadersBucket: Bucket;
let copy: Awaited<ReturnType<typeof freshWarehouse>>;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-export-'));
  pipeline = await startPipeline({ shards: SHARDS });
  leadersBucket = await openBucket(pipeline.nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
  copy = await freshWarehouse();
});
afterAll(async () => {
  await copy?.drop();
  await pipeline?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function hold<T>(
  work: (shards: readonly HeldShard[]) => Promise<T>,
  finishTimeoutMs?: number,
): Promise<T> {
  return await withLoadersHeld(
    { ...pipeline, leadersBucket, ...(finishTimeoutMs !== undefined && { finishTimeoutMs }) },
    work,
  );
}

async function exportAll(to: string, range = {}): Promise<ExportedPartition[]> {
  const snapshot = await hold(() => takeSnapshot(pipeline.warehouse));
  try {
    return await exportSnapshot({ snapshot, folder: to, range });
  } finally {
    await snapshot.drop();
  }
}

/** Every carried table's rows, as reports would count them. */
async function contents(warehouse: Warehouse): Promise<unknown> {
  const { rows } = await warehouse.query(
    `SELECT
       (SELECT sum(cityHash64(*, country, asn, referrer_domain)) FROM clicks) AS clicks,
       (SELECT toString(groupArray((day, campaign_id, c, v, i, p))) FROM (
         SELECT day, campaign_id, sum(clicks) AS c, uniqCombinedMerge(14)(distinct_visitors) AS v, uniqCombinedMerge(14)(ips) AS i,
           sum(valid_clicks) AS p FROM campaigns_daily GROUP BY day, campaign_id ORDER BY day, campaign_id)) AS days,
       (SELECT toString(groupArray((hour, affiliate_id, country, device, c, v))) FROM (
         SELECT hour, affiliate_id, country, device, sum(clicks) AS c, uniqCombinedMerge(14)(distinct_visitors) AS v
         FROM clicks_hourly GROUP BY ALL ORDER BY ALL)) AS hours,
       (SELECT (sum(clicks), uniqCombinedMerge(14)(ips)) FROM clicks_minutely) AS minutes,
       (SELECT (count(), sum(cityHash64(*))) FROM velocity_ip) AS velocity,
       (SELECT toString(max(complete_to)) FROM watermarks) AS watermark`,
  );
  return rows;
}

async function isLoaded(shard: number): Promise<boolean> {
  const { lastSeq } = await readClicksStream(pipeline.manager, shard);
  const { checkpoint } = await createLoaderStore({ bucket: pipeline.loaderBucket, shard }).read();
  return checkpoint.value?.seq === lastSeq;
}

/** Publishes clicks, and loads them and whatever waits. */
async function load(records: Parameters<Pipeline['publish']>[0]): Promise<void> {
  await pipeline.publish(records);
  const loader = pipeline.loader();
  const running = loader.run();
  await waitFor(async () => await isLoaded(0), {
    deadlineMs: 20_000,
    what: 'the clicks to be loaded',
  });
  await loader.stop();
  await running;
}

/** `count` clicks of each shard, from the number `firstSeq`. */
async function publishEach(firstSeq: number, count: number): Promise<void> {
  for (const shard of firstShards(SHARDS)) {
    await pipeline.publish(clickRecords(10 + shard, firstSeq, count, { ts: NOW - 3_600_000 }), { shard });
  }
}

async function waitForClicks(clicks: number): Promise<void> {
  await waitFor(async () => (await pipeline.counts()).clicks === clicks, {
    deadlineMs: 20_000,
    what: `${clicks} clicks`,
  });
}

test('the loaders of all shards stand still for a snapshot, longer than a lease, and go on after it', async () => {
  const loaders = new ShardLoaders({
    ...pipeline,
    leases: new ShardLeases({ bucket: leadersBucket, id: 'loader' }),
    log: quietLog,
  });
  const running = loaders.run();
  try {
    await publishEach(0, 100);
    await waitForClicks(SHARDS * 100);
    const beats = await leadersBucket.watch({ key: 'leader.2' });
    const held = await hold(async (shards) => {
      await publishEach(100, 200);
      let renewed = 0;
      // Of the 1.8 s after which a lease has expired.
      for await (const beat of beats) if (beat.string() !== 'loader' && ++renewed === 8) break;
      return { shards, led: loaders.leads(), clicks: (await pipeline.counts()).clicks };
    });
    expect(held).toMatchObject({ clicks: SHARDS * 100, led: [] });
    expect(held.shards.map(({ shard, checkpoint: { seq } }) => [shard, seq])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
    await waitFor(async () => (await Promise.all(firstShards(SHARDS).map(isLoaded))).every(Boolean), {
      deadlineMs: 20_000,
      what: 'the waiting clicks to be loaded',
    });
    const all = SHARDS * 300;
    expect(await pipeline.counts()).toMatchObject({ clicks: all, distinct: all, rolledUp: all });
  } finally {
    await loaders.stop();
    await running;
  }
});

test('a loader that does not know of its lost lease records no block, and one that did is seen', async () => {
  const before = (await pipeline.counts()).clicks;
  const loader = pipeline.loader({ shard: 1 });
  const running = loader.run();
  await waitFor(() => loader.readiness().ready, { deadlineMs: 20_000, what: 'the loader' });
  await hold(async () => {
    await pipeline.publish(clickRecords(11, 300, 50, { ts: NOW - 3_600_000 }), { shard: 1 });
    // It ends: the intent is not the one that it knows.
    await running;
  });
  expect((await pipeline.counts()).clicks).toBe(before);

  const another = pipeline.loader({ shard: 1 });
  const worked = hold(async () => {
    void another.run();
    await waitForClicks(before + 50);
  });
  await expect(worked).rejects.toMatchObject({ code: 'loader_superseded' });
  await another.stop();
});

test('a shard that has clicks and no records is refused', async () => {
  const { loaderBucket } = pipeline;
  const state = await loaderBucket.get('checkpoint.2');
  await loaderBucket.delete('checkpoint.2');
  await expect(hold(async () => 'a copy', 100)).rejects.toMatchObject({
    code: 'loader_block_pending',
    message: expect.stringContaining('shard 2'),
  });
  await loaderBucket.put('checkpoint.2', state?.value ?? '');
});

test('an export makes an equal warehouse: in steps, and again without counting anything twice', async () => {
  // So many different visitors that the states of the rollups are larger than their smallest form.
  await load(
    clickRecords(1, 0, OCTOBER, { ts: LAST_MONTH }).map((click, i) => ({
      ...click,
      ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, i >> 8, i & 255]),
    })),
  );
  const exported = await exportAll(folder);
  expect(new Set(exported.map(({ table }) => table))).toContain('clicks_minutely');
  const [october] = exported;
  if (!october?.files[0]) throw new Error('the clicks of October are exported first');
  expect(october).toMatchObject({ table: 'clicks', partition: '202610', rows: OCTOBER });

  const bring = (partitions: readonly ExportedPartition[]) =>
    importPartitions({ warehouse: copy, folder, partitions });
  await expect(bring([{ ...october, checksum: '(1,1)' }])).rejects.toMatchObject({
    code: 'backup_damaged',
    message: expect.stringContaining('(1,1) were exported'),
  });
  const file = join(folder, october.files[0].path);
  const bytes = readFileSync(file);
  appendFileSync(file, 'x');
  await expect(bring(exported)).rejects.toMatchObject({
    code: 'backup_damaged',
    message: expect.stringContaining('SHA-256'),
  });
  writeFileSync(file, bytes);
  expect((await clickCounts(copy)).clicks).toBe(0);

  await bring(exported.slice(0, 1));
  await bring(exported);
  expect(await contents(copy)).toEqual(await contents(pipeline.warehouse));
  expect(await clickCounts(copy)).toEqual(await clickCounts(pipeline.warehouse));
  const again: boolean[] = [];
  await importPartitions({
    warehouse: copy,
    folder,
    partitions: exported,
    onImported: ({ wasThere }) => again.push(wasThere),
  });
  expect(new Set(again)).toEqual(new Set([true]));
  expect(await contents(copy)).toEqual(await contents(pipeline.warehouse));
});

test('a month that holds other clicks is not changed', async () => {
  await load(clickRecords(2, 0, 5, { ts: LAST_MONTH }));
  const other = join(folder, 'october');
  const october = await exportAll(other, { from: '202610', to: '202610' });
  expect(october.map(({ table, partition }) => `${table} ${partition}`)).toEqual([
    'clicks 202610',
    'clicks_hourly 202610',
    'campaigns_hourly 202610',
    'campaigns_daily 202610',
  ]);
  await expect(
    importPartitions({ warehouse: copy, folder: other, partitions: october }),
  ).rejects.toMatchObject({
    code: 'target_not_empty',
    message: expect.stringMatching(/^partition 202610 of clicks already holds 3000 other rows/),
  });
  expect((await clickCounts(copy)).clicks).toBe(RECENT + OCTOBER);
});

test('a warehouse beside an earlier PostgreSQL forgets its copies and the heads of later rows', async () => {
  const head = { head: 'h', signed_at: '2026-11-30 00:00:00.000', signature: 's' };
  await copy.insertRows('signed_heads', [
    { chain: 'journals', last_id: 5, ...head },
    { chain: 'journals', last_id: 6, ...head },
    { chain: 'audit_log', last_id: 1, ...head },
  ]);
  await copy.insertRows('names', [{ kind: 'link', id: 1, program_id: 1, name: 'n', version: 1 }]);
  await forgetLaterLedger(copy, new Map([['journals', 5n]]));
  const { rows } = await copy.query(
    "SELECT groupArray(concat(chain, ' ', toString(last_id))) AS heads, (SELECT toUInt32(count()) FROM names) AS names FROM signed_heads",
  );
  expect(rows).toEqual([{ heads: ['journals 5'], names: 0 }]);
});

test('a block that was begun and not finished is not taken into a snapshot', async () => {
  const loader = pipeline.loader({
    onStep: async (step) => {
      if (step === 'insert') await new Promise(() => undefined);
    },
  });
  void loader.run();
  await pipeline.publish(clickRecords(3, 0, 10));
  await waitFor(async () => (await pipeline.counts()).clicks === RECENT + OCTOBER + 15, {
    deadlineMs: 20_000,
    what: 'an insert',
  });
  await expect(hold(async () => 'a copy', 300)).rejects.toMatchObject({ code: 'loader_block_pending' });
});

test('every table of the schema is carried, or made again by somebody else', async () => {
  const { rows } = await pipeline.warehouse.query<{ name: string }>(
    `SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name`,
  );
  const madeAgain = ['conversions', 'names', 'migrations'];
  expect(rows.map(({ name }) => name)).toEqual(
    [...CARRIED_TABLES.map(({ name }) => name), ...madeAgain].sort(),
  );
});

test('the twin of a replicated table is a plain one', () => {
  const path = "'/clickhouse/tables/{shard}/a/b', '{replica}'";
  expect(unreplicated(`ReplicatedMergeTree(${path}) ORDER BY a`)).toBe('MergeTree ORDER BY a');
  expect(unreplicated(`ReplicatedReplacingMergeTree(${path}, version) ORDER BY a`)).toBe(
    'ReplacingMergeTree(version) ORDER BY a',
  );
  expect(unreplicated('ReplacingMergeTree(version) ORDER BY a')).toBe(
    'ReplacingMergeTree(version) ORDER BY a',
  );
});
