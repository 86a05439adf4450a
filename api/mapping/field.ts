import { z } from 'zod';
import { canonicalTimeZone } from '../../core/time.ts';
import { MAX_PATH_LENGTH, pathFault } from './paths.ts';
import { DECIMAL_SIGNS, UNITS } from './values.ts';

/** How one field is read out of what a sender wrote: where it stands and how it is written there. */

const MAX_CONDITIONS = 10;
/** Paths that are tried one after the other, and parts that are joined. */
const MAX_PATHS = 10;
const MAX_WORDS = 100;
const MAX_TERMS = 10;
const MAX_TEXT_LENGTH = 200;

export const text = z.string().min(1).max(MAX_TEXT_LENGTH);

export const path = z
  .string()
  .max(MAX_PATH_LENGTH)
  .superRefine((value, context) => {
    const message = pathFault(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

/** One or a list, read as a list. */
function listOf<Item extends z.ZodType>(item: Item, max: number) {
  return z.preprocess((value) => (Array.isArray(value) ? value : [value]), z.array(item).min(1).max(max));
}

export const paths = listOf(path, MAX_PATHS);

/** Paths to what must stand there: one of these texts; true: anything; false: nothing. All must hold. */
export const when = z
  .record(
    path,
    z.preprocess(
      (value) => (typeof value === 'string' ? [value] : value),
      z.union([z.boolean(), z.array(text).min(1).max(MAX_WORDS)], {
        error: 'must be a text, a list of texts, true (is there) or false (is not there)',
      }),
    ),
  )
  .refine((all) => Object.keys(all).length <= MAX_CONDITIONS, `must not exceed ${MAX_CONDITIONS} conditions`);
export type Conditions = z.output<typeof when>;

/** Words of the sender, in any case, to ours. */
export function words<Ours extends z.ZodType>(ours: Ours) {
  return z
    .record(text, ours)
    .refine((all) => Object.keys(all).length <= MAX_WORDS, `must not exceed ${MAX_WORDS} words`);
}

/** How a value is written: its words and ours, an amount, a time. */
export const valueForm = {
  words: words(z.string().max(MAX_TEXT_LENGTH)).optional(),
  units: z.enum(UNITS).optional(),
  decimal: z.enum(DECIMAL_SIGNS).optional(),
  round: z.boolean().optional(),
  absolute: z.boolean().optional(),
  zone: z
    .string()
    .refine((name) => canonicalTimeZone(name) !== undefined, 'must be a time zone such as Europe/Vienna')
    .optional(),
};
const form = z.strictObject(valueForm);
export type ValueForm = z.output<typeof form>;

/** What is added up: everything at the path, each times the number at `times`. */
const term = z.preprocess(
  (value) => (typeof value === 'string' ? { from: value } : value),
  z.strictObject({
    from: paths,
    times: path.optional(),
    negative: z.boolean().optional(),
    when: when.optional(),
  }),
);

/**
 * An amount in the currency at `from` that is to be in the one at `to`, where these differ: by the first pair of sums that are the
 * same money in both.
 */
const exchange = z.strictObject({
  from: paths,
  to: paths,
  by: z
    .array(z.strictObject({ of: paths, per: paths }))
    .min(1)
    .max(MAX_TERMS),
});

export const field = z.preprocess(
  (value) => (typeof value === 'string' || Array.isArray(value) ? { from: value } : value),
  z
    .strictObject({
      /** The first of these that gives something. */
      from: paths.optional(),
      /** All of these, with colons between them. */
      join: z.array(path).min(2).max(MAX_PATHS).optional(),
      sum: z.array(term).min(1).max(MAX_TERMS).optional(),
      value: text.optional(),
      /** Where nothing is there. */
      default: text.optional(),
      exchange: exchange.optional(),
      /** Of coupons: what stands between several codes, beside commas. */
      split: text.max(5).optional(),
      ...valueForm,
    })
    .refine(({ from, join, sum, value, default: other }) => {
      const ways = [from, join, sum, value].filter((way) => way !== undefined).length;
      return ways === 1 || (ways === 0 && other !== undefined);
    }, 'has one of from, join, sum and value, or a default alone'),
);
export type FieldMapping = z.output<typeof field>;
