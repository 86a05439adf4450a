import type { Evidence, RuleResult } from '../decide/evidence.ts';

/** What a fraud rule saw, in sentences. */

type Sentence = (observed: string | number, figures: Readonly<Record<string, number>>) => string;

const surgeOf = (what: string): Sentence => {
  return (observed, { orders, mean, days, others_growth: growth = 1, until = 0 }) => {
    const others = growth > 1 ? `, and others of the program have ${growth} times as many as before` : '';
    return `${what} ${count(orders, 'order')} with this one, counted up to ${timeText(until)}, after ${mean} a day in the ${days} days before${others}: as its own days differ, so many come on one day in ${Number(observed).toLocaleString('en')}.`;
  };
};

/** Rules whose figures say more than what is compared. */
const SENTENCES: Readonly<Record<string, Sentence>> = {
  repeat_payment_account: (observed) =>
    `The account that paid has paid ${count(Number(observed), 'order')} within a day.`,
  shared_payout_account: (observed, { affiliates = 0 }) =>
    affiliates === 0
      ? 'No other affiliate is paid to the same account.'
      : `${count(affiliates, 'other affiliate')} ${affiliates === 1 ? 'is' : 'are'} paid to the same account, and the customer has ${count(Number(observed), 'order')} with them.`,
  leaked_coupon: surgeOf('The coupon has credited without a click'),
  forced_clicks_share: (observed, { forced, clicks }) =>
    `Of the affiliate’s ${clicks} clicks in the campaign in the day before, ${forced} were made by pages: ${observed} percent.`,
  regular_click_to_order: (observed, { orders, percent, others_orders, others_percent }) =>
    `The times from click to order of the affiliate’s latest ${orders} orders in the campaign vary by ${percent} percent of their mean, those of ${others_orders} orders of others by ${others_percent} percent: ${observed} percent of that.`,
  conversion_rate: (observed, { orders, clicks, others, median_orders, median_clicks }) =>
    `Of the affiliate’s ${clicks} clicks in the campaign in the day before, ${orders} led to an order; of the median of ${others} others ${median_orders} of ${median_clicks}: at least ${observed} times that rate.`,
  anomaly: surgeOf('The affiliate has'),
};

/** Undefined where the figures that are compared say everything. */
export function ruleSentence({ rule, observed, figures = {} }: RuleResult): string | undefined {
  return observed === null ? undefined : SENTENCES[rule]?.(observed, figures);
}

export function explainRule(result: RuleResult): string {
  const { rule, fired, effect, observed, threshold, windowSeconds } = result;
  const within = windowSeconds === null ? '' : ` within ${windowSeconds / 3_600} h`;
  if (observed === null) return `Rule ${rule} could not be applied (threshold ${threshold}).`;
  const isWatching = effect === 'none';
  const outcome = fired ? (isWatching ? 'fired and only watches' : `fired: ${effect}`) : 'did not fire';
  const sentence = ruleSentence(result);
  return `Rule ${rule} ${outcome}; observed ${observed}${within}, ${isWatching ? 'suggested threshold' : 'threshold'} ${threshold}.${sentence ? ` ${sentence}` : ''}`;
}

/** With which orders the rules compared. */
export function explainHistory({ history }: Evidence): string[] {
  if (!history) return [];
  const { until, complete, unread } = history;
  return [
    `It was compared with orders received before ${until}${complete ? '' : ', some of which were not decided yet'}.`,
    ...(unread.length > 0 ? [`Not read in the time, and not compared: ${unread.join(', ')}.`] : []),
  ];
}

/** A time of UTC; `seconds` are of Unix. */
function timeText(seconds: number): string {
  return `${new Date(seconds * 1_000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function count(number: number | undefined, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
