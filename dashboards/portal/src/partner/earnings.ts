import { parseAmount } from '../../../../core/money.ts';
import { api, type Money, take } from '../data/api.ts';
import type { Range } from '../data/period.ts';
import { TIME_ZONE } from '../text/format.ts';

/** Earnings of a partner in minor units, for charts. */
export interface Earnings {
  readonly currency: string;
  readonly totalMinor: number;
  readonly beforeMinor: number;
  readonly byDay: (days: readonly string[]) => number[];
}

export async function readEarnings(
  options: { affiliateId: string; range: Range },
  signal: AbortSignal,
): Promise<Earnings> {
  const { affiliateId, range } = options;
  const params = { path: { id: affiliateId }, query: { ...range, time_zone: TIME_ZONE } };
  const { total, before, days } = await take(api.GET('/v1/affiliates/{id}/earnings', { params, signal }));
  const known = new Map(days.map(({ day, earned }) => [day, minorOf(earned)]));
  return {
    currency: total.currency,
    totalMinor: minorOf(total),
    beforeMinor: minorOf(before),
    byDay: (names) => names.map((day) => known.get(day) ?? 0),
  };
}

/** For a chart's axis only; sums come from the server. */
export function minorOf({ amount, currency }: Money): number {
  const isNegative = amount.startsWith('-');
  const minor = Number(parseAmount(amount.replace('-', ''), currency));
  return isNegative ? -minor : minor;
}
