import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readingDatabase } from '../../core/config/servers.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { CLUSTER, openTwoShards, type TwoShards } from '../../test/support/servers/two-shards.ts';
import {
  insertSampleClicks,
  insertSampleFacts,
  SAMPLE_CLICKS,
  sampleQuestions,
} from '../../test/support/servers/warehouse-questions.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import type { Warehouse } from './client.ts';
import { readingStatements, type StoredTable } from './cluster.ts';
import { dictionaryStatements, migrateWarehouse } from './migrate.ts';

/** Clicks of the last hours: what "now" is, is no matter of what is compared. */
const NOW = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;

let shards: TwoShards;
let one: Warehouse;
let all: Warehouse;

beforeAll(async () => {
  shards = openTwoShards();
  ({ one, all } = shards);
  await migrateWarehouse({ warehouse: one, log: quietLog });
  const { rows: tables } = await one.query<StoredTable>(
    `SELECT name, engine, as_select AS select FROM system.tables
     WHERE database = currentDatabase() AND name != 'migrations' ORDER BY engine = 'View', name`,
  );
  const reading = readingDatabase(one.database, CLUSTER);
  for (const sql of [
    ...readingStatements({ database: one.database, reading, cluster: CLUSTER, tables }),
    ...dictionaryStatements(one, reading),
  ]) {
    await one.command(sql);
  }
  await insertSampleFacts(one, NOW);
  await insertSampleClicks(one, NOW);
});
afterAll(() => shards.close());

describe('two shards', () => {
  it('each have a part of the clicks', async () => {
    const parts = async (table: string) => {
      const { rows } = await all.query<{ n: string }>(
        `SELECT count() AS n FROM ${table} GROUP BY shardNum() ORDER BY shardNum()`,
      );
      return rows.map(({ n }) => Number(n));
    };
    const clicks = await parts('clicks');
    expect(clicks).toHaveLength(2);
    expect(Math.min(...clicks)).toBeGreaterThan(0);
    expect(clicks.reduce((a, b) => a + b)).toBe(SAMPLE_CLICKS);
    expect(await parts('velocity_ip')).toHaveLength(2);
    // Every server has these whole: they are not counted once for each shard.
    expect(await parts('names')).toEqual([10]);
  });

  it('of which one is read for the figures of one campaign', async () => {
    const lines = async (where: string) => {
      const { rows } = await all.query<{ explain: string }>(
        `EXPLAIN SELECT count() FROM clicks_hourly ${where}`,
      );
      return rows.filter(({ explain }) => explain.includes('ReadFromMergeTree')).length;
    };
    expect(await lines('')).toBe(2);
    expect(await lines('WHERE campaign_id = 3')).toBe(1);
    expect(await lines('WHERE campaign_id IN (3)')).toBe(1);
  });
});

describe('over two shards the answer is that of one server:', () => {
  it.each(sampleQuestions(NOW))('$name', async ({ ask }) => {
    const whole = await ask(one);
    expect(whole.length).toBeGreaterThan(0);
    expect(await ask(all)).toEqual(whole);
  });
});
