import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import {
  clickCounts,
  clickRecords,
  freshWarehouse,
  type Pipeline,
  startPipeline,
} from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { type ExportedPartition, exportSnapshot, takeSnapshot } from './export.ts';
import { withLoadersHeld } from './hold-loaders.ts';
import { importPartitions } from './import.ts';
import { CARRIED_TABLES, unreplicated } from './tables.ts';

const NOW = Date.now();
const LAST_MONTH = Date.UTC(2026, 9, 22, 12);

let pipeline: Pipeline;
let folder: string;
const targets: Awaited<ReturnType<typeof freshWarehouse>>[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-export-'));
  pipeline = await startPipeline();
});
afterEach(async () => {
  for (const target of targets.splice(0)) await target.drop();
  await pipeline?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function target() {
  const warehouse = await freshWarehouse();
  targets.push(warehouse);
  return warehouse;
}

async function exportAll(range = {}): Promise<ExportedPartition[]> {
  const { warehouse, loaderBucket } = pipeline;
  const snapshot = await withLoadersHeld(loaderBucket, () => takeSnapshot(warehouse));
  try {
    return await exportSnapshot({ warehouse, snapshot, folder, range });
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

async function load(...batches: Parameters<Pipeline['publish']>[0][]): Promise<void> {
  const before = (await pipeline.counts()).clicks;
  const loader = pipeline.loader();
  const running = loader.run();
  for (const batch of batches) await pipeline.publish(batch);
  const added = batches.reduce((sum, batch) => sum + batch.length, 0);
  await waitFor(async () => (await pipeline.counts()).clicks === before + added, {
    deadlineMs: 20_000,
    what: 'the clicks to be loaded',
  });
  await loader.stop();
  await running;
}

test('an export makes an equal warehouse, and importing it again counts nothing twice', async () => {
  await load(clickRecords(0, 0, 400, { ts: NOW - 3_600_000 }), clickRecords(1, 0, 300, { ts: LAST_MONTH }));
  const exported = await exportAll();
  expect(new Set(exported.map(({ table }) => table))).toContain('clicks_minutely');
  expect(exported.filter(({ table }) => table === 'clicks').map(({ rows }) => rows)).toEqual([300, 400]);

  const copy = await target();
  await importPartitions({ warehouse: copy, folder, partitions: exported });
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

test('an import goes on where it was ended, and changes no partition that holds other clicks', async () => {
  await load(clickRecords(0, 0, 50, { ts: LAST_MONTH }), clickRecords(1, 0, 60, { ts: NOW }));
  const exported = await exportAll();
  const copy = await target();
  await importPartitions({ warehouse: copy, folder, partitions: exported.slice(0, 1) });
  await importPartitions({ warehouse: copy, folder, partitions: exported });
  expect(await contents(copy)).toEqual(await contents(pipeline.warehouse));

  await load(clickRecords(2, 0, 5, { ts: LAST_MONTH }));
  const newer = await exportAll({ from: '202610', to: '202610' }).catch((error) => error);
  expect(newer).toMatchObject({ code: 'EEXIST' });
  rmSync(folder, { recursive: true });
  const october = await exportAll({ from: '202610', to: '202610' });
  expect(october.map(({ table, partition }) => `${table} ${partition}`)).toEqual([
    'clicks 202610',
    'clicks_hourly 202610',
    'campaigns_hourly 202610',
    'campaigns_daily 202610',
  ]);
  await expect(importPartitions({ warehouse: copy, folder, partitions: october })).rejects.toMatchObject({
    code: 'target_not_empty',
    message: expect.stringMatching(/^partition 202610 of clicks already holds 50 other rows/),
  });
  expect((await clickCounts(copy)).clicks).toBe(110);
});

test('a damaged file, and a sum that differs, are refused with nothing changed', async () => {
  await load(clickRecords(0, 0, 50));
  const exported = await exportAll();
  const [clicks] = exported;
  if (!clicks?.files[0]) throw new Error('the clicks are exported');
  const copy = await target();
  const wrong = { ...clicks, checksum: '(50,1)' };
  await expect(importPartitions({ warehouse: copy, folder, partitions: [wrong] })).rejects.toMatchObject({
    code: 'backup_damaged',
    message: expect.stringContaining('(50,1) were exported'),
  });
  appendFileSync(join(folder, clicks.files[0].path), 'x');
  await expect(importPartitions({ warehouse: copy, folder, partitions: exported })).rejects.toMatchObject({
    code: 'backup_damaged',
    message: expect.stringContaining('SHA-256'),
  });
  expect((await clickCounts(copy)).clicks).toBe(0);
});

test('a loader at work stands still for a snapshot, and goes on after it', async () => {
  const loader = pipeline.loader();
  const running = loader.run();
  await pipeline.publish(clickRecords(0, 0, 100));
  await waitFor(async () => (await pipeline.counts()).clicks === 100, {
    deadlineMs: 20_000,
    what: 'a block',
  });
  const held = await withLoadersHeld(pipeline.loaderBucket, async (shards) => {
    await pipeline.publish(clickRecords(0, 100, 100));
    const seen = (await pipeline.counts()).clicks;
    return { shards, seen };
  });
  expect(held).toMatchObject({ seen: 100, shards: [{ shard: 0, checkpoint: { seq: 1 } }] });
  await waitFor(async () => (await pipeline.counts()).clicks === 200, {
    deadlineMs: 20_000,
    what: 'the loader to go on',
  });
  await loader.stop();
  await running;
});

test('a block that was begun and not finished is not taken into a snapshot', async () => {
  const loader = pipeline.loader({
    onStep: async (step) => {
      if (step === 'insert') await new Promise(() => undefined);
    },
  });
  void loader.run();
  await pipeline.publish(clickRecords(0, 0, 10));
  await waitFor(async () => (await pipeline.counts()).clicks === 10, {
    deadlineMs: 20_000,
    what: 'an insert',
  });
  await expect(
    withLoadersHeld(pipeline.loaderBucket, async () => 'a copy', { finishTimeoutMs: 300 }),
  ).rejects.toMatchObject({ code: 'loader_block_pending' });
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
