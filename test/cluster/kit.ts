import { spawnSync } from 'node:child_process';
import { fromProject } from '../../core/config/paths.ts';

/** What deploy/clickhouse-cluster starts; a test keeps it true. */
export const CLUSTER = 'afflux';
export const LOGIN = 'afflux:cluster-test';
export const PORTS = {
  'server-1-1': 28_111,
  'server-1-2': 28_112,
  'server-2-1': 28_121,
  'server-2-2': 28_122,
} as const;
export type ServerName = keyof typeof PORTS;

export function urlOf(server: ServerName, login = LOGIN): string {
  return `http://${login}@127.0.0.1:${PORTS[server]}/afflux`;
}

/** The servers of a shard, counted from 1; of all without it. */
export function urlsOf(shard?: 1 | 2, login = LOGIN): string {
  const names = (Object.keys(PORTS) as ServerName[]).filter(
    (name) => shard === undefined || name.startsWith(`server-${shard}-`),
  );
  return names.map((name) => urlOf(name, login)).join(',');
}

const COMPOSE = ['compose', '--file', fromProject('deploy/clickhouse-cluster/compose.yaml')];

/** `docker compose …`, such as `kill server-1-1`. @throws Error with what it said. */
export function compose(...args: string[]): void {
  const { status, stderr } = spawnSync('docker', [...COMPOSE, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`docker compose ${args.join(' ')}: ${stderr}`);
}
