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

/** By which clock an order has waited. */
export interface WaitingTime {
  readonly now: Date;
  /** Since when this worker has had answers of the warehouse: before, no look could find a click. */
  readonly lookingSince: Date;
}

/** How long looks could find the click of an order, milliseconds. */
function lookedForMs({ receivedAt }: Pick<DueConversion, 'receivedAt'>, time: WaitingTime): number {
  return time.now.getTime() - Math.max(receivedAt.getTime(), time.lookingSince.getTime());
}

/** Whether a new order names a click that cannot be in the warehouse yet, so that taking it would decide nothing. */
export function isTooEarly(
  conversion: DueConversion,
  { clickIds, completeToMs, time }: { clickIds: ClickIdCodec; completeToMs: number; time: WaitingTime },
): boolean {
  const { clickId, attempts } = conversion;
  if (clickId === null || attempts > 0 || lookedForMs(conversion, time) > FIRST_LOOKS_MS) return false;
  const clickMs = clickIds.decode(clickId)?.ts;
  return (
    clickMs !== undefined && !isKnownUpTo({ completeToMs, gaveUp: hasGivenUp(conversion, time.now) }, clickMs)
  );
}

/** Whether the wait for the warehouse has lasted too long: the conversion is decided with what there is. */
export function hasGivenUp({ receivedAt }: Pick<DueConversion, 'receivedAt'>, now: Date): boolean {
  return now.getTime() - receivedAt.getTime() > GIVE_UP_MS;
}

/** When a conversion that was not decided now is tried again; null: never. */
export function nextAttempt(conversion: ClaimedConversion, time: WaitingTime): Date | null {
  const { state, receivedAt } = conversion;
  const { now } = time;
  if (state === 'unattributed') {
    return now.getTime() - receivedAt.getTime() > REOPEN_MS ? null : nextLook(now);
  }
  const waitMs = Math.min(
    Math.max(WAIT_GROWTH * lookedForMs(conversion, time), SHORTEST_WAIT_MS),
    LONGEST_WAIT_MS,
  );
  return new Date(now.getTime() + waitMs);
}

/** When the missing click of an unattributed conversion is looked for again. */
export function nextLook(now: Date): Date {
  return new Date(now.getTime() + REOPEN_PAUSE_MS);
}
