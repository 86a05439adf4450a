// `npm run check`: everything that can be said about the code without running the whole test suite.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { include: FOLDERS } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));

const steps = [
  ['types', ['tsc', '--noEmit', '-p', 'tsconfig.json']],
  ['types of the portal', ['tsc', '-p', 'dashboards/portal/tsconfig.json']],
  ['types of the k6 scripts', ['tsc', '-p', 'loadtest/k6/tsconfig.json']],
  ['format and lint', ['biome', 'check', '--error-on-warnings', '--diagnostic-level=warn', '.']],
  ['import directions', ['depcruise', '--config', '.dependency-cruiser.cjs', ...FOLDERS, 'test']],
  ['size of folders and functions', ['node', 'scripts/check-structure.mjs']],
  ['checksums of migrations', ['node', 'scripts/check-migrations.mjs']],
  ['texts of the portal', ['node', 'scripts/check-texts.mjs']],
  ['words', ['node', 'scripts/check-words.mjs']],
  ['links of the pages', ['node', 'scripts/check-docs.mjs']],
  ['licences', ['node', 'scripts/check-licences.mjs']],
  ['dead code', ['knip']],
  ['size of the portal', ['node', 'scripts/portal-size.mjs']],
  ['schema dumps', ['vitest', 'run', 'schema.engine', 'warehouse/clickhouse/migrate']],
  ['dashboards', ['node', 'dist/dashboards/grafana/main.js', '--check']],
  ['benchmarks', ['node', 'dist/loadtest/docs/main.js', '--check']],
];

let failed = 0;
for (const [name, [tool, ...args]] of steps) {
  const startedAt = Date.now();
  const result = spawnSync('npx', ['--no-install', tool, ...args], { cwd: root, encoding: 'utf8' });
  const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
  const ok = result.status === 0;
  if (!ok) {
    failed++;
    process.stdout.write(`${result.stdout}${result.stderr}`);
  }
  process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)\n`);
}
process.exitCode = failed === 0 ? 0 : 1;
