import { chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { inject } from 'vitest';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { freePort, spawnEngine, waitUntilReady } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import type { Authority } from './certificates.ts';

/** Servers as operators run them: with logins and TLS that the embedded ones do not have. */

const START_MS = 30_000;
const STOP_MS = 10_000;
/** As the embedded server has it: the streams reserve more than a small disk has. */
const MAX_FILE_STORE_BYTES = 256e9;

/** Members of nats-server.conf, beside address and JetStream. */
export type NatsConfig = Readonly<Record<string, unknown>>;

export interface NatsWith {
  readonly port: number;
  /** SIGKILL, and wait for the end. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Also removes its data. */
  stop(): Promise<void>;
}

/** A nats-server with JetStream and these settings. JSON is a part of its configuration's grammar. */
export async function startNatsWith(config: NatsConfig): Promise<NatsWith> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-nats-'));
  const port = await freePort();
  const file = join(folder, 'nats-server.json');
  const whole = {
    ...config,
    listen: `127.0.0.1:${port}`,
    jetstream: { store_dir: folder, max_file_store: MAX_FILE_STORE_BYTES },
  };
  writeFileSync(file, JSON.stringify(whole));
  async function start() {
    const child = await spawnEngine({
      name: 'nats',
      command: inject('natsServer').binary,
      args: ['--config', file],
      onLine: () => undefined,
      stopSignal: 'SIGTERM',
      stopTimeoutMs: STOP_MS,
      forceSignal: 'SIGKILL',
    });
    await waitUntilReady({
      name: 'nats-server',
      process: child,
      answers: () => listens(port),
      timeoutMs: START_MS,
    });
    return child;
  }
  let child = await start();
  return {
    port,
    async kill() {
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
    },
    async restart() {
      child = await start();
    },
    async stop() {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function listens(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export interface TlsPostgres {
  readonly port: number;
  readonly socketFolder: string;
  stop(): Promise<void>;
}

/**
 * PostgreSQL with a certificate for `localhost`: the superuser `shop` gets in
 * over TLS with a certificate of its name, `plain` over TLS without one, both with the password.
 */
export async function startTlsPostgres(authority: Authority, password: string): Promise<TlsPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-tls-'));
  const dataDir = join(folder, 'postgres');
  const port = await freePort();
  const engine = await startPostgres({
    dataDir,
    port,
    password: 'super',
    database: 'afflux',
    log: createLogger({ name: 'postgres', level: 'silent' }),
    settings: { fsync: 'off', unix_socket_directories: dataDir },
  });
  const { uid, gid } = statSync(dataDir);
  function place(name: string, write: (path: string) => void): void {
    const path = join(dataDir, name);
    write(path);
    chownSync(path, uid, gid);
  }
  const server = await authority.issue('localhost');
  place('server.pem', (path) => copyFileSync(server.cert, path));
  place('server.key', (path) => copyFileSync(server.key, path));
  place('ca.pem', (path) => copyFileSync(authority.ca, path));
  const rules = [
    'local all all scram-sha-256',
    'hostssl all shop all scram-sha-256 clientcert=verify-full',
    'hostssl all plain all scram-sha-256',
    'host all postgres all scram-sha-256',
  ];
  place('pg_hba.conf', (path) => writeFileSync(path, `${rules.join('\n')}\n`));
  const sql = openPostgres({ url: engine.url, max: 1, name: 'test', as: 'owner' });
  try {
    for (const statement of [
      `create role shop login superuser password '${password}'`,
      `create role plain login password '${password}'`,
      `alter system set ssl_cert_file = 'server.pem'`,
      `alter system set ssl_key_file = 'server.key'`,
      `alter system set ssl_ca_file = 'ca.pem'`,
      `alter system set ssl = on`,
      'select pg_reload_conf()',
    ]) {
      await sql.unsafe(statement);
    }
  } finally {
    await sql.end();
  }
  return {
    port,
    socketFolder: dataDir,
    async stop() {
      await engine.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface TlsProxy {
  readonly port: number;
  /** What the clients have sent, as text. */
  received(): string;
  stop(): Promise<void>;
}

/** Ends TLS on `localhost` in front of a server of this machine, for clients with a certificate of the authority. */
export async function startTlsProxy(authority: Authority, targetPort: number): Promise<TlsProxy> {
  const { cert, key } = await authority.issue('localhost');
  const sockets = new Set<Socket>();
  let text = '';
  const server = createServer(
    {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ca: readFileSync(authority.ca),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (client) => {
      const target = connect(targetPort, '127.0.0.1');
      for (const socket of [client, target]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => sockets.delete(socket));
      }
      client.on('data', (bytes) => {
        text += bytes.toString('latin1');
      });
      client.pipe(target).pipe(client);
      client.on('close', () => target.destroy());
      target.on('close', () => client.destroy());
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received: () => text,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
