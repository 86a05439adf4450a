import { visitors } from '../traffic/scenarios.ts';
import { type Begun, createGenerator } from './generator.ts';
import { steady } from './plan.ts';
import { readSettings } from './settings.ts';
import { type Summary, summarize } from './summary.ts';

/** Visitors at a constant rate. */
const settings = readSettings('redirects');
const generator = createGenerator(settings);
export const options = steady(settings, visitors(settings.rate));
export const setup = (): Begun => generator.begin({ withAccess: false });
export const warmUp = (begun: Begun): void => generator.warmUp(begun);
export const visit = (begun: Begun): void => generator.arrive('visit', begun);
export const handleSummary = (summary: Summary): Record<string, string> => summarize(summary, settings);
