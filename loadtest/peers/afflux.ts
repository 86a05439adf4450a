import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { clicksStream } from '../../core/clicks/shards.ts';
import { connectNats } from '../../core/clicks/stream.ts';
import { fromProject } from '../../core/config/paths.ts';
import { freePort } from '../../engines/engine.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { createLedgerLinks } from '../collector/links.ts';
import { pin, startMeasured } from '../collector/process.ts';
import { ownEngines } from '../engines.ts';
import { settle } from '../warehouse/sizes.ts';
import { CORES, type OpenPeer, type Peer, type PeerFixture, VISIT_URL } from './peer.ts';
import { createDatabase } from './postgres-store.ts';

const COMMAND = fromProject('dist/bin/afflux.js');

/** The whole way of a click as `npm start` runs it: collector with its spool, NATS, loader, ClickHouse. */
export const AFFLUX: readonly Peer[] = [
  {
    name: 'Afflux',
    durability: 'on disk: fsynced by JetStream, else in the spool',
    open: (fixture) => open(fixture, 'always'),
  },
  {
    name: 'Afflux, NATS_SYNC=interval',
    durability: "in the kernel's page cache, acknowledged by JetStream",
    open: (fixture) => open(fixture, 'interval'),
  },
];

async function open(fixture: PeerFixture, sync: 'always' | 'interval'): Promise<OpenPeer> {
  const name = `afflux_${sync}`;
  const home = join(fixture.folder, name);
  mkdirSync(home);
  const ownerUrl = await createDatabase(fixture, name);
  const databaseUrl = await createLedgerLinks(ownerUrl, fixture.links);
  const engines = ownEngines(fixture.run, { folder: home, log: fixture.log });
  const nats = await engines.nats({ server: fixture.natsServer, sync });
  pin(nats.pid, CORES);
  const clickhouse = new URL(fixture.clickhouse.url);
  clickhouse.pathname = `/${name}`;
  const warehouse = await connectWarehouse({ url: clickhouse.href, name: 'bench' });
  await migrateWarehouse({ warehouse, log: fixture.log });
  await loadGeo(warehouse, { now: Date.now() });
  const env = {
    AFFLUX_HOME: home,
    DATABASE_URL: databaseUrl,
    CLICKHOUSE_URL: clickhouse.href,
    NATS_URL: nats.url,
    HOST: '127.0.0.1',
    LOG_LEVEL: 'error',
  };
  const loaderPort = await freePort();
  const loader = await startMeasured({
    command: [process.execPath, COMMAND, 'loader'],
    env: { ...env, LOADER_PORT: String(loaderPort) },
    core: CORES,
    url: `http://127.0.0.1:${loaderPort}/readyz`,
  });
  const nc = await connectNats({ url: nats.url, name: 'bench' });
  const streams = (await jetstreamManager(nc)).streams;

  return {
    stores: [nats.pid, fixture.clickhouse.pid, loader.pid],
    start: (port) =>
      startMeasured({
        command: [process.execPath, COMMAND, 'collector'],
        env: { ...env, COLLECTOR_PORT: String(port) },
        core: CORES,
        url: `http://127.0.0.1:${port}/readyz`,
      }),
    async count() {
      const { rows } = await warehouse.query<{ clicks: string }>('SELECT count() AS clicks FROM clicks');
      return Number(rows[0]?.clicks);
    },
    settled: () => settle(warehouse),
    async visits() {
      const { rows } = await warehouse.query<{ visit: number }>(
        `SELECT toUInt32(substring(referrer, ${VISIT_URL.length + 1})) AS visit FROM clicks
         WHERE startsWith(referrer, {url:String})`,
        { url: VISIT_URL },
      );
      return rows.map(({ visit }) => visit);
    },
    async bytes() {
      const { rows } = await warehouse.query<{ bytes: string }>(
        `SELECT sum(bytes_on_disk) AS bytes FROM system.parts
         WHERE active AND database = currentDatabase() AND match(table, '^(clicks|campaigns|velocity)')`,
      );
      return Number(rows[0]?.bytes);
    },
    logBytes: async () => (await streams.info(clicksStream(0))).state.bytes,
    async close() {
      await loader.stop();
      await nc.close();
      await nats.stop();
      await warehouse.command(`DROP DATABASE ${name} SYNC`);
      await warehouse.close();
    },
  };
}
