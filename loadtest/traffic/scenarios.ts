import { type Kind, LIMITS } from './limits.ts';
import { VISITS_AN_ORDER } from './orders.ts';

/** Which arrivals a scenario has; each is a journey of its own name. */
export type Arrival = 'visit' | 'buy' | 'report' | 'readPortal';

/** `count` arrivals in `inMs`, evenly: whole numbers, as k6 wants them. */
export interface ArrivalRate {
  readonly arrival: Arrival;
  readonly count: number;
  readonly inMs: number;
}

const SECOND_MS = 1_000;
const REPORTS_A_SECOND = 2;
const PORTAL_READS_A_SECOND = 10;

/** Visitors alone, `rate` a second. */
export function visitors(rate: number): ArrivalRate[] {
  return [{ arrival: 'visit', count: rate, inMs: SECOND_MS }];
}

/** `rate` clicks a second of which one in {@link VISITS_AN_ORDER} is a buyer's; beside them an operator and a partner. */
export function mixedArrivals(rate: number): ArrivalRate[] {
  const inMs = VISITS_AN_ORDER * SECOND_MS;
  return [
    { arrival: 'visit', count: (VISITS_AN_ORDER - 1) * rate, inMs },
    { arrival: 'buy', count: rate, inMs },
    { arrival: 'report', count: REPORTS_A_SECOND, inMs: SECOND_MS },
    { arrival: 'readPortal', count: PORTAL_READS_A_SECOND, inMs: SECOND_MS },
  ];
}

/** Kinds of requests that the arrivals lead to. */
export function kindsOf(arrivals: readonly ArrivalRate[]): Kind[] {
  const kinds: Record<Arrival, readonly Kind[]> = {
    visit: ['redirects'],
    buy: ['redirects', 'postbacks'],
    report: ['reports'],
    readPortal: ['portal reads'],
  };
  const met = arrivals.map(({ arrival }) => kinds[arrival]);
  return (Object.keys(LIMITS) as Kind[]).filter((kind) => met.some((some) => some.indexOf(kind) >= 0));
}

/** A ramp's rates grow by a quarter. */
const STEP_UP = 1.25;
/** No machine of one collector goes beyond 500/s × 1.25^20 = 43,000/s at these limits. */
export const MAX_STEPS = 20;

export function nextRate(rate: number): number {
  return Math.round(rate * STEP_UP);
}

export const QUARTERS = 4;

/** What each scenario runs for by default: clicks a second, and seconds (of a ramp: of each step). */
export const DEFAULTS = {
  redirects: { rate: 1_000, seconds: 60 },
  mixed: { rate: 500, seconds: 60 },
  ramp: { rate: 500, seconds: 10 },
  soak: { rate: 1_000, seconds: 1_800 },
} as const;
export type ScenarioName = keyof typeof DEFAULTS;

/** Enough for V8 to compile what a click runs through, on the server's side. */
export const WARM_UP_SECONDS = 3;
/** The part of a run whose visitors are those of the warm-up; no ramp or soak has as many. */
export const WARM_UP_PART = 30;
const VISITORS_A_PART = 500_000;

/** The first visitor of the n-th step or quarter: not those of the parts before come again, but others. */
export function firstVisitor(part: number): number {
  return part * VISITORS_A_PART;
}

export const DEFAULT_SEED = 42;
