import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fromProject } from '../../core/config/paths.ts';
import { type BenchResult, RESULTS_FOLDER } from '../bench.ts';
import { capacityPage } from './capacity.ts';
import { chart, page } from './page.ts';
import { withMeasured } from './readme.ts';

/**
 * `npm run bench:docs` takes over the results of the last runs and writes docs/benchmarks.md with its pictures, docs/capacity.md and the table of README.md;
 * `--check` says whether the pages are what the results make.
 */

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
const docs = fromProject('docs');
const kept = join(docs, 'benchmarks');
const readme = fromProject('README.md');

function resultsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((file) => file.endsWith('.json'));
}

if (!values.check) {
  mkdirSync(kept, { recursive: true });
  const newest = fromProject(RESULTS_FOLDER);
  for (const file of resultsIn(newest)) writeFileSync(join(kept, file), readFileSync(join(newest, file)));
}

const results = resultsIn(kept).map(
  (file) => JSON.parse(readFileSync(join(kept, file), 'utf8')) as BenchResult,
);
const files = new Map([
  [join(docs, 'benchmarks.md'), page(results)],
  [join(docs, 'capacity.md'), capacityPage(results)],
  [readme, withMeasured(readFileSync(readme, 'utf8'), results)],
  ...results.map((result): [string, string] => [join(kept, `${result.name}.svg`), chart(result)]),
]);
for (const [file, text] of files) {
  if (!values.check) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    process.stdout.write(`${file} is not what the results make: npm run bench:docs\n`);
    process.exitCode = 1;
  }
}
