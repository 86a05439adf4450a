import { Counter, type Registry } from 'prom-client';
import type { Logger } from '../../core/service/log.ts';
import { CLOCK_WARNING_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';

/** What the orders show of the clocks of the shops that report them. */
export interface ShopClocks {
  /** `offMs`: see {@link clockOffset}. */
  note(order: { programId: number; occurredAt: Date }, offMs: number): void;
}

/** A shop whose clock is off is in the log once in so long. */
const LOG_EVERY_MS = HOUR_MS;
/** Programs that have just been logged; beyond this, the log of the day is long enough. */
const MAX_LOGGED_PROGRAMS = 1_000;

/**
 * The milliseconds by which a shop's clock is surely off: above 0 an order is of the future, below 0 it happened before
 * its own click. 0: nothing shows that it is off, because orders are reported late for many reasons.
 */
export function clockOffset(
  occurredAtMs: number,
  known: { nowMs: number; clickMs: number | undefined },
): number {
  const { nowMs, clickMs = Number.NEGATIVE_INFINITY } = known;
  if (occurredAtMs > nowMs) return occurredAtMs - nowMs;
  return occurredAtMs < clickMs ? occurredAtMs - clickMs : 0;
}

export function createShopClocks({ registry, log }: { registry: Registry; log: Logger }): ShopClocks {
  const orders = new Counter({
    name: 'afflux_api_orders_clock_off_total',
    help: 'Orders whose time shows that the clock of their shop is more than a second ahead, or behind',
    labelNames: ['direction'],
    registers: [registry],
  });
  for (const direction of ['ahead', 'behind']) orders.inc({ direction }, 0);
  const loggedAt = new Map<number, number>();

  function isToBeLogged(programId: number): boolean {
    const now = Date.now();
    if (now - (loggedAt.get(programId) ?? 0) < LOG_EVERY_MS) return false;
    if (loggedAt.size >= MAX_LOGGED_PROGRAMS) loggedAt.clear();
    loggedAt.set(programId, now);
    return true;
  }

  return {
    note({ programId, occurredAt }, offMs) {
      if (Math.abs(offMs) <= CLOCK_WARNING_MS) return;
      // Many shops cut the time of an order to the minute.
      if (offMs < 0 && offMs > -MINUTE_MS && occurredAt.getTime() % MINUTE_MS === 0) return;
      orders.inc({ direction: offMs > 0 ? 'ahead' : 'behind' });
      if (!isToBeLogged(programId)) return;
      log.warn({ programId, offSeconds: offMs / 1_000 }, 'the clock of a shop is off: set it by NTP');
    },
  };
}
