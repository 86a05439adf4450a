import { chownSync, copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { APP_ROLE } from '../../../core/login.ts';
import { openPostgres } from '../../../core/postgres/postgres.ts';
import { createLogger } from '../../../core/service/log.ts';
import { freePort } from '../../../engines/engine.ts';
import { startPostgres } from '../../../engines/postgres.ts';
import type { Authority } from './certificates.ts';

export interface TlsPostgres {
  readonly port: number;
  readonly socketFolder: string;
  stop(): Promise<void>;
}

/**
 * PostgreSQL with a certificate for `localhost`: the superuser `shop` and the processes' login get
 * in over TLS with a certificate of their name, `plain` over TLS without one, all with the password.
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
    `hostssl all shop,${APP_ROLE} all scram-sha-256 clientcert=verify-full`,
    'hostssl all plain all scram-sha-256',
    'host all postgres all scram-sha-256',
  ];
  place('pg_hba.conf', (path) => writeFileSync(path, `${rules.join('\n')}\n`));
  const sql = openPostgres({ url: engine.url, max: 1, name: 'test', as: 'owner' });
  try {
    for (const statement of [
      `create role shop login superuser password '${password}'`,
      `create role ${APP_ROLE} login password '${password}'`,
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
