import { Counter, type Registry } from 'prom-client';

/** What became of a request for a link: a closed list, each counted. */
export const OUTCOMES = [
  'redirected',
  'gone',
  'unknown_code',
  'unknown_code_fallback',
  'malformed_code',
  'query_too_long',
  'unavailable',
  'aborted',
] as const;

export type Outcome = (typeof OUTCOMES)[number];

export interface OutcomeCounter {
  count(outcome: Outcome): void;
}

/** Counts in plain numbers, which the registry reads when it is scraped: a labelled `inc` costs 1 µs a click. */
export function createOutcomeCounter(registry: Registry): OutcomeCounter {
  const counts: Record<Outcome, number> = {
    redirected: 0,
    gone: 0,
    unknown_code: 0,
    unknown_code_fallback: 0,
    malformed_code: 0,
    query_too_long: 0,
    unavailable: 0,
    aborted: 0,
  };
  new Counter({
    name: 'afflux_collector_requests_total',
    help: 'Requests for links by outcome',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      this.reset();
      for (const outcome of OUTCOMES) this.inc({ outcome }, counts[outcome]);
    },
  });
  return {
    count(outcome) {
      counts[outcome]++;
    },
  };
}
