import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { build, buildPortal } from './build.mjs';
import { installDependencies } from './dependencies.mjs';
import { getNatsServer } from './nats-server.mjs';
import { root, SetupError, step, variable } from './steps.mjs';

const OLDEST_NODE = [20, 12];
const POLL_MS = 200;
const INTERRUPTED = 130;
/** Of a checkout that this user may read only. */
const READ_ONLY = ['EACCES', 'EPERM', 'EROFS'];

/**
 * Prepares a fresh clone, and does nothing when there is nothing to do: dependencies, build, nats-server. Ends the
 * process with a message and exit code 1 when that is impossible.
 */
export async function setUp() {
  try {
    checkNode();
    await withLock(async () => {
      await prepareCheckout();
      if (!variable('NATS_URL')) {
        const folder = join(resolve(root, variable('AFFLUX_HOME') || '.afflux'), 'bin');
        await getNatsServer({ explicit: variable('NATS_SERVER'), folder });
      }
    });
  } catch (error) {
    process.stderr.write(`\n${error instanceof SetupError ? error.message : error.stack}\n`);
    process.exit(1);
  }
}

async function prepareCheckout() {
  try {
    await installDependencies();
    await build();
    await buildPortal();
  } catch (error) {
    if (canWrite(root)) throw error;
    throw new SetupError(
      `${root} can only be read, and is not set up for these files and this Node: run "node scripts/setup.mjs" in it as a user who may write to it.\n${error.message}`,
    );
  }
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new SetupError(
    `Afflux needs Node ${OLDEST_NODE.join('.')} or later; this is ${process.version} (${process.execPath}).`,
  );
}

/** Does the work while no other set-up works on this checkout. Leaves no listener behind. */
async function withLock(work) {
  const unlock = await lock();
  const interrupt = () => process.exit(INTERRUPTED);
  process.once('exit', unlock);
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    await work();
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt).off('exit', unlock);
    unlock();
  }
}

/**
 * Waits until no other set-up works on this checkout; returns what gives the lock back. In one that can only be read there
 * is nothing to lock: what is missing fails when it is to be written.
 */
async function lock() {
  // Not in node_modules, which npm ci removes.
  const path = join(root, 'dist', '.setup-lock');
  if (!canWrite(dirname(path))) return () => undefined;
  return await step(`Waiting for another set-up of this project (its lock is ${path})`, async () => {
    for (;;) {
      try {
        const file = openSync(path, 'wx');
        writeSync(file, String(process.pid));
        closeSync(file);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
        if (!isRunning(readPid(path))) rmSync(path, { force: true });
        else await delay(POLL_MS);
      }
    }
  });
}

function canWrite(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    if (READ_ONLY.includes(error.code)) return false;
    throw error;
  }
}

function readPid(path) {
  try {
    const text = readFileSync(path, 'utf8');
    // Just made and not written yet: somebody is at it.
    return text === '' ? process.pid : Number(text);
  } catch {
    return 0;
  }
}

function isRunning(pid) {
  try {
    if (pid > 0) process.kill(pid, 0);
    return pid > 0;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
