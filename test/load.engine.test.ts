import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { type LoadFixture, withLoadFixture } from '../loadtest/arrivals/fixture.ts';
import { createGenerator } from '../loadtest/arrivals/generator.ts';
import { type Reconciliation, reconcile } from '../loadtest/arrivals/reconcile.ts';
import { mixed } from '../loadtest/arrivals/scenarios.ts';
import { soak } from '../loadtest/arrivals/soak.ts';
import { withRun } from '../loadtest/ending.ts';
import type { TrafficRequest } from '../loadtest/traffic/http.ts';
import type { RunFile } from '../loadtest/traffic/run.ts';
import { mixedArrivals } from '../loadtest/traffic/scenarios.ts';
import { type BundleRun, runBundle } from './support/k6/run.ts';

const RATE = 200;
const SECONDS = 4;
/** A steady load for so long; by default none. */
const SOAK_MINUTES = Number(process.env.AFFLUX_TEST_SOAK_MINUTES ?? 0);
const OVERHEAD_MS = 300_000;

function onPlatform(work: (fixture: LoadFixture) => Promise<void>): Promise<void> {
  return withRun((run) => withLoadFixture(run, work));
}

test('clicks, postbacks, reports and portal reads at a steady rate: what was answered is what is stored', {
  timeout: OVERHEAD_MS,
}, async () => {
  const built = promisify(execFile)(process.execPath, [fromProject('loadtest/k6/build.mjs')]);
  const tested = onPlatform(async (fixture) => {
    const { rows, targets } = await mixed(fixture, { rate: RATE, seconds: SECONDS });
    const exact = targets.filter(({ bound }) => bound === '= 0');
    // Wrong answers first: they tell why a figure is wrong.
    expect(fixture.problems).toEqual([]);
    expect(exact.filter(({ ok }) => !ok)).toEqual([]);
    const counts = new Map(rows.map(({ what, count }) => [what, count]));
    expect(counts.get('redirects')).toBe(RATE * SECONDS);
    expect(counts.get('clicks stored')).toBeGreaterThanOrEqual(RATE * SECONDS);
    expect(counts.get('orders recorded')).toBe((RATE * SECONDS) / 50);

    // A visitor who holds the redirect of another click than the one that is stored is noticed, and so is an order.
    const received = fixture.generator.received();
    const totals = {
      ...received.totals,
      click_id_sum_2: received.totals.click_id_sum_2 + 1,
      orders_minor: received.totals.orders_minor + 1,
    };
    await built;
    const runs = await runScripts(fixture);
    // All at once: each waits for seconds, until every click is counted or its last arrival is due.
    const files = [{ ...received, totals }, ...runs.map(fileOf)];
    const [[wrong, ...right]] = await Promise.all([
      Promise.all(files.map((file) => reconcile(fixture.stores, file))),
      expectTheSame(fixture, runs[0]),
    ]);
    expect(missed(wrong)).toEqual([
      ['sums of click ids that differ from those received', 1],
      ['their amounts, minor units', -1],
    ]);
    expect(right.map(missed)).toEqual(runs.map(() => []));
  });
  await Promise.all([built, tested]);
});

function missed(reconciled: Reconciliation | undefined): [string, number][] | undefined {
  return reconciled?.targets.filter(({ ok }) => !ok).map(({ name, value }) => [name, value]);
}

const SCRIPT_RATE = 50;
const SCRIPT_SECONDS = 2;

/** The bundles for k6 send real requests to the platform, which has other clicks and orders already. */
async function runScripts({ platform }: LoadFixture): Promise<BundleRun[]> {
  const env = { DEMO: join(platform.config.home, 'demo.json'), OUT: 'a-run.json', SEED: '7' };
  const urls = { COLLECTOR: platform.collectorUrl, API: platform.apiUrl };
  const runScript = async (name: string, more: Readonly<Record<string, string>>): Promise<BundleRun> =>
    await runBundle({ file: fromProject(`dist/k6/${name}.js`), env: { ...env, ...urls, ...more } });
  const runs = [
    await runScript('mixed', { RATE: String(SCRIPT_RATE), SECONDS: String(SCRIPT_SECONDS) }),
    await runScript('redirects', { RATE: '20', SECONDS: '2' }),
    await runScript('ramp', { RATE: '20', SECONDS: '1', STEPS: '3' }),
    await runScript('soak', { RATE: '20', SECONDS: '4' }),
  ];
  await expect(runScript('ramp', { STEPS: 'many' })).rejects.toThrow('STEPS must be a whole number above 0');
  expect(runs.map(({ errors }) => errors)).toEqual([[], [], [], []]);
  const totals = runs.map((run) => fileOf(run).totals);
  // Warm-up of three seconds, then what each of them is asked for.
  expect(totals.map(({ clicks }) => clicks)).toEqual([
    5 * SCRIPT_RATE,
    5 * 20,
    3 * 20 + 20 + 25 + 31,
    7 * 20,
  ]);
  expect(totals[0]?.orders).toBe(SCRIPT_SECONDS);
  expect(runs[2]?.written.stdout).toMatch(/the highest rate that holds: \d+\/s/);
  return runs;
}

function fileOf({ written }: BundleRun): RunFile {
  return JSON.parse(written['a-run.json'] ?? '') as RunFile;
}

/** `npm run load` sends what the bundle for a mixed run has sent. */
async function expectTheSame(fixture: LoadFixture, run: BundleRun | undefined): Promise<void> {
  if (!run) throw new Error('no run');
  const again = await repeat(fixture, run, { rate: SCRIPT_RATE, seconds: SCRIPT_SECONDS });
  expect(again.unused).toEqual([]);
  expect(again.received).toEqual(fileOf(run));
}

/**
 * The generator of `npm run load` with the same seed and clock, given the answers that the bundle has received: it has to
 * send the same requests, to the last byte.
 */
async function repeat(
  { platform }: LoadFixture,
  run: BundleRun,
  { rate, seconds }: { rate: number; seconds: number },
) {
  const answers = new Map<string, BundleRun['exchanges'][number]['answer'][]>();
  for (const { request, answer } of run.exchanges) {
    const { method, url, headers, body } = request;
    const key = JSON.stringify([method, url, headers, body]);
    answers.set(key, [...(answers.get(key) ?? []), answer]);
  }
  const urls = { collector: platform.collectorUrl, api: platform.apiUrl };
  const generator = createGenerator({
    demo: platform.demo,
    seed: 7,
    now: () => run.now,
    reportProblem: (text) => {
      throw new Error(text);
    },
    client: {
      async send({ service, method, path, headers, body }: TrafficRequest) {
        const key = JSON.stringify([method, urls[service] + path, headers, body ?? null]);
        const answer = answers.get(key)?.shift();
        if (!answer) throw new Error(`k6 did not send ${key}`);
        const lines = Object.entries(answer.headers).map(([name, value]) => [
          name,
          [value].flat().join('\n'),
        ]);
        return { ...answer, headers: Object.fromEntries(lines) };
      },
      close: async () => undefined,
    },
  });
  await generator.openAccess();
  await generator.warmUp(rate);
  await generator.send({ rates: mixedArrivals(rate), seconds });
  const unused = [...answers].filter(([, left]) => left.length > 0).map(([key]) => key);
  return { unused, received: generator.received() };
}

test.runIf(SOAK_MINUTES > 0)(
  'a steady load for minutes: every redirect is stored, and memory does not grow',
  { timeout: SOAK_MINUTES * 60_000 + OVERHEAD_MS },
  async () => {
    await onPlatform(async (fixture) => {
      const { targets } = await soak(fixture, { rate: RATE, seconds: SOAK_MINUTES * 60 });
      // Latency and freshness are targets of `npm run load`, on a machine that does nothing else.
      const checked = targets.filter(
        ({ name, bound }) => bound === '= 0' || name.includes('resident memory'),
      );
      expect(fixture.problems).toEqual([]);
      expect(checked.filter(({ ok }) => !ok)).toEqual([]);
    });
  },
);
