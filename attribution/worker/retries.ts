import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';

/** When an undecided conversion is tried again, and when an unattributed one is looked at again. */

/** A click that is not in the warehouse yet: the delay to the next try grows by a quarter of the time waited so far. */
const WAIT_GROWTH = 0.25;
const SHORTEST_WAIT_MS = 500;
/** Longest delay between two tries: the click may be in a spool for hours, and then must be found soon. */
const LONGEST_WAIT_MS = 60_000;
/** The stream keeps clicks for so long; what is not in the warehouse by then comes only from a spool on a dead disk. */
const GIVE_UP_MS = 72 * HOUR_MS;
/** A click that turns up later opens its order again for so long, looked for once an hour. */
const REOPEN_MS = 30 * DAY_MS;
const REOPEN_PAUSE_MS = HOUR_MS;

/** Whether the wait for the warehouse has lasted too long: the conversion is decided with what there is. */
export function hasGivenUp({ receivedAt }: ClaimedConversion, now: Date): boolean {
  return now.getTime() - receivedAt.getTime() > GIVE_UP_MS;
}

/** When a conversion that was not decided now is tried again; null: never. */
export function nextAttempt({ state, receivedAt }: ClaimedConversion, now: Date): Date | null {
  const waitedMs = now.getTime() - receivedAt.getTime();
  if (state === 'unattributed') return waitedMs > REOPEN_MS ? null : nextLook(now);
  const waitMs = Math.min(Math.max(WAIT_GROWTH * waitedMs, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
  return new Date(now.getTime() + waitMs);
}

/** When the missing click of an unattributed conversion is looked for again. */
export function nextLook(now: Date): Date {
  return new Date(now.getTime() + REOPEN_PAUSE_MS);
}
