import { statfsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { NATS_USER } from '../core/config/secrets.ts';
import { OperatingError } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import {
  type Answer,
  type Cancellation,
  ENGINE_STOP_MS,
  type Engine,
  findLeftover,
  NO_ANSWER,
  readVersionText,
  requireFreePort,
  spawnEngine,
  stopLeftover,
  waitUntilReady,
} from './engine.ts';
import { chooseEngineUser, openEngineFolder, writeEngineFile } from './engine-user.ts';

/** A nats-server binary that was found, with its version as [major, minor, patch]. */
export interface NatsServer {
  readonly binary: string;
  readonly version: readonly [number, number, number];
}

/** The first version whose key-value compare-and-set and message ids behave as Afflux needs. */
const OLDEST_VERSION = [2, 9] as const;
/** The first version that can fsync before every acknowledgement. */
const SYNC_ALWAYS_VERSION = [2, 10] as const;
/** A stream file of tens of gigabytes is read through at start after a crash. */
const START_TIMEOUT_MS = 60_000;
/** A warning of the server: its configuration, which only its own user reads, holds the password as secrets.json does. */
const PLAIN_PASSWORD = 'Plaintext passwords detected, use nkeys or bcrypt';
/**
 * The disk space that JetStream can reserve for streams. Its own default, 75 % of the free disk, would refuse to create the click
 * stream (32 GiB reserved) on a small disk that has room for months of clicks; a disk that really is full is
 * reported as such, and the collector's spool takes over.
 */
const MAX_FILE_STORE = '256GB';
/** A line of a server that could not write a stream; old versions disable JetStream then. */
const WRITE_FAILED = /no space left on device|write error|out of File resources/i;
/** Room enough for a server to start on its folder and take clicks again. */
const ROOM_BYTES = 4 * 1024 * 1024;
const ROOM_POLL_MS = 1_000;

/**
 * Looks for nats-server in NATS_SERVER (`explicit`), or else in PATH and `<home>/bin`: the first that can fsync before
 * it acknowledges, else the first of 2.9 or later.
 * @throws OperatingError `nats_server_missing` when there is none; it names every way to get one.
 */
export async function findNatsServer(options: {
  /** NATS_SERVER, or '' when it is not set. */
  explicit: string;
  home: string;
}): Promise<NatsServer> {
  // A bare name is looked up in PATH by the system.
  const candidates = options.explicit
    ? [options.explicit]
    : ['nats-server', join(options.home, 'bin', 'nats-server')];
  const usable: NatsServer[] = [];
  const refused: string[] = [];
  for (const binary of candidates) {
    const version = await readVersion(binary);
    if (version === undefined) {
      if (options.explicit) refused.push(`${binary} does not run`);
    } else if (!atLeast(version, OLDEST_VERSION)) refused.push(`${binary} is ${version.join('.')}`);
    else usable.push({ binary, version });
  }
  const best = usable.find(({ version }) => atLeast(version, SYNC_ALWAYS_VERSION)) ?? usable[0];
  if (best) return best;
  const found = refused.length > 0 ? ` (${refused.join('; ')})` : '';
  throw new OperatingError(
    'nats_server_missing',
    `nats-server 2.9 or later was not found${found}. Do one of these: run "node scripts/setup.mjs" in the project, ` +
      `which fetches it; put it in PATH or in ${join(options.home, 'bin')}; set NATS_SERVER to its path; ` +
      'or set NATS_URL to a server with JetStream',
  );
}

async function readVersion(binary: string): Promise<[number, number, number] | undefined> {
  const match = /v(\d+)\.(\d+)\.(\d+)/.exec(await readVersionText(binary));
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : undefined;
}

function atLeast(version: readonly [number, number, number], floor: readonly [number, number]): boolean {
  return version[0] > floor[0] || (version[0] === floor[0] && version[1] >= floor[1]);
}

/**
 * Starts nats-server on loopback with JetStream on files in `dataDir`, and returns once it answers.
 * `sync: 'always'` makes it fsync before every acknowledgement where the version can (2.10), and warns where not.
 * Every client needs the password. As root it runs under another user, see {@link chooseEngineUser}.
 * A server left over on the same folder by a killed supervisor is stopped first.
 * A server that could not write ends by itself once the disk has room again, to be started again.
 * @throws OperatingError `engine_failed` or `engine_user`.
 */
export async function startNats(
  options: {
    server: NatsServer;
    dataDir: string;
    port: number;
    password: string;
    sync: 'always' | 'interval';
    log: Logger;
  } & Cancellation,
): Promise<Engine> {
  const { server, dataDir, port, password, log } = options;
  const user = chooseEngineUser({ engine: 'NATS', variable: 'NATS_URL', program: server.binary, dataDir });
  const config = join(dataDir, 'nats-server.conf');
  const pidFile = join(dataDir, 'nats-server.pid');
  const leftover = findLeftover(pidFile, config);
  if (leftover !== undefined) {
    log.warn({ pid: leftover }, 'stopping a nats-server left over from an earlier run');
    await stopLeftover({ pid: leftover, signal: 'SIGTERM', timeoutMs: ENGINE_STOP_MS });
  }
  openEngineFolder(user, dataDir);
  await requireFreePort({
    host: '127.0.0.1',
    port,
    variable: 'NATS_PORT',
    otherHost: 'NATS_URL to a server of your own',
  });
  const canSync = atLeast(server.version, SYNC_ALWAYS_VERSION);
  if (options.sync === 'always' && !canSync) {
    log.warn(
      { version: server.version.join('.') },
      'this nats-server cannot fsync every batch (2.10 or later can): a power cut can lose acknowledged clicks',
    );
  }
  const syncAlways = options.sync === 'always' && canSync;
  writeEngineFile(user, config, renderConfig({ dataDir, pidFile, port, password, syncAlways }));
  const run = user.wrap(server.binary, ['--config', config]);
  let hasFailedToWrite = false;
  const child = await spawnEngine({
    name: 'nats',
    command: run.command,
    args: run.args,
    spawn: run.ids,
    onLine: (line) => {
      hasFailedToWrite ||= WRITE_FAILED.test(line);
      logLine(log, line);
    },
    stopSignal: 'SIGTERM',
    stopTimeoutMs: ENGINE_STOP_MS,
    forceSignal: 'SIGKILL',
    force: options.force,
  });
  await waitUntilReady({
    name: 'nats-server',
    process: child,
    answers: (signal) => sendsInfo(port, signal),
    timeoutMs: START_TIMEOUT_MS,
    log,
    signal: options.signal,
  });
  // The server never writes again to a stream that failed once, however much room there is: only a new one does.
  const watch = setInterval(() => {
    if (!hasFailedToWrite || roomBytes(dataDir) < ROOM_BYTES) return;
    clearInterval(watch);
    log.warn('the disk was full and has room again: ending nats-server, which would go on refusing to write');
    void child.stop();
  }, ROOM_POLL_MS);
  void child.exited.then(() => clearInterval(watch));
  return {
    name: 'nats',
    url: `nats://${NATS_USER}:${encodeURIComponent(password)}@127.0.0.1:${port}`,
    pid: child.pid,
    exited: child.exited,
    stop: child.stop,
  };
}

/** What is free for users other than root; 0 where the disk does not say. */
function roomBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

/** Strings of the configuration are quoted as JSON, which its parser reads. */
function renderConfig(options: {
  dataDir: string;
  pidFile: string;
  port: number;
  password: string;
  syncAlways: boolean;
}): string {
  return `# Written by afflux at every start.
listen: "127.0.0.1:${options.port}"
server_name: afflux
pid_file: ${JSON.stringify(options.pidFile)}
authorization {
  user: ${NATS_USER}
  password: ${JSON.stringify(options.password)}
}
jetstream {
  store_dir: ${JSON.stringify(options.dataDir)}
  max_file_store: ${MAX_FILE_STORE}
${options.syncAlways ? '  sync_interval: always\n' : ''}}
`;
}

/** Whether the server sends its INFO line, JetStream included. */
function sendsInfo(port: number, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', signal });
    let text = '';
    const end = (answer: Answer): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (!text.includes('\r\n')) return;
      const isReady = text.startsWith('INFO ') && text.includes('"jetstream":true');
      end(isReady ? 'ready' : { waitsFor: 'JetStream to read its streams' });
    });
    socket.on('error', () => end(NO_ANSWER));
    socket.on('close', () => resolve(NO_ANSWER));
  });
}

function logLine(log: Logger, line: string): void {
  const match = /\[(INF|WRN|ERR|FTL|DBG|TRC)\] (.*)/.exec(line);
  const [, level = 'INF', message = line] = match ?? [];
  if (level === 'ERR' || level === 'FTL') log.error(message);
  else if (level === 'WRN' && message !== PLAIN_PASSWORD) log.warn(message);
  else log.debug(message);
}
