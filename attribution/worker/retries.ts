import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import type { ClaimedConversion, DueConversion } from '../../ledger/conversions/conversion-claims.ts';
import { isKnownUpTo } from '../decide/choose.ts';

/** When an undecided conversion is tried again, and when an unattributed one is looked at again. */

/** A new order is looked at with every batch for so long: clicks are counted seconds after they are made. */
const FIRST_LOOKS_MS = 15_000;
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

/** Whether a new order names a click that cannot be in the warehouse yet, so that taking it would decide nothing. */
export function isTooEarly(
  { clickId, receivedAt, attempts }: DueConversion,
  { clickIds, completeToMs, now }: { clickIds: ClickIdCodec; completeToMs: number; now: Date },
): boolean {
  if (clickId === null || attempts > 0 || now.getTime() - receivedAt.getTime() > FIRST_LOOKS_MS) return false;
  const clickMs = clickIds.decode(clickId)?.ts;
  return clickMs !== undefined && !isKnownUpTo({ completeToMs, gaveUp: false }, clickMs);
}

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
