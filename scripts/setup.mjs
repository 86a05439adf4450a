// Prepares a fresh clone, and nothing when there is nothing to do: dependencies, build, nats-server.
// It runs before anything is installed, so it uses Node's own modules only.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const OLDEST_NODE = [20, 12];
const NATS_VERSION = 'v2.14.9';
const STRIPE_MOCK_VERSION = 'v0.203.0';
/** It is worth no longer wait: the tests say which of them they skip without it. */
const STRIPE_MOCK_TIMEOUT_MS = 120_000;
/** core/clicks/stream.ts and engines/nats.ts need this much. */
const OLDEST_NATS = [2, 9];
/** What is compiled: the one list of the source folders. */
const { include: SOURCE_FOLDERS } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));
/** What the portal is built from, besides the lock file. */
const PORTAL_SOURCES = ['dashboards/portal', 'api/client/types.ts', 'core'];
const POLL_MS = 200;

class SetupError extends Error {}

/** Runs one step and tells on standard error how long it took, once it takes over a second. */
async function step(what, run) {
  const startedAt = Date.now();
  let told = false;
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    if (process.stderr.isTTY) process.stderr.write(`\r${what} … ${seconds} s`);
    else if (!told) process.stderr.write(`${what} …\n`);
    told = true;
  }, 1000);
  try {
    return await run();
  } finally {
    clearInterval(timer);
    if (told) {
      const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
      process.stderr.write(`${process.stderr.isTTY ? '\r' : ''}${what}: ${seconds} s\n`);
    }
  }
}

/** Runs a program to its end; its output is shown only when it fails. */
async function run(command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
  const code = await new Promise((done) => {
    child.on('error', (error) => {
      output += error.message;
      done(-1);
    });
    child.on('close', done);
  });
  return { ok: code === 0, output: output.trim().split('\n').slice(-25).join('\n') };
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new SetupError(
    `Afflux needs Node ${OLDEST_NODE.join('.')} or later; this is ${process.version} (${process.execPath}).`,
  );
}

/** Waits until no other set-up works on this checkout; returns what gives the lock back. */
async function lock() {
  // Not in node_modules, which npm ci removes.
  const path = join(root, 'dist', '.setup-lock');
  mkdirSync(dirname(path), { recursive: true });
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

function hash(parts) {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(`${part.length}:`).update(part);
  return digest.digest('hex');
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

async function installDependencies() {
  const stamp = join(root, 'node_modules', '.afflux-stamp');
  const wanted = hash([
    readFileSync(join(root, 'package-lock.json')),
    `${process.platform} ${process.arch} ${process.versions.modules}`,
  ]);
  if (readStamp(stamp) === wanted) return;
  if (isInstalled()) {
    writeFileSync(stamp, wanted);
    return;
  }
  const npm = npmCommand();
  const { ok, output } = await step('Installing dependencies', () =>
    run(npm.command, [...npm.args, 'ci', '--no-audit', '--no-fund'], { env: withoutNpm(process.env) }),
  );
  if (!ok) throw new SetupError(`The dependencies could not be installed ("npm ci"):\n${output}`);
  writeFileSync(stamp, wanted);
}

/** Whether npm itself has just installed exactly what is locked: it keeps its own copy of the lock. */
function isInstalled() {
  const copy = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(copy)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(copy, 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, optional, devOptional }]) => {
    if (path === '') return true;
    const there = present[path]?.version === version && existsSync(join(root, path, 'package.json'));
    // Packages for other platforms are locked too.
    return there || ((optional || devOptional) && present[path] === undefined);
  });
}

/** npm tells its scripts where it is; run by hand, it is looked up in PATH. */
function npmCommand() {
  const script = process.env.npm_execpath;
  if (script && /npm-cli\.c?js$/.test(script)) return { command: process.execPath, args: [script] };
  return { command: process.platform === 'win32' ? 'npm.cmd' : 'npm', args: [] };
}

/** Options of the npm that runs this script, such as --prefix, are not meant for the one that installs. */
function withoutNpm(env) {
  const kept = Object.entries(env).filter(
    ([name]) => !/^npm_(config_(prefix|local_prefix)|command|lifecycle|package)/i.test(name),
  );
  return { ...Object.fromEntries(kept), NODE_ENV: 'development' };
}

function* sourceFiles(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) yield path;
  }
}

async function build() {
  const files = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(root, name));
  for (const folder of SOURCE_FOLDERS) files.push(...sourceFiles(join(root, folder)));
  const wanted = hash(files.flatMap((path) => [path, readFileSync(path)]));
  const stamp = join(root, 'dist', '.stamp');
  if (readStamp(stamp) === wanted) return;
  // Types are the business of "npm run check"; a file that is gone must not leave its compiled form.
  rmSync(stamp, { force: true });
  removeOrphans(new Set(files));
  const { ok, output } = await step('Building', () =>
    run(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      'tsconfig.build.json',
      '--noCheck',
    ]),
  );
  if (!ok) throw new SetupError(`The build failed:\n${output}`);
  // npx makes it executable only the first time; what the compiler writes anew is not.
  chmodSync(join(root, 'dist/bin/afflux.js'), 0o755);
  writeFileSync(stamp, wanted);
}

/** The portal's page and files, into dist/portal, from where the API serves them. */
async function buildPortal() {
  const files = PORTAL_SOURCES.flatMap((path) => [...allFiles(join(root, path))]);
  const wanted = hash(
    [join(root, 'package-lock.json'), ...files].flatMap((path) => [path, readFileSync(path)]),
  );
  const stamp = join(root, 'dist', '.portal-stamp');
  if (readStamp(stamp) === wanted && existsSync(join(root, 'dist/portal/index.html'))) return;
  rmSync(stamp, { force: true });
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  const { ok, output } = await step('Building the portal', () =>
    run(
      process.execPath,
      [vite, 'build', '--config', 'dashboards/portal/vite.config.ts', '--logLevel', 'warn'],
      {
        env: { ...process.env, NODE_ENV: 'production' },
      },
    ),
  );
  if (!ok) throw new SetupError(`The portal could not be built:\n${output}`);
  writeFileSync(stamp, wanted);
}

function* allFiles(path) {
  if (!statSync(path).isDirectory()) yield path;
  else for (const name of readdirSync(path)) yield* allFiles(join(path, name));
}

/** Removes compiled files whose source is gone; the others stay, since a running platform may be using them. */
function removeOrphans(sources) {
  for (const folder of SOURCE_FOLDERS) removeOrphansIn(join('dist', folder), folder, sources);
}

function removeOrphansIn(compiled, source, sources) {
  const folder = join(root, compiled);
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) {
      removeOrphansIn(join(compiled, entry.name), join(source, entry.name), sources);
      continue;
    }
    const name = entry.name.replace(/\.js(\.map)?$/, '.ts');
    if (/\.js(\.map)?$/.test(entry.name) && !sources.has(join(root, source, name))) {
      rmSync(join(folder, entry.name));
    }
  }
}

/** A variable of the environment, else of the project's .env file. */
function variable(name) {
  const given = process.env[name]?.trim();
  if (given) return given;
  const file = join(root, '.env');
  if (!existsSync(file)) return '';
  if (process.env[name] === undefined) process.loadEnvFile(file);
  return process.env[name]?.trim() ?? '';
}

/** 'ok', 'old' or 'missing'. A bare name is looked up in PATH. */
function natsState(binary) {
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  const match = /v(\d+)\.(\d+)\./.exec(stdout ?? '');
  if (!match) return 'missing';
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major > OLDEST_NATS[0] || (major === OLDEST_NATS[0] && minor >= OLDEST_NATS[1]) ? 'ok' : 'old';
}

async function getNatsServer() {
  if (variable('NATS_URL')) return;
  const folder = join(resolve(root, variable('AFFLUX_HOME') || '.afflux'), 'bin');
  const own = join(folder, 'nats-server');
  const explicit = variable('NATS_SERVER');
  if (explicit) {
    if (natsState(explicit) === 'ok') return;
    throw new SetupError(
      `NATS_SERVER is ${explicit}, which is not a nats-server of ${OLDEST_NATS.join('.')} or later.`,
    );
  }
  if (natsState('nats-server') === 'ok' || (existsSync(own) && natsState(own) === 'ok')) return;

  const tried = [];
  if (!spawnSync('go', ['version']).error) {
    tried.push(await installWithGo(folder));
    if (natsState(own) === 'ok') return;
  }
  if (process.getuid?.() === 0 && !spawnSync('apt-get', ['--version']).error) {
    tried.push(await installWithApt());
    if (natsState('nats-server') === 'ok') return;
  }
  throw new SetupError(
    `nats-server ${OLDEST_NATS.join('.')} or later is needed and was not found. Do one of these, then start again:
  - install Go (https://go.dev/dl) and let this script build it;
  - on Debian or Ubuntu, as root: apt-get install nats-server;
  - put a nats-server binary (https://github.com/nats-io/nats-server/releases) in PATH, or in ${folder};
  - set NATS_SERVER to the path of a binary;
  - set NATS_URL to a running server with JetStream.${tried.map((failure) => `\n\n${failure}`).join('')}`,
  );
}

async function installWithGo(folder) {
  mkdirSync(folder, { recursive: true });
  const { output } = await step(`Building nats-server ${NATS_VERSION} (once)`, () =>
    run('go', ['install', `github.com/nats-io/nats-server/v2@${NATS_VERSION}`], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-trimpath', CGO_ENABLED: '0' },
    }),
  );
  return `"go install" said:\n${output}`;
}

/** Stripe's own mock, for the tests, where Go is there to build it. */
async function getStripeMock() {
  const folder = join(resolve(root, variable('AFFLUX_HOME') || '.afflux'), 'bin');
  if (existsSync(join(folder, 'stripe-mock')) || spawnSync('go', ['version']).error) return;
  mkdirSync(folder, { recursive: true });
  await step(`Building stripe-mock ${STRIPE_MOCK_VERSION} (once)`, () =>
    run('go', ['install', `github.com/stripe/stripe-mock@${STRIPE_MOCK_VERSION}`], {
      env: { ...process.env, GOBIN: folder, GOFLAGS: '-trimpath', CGO_ENABLED: '0' },
      timeout: STRIPE_MOCK_TIMEOUT_MS,
    }),
  );
}

async function installWithApt() {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { output } = await step('Installing nats-server with apt-get (once)', async () => {
    const install = () =>
      run('apt-get', ['install', '-y', '--no-install-recommends', 'nats-server'], { env });
    const first = await install();
    if (first.ok) return first;
    await run('apt-get', ['update'], { env });
    return await install();
  });
  return `"apt-get install nats-server" said:\n${output}`;
}

async function main() {
  checkNode();
  const unlock = await lock();
  process.once('exit', unlock);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
  await installDependencies();
  await build();
  await buildPortal();
  await getNatsServer();
  if (process.env.npm_lifecycle_event === 'pretest') await getStripeMock();
}

try {
  await main();
} catch (error) {
  process.stderr.write(`\n${error instanceof SetupError ? error.message : error.stack}\n`);
  process.exitCode = 1;
}
