import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeClick } from '../../core/clicks/click-record.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { connectWarehouse, timeText, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { SHARDED_TABLES } from '../../warehouse/clickhouse/cluster.ts';
import { migrateWarehouse, renewDictionaries } from '../../warehouse/clickhouse/migrate.ts';
import { createViewIdentities } from '../../warehouse/clickhouse/view-identities.ts';
import { checkServers, ofShard } from '../../warehouse/cluster/servers.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { checkDeduplication, INSERT_CLICKS_SQL, INSERT_SETTINGS } from '../../warehouse/loader/inserter.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { freshClickHouseDatabase, waitFor } from '../support/engines.ts';
import {
  insertSampleClicks,
  insertSampleFacts,
  sampleQuestions,
} from '../support/servers/warehouse-questions.ts';
import { clickRecords, quietLog, startPipeline } from '../support/warehouse.ts';
import { CLUSTER, compose, PORTS, type ServerName, urlOf, urlsOf } from './kit.ts';

/**
 * Against the cluster of deploy/clickhouse-cluster, which `npm run test:cluster` starts: what the tests of every day only
 * reason about (docs/cluster.md).
 */
const NOW = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
const SERVERS = Object.keys(PORTS) as ServerName[];
/** A server that was killed is back, has its Keeper session and has fetched what it lacks. */
const RECOVERY_MS = 120_000;

const connect = (url: string, given: Partial<Parameters<typeof connectWarehouse>[0]> = {}) =>
  connectWarehouse({ url, cluster: CLUSTER, name: 'test', ...given });
/** The connection of a stream shard's loader, of two. */
const loaderOf = (shard: number, url = urlsOf()) =>
  connect(url, { reads: 'server', accept: ofShard({ shard, clickShards: 2 }) });

let admin: Warehouse;
beforeAll(async () => {
  admin = await connect(urlsOf(), { reads: 'server' });
  await migrateWarehouse({ warehouse: admin, log: quietLog });
}, 600_000);
afterAll(() => admin.close());

async function start(server: ServerName): Promise<void> {
  compose('start', server);
  await waitFor(
    async () => {
      const warehouse = await connect(urlOf(server), { reads: 'server' }).catch(() => undefined);
      if (!warehouse) return false;
      try {
        const { rows } = await warehouse.query<{ n: string }>(
          'SELECT countIf(is_readonly OR queue_size > 0) AS n FROM system.replicas WHERE database = currentDatabase()',
        );
        return rows[0]?.n === '0';
      } finally {
        await warehouse.close();
      }
    },
    { deadlineMs: RECOVERY_MS, what: `${server} is back` },
  );
}

/** Clicks of a node in a table and its rollups, as one server has them. */
async function countsAt(server: ServerName, node: number): Promise<string[]> {
  const warehouse = await connect(urlOf(server), { reads: 'server' });
  try {
    const { rows } = await warehouse.query<{ counts: string[] }>(
      `SELECT [(SELECT count() FROM clicks WHERE node = {node:UInt16}), (SELECT uniqExact(seq) FROM clicks WHERE node = {node:UInt16}),
         (SELECT sum(clicks) FROM clicks_hourly WHERE program_id = {node:UInt16}),
         (SELECT sum(clicks) FROM clicks_minutely WHERE program_id = {node:UInt16}),
         (SELECT sum(clicks + impressions) FROM campaigns_daily WHERE program_id = {node:UInt16})] AS counts`,
      { node },
    );
    return (rows[0]?.counts ?? []).map(String);
  } finally {
    await warehouse.close();
  }
}

/** A campaign whose clicks belong to a shard, counted from 0. */
async function campaignOf(shard: number): Promise<number> {
  const { rows } = await admin.query<{ id: number }>(
    `SELECT toUInt32(number) AS id FROM numbers(1, 100) WHERE murmurHash3_32(id) % 2 = ${shard} LIMIT 1`,
  );
  return Number(rows[0]?.id);
}

/** The program is the node: rollups have no node. */
async function block(node: number, shard: number, count = 500) {
  const campaign_id = await campaignOf(shard);
  const records = clickRecords(node, 0, count, { program_id: node, campaign_id, flags: 0, ts: NOW });
  return {
    sql: INSERT_CLICKS_SQL,
    data: [Buffer.concat(records.map(encodeClick))],
    settings: { ...INSERT_SETTINGS, insert_deduplication_token: `test:${node}` },
  };
}

it('is migrated on every server, once', async () => {
  expect(await migrateWarehouse({ warehouse: admin, log: quietLog })).toEqual({ applied: 0 });
  for (const server of SERVERS) {
    const warehouse = await connect(urlOf(server), { reads: 'server' });
    await checkServers(warehouse);
    await checkDeduplication(warehouse);
    await warehouse.close();
  }
});

it('gives each stream shard the servers of its own shard, and no other', async () => {
  for (const shard of [0, 1]) {
    const warehouse = await loaderOf(shard);
    const { rows } = await warehouse.query<{ macro: string }>("SELECT getMacro('shard') AS macro");
    expect(rows).toEqual([{ macro: `0${shard + 1}` }]);
    await warehouse.close();
  }
  await expect(loaderOf(0, urlsOf(2))).rejects.toMatchObject({ code: 'other_shard' });
});

describe('a block', () => {
  it('counts once on both replicas when it is repeated on the other one', async () => {
    const insert = await block(101, 0);
    for (const server of ['server-1-1', 'server-1-2'] as const) {
      const warehouse = await loaderOf(0, urlOf(server));
      await createViewIdentities().settle(warehouse);
      await warehouse.insertBytes(insert);
      await warehouse.close();
    }
    for (const server of ['server-1-1', 'server-1-2'] as const) {
      expect(await countsAt(server, 101)).toEqual(Array(5).fill('500'));
    }
  });

  it('counts once when it is repeated after a restart of its server', async () => {
    const insert = await block(102, 0);
    const before = await loaderOf(0, urlOf('server-1-1'));
    await createViewIdentities().settle(before);
    await before.insertBytes(insert);
    await before.close();
    compose('restart', 'server-1-1');
    await start('server-1-1');
    const after = await loaderOf(0, urlOf('server-1-1'));
    await createViewIdentities().settle(after);
    await after.insertBytes(insert);
    await after.close();
    expect(await countsAt('server-1-1', 102)).toEqual(Array(5).fill('500'));
  });

  it('is not acknowledged while only one replica has it, and counts once when both do', async () => {
    const insert = await block(103, 1);
    compose('kill', 'server-2-2');
    const warehouse = await loaderOf(1, urlOf('server-2-1'));
    try {
      await createViewIdentities().settle(warehouse);
      await expect(warehouse.insertBytes(insert)).rejects.toMatchObject({ code: 'clickhouse_refused' });
    } finally {
      await start('server-2-2');
    }
    await waitFor(
      () =>
        warehouse.insertBytes(insert).then(
          () => true,
          () => false,
        ),
      { deadlineMs: RECOVERY_MS, what: 'the block is acknowledged' },
    );
    await warehouse.close();
    for (const server of ['server-2-1', 'server-2-2'] as const) {
      expect(await countsAt(server, 103)).toEqual(Array(5).fill('500'));
    }
  });
});

it('a loader loads each click once while the servers of its shard are killed in turn', async () => {
  const campaign_id = await campaignOf(0);
  const local = await startPipeline();
  const warehouse = await loaderOf(0);
  const node = 104;
  const loader = local.loader({ warehouse });
  const running = loader.run();
  try {
    for (let round = 0; round < 12; round++) {
      const own = { program_id: node, campaign_id, flags: 0, ts: NOW };
      await local.publish(clickRecords(node, round * 250, 250, own));
      const victim: ServerName = round % 6 === 2 ? 'server-1-1' : 'server-1-2';
      if (round % 3 !== 2) continue;
      compose('kill', victim);
      await start(victim);
    }
    await waitFor(async () => (await countsAt('server-1-1', node))[0] === '3000', {
      deadlineMs: RECOVERY_MS,
      what: 'every click is loaded',
    });
  } finally {
    await loader.stop();
    await running;
    await warehouse.close();
    await local.stop();
  }
  for (const server of ['server-1-1', 'server-1-2'] as const) {
    await waitFor(async () => (await countsAt(server, node)).every((count) => count === '3000'), {
      deadlineMs: RECOVERY_MS,
      what: `${server} has every click once`,
    });
  }
}, 900_000);

it('complete_to of two stream shards moves, and stands beside every row after merges', async () => {
  const servers = await Promise.all([loaderOf(0), loaderOf(1)]);
  const all = await connect(urlsOf());
  // Beyond what the loader above wrote: the greatest of a shard counts.
  const base = Date.now() + MINUTE_MS;
  try {
    for (const second of [1, 2, 3]) {
      const completeTo = base + second * 1_000;
      await Promise.all(
        servers.map((server, shard) =>
          server.insertRows('watermarks', [
            { shard, complete_to: timeText(completeTo), updated_at: timeText(completeTo) },
          ]),
        ),
      );
      expect(await readWatermark(all)).toBe(completeTo);
      for (const table of ['watermarks', 'campaigns_daily']) {
        for (const server of servers) await server.command(`OPTIMIZE TABLE ${table} FINAL`);
      }
      expect(await readWatermark(all)).toBe(completeTo);
    }
    const { rows } = await all.query<{ n: string }>(
      'SELECT sum(clicks) AS n FROM campaigns_daily WHERE program_id = 104',
    );
    expect(rows).toEqual([{ n: '3000' }]);
  } finally {
    for (const warehouse of [...servers, all]) await warehouse.close();
  }
});

describe('every question', () => {
  const database = { url: '', drop: async () => {} };
  let one: Warehouse;
  let all: Warehouse;
  beforeAll(async () => {
    Object.assign(database, await freshClickHouseDatabase());
    one = await connectWarehouse({ url: database.url, name: 'test' });
    await migrateWarehouse({ warehouse: one, log: quietLog });
    // What the tests above loaded.
    for (const table of [...SHARDED_TABLES, 'watermarks']) {
      for (const shard of [1, 2] as const) {
        const server = await connect(urlsOf(shard), { reads: 'server' });
        await server.command(`TRUNCATE TABLE ${table}`, {}, { alter_sync: 2 });
        await server.close();
      }
    }
    all = await connect(urlsOf());
    await insertSampleFacts(one, NOW);
    await insertSampleClicks(one, NOW);
    await insertSampleFacts(admin, NOW);
    for (const dictionary of ['geo', 'asn', 'organisations']) {
      for (const place of ['afflux', 'afflux_all']) {
        await admin.everywhere(`SYSTEM RELOAD DICTIONARY ${place}.${dictionary}`);
      }
    }
    for (const shard of [0, 1]) {
      const server = await loaderOf(shard);
      await insertSampleClicks(server, NOW, { shard, shards: 2 });
      await server.close();
    }
  }, 300_000);
  afterAll(async () => {
    await all?.close();
    await one?.close();
    await database.drop();
  });

  it.each(sampleQuestions(NOW))('$name has the answer of one server', async ({ ask }) => {
    const whole = await ask(one);
    expect(whole.length).toBeGreaterThan(0);
    expect(await ask(all)).toEqual(whole);
  });

  it('is answered while one replica of each shard is down', async () => {
    compose('kill', 'server-1-1', 'server-2-2');
    try {
      for (const { ask } of sampleQuestions(NOW)) expect(await ask(all)).toEqual(await ask(one));
    } finally {
      await start('server-1-1');
      await start('server-2-2');
    }
  }, 300_000);
});

it('loads the lists of networks on every server, and gives the dictionaries another account', async () => {
  await loadGeo(admin, { now: NOW });
  await loadGeo(admin, { now: NOW + 1 });
  for (const server of SERVERS) {
    const warehouse = await connect(urlOf(server), { reads: 'server' });
    await warehouse.command("CREATE USER OR REPLACE rotated IDENTIFIED BY 'new-secret'");
    await warehouse.command('GRANT ALL ON *.* TO rotated WITH GRANT OPTION');
    await warehouse.close();
  }
  const rotated = await connect(urlsOf(undefined, 'rotated:new-secret'), { reads: 'server' });
  expect(await renewDictionaries(rotated)).toEqual({ renewed: 6 });
  await rotated.close();
  for (const server of SERVERS) {
    const warehouse = await connect(urlOf(server), { reads: 'server' });
    const { rows } = await warehouse.query(
      "SELECT dictGet('geo', 'country', toIPv6('::ffff:8.8.8.8')) AS country, dictGet('afflux_all.asn', 'asn', toIPv6('::ffff:8.8.8.8')) AS asn",
    );
    expect(rows).toEqual([{ country: 'US', asn: 15_169 }]);
    await warehouse.close();
  }
}, 300_000);
