import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Session } from 'chdb';
import { readingDatabase } from '../../../core/config/servers.ts';
import { joined, statementsOf } from '../../../engines/clickhouse-server/sessions/context.ts';
import { parseTarget, type Warehouse, warehouseOf } from '../../../warehouse/clickhouse/client.ts';
import { CAMPAIGN_SHARD, SHARDED_TABLES } from '../../../warehouse/clickhouse/cluster.ts';
import { parameterText } from '../../../warehouse/clickhouse/http.ts';
import {
  ServerFault,
  type Statement,
  type Target,
  type Transport,
} from '../../../warehouse/clickhouse/transport.ts';

export const CLUSTER = 'two';
const DATABASE = 'afflux';
const READING = readingDatabase(DATABASE, CLUSTER);

/**
 * A cluster of two shards, both of them this engine: it reads a shard whose address is its own without a network, as a
 * server does. What tells the shards apart is a policy of rows: under shard n of a distributed query a table of clicks shows
 * the rows that shard n would have; outside of one it shows all.
 */
const CONFIG = `<clickhouse>
  <tcp_port>9000</tcp_port>
  <remote_servers><${CLUSTER}>
    <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
    <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
  </${CLUSTER}>
  <heavy>
    <shard><weight>2</weight><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
  </heavy>
  <apart>
    <shard><replica><host>127.0.0.1</host><port>9000</port><default_database>${DATABASE}</default_database></replica></shard>
    <shard><replica><host>127.0.0.1</host><port>9000</port><default_database>${DATABASE}</default_database></replica></shard>
  </apart></remote_servers>
  <macros><shard>01</shard></macros>
  <profiles><default><max_threads>1</max_threads></default></profiles>
  <users><default>
    <password/>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <databases><${DATABASE}>${[...SHARDED_TABLES]
      .map(
        (table) =>
          `<${table}><filter>shardNum() = 0 OR ${CAMPAIGN_SHARD} % 2 + 1 = shardNum()</filter></${table}>`,
      )
      .join('')}</${DATABASE}></databases>
  </default></users>
  <quotas><default/></quotas>
</clickhouse>
`;

export interface TwoShards {
  /** The tables, as one server reads them. */
  readonly one: Warehouse;
  /** The same engine as a cluster's client reads it, through its reading database. */
  readonly all: Warehouse;
  close(): void;
}

export function openTwoShards(): TwoShards {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-shards-'));
  const config = join(folder, 'config.xml');
  writeFileSync(config, CONFIG);
  const path = join(folder, 'engine');
  const keeper = new Session(path, {
    connectionArgs: [`--config-file=${config}`, `--users_config=${config}`],
  });
  for (const name of [DATABASE, READING]) keeper.query(`CREATE DATABASE ${name}`);
  const target = parseTarget(`http://engine.test/${DATABASE}`);
  const of = (database: string): Transport => transportOf(path, { ...target, database });
  return {
    one: warehouseOf(target, { queries: of(DATABASE), rest: of(DATABASE) }),
    all: warehouseOf(target, {
      queries: of(READING),
      reads: of(READING),
      rest: of(DATABASE),
      cluster: CLUSTER,
    }),
    close() {
      keeper.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Statements go to the engine itself instead of to its HTTP server, which takes no definition of a cluster. */
function transportOf(path: string, { database }: Target): Transport {
  return {
    async send({ sql, params = {}, settings = {}, data = [] }: Statement) {
      const session = new Session(path);
      try {
        const before = statementsOf({
          database,
          role: undefined,
          settings: new Map(
            Object.entries(settings)
              // How long an answer takes on a busy machine is no matter here.
              .filter(([name]) => name !== 'max_execution_time')
              .map(([name, value]) => [name, String(value)]),
          ),
          parameters: new Map(Object.entries(params).map(([name, value]) => [name, parameterText(value)])),
        });
        const [, statement = sql, format = 'TabSeparated'] = /^(.*)\nFORMAT (\w+)$/s.exec(sql) ?? [];
        const text = `${joined(before)}${statement}${data.length > 0 ? `\n${Buffer.concat(data)}` : ''}`;
        const result = await session.queryAsync(text, { format });
        return { headers: {}, body: Readable.from([Buffer.from(result.bytes())]) };
      } catch (error) {
        const message = String((error as Error).message);
        throw new ServerFault(Number(/Code: (\d+)/.exec(message)?.[1]), message);
      } finally {
        session.close();
      }
    },
    close: async () => undefined,
  };
}
