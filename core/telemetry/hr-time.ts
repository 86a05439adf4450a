import type { HrTime } from '@opentelemetry/api';

/** Unix milliseconds, with a fraction, as OpenTelemetry has times: seconds and nanoseconds. */
export function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1_000_000)];
}
