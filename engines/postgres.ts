import { execFile } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errorText, OperatingError } from '../core/errors.ts';
import { openPostgres } from '../core/postgres/postgres.ts';
import type { Logger } from '../core/service/log.ts';
import {
  type Answer,
  type Cancellation,
  completeStart,
  ENGINE_STOP_MS,
  type Engine,
  findLeftover,
  NO_ANSWER,
  requireFreePort,
  spawnEngine,
  stopLeftover,
  waitUntilReady,
} from './engine.ts';
import { chooseEngineUser, type EngineUser, openEngineFolder } from './engine-user.ts';
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';

const SUPERUSER = 'postgres';
/** Our own first attempts to connect are refused with this until it is ready. */
const STARTING_UP = 'the database system is starting up';
/** Recovery after a crash reads the log written since the last checkpoint, at most MAX_WAL_SIZE. */
const START_TIMEOUT_MS = 120_000;
/** A database is a copy of a template of some 10 MB. */
const CREATE_TIMEOUT_MS = 60_000;
/** The server is starting up or recovering. */
const CANNOT_CONNECT_NOW = '57P03';
const INITDB_TIMEOUT_MS = 120_000;
/** Folders in a data folder that is being made: by initdb, and when initdb is done. */
const UNFINISHED = 'unfinished';
const MADE = 'made';
/** Its file that says that a data folder is whole: it is put there last. */
const LAST_FILE = 'PG_VERSION';
/** What file systems have in the folder at which they are mounted, such as `.snapshot`. */
const NO_DATA = /^(?:lost\+found$|\.)/;
const SHOWN_NAMES = 5;
/** Where PostgreSQL keeps what its processes share. It starts with 1 MiB and adds some for queries of several processes. */
const SHARED_MEMORY = '/dev/shm';
const LEAST_SHARED_BYTES = 32 * 1024 ** 2;

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
export async function startPostgres(
  options: {
    dataDir: string;
    port: number;
    /** Of the superuser `postgres`; fixed when the data folder is made. */
    password: string;
    database: string;
    log: Logger;
    /** More settings of postgresql.conf. */
    settings?: Readonly<Record<string, string>>;
  } & Cancellation,
): Promise<Engine> {
  const { dataDir, port, password, database, log, signal, force } = options;
  const binaries = await findPostgresBinaries();
  const user = chooseEngineUser({
    engine: 'PostgreSQL',
    variable: 'DATABASE_URL',
    program: binaries.postgres,
    dataDir,
  });
  await stopLeftoverPostmaster(dataDir, log);
  openEngineFolder(user, dataDir);
  requireSharedMemory();
  await requireFreePort({
    host: '127.0.0.1',
    port,
    variable: 'POSTGRES_PORT',
    otherHost: 'DATABASE_URL to a server of your own',
  });
  if (!existsSync(join(dataDir, LAST_FILE)) || existsSync(join(dataDir, MADE))) {
    log.info({ dataDir }, 'first start: making the PostgreSQL data folder');
    await initialise({ binaries, user, dataDir, password, signal });
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
    stopTimeoutMs: ENGINE_STOP_MS,
    // "Immediate shutdown": no checkpoint, but its children end too; SIGKILL would leave them behind.
    forceSignal: 'SIGQUIT',
    force,
  });
  const urlOf = (name: string): string =>
    `postgres://${SUPERUSER}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(name)}`;
  await waitUntilReady({
    name: 'PostgreSQL',
    process: child,
    answers: (limit) => takesSessions(urlOf('postgres'), limit, child.stop),
    timeoutMs: START_TIMEOUT_MS,
    log,
    signal,
  });
  await completeStart({
    name: 'PostgreSQL',
    process: child,
    step: (limit) => createDatabase(urlOf('postgres'), database, limit),
    timeoutMs: CREATE_TIMEOUT_MS,
    signal,
  });
  const { pid, exited, stop } = child;
  return { name: 'postgres', url: urlOf(database), pid, exited, stop };
}

/**
 * Makes the data folder in itself, since it can be a mount point, which nothing can be renamed to. A crash at any moment
 * leaves what the next start goes on with. A folder with files in it is refused: they are data.
 */
async function initialise(options: {
  binaries: PostgresBinaries;
  user: EngineUser;
  dataDir: string;
  password: string;
  signal: AbortSignal | undefined;
}): Promise<void> {
  const { dataDir } = options;
  const made = join(dataDir, MADE);
  try {
    if (!existsSync(made)) await runInitdb(options);
    const names = readdirSync(made);
    const inTheWay = names.find((name) => existsSync(join(dataDir, name)));
    if (inTheWay !== undefined) throw new Error(`it has its own ${inTheWay}; delete ${made}, a second one`);
    const move = (name: string): void => renameSync(join(made, name), join(dataDir, name));
    for (const name of names) if (name !== LAST_FILE) move(name);
    syncFolder(dataDir);
    if (names.includes(LAST_FILE)) move(LAST_FILE);
    rmdirSync(made);
    syncFolder(dataDir);
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new OperatingError(
      'engine_failed',
      `the PostgreSQL data folder ${dataDir} cannot be made: ${stderr?.trim() || errorText(cause)}`,
      { cause },
    );
  }
}

async function runInitdb(options: Parameters<typeof initialise>[0]): Promise<void> {
  const { dataDir } = options;
  requireNoData(dataDir);
  const user = options.user.named();
  const unfinished = join(dataDir, UNFINISHED);
  const passwordFile = `${dataDir}.password`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  writeFileSync(passwordFile, options.password, { mode: 0o600 });
  // The account of initdb passes through by its group, which is the engines' own.
  chmodSync(dataDir, 0o710);
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
    await promisify(execFile)(run.command, run.args, {
      ...run.ids,
      cwd: '/',
      timeout: INITDB_TIMEOUT_MS,
      signal: options.signal,
    });
    options.user.own(unfinished);
    renameSync(unfinished, join(dataDir, MADE));
  } finally {
    chmodSync(dataDir, 0o700);
    rmSync(passwordFile, { force: true });
  }
}

/** @throws Error naming what the folder has beside what a file system, or a start that was ended, leaves in it. */
function requireNoData(dataDir: string): void {
  const names = readdirSync(dataDir).filter((name) => name !== UNFINISHED && !NO_DATA.test(name));
  if (names.length === 0) return;
  const shown = names.sort().slice(0, SHOWN_NAMES).join(', ');
  throw new Error(
    `it has no ${LAST_FILE}, but other files (${shown}). If they are data of PostgreSQL, put ${LAST_FILE} back ` +
      'or restore a backup; if they are none, move them away',
  );
}

/** Makes renames in a folder outlast a power cut. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** initdb and PostgreSQL say only that a segment cannot be resized. */
function requireSharedMemory(): void {
  if (!existsSync(SHARED_MEMORY)) return;
  const { blocks, bsize } = statfsSync(SHARED_MEMORY);
  if (blocks * bsize >= LEAST_SHARED_BYTES) return;
  throw new OperatingError(
    'shared_memory',
    `${SHARED_MEMORY} has only ${Math.floor((blocks * bsize) / 1024)} KiB, and PostgreSQL needs ${LEAST_SHARED_BYTES / 1024 ** 2} MiB there. ` +
      `Enlarge it (docker run --shm-size=512m; mount -o remount,size=512m ${SHARED_MEMORY}), or set DATABASE_URL to a server of your own`,
  );
}

async function stopLeftoverPostmaster(dataDir: string, log: Logger): Promise<void> {
  const pidFile = join(dataDir, 'postmaster.pid');
  const leftover = findLeftover(pidFile, dataDir);
  if (leftover !== undefined) {
    log.warn({ pid: leftover }, 'stopping a PostgreSQL left over from an earlier run');
    await stopLeftover({ pid: leftover, signal: 'SIGINT', timeoutMs: ENGINE_STOP_MS });
  } else {
    // PostgreSQL refuses to start when the pid in the file lives, even if by now it is somebody else's.
    rmSync(pidFile, { force: true });
  }
}

async function takesSessions(url: string, signal: AbortSignal, giveUp: () => Promise<void>): Promise<Answer> {
  try {
    await withSession(url, signal, async (sql) => void (await sql`SELECT 1`));
    return 'ready';
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === CANNOT_CONNECT_NOW) return { waitsFor: 'its recovery from the write-ahead log' };
    if (signal.aborted || ['ECONNREFUSED', 'ECONNRESET', 'CONNECTION_CLOSED'].includes(String(code))) {
      return NO_ANSWER;
    }
    await giveUp();
    throw new OperatingError('engine_failed', `PostgreSQL refuses its superuser: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Makes the database if it is missing. */
async function createDatabase(url: string, database: string, signal: AbortSignal): Promise<true> {
  try {
    await withSession(url, signal, async (sql) => {
      const [known] = await sql`SELECT 1 FROM pg_database WHERE datname = ${database}`;
      if (!known) await sql`CREATE DATABASE ${sql(database)}`;
    });
    return true;
  } catch (cause) {
    throw new OperatingError('engine_failed', `cannot create the database: ${errorText(cause)}`, { cause });
  }
}

/** Runs statements of the superuser in a session of their own, which ends with them or with the signal. */
async function withSession(
  url: string,
  signal: AbortSignal,
  work: (sql: ReturnType<typeof openPostgres>) => Promise<void>,
): Promise<void> {
  // Also a standby is asked whether it answers.
  const any = `${url}?target_session_attrs=any`;
  const sql = openPostgres({ url: any, max: 1, name: 'engine', as: 'owner' });
  const drop = (): void => void sql.end({ timeoutMs: 0 });
  signal.addEventListener('abort', drop, { once: true });
  try {
    await work(sql);
  } finally {
    signal.removeEventListener('abort', drop);
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
