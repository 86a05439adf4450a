import {
  FAST_SECONDS,
  firstUndecided,
  PACE_SAMPLE,
  type PacedOrder,
  readPacedOrders,
} from '../../ledger/conversions/decision-facts.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { thresholdOf } from '../../ledger/programs/fraud-rules.ts';
import type { Pace } from '../decide/apply-fraud-rules.ts';
import { ownClick, type Won } from '../decide/choose.ts';
import { askEach } from './ask-each.ts';

/**
 * How fast an affiliate's visitors order, for the rule `fast_conversions`. An order is compared with the affiliate's
 * orders before it in the sequence of their reports, in whatever batches they are decided.
 */

/** An order waits for earlier ones so long: the click of one of them may be in a spool for hours. */
const LONGEST_WAIT_MS = 900_000;

/** Whether the rule looks at this order: it is fast itself. */
function needsPace({ conversion, winner }: Won): boolean {
  return isFast({ conversion, winner }) && thresholdOf(conversion.fraudRules, 'fast_conversions') !== false;
}

function isFast({ conversion, winner }: Won): boolean {
  const click = ownClick(winner);
  return click !== undefined && conversion.occurredAt.getTime() - click.ts < FAST_SECONDS * 1_000;
}

/**
 * Ids of the conversions whose pace is not known yet, because one reported before them in their program is undecided;
 * `decided` are the ids that are being decided with them.
 */
export async function haveToWaitForEarlier(
  sql: DatabaseSql,
  options: { won: readonly Won[]; decided: readonly bigint[]; now: Date },
): Promise<Set<bigint>> {
  const { decided, now } = options;
  const needing = options.won.filter(
    (won) => needsPace(won) && now.getTime() - won.conversion.receivedAt.getTime() < LONGEST_WAIT_MS,
  );
  if (needing.length === 0) return new Set();
  const programIds = [...new Set(needing.map(({ conversion }) => conversion.programId))];
  const first = await firstUndecided(sql, { programIds, except: decided });
  const waiting = needing.filter(({ conversion: { id, programId } }) => id > (first.get(programId) ?? id));
  return new Set(waiting.map(({ conversion }) => conversion.id));
}

/** The orders of an affiliate between one whose pace is needed and the next one: `afterId` is 0 for the first. */
interface Step {
  readonly affiliateId: number;
  readonly afterId: bigint;
  readonly beforeId: bigint;
  /** Of the batch, between the two and the first of them included. */
  readonly orders: readonly Won[];
}

/**
 * The pace before each order that the rule looks at, by conversion id; orders of the batch count for those after them.
 */
export async function gatherPaces(sql: DatabaseSql, won: readonly Won[]): Promise<Map<bigint, Pace>> {
  const steps = stepsOf(won);
  const stored = await askEach(
    steps,
    ({ affiliateId, afterId, beforeId }) => ({ affiliateId, afterId, beforeId }),
    (questions) => readPacedOrders(sql, questions),
  );
  const paces = new Map<bigint, Pace>();
  let sample: PacedOrder[] = [];
  for (const step of steps) {
    const known = [
      ...(stored.get(step) ?? []),
      ...step.orders.map((order) => ({ id: order.conversion.id, isFast: isFast(order) })),
    ];
    // When decisions are made again, the books have the orders too.
    const added = [...new Map(known.map((order) => [order.id, order])).values()];
    added.sort((a, b) => (a.id < b.id ? -1 : 1));
    sample = [...(step.afterId === 0n ? [] : sample), ...added].slice(-PACE_SAMPLE);
    const fast = sample.filter((order) => order.isFast).length;
    paces.set(step.beforeId, { conversions: sample.length, fast });
  }
  return paces;
}

/** Steps of one affiliate follow each other in the sequence of the reports. */
function stepsOf(won: readonly Won[]): Step[] {
  const ordersOf = new Map<number, Won[]>();
  for (const order of won.toSorted((a, b) => (a.conversion.id < b.conversion.id ? -1 : 1))) {
    const { affiliateId } = order.winner.click;
    const orders = ordersOf.get(affiliateId) ?? [];
    orders.push(order);
    ordersOf.set(affiliateId, orders);
  }
  return [...ordersOf].flatMap(([affiliateId, orders]) => {
    const steps: Step[] = [];
    let afterId = 0n;
    for (const { conversion } of orders.filter(needsPace)) {
      const beforeId = conversion.id;
      const between = orders.filter(
        (order) =>
          order.conversion.id >= afterId &&
          order.conversion.id < beforeId &&
          ownClick(order.winner) !== undefined,
      );
      steps.push({ affiliateId, afterId, beforeId, orders: between });
      afterId = beforeId;
    }
    return steps;
  });
}
