import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { canonicalTimeZone } from '../../core/time.ts';
import { faultsIn } from '../http/validation.ts';
import { orderFields } from '../orders/order.ts';
import { ORDER_STATUSES } from '../orders/order-status.ts';
import { MAX_PATH_LENGTH, pathFault } from './paths.ts';
import { DECIMAL_SIGNS, UNITS } from './values.ts';

/**
 * The one language in which a call of a source is read: data, so that a kind of source is a preset of it, a shop with forms of its
 * own has a mapping of its own, and either is tried on a call before it is saved. docs/connect/anything.md describes it.
 *
 * A call is read by every rule whose conditions hold, in their order, until one ignores it; each makes one report of it, or
 * one for each member of a list. A call that no rule takes is refused and kept.
 */

const MAX_RULES = 40;
const MAX_CONDITIONS = 10;
/** Paths that are tried one after the other, and parts that are joined. */
const MAX_PATHS = 10;
const MAX_WORDS = 100;
const MAX_TERMS = 10;
const MAX_ITEM_LISTS = 10;
const MAX_TEXT_LENGTH = 200;

const text = z.string().min(1).max(MAX_TEXT_LENGTH);

const path = z
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

const paths = listOf(path, MAX_PATHS);

/** Paths to what must stand there: one of these texts; true: anything; false: nothing. All must hold. */
const when = z
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
function words<Ours extends z.ZodType>(ours: Ours) {
  return z
    .record(text, ours)
    .refine((all) => Object.keys(all).length <= MAX_WORDS, `must not exceed ${MAX_WORDS} words`);
}

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

const field = z.preprocess(
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
      words: words(z.string().max(MAX_TEXT_LENGTH)).optional(),
      units: z.enum(UNITS).optional(),
      decimal: z.enum(DECIMAL_SIGNS).optional(),
      round: z.boolean().optional(),
      absolute: z.boolean().optional(),
      zone: z
        .string()
        .refine((name) => canonicalTimeZone(name) !== undefined, 'must be a time zone such as Europe/Vienna')
        .optional(),
    })
    .refine(({ from, join, sum, value, default: other }) => {
      const ways = [from, join, sum, value].filter((way) => way !== undefined).length;
      return ways === 1 || (ways === 0 && other !== undefined);
    }, 'has one of from, join, sum and value, or a default alone'),
);
export type FieldMapping = z.output<typeof field>;

/** Statuses are what a rule does; the program is the source's. */
const FIELDS = Object.keys(orderFields).filter(
  (name) => !['program_id', 'status', 'event', 'type', 'items', 'coupons'].includes(name),
) as [string, ...string[]];
const ITEM_FIELDS = [
  'sku',
  'brand',
  'category',
  'quantity',
  'amount',
  'discount',
  'tax',
  'shipping',
  'gift_card',
] as const;

const fields = z.partialRecord(z.enum(FIELDS), field);
export type FieldMappings = z.output<typeof fields>;

const itemList = z.strictObject({
  each: path.optional(),
  when: when.optional(),
  fields: z.partialRecord(z.enum(ITEM_FIELDS), field),
});
export type ItemMapping = z.output<typeof itemList>;

export const ACTS = [...ORDER_STATUSES, 'ignored'] as const;
const act = z.enum(ACTS);

const does = z.preprocess(
  (value) => (typeof value === 'string' ? { value } : value),
  z
    .strictObject({
      value: act.optional(),
      from: paths.optional(),
      words: words(act).optional(),
      default: act.optional(),
    })
    .refine(({ value, from }) => (value === undefined) !== (from === undefined), 'has one of value and from'),
);

const rule = z.strictObject({
  when: when.default({}),
  does,
  /** A list: one report for each member, whose fields begin there. */
  each: path.optional(),
  /** Beside the fields of the mapping, and instead of those of the same name; null: without it. */
  fields: z.partialRecord(z.enum(FIELDS), field.nullable()).default({}),
  /**
   * What a further report of a known order does beside approving it: by `amount` a new amount is a change, by `all` a cancelled
   * order is restored as well, as the call shows the order as it stands now. Without it another amount is a conflict.
   */
  snapshot: z.enum(['amount', 'all']).optional(),
  /** Why the call is ignored. */
  reason: text.optional(),
});
export type Rule = z.output<typeof rule>;

const mapping = z.strictObject({
  fields: fields.default({}),
  items: z.array(itemList).max(MAX_ITEM_LISTS).default([]),
  rules: z.array(rule).min(1).max(MAX_RULES),
});

/** A mapping that is read and right. */
export type Mapping = z.output<typeof mapping>;
/** A mapping as people write it. */
export type MappingInput = z.input<typeof mapping>;

/** Reads a mapping. @throws InputError naming what is wrong as `mapping.rules.0.fields.amount`. */
export function readMapping(given: unknown): Mapping {
  const read = mapping.safeParse(given);
  if (read.success) return read.data;
  const [fault] = faultsIn(read.error, '');
  throw new InputError(
    ['mapping', fault?.field].filter((part) => part).join('.'),
    fault?.message ?? 'is no mapping',
  );
}
