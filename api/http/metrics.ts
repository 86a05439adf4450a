import { Counter, Histogram, type Registry } from 'prom-client';
import { PROBLEM_CODES, type ProblemCode } from './problems.ts';

export interface ApiMetrics {
  /** One answered request; `route` is the pattern, so that ids do not become labels. */
  observe(request: { method: string; route: string; status: number; seconds: number }): void;
  countProblem(code: ProblemCode): void;
}

/** From half a millisecond to the ten seconds after which a caller has given up. */
const DURATION_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createApiMetrics(registry: Registry): ApiMetrics {
  const duration = new Histogram({
    name: 'afflux_api_request_duration_seconds',
    help: 'Time from the arrival of a request to its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: DURATION_BUCKETS_S,
    registers: [registry],
  });
  const problems = new Counter({
    name: 'afflux_api_problems_total',
    help: 'Requests that were answered with a problem, by its code',
    labelNames: ['code'],
    registers: [registry],
  });
  for (const code of PROBLEM_CODES) problems.inc({ code }, 0);
  return {
    observe({ method, route, status, seconds }) {
      duration.observe({ method, route, status }, seconds);
    },
    countProblem(code) {
      problems.inc({ code });
    },
  };
}
