/** Tails of two distributions, for rules that say how rarely an honest affiliate looks like this. */

/** What is rarer is as good as impossible. */
export const MAX_ONE_IN = 1_000_000;
/** Fewer days say little about how much one differs from another. */
export const MIN_DAYS = 14;
/** Days differ by this share of their mean (squared) at the least, also where the days before happened to be alike. */
const LEAST_DISPERSION = 0.03;
/** Of so few days the dispersion is often estimated too low: it is taken this much higher. */
const DISPERSION_MARGIN = 1.3;

/**
 * How rarely an affiliate whose days were like those before has `today` events or more: on one day in so many, 1 to
 * {@link MAX_ONE_IN}. Days are negative binomial, with the mean of the days before and their dispersion, which weekends,
 * newsletters and the like make larger than that of pure chance. Undefined for fewer than {@link MIN_DAYS} days.
 * @param growth How many times as much others have on this day as before, and the error of that (squared).
 */
export function oneDayIn(
  today: number,
  before: readonly number[],
  growth: { readonly times: number; readonly error: number } = { times: 1, error: 0 },
): number | undefined {
  const days = before.length;
  if (days < MIN_DAYS) return undefined;
  // Half an event more: an affiliate without any would otherwise never have one.
  const usual = (sum(before) + 0.5) / days;
  const mean = usual * growth.times;
  if (today <= mean) return 1;
  const variance = sum(before.map((count) => (count - usual) ** 2)) / (days - 1);
  const dispersion = DISPERSION_MARGIN * Math.max(LEAST_DISPERSION, (variance - usual) / usual ** 2);
  // The mean is an estimate, too: its own error adds to what the next day may differ.
  const size = 1 / (dispersion + growth.error + (1 / usual + dispersion) / days);
  const share = mean / (mean + size);
  const logFirst =
    logGamma(today + size) -
    logGamma(size) -
    logGamma(today + 1) +
    size * Math.log(1 - share) +
    today * Math.log(share);
  const chance = upperTail(logFirst, (count) => ((count + size) / (count + 1)) * share, today);
  return Math.min(MAX_ONE_IN, Math.max(1, Math.round(1 / chance)));
}

/** Of a bound that is stated: it is passed by chance once in so many times at the most. */
export const BOUND_ONE_IN = 1_000;

/**
 * By what factor a rate is higher than another one at the least, were it not for a chance of 1 in {@link BOUND_ONE_IN}: the
 * exact bound of Clopper and Pearson for the share of `events` in those of both.
 */
export function leastRatio(
  one: { readonly events: number; readonly of: number },
  other: { readonly events: number; readonly of: number },
): number {
  const all = one.events + other.events;
  if (one.events === 0 || one.of === 0 || other.of === 0) return 0;
  // The largest share by which so many events, or more, would be too much for chance.
  let [low, high] = [0, 1];
  for (let step = 0; step < 60; step++) {
    const share = (low + high) / 2;
    if (binomialTail(one.events, all, share) < 1 / BOUND_ONE_IN) low = share;
    else high = share;
  }
  return (low / (1 - low)) * (other.of / one.of);
}

/** The chance of `count` successes or more in `of`. */
function binomialTail(count: number, of: number, share: number): number {
  const logFirst =
    logGamma(of + 1) -
    logGamma(count + 1) -
    logGamma(of - count + 1) +
    count * Math.log(share) +
    (of - count) * Math.log1p(-share);
  if (count <= of * share) return 1;
  return upperTail(logFirst, (k) => ((of - k) / (k + 1)) * (share / (1 - share)), count);
}

/** Terms beyond this add nothing to a sum. */
const NEGLIGIBLE = 1e-16;
const MAX_TERMS = 1_000_000;

/** Sums the probabilities from `first` on; `next` is the ratio of that of `count + 1` to that of `count`. */
function upperTail(logFirst: number, next: (count: number) => number, first: number): number {
  let term = 1;
  let total = 1;
  for (let count = first; count < first + MAX_TERMS; count++) {
    term *= next(count);
    total += term;
    if (term < total * NEGLIGIBLE) break;
  }
  return Math.min(1, Math.exp(logFirst) * total);
}

/** ln Γ(x) for x > 0, by Stirling's series after raising x to where it is exact to 13 digits. */
function logGamma(x: number): number {
  let [at, shift] = [x, 0];
  while (at < 10) shift += Math.log(at++);
  const square = at * at;
  const series = 1 / 12 - (1 / 360 - (1 / 1_260 - 1 / (1_680 * square)) / square) / square;
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series / at - shift;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
