import { scenario } from 'k6/execution';
import { LIMITS } from '../traffic/limits.ts';
import { MAX_STEPS, nextRate, visitors, WARM_UP_SECONDS } from '../traffic/scenarios.ts';
import { type Begun, createGenerator, timeMetric } from './generator.ts';
import { arrivals, FAULTS, limitsOf, optionsOf, shown, tagged } from './plan.ts';
import { readSettings, wholeNumber } from './settings.ts';
import { figureOf, type Summary, summarize } from './summary.ts';

/**
 * Visitors at rates that grow by a quarter, STEPS times. k6 cannot choose its next rate by the last answers, and would
 * tear requests off if it ended early, so all steps run; the summary names the highest rate below the first that failed.
 */
const settings = readSettings('ramp');
const generator = createGenerator(settings);
/** Between two steps: what waited for an answer gets it. */
const PAUSE_S = 5;
const DEFAULT_STEPS = 10;
const METRICS = [timeMetric('redirects'), ...FAULTS];

interface RampStep {
  readonly name: string;
  readonly rate: number;
  readonly startS: number;
}

const steps: RampStep[] = [];
const stepCount = Math.min(MAX_STEPS, wholeNumber('STEPS', DEFAULT_STEPS));
for (let rate = settings.rate; steps.length < stepCount; rate = nextRate(rate)) {
  const startS = WARM_UP_SECONDS + steps.length * (settings.seconds + PAUSE_S);
  steps.push({ name: `step_${steps.length}`, rate, startS });
}

export const options = optionsOf({
  rate: settings.rate,
  scenarios: Object.fromEntries(
    steps.flatMap(({ name, rate, startS }) =>
      visitors(rate).map((arriving) => [
        name,
        arrivals(arriving, { exec: 'visit', startS, seconds: settings.seconds }),
      ]),
    ),
  ),
  // The first rate has to hold; of the others it is seen which do.
  thresholds: Object.assign(
    {},
    ...steps.map(({ name, rate }, i) => (i === 0 ? limitsOf(visitors(rate), name) : shown(METRICS, name))),
  ),
});
export const setup = (): Begun => generator.begin({ withAccess: false });
export const warmUp = (begun: Begun): void => generator.warmUp(begun);
export const visit = (begun: Begun): void =>
  generator.arrive('visit', begun, Number(scenario.name.split('_')[1]));

function holds(summary: Summary, { name }: RampStep): boolean {
  const time = (percentile: string): number =>
    figureOf(summary, tagged(timeMetric('redirects'), name), percentile);
  const { p99Ms, p999Ms } = LIMITS.redirects;
  const faults = FAULTS.filter((fault) => figureOf(summary, tagged(fault, name), 'count') > 0);
  return time('p(99)') > 0 && time('p(99)') <= p99Ms && time('p(99.9)') <= p999Ms && faults.length === 0;
}

export function handleSummary(summary: Summary): Record<string, string> {
  let held = 0;
  for (const step of steps) {
    if (!holds(summary, step)) break;
    held = step.rate;
  }
  return summarize(summary, settings, [`the highest rate that holds: ${held}/s`]);
}
