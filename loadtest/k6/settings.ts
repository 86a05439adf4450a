import type { TrafficDemo } from '../traffic/journeys.ts';
import { DEFAULT_SEED, DEFAULTS, type ScenarioName } from '../traffic/scenarios.ts';

/** What `k6 run -e NAME=value` sets. */
export interface Settings {
  readonly urls: { readonly collector: string; readonly api: string };
  readonly demo: TrafficDemo;
  /** Clicks a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
  /** Where the run's file is written. */
  readonly runFile: string;
}

/** @throws Error that names the variable. */
export function readSettings(scenario: ScenarioName): Settings {
  const defaults = DEFAULTS[scenario];
  return {
    urls: {
      collector: __ENV.COLLECTOR ?? 'http://127.0.0.1:8080',
      api: __ENV.API ?? 'http://127.0.0.1:8081',
    },
    demo: JSON.parse(open(required('DEMO'))) as TrafficDemo,
    rate: wholeNumber('RATE', defaults.rate),
    seconds: wholeNumber('SECONDS', defaults.seconds),
    seed: wholeNumber('SEED', DEFAULT_SEED),
    runFile: __ENV.OUT ?? 'run.json',
  };
}

function required(name: string): string {
  const text = __ENV[name];
  if (text === undefined) throw new Error(`${name} is missing: k6 run -e ${name}=…`);
  return text;
}

/** @throws Error that names the variable. */
export function wholeNumber(name: string, byDefault: number): number {
  const value = Number(__ENV[name] ?? byDefault);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${name} must be a whole number above 0`);
  return value;
}
