/** What a generator has received in one run, in sums: a few numbers stand for millions of clicks and orders. */
export const TOTALS = [
  'clicks',
  'click_id_sum_0',
  'click_id_sum_1',
  'click_id_sum_2',
  'click_id_sum_3',
  'orders',
  'orders_minor',
] as const;
export type Total = (typeof TOTALS)[number];
export type Totals = Readonly<Record<Total, number>>;

/** The end of a run, as a generator writes it and `npm run load -- reconcile` reads it. */
export interface RunFile {
  /** In `sub3` of the run's clicks, and in front of its orders' ids. */
  readonly run: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  readonly seed: number;
  readonly totals: Totals;
}

/** The name of the run that began at a time. */
export function runName(startedAt: number): string {
  return `run-${startedAt.toString(36)}`;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const VALUES = new Map(ALPHABET.split('').map((letter, value): [string, number] => [letter, value]));
const WORDS = 4;
const LETTERS_A_WORD = 4;
const LETTER_BITS = 6;

/**
 * The first 96 bits of a click id, which are as good as random, as four words of 24: their sums over half a thousand million
 * clicks are still exact in a double, and sets of clicks with the same four sums are the same clicks.
 */
export function clickIdWords(clickId: string): number[] {
  return Array.from({ length: WORDS }, (_, word) => {
    let value = 0;
    for (let i = 0; i < LETTERS_A_WORD; i++) {
      value = (value << LETTER_BITS) | (VALUES.get(clickId.charAt(word * LETTERS_A_WORD + i)) ?? 0);
    }
    return value;
  });
}

/** Counts one click in. */
export function addClick(clickId: string, add: (total: Total, value: number) => void): void {
  add('clicks', 1);
  const [a = 0, b = 0, c = 0, d = 0] = clickIdWords(clickId);
  add('click_id_sum_0', a);
  add('click_id_sum_1', b);
  add('click_id_sum_2', c);
  add('click_id_sum_3', d);
}
