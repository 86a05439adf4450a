import { atLeast, atMost, type BenchTarget, none } from '../bench.ts';
import type { ClickComparison } from './compare-clicks.ts';
import type { MoneyComparison, OrderComparison } from './compare-money.ts';

/** What a run has found that has a goal. */
export interface Findings {
  readonly clicks: ClickComparison;
  /** Visits without a redirect outside of the own seconds of collectors' kills. */
  readonly refusedBeyondKills: number;
  readonly orders: OrderComparison;
  readonly money: MoneyComparison;
  /** What did not come back in time after the last fault. */
  readonly notRecovered: readonly string[];
  /** Checks of `afflux audit` that fail. */
  readonly auditFaults: readonly string[];
  /** Answers that no fault explains. */
  readonly strange: readonly string[];
}

/** Of the visits, in percent. */
const MOST_REFUSED_PERCENT = 1;

/**
 * Every goal of a run; its exit code is 1 when one is missed.
 * @param options.limitsRefusals Whether the share of visits without a redirect has a goal: with several collectors, because
 * one alone is missed until the next is up, and with faults as far apart as in a long run.
 */
export function targetsOf(found: Findings, options: { limitsRefusals: boolean }): BenchTarget[] {
  const { clicks, refusedBeyondKills, orders, money } = found;
  return [
    atLeast('redirects received', clicks.received, 1),
    atLeast('orders accepted', orders.accepted, 1),
    ...(options.limitsRefusals
      ? [
          atMost(
            'visits without a redirect outside of kills of collectors, percent',
            (100 * refusedBeyondKills) / clicks.requests,
            MOST_REFUSED_PERCENT,
          ),
        ]
      : []),
    none('redirected clicks lost', clicks.lost),
    none('clicks stored twice', clicks.duplicated),
    none('clicks stored under another identity, or never requested', clicks.foreign),
    none('accepted orders lost', orders.lost),
    none('orders recorded twice, or never sent', orders.duplicated),
    none('orders undecided', orders.undecided),
    none('orders recorded or decided wrongly', orders.wrong),
    none('commissions off, minor units', Number(money.commissionDifferenceMinor)),
    none('payments off, minor units', Number(money.payoutDifferenceMinor)),
    none('payments made twice', money.paymentsTwice),
    none('checks of afflux audit that fail', found.auditFaults.length),
    none('parts that did not recover in time', found.notRecovered.length),
    none('answers that no fault explains', found.strange.length),
  ];
}
