import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { type EngineProcess, freePort, spawnEngine } from '../../../engines/engine.ts';
import { waitFor } from '../engines.ts';

/** With two other workers on two cores. */
const READY_MS = 90_000;
const STOP_MS = 10_000;
/** The streams reserve more than a small disk has. */
const MAX_FILE_STORE_BYTES = 256e9;

/** Where a server runs: an address of its own, and what starts a program in its network. */
export interface ServerPlace {
  readonly host: string;
  readonly command?: readonly string[];
}

export interface ClusterServer {
  /** Its name in answers of NATS. */
  readonly name: string;
  readonly url: string;
  /** SIGKILL, and wait for the end. */
  kill(): Promise<void>;
  /** Ends it in order: it hands its leaderships over. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Waits until it has caught up with the others. */
  ready(): Promise<void>;
}

export interface NatsCluster {
  readonly servers: readonly ClusterServer[];
  /** For NATS_URL. */
  readonly url: string;
  named(name: string | undefined): ClusterServer;
  /** Also removes its data. */
  stop(): Promise<void>;
}

/** Servers of one cluster with JetStream, empty; by default three on loopback. */
export async function startNatsCluster(
  places: readonly ServerPlace[] = Array.from({ length: 3 }, () => ({ host: '127.0.0.1' })),
): Promise<NatsCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-nats-cluster-'));
  const members = await Promise.all(
    places.map(async (place, i) => ({
      ...place,
      name: `n${i + 1}`,
      port: await freePort(),
      clusterPort: await freePort(),
      httpPort: await freePort(),
    })),
  );
  const routes = members.map(({ host, clusterPort }) => `nats://${host}:${clusterPort}`);
  const servers = members.map((member) => clusterServer(member, { folder, routes }));
  await Promise.all(servers.map((server) => server.start()));
  await Promise.all(servers.map((server) => server.ready()));
  return {
    servers,
    url: servers.map(({ url }) => url).join(','),
    named(name) {
      const found = servers.find((server) => server.name === name);
      if (!found) throw new Error(`no server is named ${name}`);
      return found;
    },
    async stop() {
      // In order they would wait for each other.
      await Promise.all(servers.map((server) => server.kill()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function clusterServer(
  member: ServerPlace & { name: string; port: number; clusterPort: number; httpPort: number },
  { folder, routes }: { folder: string; routes: readonly string[] },
): ClusterServer {
  const { name, host, port, clusterPort, httpPort, command = [] } = member;
  const file = join(folder, `${name}.json`);
  const config = {
    server_name: name,
    listen: `${host}:${port}`,
    http: `${host}:${httpPort}`,
    jetstream: { store_dir: join(folder, name), max_file_store: MAX_FILE_STORE_BYTES },
    cluster: { name: 'afflux', listen: `${host}:${clusterPort}`, routes },
  };
  writeFileSync(file, JSON.stringify(config));
  const [program = '', ...args] = [...command, inject('natsServer').binary, '--config', file];
  let child: EngineProcess | undefined;

  async function answers(path: string): Promise<unknown> {
    const signal = AbortSignal.timeout(10_000);
    const response = await fetch(`http://${host}:${httpPort}${path}`, { signal });
    return response.ok ? await response.json() : undefined;
  }
  /** Every server is there, and this one has all that the others have. */
  async function isReady(): Promise<boolean> {
    if ((await answers('/healthz')) === undefined) return false;
    const { meta_cluster: meta } = (await answers('/jsz')) as {
      meta_cluster?: { leader?: string; cluster_size?: number };
    };
    return Boolean(meta?.leader) && meta?.cluster_size === routes.length;
  }

  return {
    name,
    url: `nats://${host}:${port}`,
    async kill() {
      if (!child) return;
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
      child = undefined;
    },
    async stop() {
      await child?.stop();
      child = undefined;
    },
    async start() {
      child = await spawnEngine({
        name: 'nats',
        command: program,
        args,
        onLine: () => undefined,
        stopSignal: 'SIGTERM',
        stopTimeoutMs: STOP_MS,
        forceSignal: 'SIGKILL',
      });
    },
    ready: () =>
      waitFor(isReady, { deadlineMs: READY_MS, what: `${name} to be ready` }).then(() => undefined),
  };
}
