import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { faultsIn } from '../http/validation.ts';
import { field, path, paths, text, when, words } from '../mapping/field.ts';
import { orderFields } from '../orders/order.ts';
import { ORDER_STATUSES } from '../orders/order-status.ts';

/**
 * The one language in which a call of a source is read: data, so that a kind of source is a preset of it, a shop with forms of its
 * own has a mapping of its own, and either is tried on a call before it is saved. docs/connect/anything.md describes it.
 *
 * A call is read by every rule whose conditions hold, in their order, until one ignores it; each makes one report of it, or
 * one for each member of a list. A call that no rule takes is refused and kept.
 */

const MAX_RULES = 40;
const MAX_ITEM_LISTS = 10;

/** Other ids of the order, by which a later call may name it. */
export const OTHER_IDS = 'other_ids';
/** Statuses are what a rule does; the program is the source's. */
const FIELDS = [
  OTHER_IDS,
  ...Object.keys(orderFields).filter(
    (name) => !['program_id', 'status', 'event', 'type', 'items', 'coupons'].includes(name),
  ),
] as [string, ...string[]];
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
  /**
   * What is charged back or restored is a dispute, known by its `refund_ref`: it takes what is left where it is of more, and one
   * that was won takes nothing, whichever of its calls comes first.
   */
  dispute: z.boolean().optional(),
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
