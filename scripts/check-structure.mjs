// Rooms stay small enough to be read at a glance, and the list of long functions in biome.json only shrinks.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Source files that lie directly in one folder, tests not counted: what fits one look at a listing. */
const MAX_FILES_IN_FOLDER = 15;
const LENGTH_RULE = 'noExcessiveLinesPerFunction';

const faults = [...crowdedFolders(), ...staleExceptions()];
for (const fault of faults) process.stdout.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function crowdedFolders() {
  const { stdout } = spawnSync('git', ['ls-files', '*.ts', '*.tsx', '*.js', '*.mjs'], {
    cwd: root,
    encoding: 'utf8',
  });
  const counts = new Map();
  for (const file of stdout.trim().split('\n')) {
    if (/\.test\.tsx?$/.test(file)) continue;
    const folder = dirname(file);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count > MAX_FILES_IN_FOLDER)
    .map(([folder, count]) => `${folder} holds ${count} source files, of ${MAX_FILES_IN_FOLDER} at most`);
}

/** Files that biome.json excepts from the length of functions (level info) although all of theirs are short by now. */
function staleExceptions() {
  const { overrides } = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
  const excepted = overrides.flatMap(({ includes, linter }) =>
    linter?.rules?.complexity?.[LENGTH_RULE] === 'info' ? includes : [],
  );
  const lint = [
    'biome',
    'lint',
    `--only=complexity/${LENGTH_RULE}`,
    '--max-diagnostics=none',
    '--reporter=json',
  ];
  const { stdout } = spawnSync('npx', ['--no-install', ...lint, ...excepted], {
    cwd: root,
    encoding: 'utf8',
  });
  const long = new Set(JSON.parse(stdout).diagnostics.map(({ location }) => location.path));
  return excepted
    .filter((file) => !long.has(file))
    .map((file) => `${file} has no long function any more: take it from the exceptions in biome.json`);
}
