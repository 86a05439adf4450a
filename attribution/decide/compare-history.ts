import { DAY_S } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import type { EarlierCounts } from '../../ledger/conversions/decision-facts.ts';
import {
  type CampaignOrders,
  type ClickToOrder,
  type DayCounts,
  SHARED_CUSTOMER_DAYS,
  type SharedCustomer,
} from '../../ledger/conversions/order-history.ts';
import type { CampaignTraffic } from '../../warehouse/lookups/campaign-traffic.ts';
import type { RuleResult } from './evidence.ts';
import { leastRatio, oneDayIn } from './statistics.ts';

/** Fraud rules that compare an order with what its affiliate, coupon and campaign were like before it. */

/** What an order is compared with. Undefined: no rule that is on needs it, or nothing of it is known. */
export interface OrderHistory {
  readonly affiliateDays: DayCounts | undefined;
  readonly couponDays: DayCounts | undefined;
  readonly clickToOrder: ClickToOrder | undefined;
  readonly traffic: CampaignTraffic | undefined;
  /** Orders for the clicks of the same hours as `traffic`. */
  readonly campaignOrders: CampaignOrders | undefined;
  readonly sharedCustomer: SharedCustomer | undefined;
}

interface HistoryInput {
  readonly conversion: ClaimedConversion;
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

const above = (observed: string | number, threshold: number): boolean => Number(observed) > threshold;

export const HISTORY_RULES = {
  repeat_payment_account: {
    observe: ({ conversion, earlier }: HistoryInput): Observation => ({
      observed: conversion.paymentAccountHash === null ? null : earlier.fromAccount + 1,
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
    observe: ({ history }: HistoryInput) => timesCampaign(history),
    fires: above,
    windowSeconds: DAY_S,
  },
  anomaly: { observe: ({ history }: HistoryInput) => surge(history?.affiliateDays), fires: above },
} as const;

/** On one day in how many there would be so many orders by now, this one included; see {@link oneDayIn}. */
function surge(days: DayCounts | undefined): Observation {
  if (!days) return NOTHING;
  const orders = days.today + 1;
  const observed = oneDayIn(orders, days.before);
  if (observed === undefined) return NOTHING;
  const mean = days.before.reduce((sum, count) => sum + count, 0) / days.before.length;
  return {
    observed: orders < MIN_SURGE ? 1 : observed,
    figures: { orders, mean: rounded(mean), days: days.before.length },
  };
}

function ordersShared(shared: SharedCustomer | undefined): Observation {
  return shared ? { observed: shared.orders, figures: { affiliates: shared.affiliates } } : NOTHING;
}

function forcedPercent(traffic: CampaignTraffic | undefined): Observation {
  if (!traffic) return NOTHING;
  const { clicks, forced } = traffic;
  const all = clicks + forced;
  if (all < MIN_CLICKS) return NOTHING;
  return { observed: Math.round((100 * forced) / all), figures: { clicks: all, forced } };
}

/** The coefficient of variation: people's times differ about as much as they last. */
function variationPercent(times: ClickToOrder | undefined): Observation {
  if (!times) return NOTHING;
  const { orders, meanSeconds, deviationSeconds } = times;
  // Times of no length are those of a shop that has none, and a matter of `instant_conversion`.
  if (orders < MIN_TIMES || meanSeconds < 1) return NOTHING;
  return {
    observed: Math.round((100 * deviationSeconds) / meanSeconds),
    figures: { orders, mean_seconds: rounded(meanSeconds) },
  };
}

/** How many times the rate of the others in the campaign the affiliate's is at the least; see {@link leastRatio}. */
function timesCampaign(history: OrderHistory | undefined): Observation {
  const { traffic, campaignOrders } = history ?? {};
  if (!traffic || !campaignOrders) return NOTHING;
  const { clicks, campaignClicks } = traffic;
  const { own, others } = campaignOrders;
  const othersClicks = campaignClicks - clicks;
  if (clicks < MIN_CLICKS || othersClicks < MIN_CLICKS) return NOTHING;
  const ratio = leastRatio({ events: own, of: clicks }, { events: others, of: othersClicks });
  return {
    observed: rounded(ratio),
    figures: { orders: own, clicks, others_orders: others, others_clicks: othersClicks },
  };
}

function rounded(figure: number): number {
  return Math.round(figure * 10) / 10;
}
