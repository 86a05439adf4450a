import { parseArgs } from 'node:util';
import { report } from '../bench.ts';
import { type LoadFixture, withLoadFixture } from './fixture.ts';
import { ramp } from './ramp.ts';
import { mixed, redirects } from './scenarios.ts';
import { soak } from './soak.ts';

/**
 * `npm run load -- redirects|mixed|ramp|soak`: requests that arrive at a steady rate, whether or not the answers keep
 * up, at a whole platform of its own; at the end what was answered is compared with what is stored, exactly. Exit code
 * 1 when a target is missed. `--seconds` of a ramp are those of each step.
 */

const SCENARIOS = {
  redirects: { run: redirects, rate: 1_000, seconds: 60 },
  mixed: { run: mixed, rate: 500, seconds: 60 },
  ramp: { run: ramp, rate: 500, seconds: 10 },
  soak: { run: soak, rate: 1_000, seconds: 1_800 },
};
const USAGE = `npm run load -- ${Object.keys(SCENARIOS).join('|')} [--rate CLICKS_PER_SECOND] [--seconds N | --minutes N]`;

const { values, positionals } = parseArgs({
  options: {
    rate: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
  },
  allowPositionals: true,
});
const [name = ''] = positionals;
if (!isScenario(name) || positionals.length > 1) throw new Error(USAGE);
const { run, ...usual } = SCENARIOS[name];
const rate = Number(values.rate ?? usual.rate);
const seconds =
  values.minutes === undefined ? Number(values.seconds ?? usual.seconds) : Number(values.minutes) * 60;
if (!(rate > 0) || !(seconds > 0)) throw new Error(`rate and time must be above 0: ${USAGE}`);

const interrupted = new Promise<never>((_resolve, reject) => {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => reject(new Error(name)));
});
try {
  await withLoadFixture(measure, interrupted);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  // What is under way at an interruption would go on to its end.
  process.exit(1);
}

async function measure(fixture: LoadFixture): Promise<void> {
  const { rows, targets } = await run(fixture, { rate, seconds });
  report({ name: `load-${name}`, script: 'load', versions: {}, rows, targets });
  for (const problem of fixture.problems) process.stdout.write(`${problem}\n`);
  process.exitCode = targets.every(({ ok }) => ok) ? 0 : 1;
}

function isScenario(text: string): text is keyof typeof SCENARIOS {
  return Object.hasOwn(SCENARIOS, text);
}
