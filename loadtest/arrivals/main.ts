import { readFileSync } from 'node:fs';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import { type BenchRow, type BenchTarget, printTables, report } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { above0, optional, readOptions, text, whole } from '../options.ts';
import { type Kind, LIMITS } from '../traffic/limits.ts';
import type { RunFile } from '../traffic/run.ts';
import { DEFAULTS, type ScenarioName } from '../traffic/scenarios.ts';
import {
  atMostUnits,
  type BenchUnit,
  inUnits,
  measureBetween,
  timeBareUws,
  timeInsert,
  timeSelect1,
  unitRow,
} from '../units.ts';
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

const { values, positionals } = readOptions(
  {
    rate: optional(whole(1)),
    seconds: optional(above0(1)),
    minutes: optional(above0(1)),
    run: optional(text('')),
  },
  { allowPositionals: true },
);
const [name = ''] = positionals;

await carryOut(async (run) => {
  if (positionals.length === 1 && name === 'reconcile' && values.run !== undefined) {
    await reconcileFile(values.run);
  } else if (positionals.length === 1 && isScenario(name)) {
    await runScenario(run, name);
  } else {
    throw new Error(USAGE);
  }
});

async function runScenario(run: Run, scenario: ScenarioName): Promise<void> {
  const usual = DEFAULTS[scenario];
  const rate = values.rate ?? usual.rate;
  const seconds = values.minutes === undefined ? (values.seconds ?? usual.seconds) : values.minutes * 60;
  await withLoadFixture(run, async (fixture) => {
    const { done, units } = await measureUnits(fixture, () =>
      SCENARIOS[scenario](fixture, { rate, seconds }),
    );
    const targets = [...done.targets, ...unitTargets(done.rows, units)];
    report({
      name: `load-${scenario}`,
      script: 'load',
      versions: {},
      rows: [...new Set(units.values())].map(unitRow).concat(done.rows.map((row) => inUnitOf(row, units))),
      targets,
    });
    for (const problem of fixture.problems) process.stdout.write(`${problem}\n`);
    process.exitCode = targets.every(({ ok }) => ok) ? 0 : 1;
  });
}

type UnitOf = ReadonlyMap<Kind, BenchUnit>;

/** The unit of each kind of request, what its service does least, before and after `work`. */
async function measureUnits<T>(
  { stores, platform }: LoadFixture,
  work: () => Promise<T>,
): Promise<{ done: T; units: UnitOf }> {
  const { done, units } = await measureBetween(
    [timeBareUws, () => timeInsert(platform.config.databaseOwnerUrl), () => timeSelect1(stores.warehouse)],
    work,
  );
  const [bare, insert, select1] = units;
  return {
    done,
    units: new Map<Kind, BenchUnit>([
      ['redirects', bare],
      ['postbacks', insert],
      ['reports', select1],
      ['portal reads', select1],
    ]),
  };
}

function inUnitOf(row: BenchRow, units: UnitOf): BenchRow {
  const kind = [...units.keys()].find((name) => String(row.what).endsWith(name));
  const unit = kind && units.get(kind);
  return unit ? inUnits(row, unit) : row;
}

/** The limits of what the stores answer as multiples of their units; the collector's is of its own: see bench:collector. */
function unitTargets(rows: readonly BenchRow[], units: UnitOf): BenchTarget[] {
  return (['postbacks', 'reports', 'portal reads'] as const).flatMap((kind) => {
    const p99Ms = rows.find(({ what }) => what === kind)?.p99_ms;
    const unit = units.get(kind);
    if (p99Ms === undefined || !unit) return [];
    return [atMostUnits(`${kind} p99`, Number(p99Ms), LIMITS[kind].p99Ms, unit)];
  });
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
