import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { startLoop } from '../core/loop.ts';
import type { Running } from '../core/service.ts';
import type { Ledger } from '../ledger/db.ts';
import { forgetIdempotencyKeys } from '../ledger/idempotency.ts';
import { IDEMPOTENCY_HOURS } from './commit.ts';

const PAUSE_MS = 3_600_000;
const HOUR_MS = 3_600_000;

/** Forgets once an hour what has served its time. */
export function startHousekeeping({ ledger, log }: { ledger: Ledger; log: Logger }): Running {
  return startLoop(async () => {
    try {
      await forgetIdempotencyKeys(ledger, { before: new Date(Date.now() - IDEMPOTENCY_HOURS * HOUR_MS) });
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'housekeeping failed');
    }
    return PAUSE_MS;
  });
}
