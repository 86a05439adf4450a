import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fromProject } from '../core/config/paths.ts';
import { CLICKHOUSE_USER } from '../core/config/secrets.ts';
import { errorText, OperatingError } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import type { ServerOptions } from './clickhouse-server/server.ts';
import type { AnalystReads } from './clickhouse-server/users/config.ts';
import type { AnalystPasswords } from './clickhouse-server/users/users.ts';
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
import { chooseEngineUser, openEngineFolder, writeEngineFile } from './engine-user.ts';

/** The server is a Node process of its own, and Node 20 runs JavaScript only. */
const MAIN = fromProject('dist/engines/clickhouse-server/main.js');
/** A thread for each of its 22 queries, and some for files. */
const THREAD_POOL_SIZE = 30;
const START_TIMEOUT_MS = 120_000;
/** It is one file. */
const CREATE_TIMEOUT_MS = 30_000;

/**
 * Starts the embedded ClickHouse on loopback: the engine as a library (chdb) in a process of its own, behind
 * ClickHouse's HTTP interface. Makes the data folder and the database when they are missing, and returns once it
 * answers. It ends by itself when the process that started it is gone. Without the password it answers
 * `/ping` only. As root it runs under another user, see {@link chooseEngineUser}.
 * @throws OperatingError `engine_failed` or `engine_user`.
 */
export async function startClickHouse(
  options: {
    dataDir: string;
    port: number;
    database: string;
    /** Of the platform's user, {@link CLICKHOUSE_USER}. */
    password: string;
    /** Users that read some tables of the database and write nothing; without it there are none. */
    analyst?: AnalystPasswords & Omit<AnalystReads, 'database'>;
    log: Logger;
  } & Cancellation,
): Promise<Engine> {
  const { dataDir, port, database, password, log, signal, force } = options;
  if (!existsSync(MAIN)) {
    throw new OperatingError('engine_failed', `${MAIN} is missing. Run "node scripts/setup.mjs"`);
  }
  const user = chooseEngineUser({
    engine: 'ClickHouse',
    variable: 'CLICKHOUSE_URL',
    program: process.execPath,
    files: [MAIN],
    dataDir,
  });
  const pidFile = join(dataDir, 'server.pid');
  const leftover = findLeftover(pidFile, dataDir);
  if (leftover !== undefined) {
    log.warn({ pid: leftover }, 'stopping a ClickHouse left over from an earlier run');
    await stopLeftover({ pid: leftover, signal: 'SIGTERM', timeoutMs: ENGINE_STOP_MS });
  }
  openEngineFolder(user, dataDir);
  await requireFreePort({
    host: '127.0.0.1',
    port,
    variable: 'CLICKHOUSE_PORT',
    otherHost: 'CLICKHOUSE_URL to a server of your own',
  });
  // The folder identifies the process in the process list, for findLeftover.
  const run = user.wrap(process.execPath, [MAIN, dataDir]);
  const engine = await spawnEngine({
    name: 'clickhouse',
    command: run.command,
    args: run.args,
    spawn: {
      ...run.ids,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { PATH: '/usr/bin:/bin', TZ: 'UTC', UV_THREADPOOL_SIZE: String(THREAD_POOL_SIZE) },
    },
    onLine: (line) => logLine(log, line),
    stopSignal: 'SIGTERM',
    stopTimeoutMs: ENGINE_STOP_MS,
    forceSignal: 'SIGKILL',
    force,
  });
  writeEngineFile(user, pidFile, `${engine.pid}\n`);
  const serverOptions: ServerOptions = {
    dataDir,
    port,
    logLevel: log.level,
    password,
    analyst: options.analyst && {
      password: options.analyst.password,
      programKey: options.analyst.programKey,
      reads: { ...options.analyst, database },
    },
  };
  engine.child.send(serverOptions);
  const base = `http://127.0.0.1:${port}`;
  await waitUntilReady({
    name: 'the embedded ClickHouse',
    process: engine,
    answers: (limit) => answersPing(base, limit),
    timeoutMs: START_TIMEOUT_MS,
    log,
    signal,
  });
  await completeStart({
    name: 'the embedded ClickHouse',
    process: engine,
    step: (limit) => createDatabase({ base, database, password, signal: limit }),
    timeoutMs: CREATE_TIMEOUT_MS,
    signal,
  });
  const url = new URL(`${base}/${encodeURIComponent(database)}`);
  url.username = CLICKHOUSE_USER;
  url.password = encodeURIComponent(password);
  const { pid, exited, stop } = engine;
  return { name: 'clickhouse', url: url.href, pid, exited, stop };
}

async function answersPing(base: string, signal: AbortSignal): Promise<Answer> {
  try {
    const response = await fetch(`${base}/ping`, { signal });
    const isReady = response.ok && (await response.text()) === 'Ok.\n';
    return isReady ? 'ready' : { waitsFor: 'the answer Ok to /ping' };
  } catch {
    return NO_ANSWER;
  }
}

async function createDatabase(options: {
  base: string;
  database: string;
  password: string;
  signal: AbortSignal;
}): Promise<true> {
  const { base, database, password, signal } = options;
  const name = database.replaceAll('\\', '\\\\').replaceAll('`', '\\`');
  const response = await fetch(base, {
    method: 'POST',
    signal,
    body: `CREATE DATABASE IF NOT EXISTS \`${name}\``,
    headers: { Authorization: `Basic ${Buffer.from(`${CLICKHOUSE_USER}:${password}`).toString('base64')}` },
  });
  if (!response.ok) {
    throw new OperatingError(
      'engine_failed',
      `cannot create the ClickHouse database: ${await response.text()}`,
    );
  }
  return true;
}

/** Its lines are pino's, except those that the engine itself writes. */
function logLine(log: Logger, line: string): void {
  try {
    const {
      level,
      time: _time,
      service: _service,
      msg,
      ...fields
    } = JSON.parse(line) as Record<string, unknown>;
    const text = String(msg);
    if (level === 'trace' || level === 'debug' || level === 'info') log.debug(fields, text);
    else if (level === 'warn') log.warn(fields, text);
    else log.error(fields, text);
  } catch (error) {
    log.warn({ reason: errorText(error) }, line);
  }
}
