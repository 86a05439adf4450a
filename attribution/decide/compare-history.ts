import { DAY_S } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import type { EarlierCounts } from '../../ledger/conversions/decision-facts.ts';
import {
  type ClickToOrder,
  SHARED_CUSTOMER_DAYS,
  type SharedCustomer,
} from '../../ledger/conversions/order-history.ts';
import type { Winner } from './choose.ts';
import type { Evidence, RuleResult } from './evidence.ts';
import { leastRatio, oneDayIn } from './statistics.ts';

/** Fraud rules that compare an order with what its affiliate, coupon and campaign were like before it. */

/** Orders of an affiliate or a coupon by days of UTC. */
export interface ComparedDays {
  /** On the day of the order, up to `until`. */
  readonly today: number;
  /** Of each day before it, the oldest first. */
  readonly before: readonly number[];
  /** Up to when orders of today count, Unix ms. */
  readonly until: number;
  /** Orders of the program's others: on the day up to `until`, and on an average day of the week before. */
  readonly others: { readonly today: number; readonly mean: number };
}

/** Clicks that led to an order, of the valid ones. */
export interface Sales {
  readonly orders: number;
  readonly clicks: number;
}

/** What an order is compared with. Undefined: no rule that is on needs it, or nothing of it is known. */
export interface OrderHistory {
  /** Kept as it is in the evidence. */
  readonly basis?: Evidence['history'];
  readonly affiliateDays: ComparedDays | undefined;
  readonly couponDays: ComparedDays | undefined;
  /** Of the affiliate in the campaign, and of all others in it. */
  readonly clickToOrder: { readonly own: ClickToOrder; readonly others: ClickToOrder } | undefined;
  readonly traffic: { readonly clicks: number; readonly forced: number } | undefined;
  /** By the clicks of the same hours as `traffic`. */
  readonly sales: { readonly own: Sales; readonly others: readonly Sales[] } | undefined;
  readonly sharedCustomer: SharedCustomer | undefined;
}

/** A later order of a subscription was compared with its first one; an import is of the past. */
export function isCompared(of: {
  conversion: Pick<ClaimedConversion, 'source'>;
  winner: Pick<Winner, 'source'>;
}): boolean {
  return (
    of.winner.source !== 'recurring' && of.winner.source !== 'manual' && of.conversion.source !== 'import'
  );
}

interface HistoryInput {
  readonly conversion: ClaimedConversion;
  readonly winner: Winner;
  readonly earlier: EarlierCounts;
  readonly history: OrderHistory | undefined;
}

type Observed = RuleResult['observed'];
/** What was observed, with the figures behind it. */
export interface Observation {
  readonly observed: Observed;
  readonly figures?: RuleResult['figures'];
}

const NOTHING: Observation = { observed: null };

/** Fewer orders on a day are no surge, whatever the days before were like. */
const MIN_SURGE = 5;
/** Fewer clicks have no share worth the name. */
const MIN_CLICKS = 20;
/** Fewer times say nothing of how much they differ. */
const MIN_TIMES = 20;
/** Where even all others vary by less, no affiliate differs from them. */
const LEAST_VARIATION = 0.01;
/** Fewer others in a campaign have no median worth the name. */
const MIN_OTHERS = 3;
/** Fewer orders of the others say nothing of their day. */
const MIN_OTHERS_ORDERS = 20;

const above = (observed: string | number, threshold: number): boolean => Number(observed) > threshold;

export const HISTORY_RULES = {
  repeat_payment_account: {
    observe: ({ conversion, winner, earlier }: HistoryInput): Observation => ({
      observed:
        conversion.paymentAccountHash === null || !isCompared({ conversion, winner })
          ? null
          : earlier.fromAccount + 1,
    }),
    fires: above,
    windowSeconds: DAY_S,
  },
  shared_payout_account: {
    observe: ({ history }: HistoryInput) => ordersShared(history?.sharedCustomer),
    fires: above,
    windowSeconds: SHARED_CUSTOMER_DAYS * DAY_S,
  },
  leaked_coupon: { observe: ({ history }: HistoryInput) => surge(history?.couponDays), fires: above },
  forced_clicks_share: {
    observe: ({ history }: HistoryInput) => forcedPercent(history?.traffic),
    fires: above,
    windowSeconds: DAY_S,
  },
  regular_click_to_order: {
    observe: ({ history }: HistoryInput) => variationPercent(history?.clickToOrder),
    fires: (percent: string | number, least: number) => Number(percent) < least,
  },
  conversion_rate: {
    observe: ({ history }: HistoryInput) => timesMedian(history),
    fires: above,
    windowSeconds: DAY_S,
  },
  anomaly: { observe: ({ history }: HistoryInput) => surge(history?.affiliateDays), fires: above },
} as const;

/** On one day in how many there would be so many orders by now, this one included; see {@link oneDayIn}. */
function surge(days: ComparedDays | undefined): Observation {
  if (!days) return NOTHING;
  const orders = days.today + 1;
  const first = days.before.findIndex((count) => count > 0);
  const before = first === -1 ? [] : days.before.slice(first);
  const { today, mean: usual } = days.others;
  // A sale brings all of them more orders; of a few orders that cannot be said.
  const isBusy = today >= MIN_OTHERS_ORDERS && today > usual && usual > 0;
  const growth = isBusy ? { times: today / usual, error: 1 / today } : { times: 1, error: 0 };
  const observed = oneDayIn(orders, before, growth);
  if (observed === undefined) return NOTHING;
  const mean = before.reduce((sum, count) => sum + count, 0) / before.length;
  return {
    observed: orders < MIN_SURGE ? 1 : observed,
    figures: {
      ...{ orders, mean: rounded(mean), days: before.length },
      ...{ others_growth: rounded(growth.times), until: days.until / 1_000 },
    },
  };
}

function ordersShared(shared: SharedCustomer | undefined): Observation {
  return shared ? { observed: shared.orders, figures: { affiliates: shared.affiliates } } : NOTHING;
}

function forcedPercent(traffic: OrderHistory['traffic']): Observation {
  if (!traffic) return NOTHING;
  const { clicks, forced } = traffic;
  const all = clicks + forced;
  if (all < MIN_CLICKS) return NOTHING;
  return { observed: Math.round((100 * forced) / all), figures: { clicks: all, forced } };
}

/**
 * The variation of the affiliate's times as a share of that of the others in the campaign. People's times differ about as
 * much as they last, unless the shop makes all of them wait: a trial, or a clock that is off, is the same for the others.
 */
function variationPercent(times: OrderHistory['clickToOrder']): Observation {
  if (!times) return NOTHING;
  const own = variationOf(times.own);
  const others = variationOf(times.others);
  if (own === undefined || others === undefined || others < LEAST_VARIATION) return NOTHING;
  return {
    observed: Math.round((100 * own) / others),
    figures: {
      ...{ orders: times.own.orders, percent: rounded(100 * own) },
      ...{ others_orders: times.others.orders, others_percent: rounded(100 * others) },
    },
  };
}

/** The coefficient of variation; undefined where there is too little of it. */
function variationOf({ orders, seconds, squares }: ClickToOrder): number | undefined {
  const mean = seconds / orders;
  // Times of no length are those of a shop that has none, and a matter of `instant_conversion`.
  if (orders < MIN_TIMES || mean < 1) return undefined;
  return Math.sqrt(Math.max(0, squares / orders - mean ** 2)) / mean;
}

/**
 * How many times the rate of the campaign's median affiliate this one's is at the least; see {@link leastRatio}. The median,
 * because one affiliate with many clicks and few orders would make everybody else look unusual in a sum.
 */
function timesMedian(history: OrderHistory | undefined): Observation {
  const { sales } = history ?? {};
  if (!sales || sales.own.clicks < MIN_CLICKS) return NOTHING;
  const others = sales.others.filter(({ clicks }) => clicks >= MIN_CLICKS);
  if (others.length < MIN_OTHERS) return NOTHING;
  const byRate = others.toSorted((a, b) => a.orders / a.clicks - b.orders / b.clicks);
  const median = byRate[Math.floor(byRate.length / 2)] as Sales;
  const ratio = leastRatio(
    { events: sales.own.orders, of: sales.own.clicks },
    { events: median.orders, of: median.clicks },
  );
  return {
    observed: rounded(ratio),
    figures: {
      ...{ orders: sales.own.orders, clicks: sales.own.clicks, others: others.length },
      ...{ median_orders: median.orders, median_clicks: median.clicks },
    },
  };
}

function rounded(figure: number): number {
  return Math.round(figure * 10) / 10;
}
