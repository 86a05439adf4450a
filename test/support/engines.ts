import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { errorText } from '../../core/errors.ts';
import { applicationUrl } from '../../core/login.ts';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startNats } from '../../engines/nats.ts';
import { APP_PASSWORD } from '../../loadtest/login.ts';
import { isTrueWithin } from '../../loadtest/wait.ts';

/** A database of a test's own. */
interface FreshDatabase {
  /** With the rights of its owner. */
  readonly url: string;
  drop(): Promise<void>;
}

function freshName(): string {
  return `t_${randomBytes(6).toString('hex')}`;
}

type FreshPostgres = FreshDatabase & { readonly appUrl: string };

/** An empty PostgreSQL database on the run's server. `appUrl` is the processes' login, which can use it once it is migrated. */
export async function freshPostgresDatabase(): Promise<FreshPostgres> {
  return await createPostgresDatabase('template1');
}

/** A migrated PostgreSQL database on the run's server: a copy, which is made faster than the migrations run. */
export async function freshLedgerDatabase(): Promise<FreshPostgres> {
  return await createPostgresDatabase(inject('ledgerTemplate'));
}

async function createPostgresDatabase(template: string): Promise<FreshPostgres> {
  const name = freshName();
  const url = new URL(inject('postgresUrl'));
  async function run(...statements: string[]): Promise<void> {
    const sql = openPostgres({ url: inject('postgresUrl'), max: 1, name: 'test', as: 'owner' });
    try {
      for (const statement of statements) await sql.unsafe(statement);
    } finally {
      await sql.end();
    }
  }
  await run(
    `CREATE DATABASE ${name} TEMPLATE ${template}`,
    // What a migration revokes; a copy has the rights of a new database.
    ...(template === 'template1' ? [] : [`REVOKE TEMPORARY ON DATABASE ${name} FROM PUBLIC`]),
  );
  url.pathname = `/${name}`;
  return {
    url: url.href,
    appUrl: applicationUrl(url.href, APP_PASSWORD),
    drop: () => run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** An empty ClickHouse database on the run's server. */
export async function freshClickHouseDatabase(): Promise<FreshDatabase> {
  const name = freshName();
  const url = new URL(inject('clickhouseUrl'));
  async function run(statement: string): Promise<void> {
    const response = await askClickHouse(inject('clickhouseUrl'), {}, { method: 'POST', body: statement });
    if (!response.ok) throw new Error(await response.text());
  }
  await run(`CREATE DATABASE ${name}`);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`DROP DATABASE IF EXISTS ${name} SYNC`) };
}

/** A request to a ClickHouse by the URL of its database, as curl would send it, with the URL's password. */
export async function askClickHouse(
  database: string,
  parameters: Readonly<Record<string, string>> = {},
  init: RequestInit = {},
): Promise<Response> {
  const { origin, username, password, pathname } = new URL(database);
  const url = new URL('/', origin);
  url.searchParams.set('database', pathname.slice(1));
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const headers = new Headers(init.headers);
  if (!headers.has('Authorization')) {
    headers.set(
      'Authorization',
      `Basic ${Buffer.from(`${username}:${decodeURIComponent(password)}`).toString('base64')}`,
    );
  }
  return await fetch(url, { ...init, headers });
}

/** A nats-server that a test may end at any moment and start again, with its data, on its port. */
export interface TestNats {
  readonly url: string;
  readonly pid: number;
  /** SIGKILL, and wait for the end. */
  kill(): Promise<void>;
  /** Waits until it has ended by itself. */
  ended(): Promise<void>;
  restart(): Promise<void>;
  /** Also removes its data. */
  stop(): Promise<void>;
}

/** A nats-server with JetStream of the caller's own, empty; below `parent`, by default the system's temporary folder. */
export async function startTestNats(parent = tmpdir()): Promise<TestNats> {
  const folder = mkdtempSync(join(parent, 'afflux-nats-'));
  const port = await freePort();
  const start = (): Promise<Engine> =>
    startNats({
      server: inject('natsServer'),
      dataDir: folder,
      port,
      password: 'test',
      sync: 'interval',
      log: createLogger({ name: 'nats', level: 'silent' }),
    });
  let nats = await start();
  return {
    url: nats.url,
    get pid() {
      return nats.pid;
    },
    async kill() {
      process.kill(nats.pid, 'SIGKILL');
      await nats.exited;
    },
    async ended() {
      await nats.exited;
    },
    async restart() {
      nats = await start();
    },
    async stop() {
      // One that a test froze would not hear the stop.
      process.kill(nats.pid, 'SIGCONT');
      await nats.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Deadlines are those of a machine of usual speed with nothing else to do; a slow one that runs three tests at once gets more. */
const PATIENCE = 3;

/**
 * Waits until `condition` gives something other than false and undefined, and returns it. A condition that throws
 * is tried again. @throws Error naming `what` and the last failure when the deadline passes.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: { deadlineMs: number; what: string },
): Promise<Exclude<T, false | undefined>> {
  let value: T | undefined;
  let failure = '';
  const deadlineMs = PATIENCE * options.deadlineMs;
  const came = await isTrueWithin(deadlineMs, async () => {
    try {
      value = await condition();
      failure = '';
    } catch (error) {
      value = undefined;
      failure = `: ${errorText(error)}`;
    }
    return value !== false && value !== undefined;
  });
  if (!came) throw new Error(`waited ${deadlineMs} ms for ${options.what}${failure}`);
  return value as Exclude<T, false | undefined>;
}
