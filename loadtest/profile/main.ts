import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fromProject, projectRoot } from '../../core/config/paths.ts';
import { table } from '../bench.ts';
import { carryOut } from '../ending.ts';
import { readOptions, whole } from '../options.ts';
import { loadCollector } from './collector.ts';
import { flameGraph } from './flame-graph.ts';
import { type CpuProfile, fold, selfShares } from './fold.ts';
import { loadLoader } from './loader.ts';

/**
 * `npm run profile:collector`, `npm run profile:loader`: a CPU profile of one process under load, as V8 writes it
 * (`.cpuprofile`, for a browser's developer tools) and as a flame graph (`.svg`), in `.afflux/profile/`.
 */

const PARTS = { collector: loadCollector, loader: loadLoader };
const FOLDER = '.afflux/profile';
const INTERVAL_US = 500;
/** Smaller shares are not shown in the table. */
const LEAST_SHARE = 0.01;

const { values, positionals } = readOptions(
  { seconds: whole(20), rows: whole(5_000_000) },
  { allowPositionals: true },
);

await carryOut(async (run) => {
  const [part = ''] = positionals;
  if (!isPart(part)) throw new Error(`name one of ${Object.keys(PARTS).join(', ')}`);
  const written = run.makeFolder('afflux-profile-');
  const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${written}`, `--cpu-prof-interval=${INTERVAL_US}`];
  const did = await PARTS[part]({ run, ...values, nodeFlags });
  const [file, ...others] = readdirSync(written);
  if (file === undefined || others.length > 0) throw new Error(`${others.length + 1} profiles in ${written}`);
  const folder = fromProject(FOLDER);
  mkdirSync(folder, { recursive: true });
  const [profile, picture] = [join(folder, `${part}.cpuprofile`), join(folder, `${part}.svg`)];
  copyFileSync(join(written, file), profile);
  const root = fold(JSON.parse(readFileSync(profile, 'utf8')) as CpuProfile);
  writeFileSync(picture, flameGraph(root, `${part}: ${did}`));
  const rows = selfShares(root)
    .filter(({ share }) => share >= LEAST_SHARE)
    .map(({ name, file: where, share }) => ({
      'self %': (share * 100).toFixed(1),
      function: name,
      file: where,
    }));
  process.stdout.write(`${did}\n\n${table(rows)}\n\n${relative(projectRoot, picture)}\n`);
});

function isPart(text: string): text is keyof typeof PARTS {
  return Object.hasOwn(PARTS, text);
}
