import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { hash, readStamp, root, run, SetupError, step } from './steps.mjs';

/** What is compiled: the one list of the source folders. */
const { include: SOURCE_FOLDERS } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));
/** What the portal is built from, besides the lock file. */
const PORTAL_SOURCES = ['dashboards/portal', 'api/client/types.ts', 'core'];

/** Compiles what a process runs into dist/, unless it is there already. @throws SetupError */
export async function build() {
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
  // A file that the compiler rewrites is not executable any more.
  chmodSync(join(root, 'dist/bin/afflux.js'), 0o755);
  linkCommand();
  writeFileSync(stamp, wanted);
}

/**
 * Lets npx find the command here. Without it npx remembers in the user's own folder what it found the first time, and goes
 * on to find nothing where that was before the build.
 */
function linkCommand() {
  const link = join(root, 'node_modules', '.bin', 'afflux');
  rmSync(link, { force: true });
  symlinkSync(join('..', '..', 'dist', 'bin', 'afflux.js'), link);
}

/** The portal's page and files, into dist/portal, from where the API serves them. */
export async function buildPortal() {
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

function* sourceFiles(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) yield path;
  }
}
