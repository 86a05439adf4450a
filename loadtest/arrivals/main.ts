import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { type BenchRow, printTables, report } from '../bench.ts';
import type { Kind } from '../traffic/limits.ts';
import type { RunFile } from '../traffic/run.ts';
import { DEFAULTS, type ScenarioName } from '../traffic/scenarios.ts';
import { type BenchUnit, inUnits, measureBareUws, measureInsert, measureSelect1, unitRow } from '../units.ts';
import { connectStores, type LoadFixture, withLoadFixture } from './fixture.ts';
import { ramp } from './ramp.ts';
import { reconcile } from './reconcile.ts';
import { mixed, redirects } from './scenarios.ts';
import { soak } from './soak.ts';

/**
 * `npm run load -- redirects|mixed|ramp|soak`: requests that arrive at a steady rate, whether or not the answers keep
 * up, at a whole platform of its own; at the end what was answered is compared with what is stored, exactly. Exit code
 * 1 when a target is missed. `--seconds` of a ramp are those of each step.
 *
 * `npm run load -- reconcile --run FILE` compares the file of a run by k6 with the platform of this configuration.
 */

const SCENARIOS = { redirects, mixed, ramp, soak };
const USAGE = `npm run load -- ${Object.keys(SCENARIOS).join('|')} [--rate CLICKS_PER_SECOND] [--seconds N | --minutes N]
npm run load -- reconcile --run FILE`;

const { values, positionals } = parseArgs({
  options: {
    rate: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    run: { type: 'string' },
  },
  allowPositionals: true,
});
const [name = ''] = positionals;
const interrupted = new Promise<never>((_resolve, reject) => {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => reject(new Error(name)));
});
try {
  if (positionals.length === 1 && name === 'reconcile' && values.run !== undefined) {
    await reconcileFile(values.run);
  } else if (positionals.length === 1 && isScenario(name)) {
    await runScenario(name);
  } else {
    throw new Error(USAGE);
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  // What is under way at an interruption would go on to its end.
  process.exit(1);
}

async function runScenario(scenario: ScenarioName): Promise<void> {
  const usual = DEFAULTS[scenario];
  const rate = Number(values.rate ?? usual.rate);
  const seconds =
    values.minutes === undefined ? Number(values.seconds ?? usual.seconds) : Number(values.minutes) * 60;
  if (!(rate > 0) || !(seconds > 0)) throw new Error(`rate and time must be above 0: ${USAGE}`);
  await withLoadFixture(async (fixture) => {
    const { rows, targets } = await SCENARIOS[scenario](fixture, { rate, seconds });
    const units = await measureUnits(fixture);
    report({
      name: `load-${scenario}`,
      script: 'load',
      versions: {},
      rows: [...new Set(units.values())].map(unitRow).concat(rows.map((row) => inUnitOf(row, units))),
      targets,
    });
    for (const problem of fixture.problems) process.stdout.write(`${problem}\n`);
    process.exitCode = targets.every(({ ok }) => ok) ? 0 : 1;
  }, interrupted);
}

type UnitOf = ReadonlyMap<Kind, BenchUnit>;

/** The unit of each kind of request: what its service does least. */
async function measureUnits({ stores, platform }: LoadFixture): Promise<UnitOf> {
  const select1 = await measureSelect1(stores.warehouse);
  return new Map<Kind, BenchUnit>([
    ['redirects', await measureBareUws()],
    ['postbacks', await measureInsert(platform.config.databaseOwnerUrl)],
    ['reports', select1],
    ['portal reads', select1],
  ]);
}

function inUnitOf(row: BenchRow, units: UnitOf): BenchRow {
  const kind = [...units.keys()].find((name) => String(row.what).endsWith(name));
  const unit = kind && units.get(kind);
  return unit ? inUnits(row, unit) : row;
}

/** Waits for what is under way; prints, and leaves no result of a benchmark. */
async function reconcileFile(path: string): Promise<void> {
  const file = JSON.parse(readFileSync(path, 'utf8')) as RunFile;
  const { stores, close } = await connectStores(withGeneratedSecrets(loadConfig(process.env)));
  const { rows, targets } = await reconcile(stores, file).finally(close);
  printTables(rows, targets);
  process.exitCode = targets.every(({ ok }) => ok) ? 0 : 1;
}

function isScenario(text: string): text is ScenarioName {
  return Object.hasOwn(SCENARIOS, text);
}
