import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTwoShards, type TwoShards } from '../../test/support/servers/two-shards.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { onCluster, TOKEN_SECONDS } from '../clickhouse/cluster.ts';
import { migrateWarehouse } from '../clickhouse/migrate.ts';
import { windowFault } from '../loader/inserter.ts';
import { takeSnapshot } from '../transfer/export.ts';
import { importPartitions } from '../transfer/import.ts';
import { checkDefinition, checkPlacement, checkServers, ofShard, pathFault } from './servers.ts';

let shards: TwoShards;
/** As the client of a cluster sees the one engine. */
const named = (cluster: string): Warehouse => ({ ...shards.one, cluster });

beforeAll(async () => {
  shards = openTwoShards();
  await migrateWarehouse({ warehouse: shards.one, log: quietLog });
});
afterAll(() => shards.close());

describe('a cluster is refused', () => {
  it.each([
    ['none', 'knows no cluster none'],
    ['heavy', 'has the weight 2'],
    ['two', 'default_database "" in cluster two: it must be afflux'],
  ])('whose definition is that of %s', async (cluster, why) => {
    await expect(checkDefinition(named(cluster))).rejects.toMatchObject({
      code: 'cluster_unfit',
      message: expect.stringContaining(why),
    });
  });

  it('whose shards do not divide those of the stream', async () => {
    expect(await checkDefinition(named('apart'))).toBe(2);
    const accept = ofShard({ shard: 0, clickShards: 3 });
    await expect(accept(named('apart'))).rejects.toThrow('CLICK_SHARDS must be a multiple');
    await expect(ofShard({ shard: 0, clickShards: 3 })(shards.one)).resolves.toBeUndefined();
  });

  it('of which no server says which shard it is', async () => {
    // No server listens there: the shards are not known, so none is taken for the right one.
    const accept = ofShard({ shard: 0, clickShards: 2 });
    await expect(accept(named('apart'))).rejects.toMatchObject({ code: 'clickhouse_refused' });
  });

  it('that has campaigns of another shard', async () => {
    await shards.one.command(
      'INSERT INTO campaigns_daily (day, campaign_id, clicks) VALUES (now(), 1, 1), (now(), 2, 1)',
    );
    await checkPlacement(shards.one, { wanted: 0, shards: 1 });
    for (const wanted of [0, 1]) {
      await expect(checkPlacement(shards.one, { wanted, shards: 2 })).rejects.toThrow(
        /shard \d has clicks of campaign [12]/,
      );
    }
    await shards.one.command('TRUNCATE TABLE campaigns_daily');
  });
});

it('of several shards is neither copied nor filled', async () => {
  const refused = { code: 'usage', message: expect.stringContaining('apart has 2 shards') };
  const warehouse = named('apart');
  await expect(takeSnapshot(warehouse)).rejects.toMatchObject(refused);
  await expect(importPartitions({ warehouse, folder: '', partitions: [] })).rejects.toMatchObject(refused);
});

it('asks one server, and all of a cluster, whether they agree', async () => {
  await checkServers(shards.one);
  await checkServers(named('two'));
});

it('refuses an address behind which there are several servers', async () => {
  let asked = 0;
  const balanced: Warehouse = {
    ...shards.one,
    query: async <Row>() => ({ rows: [{ id: String(asked++ % 2) }] as Row[], readRows: 0 }),
  };
  await expect(checkServers(balanced)).rejects.toThrow('leads to 2 servers');
});

describe('replicated tables', () => {
  /** Two shards of two replicas, with a table of clicks and one that is whole on every server. */
  const tables = ['01', '02'].flatMap((shard) =>
    ['a', 'b'].flatMap((replica) => [
      {
        host: `${shard}${replica}`,
        shard,
        name: 'clicks',
        path: `/clickhouse/tables/${shard}/afflux/clicks`,
      },
      { host: `${shard}${replica}`, shard, name: 'names', path: '/clickhouse/tables/all/afflux/names' },
    ]),
  );
  const changed = (host: string, name: string, path: string) =>
    tables.map((table) => (table.host === host && table.name === name ? { ...table, path } : table));

  it('fit when each shard has its clicks, and all have the rest', () => {
    expect(pathFault(tables)).toBe('');
  });

  it.each([
    [
      'a server lacks one',
      tables.filter(({ host, name }) => host !== '02b' || name !== 'names'),
      '02b has no replicated table names',
    ],
    [
      'a replica is of another shard',
      changed('01b', 'clicks', '/clickhouse/tables/02/afflux/clicks'),
      'table clicks is replicated',
    ],
    [
      'shards share their clicks',
      tables.map((table) => ({ ...table, path: `/x/${table.name}` })),
      'one for each shard',
    ],
    [
      'a small table is not whole',
      changed('02a', 'names', '/clickhouse/tables/02/afflux/names'),
      'the same on all',
    ],
  ])('do not fit when %s', (_why, given, message) => {
    expect(pathFault(given)).toContain(message);
  });
});

describe('the windows of insert tokens', () => {
  const of = (settings: string, engine = 'ReplicatedMergeTree') =>
    windowFault(`${engine}(…) SETTINGS ${settings}`).fault;

  it('are long enough as a cluster makes them', async () => {
    const { rows } = await shards.one.query<{ settings: string }>(
      "SELECT extract(engine_full, 'SETTINGS .*') AS settings FROM system.tables WHERE database = currentDatabase() AND name = 'clicks'",
    );
    const settings = rows[0]?.settings ?? '';
    expect(windowFault(`MergeTree ${settings}`).fault).toBe('');
    expect(windowFault(onCluster(`Replicated ${settings}`, 'two')).fault).toBe('');
    expect(windowFault(`Replicated ${settings}`).fault).toContain(
      '0 insert tokens of 0 s by its own settings',
    );
  });

  it.each([
    `replicated_deduplication_window = 53759, replicated_deduplication_window_seconds = ${TOKEN_SECONDS}`,
    'replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 3600',
    'non_replicated_deduplication_window = 100000',
  ])('are too short with %s', (settings) => {
    expect(of(settings)).toContain('are needed');
    expect(
      windowFault(`ReplicatedMergeTree SETTINGS ${windowFault(`Replicated ${settings}`).settings}`).fault,
    ).toBe('');
  });

  it('of one server count tokens, one for each partition of an insert', () => {
    expect(of('non_replicated_deduplication_window = 53759', 'MergeTree')).toContain('53759 insert tokens');
    expect(of('non_replicated_deduplication_window = 53760', 'MergeTree')).toBe('');
  });
});
