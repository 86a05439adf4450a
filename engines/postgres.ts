import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorText, OperatingError } from '../core/errors.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import type { Logger } from '../core/service/log.ts';
import {
  type Engine,
  findLeftover,
  requireFreePort,
  spawnEngine,
  stopLeftover,
  waitUntilReady,
} from './engine.ts';
import { chooseEngineUser, type EngineUser } from './engine-user.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';

const SUPERUSER = 'postgres';
/** Our own first attempts to connect are refused with this until it is ready. */
const STARTING_UP = 'the database system is starting up';
/** Recovery after a crash reads the log written since the last checkpoint, at most MAX_WAL_SIZE. */
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 20_000;
const INITDB_TIMEOUT_MS = 120_000;

/** One machine that PostgreSQL shares with the other engines. fsync and full_page_writes keep their default: on. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  // Queries here are short; compiling them costs more than it saves.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '',
  log_checkpoints: 'off',
  // A statement's error goes to the client that sent it, which knows whether it was expected.
  log_min_messages: 'log',
};

/**
 * Starts the embedded PostgreSQL on 127.0.0.1, making its data folder and the database when they are missing, and
 * returns once it answers. As root it runs under another user, see {@link chooseEngineUser}.
 * A server left over on the same folder by a killed supervisor is stopped first.
 * @throws OperatingError `postgres_missing`, `engine_user` or `engine_failed`.
 */
export async function startPostgres(options: {
  dataDir: string;
  port: number;
  /** Of the superuser `postgres`; fixed when the data folder is made. */
  password: string;
  database: string;
  log: Logger;
  /** More settings of postgresql.conf. */
  settings?: Readonly<Record<string, string>>;
}): Promise<Engine> {
  const { dataDir, port, password, database, log } = options;
  const binaries = await findPostgresBinaries();
  const user = chooseEngineUser({
    engine: 'PostgreSQL',
    variable: 'DATABASE_URL',
    program: binaries.postgres,
    dataDir,
  });
  await stopLeftoverPostmaster(dataDir, log);
  user.own(dataDir);
  await requireFreePort({ host: '127.0.0.1', port, variable: 'POSTGRES_PORT' });
  if (!existsSync(join(dataDir, 'PG_VERSION'))) {
    log.info({ dataDir }, 'first start: making the PostgreSQL data folder');
    await initialise({ binaries, user, dataDir, password });
  }
  const settings = { ...SETTINGS, ...options.settings, port: String(port) };
  const run = user.wrap(binaries.postgres, [
    '-D',
    dataDir,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]);
  const child = await spawnEngine({
    name: 'postgres',
    command: run.command,
    args: run.args,
    spawn: { ...run.ids, cwd: '/' },
    onLine: (line) => logLine(log, line),
    // "Fast shutdown": ends sessions, writes a checkpoint.
    stopSignal: 'SIGINT',
    stopTimeoutMs: STOP_TIMEOUT_MS,
    // "Immediate shutdown": no checkpoint, but its children end too; SIGKILL would leave them behind.
    forceSignal: 'SIGQUIT',
  });
  const urlOf = (name: string): string =>
    `postgres://${SUPERUSER}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(name)}`;
  await waitUntilReady({
    name: 'PostgreSQL',
    process: child,
    answers: () => hasDatabase(urlOf('postgres'), database, child.stop),
    timeoutMs: START_TIMEOUT_MS,
  });
  return { name: 'postgres', url: urlOf(database), pid: child.pid, exited: child.exited, stop: child.stop };
}

/** The data folder is made under another name and renamed when complete, so that a crash leaves no half of one. */
async function initialise(options: {
  binaries: PostgresBinaries;
  user: EngineUser;
  dataDir: string;
  password: string;
}): Promise<void> {
  const { dataDir } = options;
  const user = options.user.named();
  const unfinished = `${dataDir}.new`;
  const passwordFile = `${dataDir}.password`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  writeFileSync(passwordFile, options.password, { mode: 0o600 });
  try {
    user.own(unfinished);
    user.own(passwordFile);
    const run = user.wrap(options.binaries.initdb, [
      `--pgdata=${unfinished}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // PostgreSQL's own C.UTF-8 sorts the same on every machine and needs no locale of the system.
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
    ]);
    await promisify(execFile)(run.command, run.args, { ...run.ids, cwd: '/', timeout: INITDB_TIMEOUT_MS });
    options.user.own(unfinished);
    rmSync(dataDir, { recursive: true, force: true });
    renameSync(unfinished, dataDir);
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new OperatingError(
      'engine_failed',
      `the PostgreSQL data folder ${dataDir} cannot be made: ${stderr?.trim() || errorText(cause)}`,
      { cause },
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

async function stopLeftoverPostmaster(dataDir: string, log: Logger): Promise<void> {
  const pidFile = join(dataDir, 'postmaster.pid');
  const leftover = findLeftover(pidFile, dataDir);
  if (leftover !== undefined) {
    log.warn({ pid: leftover }, 'stopping a PostgreSQL left over from an earlier run');
    await stopLeftover({ pid: leftover, signal: 'SIGINT', timeoutMs: STOP_TIMEOUT_MS });
  } else {
    // PostgreSQL refuses to start when the pid in the file lives, even if by now it is somebody else's.
    rmSync(pidFile, { force: true });
  }
}

/** Makes the database if it is missing; false while the server is not answering yet. */
async function hasDatabase(url: string, database: string, giveUp: () => Promise<void>): Promise<boolean> {
  const sql = openPostgres({ url, max: 1, name: 'engine', as: 'owner' });
  try {
    const [known] = await sql`SELECT 1 FROM pg_database WHERE datname = ${database}`;
    if (!known) await sql`CREATE DATABASE ${sql(database)}`;
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // 57P03: the server is starting up or recovering.
    if (['ECONNREFUSED', 'ECONNRESET', 'CONNECTION_CLOSED', '57P03'].includes(String(code))) return false;
    await giveUp();
    throw new OperatingError('engine_failed', `PostgreSQL refuses its superuser: ${errorText(error)}`, {
      cause: error,
    });
  } finally {
    await sql.end();
  }
}

function logLine(log: Logger, line: string): void {
  const match = /^([A-Z0-9]+): {2}(.*)/.exec(line);
  const [, level = 'LOG', message = line] = match ?? [];
  if (level === 'PANIC') log.error(message);
  else if (message === STARTING_UP) log.debug(message);
  else if (level === 'FATAL' || level === 'WARNING') log.warn(message);
  else log.debug(message);
}
