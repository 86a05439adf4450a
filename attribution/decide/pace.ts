import {
  FAST_SECONDS,
  firstUndecided,
  PACE_SAMPLE,
  type PacedOrder,
  readPacedOrders,
} from '../../ledger/conversions/decision-facts.ts';
import type { LedgerSql } from '../../ledger/postgres/db.ts';
import { thresholdOf } from '../../ledger/programs/fraud-rules.ts';
import type { Won } from './choose.ts';

/**
 * How fast an affiliate's visitors order, for the rule `fast_conversions`. What is compared with is the affiliate's
 * orders before this one in the sequence of their reports, in whatever batches they are decided.
 */
export interface Pace {
  /** The affiliate's latest orders before this one, {@link PACE_SAMPLE} at the most. */
  readonly conversions: number;
  /** Those of them within {@link FAST_SECONDS} of the click. */
  readonly fast: number;
}

/** An order waits for earlier ones so long: the click of one of them may be in a spool for hours. */
const LONGEST_WAIT_MS = 900_000;

/** Whether the rule looks at this order: it is fast itself. */
function isAsked({ conversion, winner }: Won): boolean {
  return isFast({ conversion, winner }) && thresholdOf(conversion.fraudRules, 'fast_conversions') !== false;
}

function isFast({ conversion, winner }: Won): boolean {
  const ms = conversion.occurredAt.getTime() - winner.click.ts;
  return winner.source !== 'recurring' && ms < FAST_SECONDS * 1_000;
}

/**
 * Those of the orders whose pace is not known yet, because one reported before them in their program is undecided;
 * `decided` are the ids that are being decided with them.
 */
export async function waitForEarlier(
  sql: LedgerSql,
  options: { won: readonly Won[]; decided: readonly bigint[]; now: Date },
): Promise<Set<bigint>> {
  const { decided, now } = options;
  const asking = options.won.filter(
    (won) => isAsked(won) && now.getTime() - won.conversion.receivedAt.getTime() < LONGEST_WAIT_MS,
  );
  if (asking.length === 0) return new Set();
  const programIds = [...new Set(asking.map(({ conversion }) => conversion.programId))];
  const first = await firstUndecided(sql, { programIds, except: decided });
  const waiting = asking.filter(({ conversion: { id, programId } }) => id > (first.get(programId) ?? id));
  return new Set(waiting.map(({ conversion }) => conversion.id));
}

/** The pace before each order that the rule looks at, by its id; the orders themselves count for those after them. */
export async function gatherPaces(sql: LedgerSql, won: readonly Won[]): Promise<Map<bigint, Pace>> {
  const ordersOf = new Map<number, Won[]>();
  for (const order of won.toSorted((a, b) => (a.conversion.id < b.conversion.id ? -1 : 1))) {
    const { affiliateId } = order.winner.click;
    const orders = ordersOf.get(affiliateId) ?? [];
    orders.push(order);
    ordersOf.set(affiliateId, orders);
  }
  const steps = [...ordersOf].flatMap(([affiliateId, orders]) => {
    const asked = orders.filter(isAsked).map(({ conversion }) => conversion.id);
    return asked.map((id, i) => ({ affiliateId, orders, afterId: asked[i - 1] ?? 0n, beforeId: id }));
  });
  const stored = await readPacedOrders(sql, steps);
  const paces = new Map<bigint, Pace>();
  let sample: PacedOrder[] = [];
  for (const [i, { orders, afterId, beforeId }] of steps.entries()) {
    const own = orders.filter(({ conversion: { id }, winner }) => {
      return id >= afterId && id < beforeId && winner.source !== 'recurring';
    });
    const known = [
      ...(stored[i] ?? []),
      ...own.map((order) => ({ id: order.conversion.id, isFast: isFast(order) })),
    ];
    // When decisions are made again, the books have the orders too.
    const added = [...new Map(known.map((order) => [order.id, order])).values()];
    added.sort((a, b) => (a.id < b.id ? -1 : 1));
    sample = [...(afterId === 0n ? [] : sample), ...added].slice(-PACE_SAMPLE);
    paces.set(beforeId, { conversions: sample.length, fast: sample.filter((order) => order.isFast).length });
  }
  return paces;
}
