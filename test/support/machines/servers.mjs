// Runs on machine 1: `node servers.mjs FOLDER ADDRESS NETWORK NATS-SERVER`. PostgreSQL and NATS that other machines reach at
// ADDRESS, and ClickHouse, whose embedded form answers on loopback only. Writes `ready` and ends on SIGTERM.
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPostgres } from '../../../dist/core/postgres/postgres.js';
import { createLogger } from '../../../dist/core/service/log.js';
import { startClickHouse } from '../../../dist/engines/clickhouse.js';
import { spawnEngine } from '../../../dist/engines/engine.js';
import { startPostgres } from '../../../dist/engines/postgres.js';

const PASSWORD = 'p';
const [folder, address, network, natsServer] = process.argv.slice(2);
const log = createLogger({ name: 'servers', level: 'warn' });

const dataDir = join(folder, 'postgres');
const postgres = await startPostgres({
  dataDir,
  port: 5432,
  password: PASSWORD,
  database: 'postgres',
  log,
  settings: { listen_addresses: `127.0.0.1,${address}` },
});
const sql = openPostgres({ url: postgres.url, max: 1, name: 'test', as: 'owner' });
const rules = join(dataDir, 'pg_hba.conf');
const { uid, gid } = statSync(dataDir);
writeFileSync(rules, `${readFileSync(rules, 'utf8')}\nhost all all ${network} scram-sha-256\n`);
chownSync(rules, uid, gid);
for (const statement of [
  // As docs/operations.md has it for a server of one's own.
  `create role afflux_owner login password '${PASSWORD}'`,
  `create role afflux_app login password '${PASSWORD}'`,
  'create role afflux_grafana nologin',
  'create database afflux owner afflux_owner',
  'select pg_reload_conf()',
]) {
  await sql.unsafe(statement);
}
await sql.end();

const clickhouse = await startClickHouse({
  dataDir: join(folder, 'clickhouse'),
  port: 8123,
  password: PASSWORD,
  database: 'afflux',
  log,
});

const store = join(folder, 'nats');
mkdirSync(store);
const nats = await spawnEngine({
  name: 'nats',
  command: natsServer,
  args: ['--addr', '0.0.0.0', '--port', '4222', '--jetstream', '--store_dir', store],
  onLine: () => undefined,
  stopSignal: 'SIGTERM',
  stopTimeoutMs: 10_000,
  forceSignal: 'SIGKILL',
});

process.once('SIGTERM', async () => {
  await Promise.all([postgres.stop(), clickhouse.stop(), nats.stop()]);
  process.exit(0);
});
process.stdout.write('ready\n');
