import { mixedArrivals } from '../traffic/scenarios.ts';
import { type Begun, createGenerator } from './generator.ts';
import { steady } from './plan.ts';
import { readSettings } from './settings.ts';
import { type Summary, summarize } from './summary.ts';

/** Visitors, buyers, an operator's reports and a partner in the portal. */
const settings = readSettings('mixed');
const generator = createGenerator(settings);
export const options = steady(settings, mixedArrivals(settings.rate));
export const setup = (): Begun => generator.begin({ withAccess: true });
export const warmUp = (begun: Begun): void => generator.warmUp(begun);
export const visit = (begun: Begun): void => generator.arrive('visit', begun);
export const buy = (begun: Begun): void => generator.arrive('buy', begun);
export const report = (begun: Begun): void => generator.arrive('report', begun);
export const readPortal = (begun: Begun): void => generator.arrive('readPortal', begun);
export const handleSummary = (summary: Summary): Record<string, string> => summarize(summary, settings);
