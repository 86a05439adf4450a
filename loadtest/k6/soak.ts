import { scenario } from 'k6/execution';
import { QUARTERS, visitors, WARM_UP_SECONDS } from '../traffic/scenarios.ts';
import { type Begun, createGenerator } from './generator.ts';
import { arrivals, limitsOf, optionsOf } from './plan.ts';
import { readSettings } from './settings.ts';
import { type Summary, summarize } from './summary.ts';

/** Visitors for a long time, in quarters that must all be as good. Memory of the processes is not seen from here. */
const settings = readSettings('soak');
const generator = createGenerator(settings);
const seconds = Math.ceil(settings.seconds / QUARTERS);
const rates = visitors(settings.rate);
const quarters = Array.from({ length: QUARTERS }, (_, i) => ({
  name: `quarter_${i}`,
  startS: WARM_UP_SECONDS + i * seconds,
}));

export const options = optionsOf({
  rate: settings.rate,
  scenarios: Object.fromEntries(
    quarters.flatMap(({ name, startS }) =>
      rates.map((rate) => [name, arrivals(rate, { exec: 'visit', startS, seconds })]),
    ),
  ),
  thresholds: Object.assign({}, ...quarters.map(({ name }) => limitsOf(rates, name))),
});
export const setup = (): Begun => generator.begin({ withAccess: false });
export const warmUp = (begun: Begun): void => generator.warmUp(begun);
export const visit = (begun: Begun): void =>
  generator.arrive('visit', begun, Number(scenario.name.split('_')[1]));
export const handleSummary = (summary: Summary): Record<string, string> => summarize(summary, settings);
