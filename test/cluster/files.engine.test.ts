import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { fromProject } from '../../core/config/paths.ts';
import { CLUSTER, LOGIN, PORTS } from './kit.ts';

/** No container runs in a test: the files are read as what reads them would. */

const FOLDER = 'deploy/clickhouse-cluster';
const read = (name: string) => readFileSync(fromProject(join(FOLDER, name)), 'utf8');

interface Service {
  readonly image: string;
  readonly hostname: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[];
}
const { services } = parse(read('compose.yaml'), { merge: true }) as { services: Record<string, Service> };
const servers = Object.entries(services).filter(([name]) => name.startsWith('server-'));
const keepers = Object.entries(services).filter(([name]) => name.startsWith('keeper-'));

describe('deploy/clickhouse-cluster/compose.yaml', () => {
  test('has two shards of two replicas and three Keepers, each with a name of its own', () => {
    expect(keepers).toHaveLength(3);
    expect(new Set(keepers.map(([, { environment }]) => environment.KEEPER_ID))).toEqual(
      new Set(['1', '2', '3']),
    );
    const macros = servers.map(([name, { environment }]) => [name, environment.SHARD, environment.REPLICA]);
    expect(macros).toEqual(Object.keys(PORTS).map((name) => [name, `0${name.split('-')[1]}`, name]));
    for (const [name, { hostname }] of Object.entries(services)) expect(hostname).toBe(name);
  });

  test('has the ports and the login that the tests use', () => {
    for (const [name, { ports, environment }] of servers) {
      expect(ports).toEqual([`127.0.0.1:${PORTS[name as keyof typeof PORTS]}:8123`]);
      expect(`${environment.CLICKHOUSE_USER}:${environment.CLICKHOUSE_PASSWORD}`).toBe(LOGIN);
    }
  });

  test('mounts files that exist, and waits for services that it has', () => {
    for (const [, { volumes, depends_on = [] }] of Object.entries(services)) {
      for (const volume of volumes)
        expect(existsSync(fromProject(join(FOLDER, volume.split(':')[0] ?? '')))).toBe(true);
      for (const name of depends_on) expect(Object.keys(services)).toContain(name);
    }
  });
});

test('the engine reads server.xml: its cluster is that of the tests', () => {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-cluster-'));
  // The engine takes the addresses of Keeper too, and asks it for nothing here.
  const env = { ...process.env, SHARD: '02', REPLICA: 'server-2-1' };
  const probe = `const { Session } = require('chdb');
    const session = new Session(process.argv[1], { connectionArgs: ['--config-file=' + process.argv[2]] });
    const sql = "SELECT shard_num, replica_num, shard_weight, host_name, default_database, getMacro('shard'), getMacro('replica') FROM system.clusters WHERE cluster = '${CLUSTER}' ORDER BY 1, 2";
    process.stdout.write(session.query(sql, 'JSONCompactEachRow')); session.close();`;
  try {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['-e', probe, join(folder, 'engine'), fromProject(join(FOLDER, 'server.xml'))],
      { cwd: fromProject('.'), env, encoding: 'utf8', timeout: 60_000 },
    );
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => (line === '' ? stderr : JSON.parse(line)));
    expect(rows).toEqual(
      Object.keys(PORTS).map((name) => {
        const [, shard, replica] = name.split('-').map(Number);
        return [shard, replica, 1, name, 'afflux', '02', 'server-2-1'];
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('without Docker the command says so, and fails', () => {
  const { status, stderr } = spawnSync(process.execPath, [fromProject('scripts/test-cluster.mjs')], {
    env: { PATH: '/nonexistent' },
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([1, expect.stringContaining('nothing was tested')]);
});
