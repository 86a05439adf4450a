import type { Logger } from '../../core/service/log.ts';
import { MINUTE_MS } from '../../core/time.ts';

/**
 * Requests that no link answers, such as those for a code in print that was mistyped: counted, and one of each kind a
 * minute goes into the log. Strangers send them, so no more is kept, however many there are.
 */
export interface Samples {
  /** `requestId`: '' when the request has none. */
  note(kind: string, sample: string, requestId: string): void;
}

const EVERY_MS = MINUTE_MS;
/** A code is not longer. */
const MAX_SAMPLE_LENGTH = 64;

export function createSamples({ log, now = Date.now }: { log: Logger; now?: () => number }): Samples {
  const kinds = new Map<string, { since: number; loggedAtMs: number }>();
  return {
    note(kind, sample, requestId) {
      const known = kinds.get(kind) ?? { since: 0, loggedAtMs: Number.NEGATIVE_INFINITY };
      kinds.set(kind, known);
      known.since++;
      const nowMs = now();
      if (nowMs - known.loggedAtMs < EVERY_MS) return;
      log.info(
        {
          kind,
          requests: known.since,
          sample: sample.slice(0, MAX_SAMPLE_LENGTH),
          ...(requestId !== '' && { request_id: requestId }),
        },
        'requests for no link',
      );
      known.since = 0;
      known.loggedAtMs = nowMs;
    },
  };
}
