import { OperatingError } from '../../core/errors.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { CAMPAIGN_SHARD, quotedText, SHARDED_TABLES } from '../clickhouse/cluster.ts';

/** Checks that servers are what an insert or a read relies on. All of them ask the servers themselves. */

/** A balancer that gives each connection another server shows itself among so many that are opened at once. */
const PROBES = 8;

/** Servers that do not answer are left out: they are checked when they are used. */
const OF_THOSE_THAT_ANSWER = { skip_unavailable_shards: 1 } as const;

/**
 * Makes sure that the cluster is defined as the tables need it. @returns the number of its shards.
 * @throws OperatingError `cluster_unfit`.
 */
export async function checkDefinition(warehouse: Warehouse): Promise<number> {
  const { cluster, database } = warehouse;
  const { rows } = await warehouse.query<{ shard: number; weight: number; host: string; database: string }>(
    `SELECT shard_num AS shard, shard_weight AS weight, host_name AS host, default_database AS database
     FROM system.clusters WHERE cluster = {cluster:String}`,
    { cluster },
  );
  if (rows.length === 0) {
    throw unfit(
      `the server knows no cluster ${cluster}: correct CLICKHOUSE_CLUSTER, or remote_servers of the server`,
    );
  }
  const heavier = rows.find(({ weight }) => Number(weight) !== 1);
  if (heavier) {
    throw unfit(
      `shard ${heavier.shard} of cluster ${cluster} has the weight ${heavier.weight}: all must have 1`,
    );
  }
  const elsewhere = rows.find((row) => row.database !== database);
  if (elsewhere) {
    throw unfit(
      `${elsewhere.host} has the default_database "${elsewhere.database}" in cluster ${cluster}: it must be ${database}, where a shard finds the dictionaries that a query names`,
    );
  }
  return new Set(rows.map(({ shard }) => shard)).size;
}

/**
 * Whether a server is one of the ClickHouse shard that a stream shard's clicks go to, and has only clicks of it. For
 * `accept` of `connectWarehouse`. @param clickShards the number of stream shards.
 */
export function ofShard(of: { shard: number; clickShards: number }): (server: Warehouse) => Promise<void> {
  return async (server) => {
    const { cluster } = server;
    if (cluster === '') return;
    const shards = await checkDefinition(server);
    if (of.clickShards % shards !== 0) {
      throw unfit(
        `cluster ${cluster} has ${shards} shards and the clicks stream ${of.clickShards}: CLICK_SHARDS must be a multiple, so that each campaign stays on one`,
      );
    }
    const wanted = of.shard % shards;
    const { rows: macros } = await server.query<{ shard: number; macro: string; own: string }>(
      `SELECT _shard_num AS shard, getMacro('shard') AS macro FROM cluster(${quotedText(cluster)}, system.one)`,
      {},
      OF_THOSE_THAT_ANSWER,
    );
    const { rows: own } = await server.query<{ macro: string }>("SELECT getMacro('shard') AS macro");
    const found = macros.filter(({ macro }) => macro === own[0]?.macro).map(({ shard }) => Number(shard) - 1);
    if (found.length !== 1) {
      throw unfit(
        `the macro shard is "${own[0]?.macro}" on ${found.length} shards of cluster ${cluster}: it must differ between shards`,
      );
    }
    if (found[0] !== wanted) {
      throw new OperatingError(
        'other_shard',
        `the server is of shard ${Number(found[0]) + 1} of cluster ${cluster}, stream shard ${of.shard} belongs to shard ${wanted + 1}: CLICKHOUSE_URL must name its servers too`,
      );
    }
    await checkPlacement(server, { wanted, shards });
  };
}

/** The number of shards must not change under the clicks that are stored: reads would look for them elsewhere. */
export async function checkPlacement(
  server: Warehouse,
  of: { wanted: number; shards: number },
): Promise<void> {
  const { rows } = await server.query<{ campaign: number }>(
    `SELECT campaign_id AS campaign FROM campaigns_daily WHERE ${CAMPAIGN_SHARD} % ${of.shards} != ${of.wanted} LIMIT 1`,
  );
  if (rows[0] === undefined) return;
  throw unfit(
    `shard ${of.wanted + 1} has clicks of campaign ${rows[0].campaign}, which belong to another one: was the number of shards changed? Move the clicks to a cluster of that size (docs/cluster.md)`,
  );
}

/**
 * Makes sure that one address is one server, and on a cluster that its servers agree: each has every table, replicates it
 * with those that it should, and knows a view by the identity that the tokens of the loader contain.
 * @throws OperatingError `cluster_unfit`.
 */
export async function checkServers(warehouse: Warehouse): Promise<void> {
  const server = await warehouse.server();
  const answers = await Promise.all(
    Array.from({ length: PROBES }, () => server.query<{ id: string }>('SELECT toString(serverUUID()) AS id')),
  );
  const ids = new Set(answers.map(({ rows }) => rows[0]?.id));
  if (ids.size > 1) {
    throw unfit(
      `one address of CLICKHOUSE_URL leads to ${ids.size} servers: name each server, not a balancer before them, because insert tokens are kept by the servers of one shard`,
    );
  }
  if (warehouse.cluster === '') return;
  await checkPaths(server);
  await checkViews(server);
}

async function checkPaths(server: Warehouse): Promise<void> {
  const { rows } = await server.query<{ host: string; shard: string; name: string; path: string }>(
    `SELECT hostName() AS host, getMacro('shard') AS shard, table AS name, zookeeper_path AS path
     FROM clusterAllReplicas(${quotedText(server.cluster)}, system.replicas) WHERE database = {database:String}`,
    { database: server.database },
    OF_THOSE_THAT_ANSWER,
  );
  const fault = pathFault(rows);
  if (fault !== '') throw unfit(fault);
}

/** Why the replicated tables of a cluster's servers do not fit together; '' when they do. */
export function pathFault(
  tables: readonly { host: string; shard: string; name: string; path: string }[],
): string {
  const hosts = new Set(tables.map(({ host }) => host));
  for (const name of new Set(tables.map((table) => table.name))) {
    const here = tables.filter((table) => table.name === name);
    const without = [...hosts].find((host) => !here.some((table) => table.host === host));
    if (without !== undefined) {
      return `${without} has no replicated table ${name}: make it there as on the others (docs/cluster.md)`;
    }
    const isSharded = SHARDED_TABLES.has(name);
    const groups = new Set(isSharded ? here.map(({ shard }) => shard) : ['all']).size;
    const paths = new Set(here.map(({ path }) => path)).size;
    const pairs = new Set(here.map(({ shard, path }) => JSON.stringify([isSharded ? shard : 'all', path])))
      .size;
    if (paths !== groups || pairs !== groups) {
      return `table ${name} is replicated between the wrong servers: its path in Keeper must be ${isSharded ? 'one for each shard' : 'the same on all'}`;
    }
  }
  return '';
}

async function checkViews(server: Warehouse): Promise<void> {
  const { rows } = await server.query<{ shard: string; name: string }>(
    `SELECT getMacro('shard') AS shard, name FROM clusterAllReplicas(${quotedText(server.cluster)}, system.tables)
     WHERE database = {database:String} AND engine = 'MaterializedView'
     GROUP BY shard, name HAVING uniqExact(uuid) > 1 LIMIT 1`,
    { database: server.database },
    OF_THOSE_THAT_ANSWER,
  );
  if (rows[0] === undefined) return;
  throw unfit(
    `the view ${rows[0].name} has several UUIDs on the replicas of shard ${rows[0].shard}: a block that is repeated on another replica would count twice. Make it there with the same UUID (docs/cluster.md)`,
  );
}

function unfit(message: string): OperatingError {
  return new OperatingError('cluster_unfit', message);
}
