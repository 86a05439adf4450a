import type { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { MAX_HEADER_LENGTH } from '../../core/text-limits.ts';
import { MAX_ITEMS } from '../../ledger/conversions/items.ts';
import type { OrderEvent } from '../../ledger/decisions/order-reports.ts';
import type { FieldFault } from '../http/problems.ts';
import { faultsIn } from '../http/validation.ts';
import type { FieldMapping } from '../mapping/field.ts';
import { newEffort, type Place, type Sent, sentAt } from '../mapping/paths.ts';
import { allTexts, firstText, holds, readField, roundingOf, wordIn } from '../mapping/read-field.ts';
import { orderFields, orderId, orderShape, type ShopReport, toReport } from '../orders/order.ts';
import { parseOrderStatus } from '../orders/order-status.ts';
import {
  type ACTS,
  type FieldMappings,
  type ItemMapping,
  type Mapping,
  OTHER_IDS,
  type Rule,
} from './mapping.ts';
import type { SentValues } from './sent-request.ts';

/** What a mapping makes of a call. */

/** One report, under our names. */
export interface ReadReport {
  readonly params: Readonly<Record<string, unknown>>;
  /** Undefined: it is at fault. */
  readonly report: ShopReport | undefined;
  readonly faults: readonly FieldFault[];
  readonly snapshot: Rule['snapshot'];
}

/** Other ids of an order. */
export interface ReadNames {
  readonly orderId: string;
  readonly otherIds: readonly string[];
}

export interface Reading {
  readonly reports: readonly ReadReport[];
  readonly names: readonly ReadNames[];
  /** Why a call without reports is ignored. */
  readonly ignored: string | undefined;
  /** Why it cannot be read at all. */
  readonly faults: readonly FieldFault[];
  /** What was left out of reports and does not stop them. */
  readonly notes: readonly string[];
}

/** What the program's orders are in where nothing else is said. */
export interface ReadingDefaults {
  readonly currency: string;
}

/** Reports of one call: a return of more is no call of a shop. */
const MAX_REPORTS = 200;
/** Other ids of one order: Stripe has four. */
const MAX_OTHER_IDS = 20;
/** What helps to decide and is no reason to lose an order when it is damaged. */
const LENIENT = [
  'ip',
  'user_agent',
  'accept_language',
  'customer_email',
  'customer_id',
  'customer_status',
] as const;
const REFUNDS: ReadonlySet<string> = new Set(['refunded', 'partially_refunded', 'charged_back']);
const WITH_ITEMS: ReadonlySet<string> = new Set(['order', 'pending', 'approved', 'cancelled', 'rejected']);

const sourceReport = orderShape.transform(toReport);

/** Reads a call; every fault is in the answer. */
export function readCall(mapping: Mapping, values: SentValues, defaults: ReadingDefaults): Reading {
  const { body, query, headers } = values;
  const place: Place = { here: body, body, query, headers, effort: newEffort() };
  const reports: ReadReport[] = [];
  const notes: string[] = [];
  const names: ReadNames[] = [];
  try {
    let isTaken = false;
    for (const [i, rule] of mapping.rules.entries()) {
      if (!holds(rule.when, place)) continue;
      isTaken = true;
      const act = actOf(rule, place, `rules.${i}.does`);
      names.push(...readNames({ ...mapping.fields, ...rule.fields }, rule, place));
      if (act === 'ignored') {
        const reason = rule.reason ?? `rule ${i + 1} ignores it`;
        return { reports, names, ignored: reports.length > 0 ? undefined : reason, faults: [], notes };
      }
      reports.push(...readRule({ mapping, rule, act, place, defaults, notes }));
      if (reports.length > MAX_REPORTS) throw tooMany();
    }
    if (!isTaken) throw new InputError('mapping', 'has no rule that takes this call');
    const ignored =
      reports.length === 0 ? 'it has nothing to report: the list of its rule is empty' : undefined;
    return { reports, names, ignored, faults: [], notes };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return {
      reports: [],
      names: [],
      ignored: undefined,
      faults: [{ field: error.field, message: error.reason }],
      notes,
    };
  }
}

/** A rule that ignores the call says by fields of its own what of the order it names. */
function readNames(
  { order_id: orderId, [OTHER_IDS]: others }: Rule['fields'],
  { does, fields }: Rule,
  place: Place,
): ReadNames[] {
  if (!others?.from || (does.value === 'ignored' && !fields[OTHER_IDS])) return [];
  const id = sentId(readField('order_id', orderId ?? undefined, place, ''));
  const otherIds = others.from
    .flatMap((path) => allTexts([path], place))
    .flatMap((text) => sentId(text) ?? [])
    .filter((other) => other !== id);
  if (id === undefined || otherIds.length === 0) return [];
  return [{ orderId: id, otherIds: [...new Set(otherIds)].slice(0, MAX_OTHER_IDS) }];
}

/** As ids of orders are stored; undefined: it is none. */
const sentId = (text: string | undefined): string | undefined => orderId.safeParse(text).data;

function tooMany(): InputError {
  return new InputError('mapping', `makes more than ${MAX_REPORTS} reports of this call`);
}

interface RuleReading {
  readonly mapping: Mapping;
  readonly rule: Rule;
  readonly act: Exclude<(typeof ACTS)[number], 'ignored'>;
  readonly place: Place;
  readonly defaults: ReadingDefaults;
  readonly notes: string[];
}

function readRule({ rule, place, ...rest }: RuleReading): ReadReport[] {
  const places =
    rule.each === undefined ? [place] : sentAt(rule.each, place).map((here) => ({ ...place, here }));
  if (places.length > MAX_REPORTS) throw tooMany();
  const reports = places.map((one) => readReport({ ...rest, rule, place: one }));
  return reports.filter(({ params: { status, amount } }) => {
    // Shops write down what went back into the stock as a refund of no money.
    const isNothing = REFUNDS.has(String(status)) && typeof amount === 'string' && isZero(amount);
    if (isNothing) rest.notes.push('a refund of nothing is left out');
    return !isNothing;
  });
}

const isZero = (amount: string): boolean => /^0(?:\.0*)?$/.test(amount);

function readReport({ mapping, rule, act, place, defaults, notes }: RuleReading): ReadReport {
  const { snapshot } = rule;
  const all = Object.entries({ ...mapping.fields, ...rule.fields });
  const chosen = Object.fromEntries(all.filter(([, field]) => field !== null)) as FieldMappings;
  const params: Record<string, unknown> = { status: act };
  const faults: FieldFault[] = [];
  const attempt = (name: string, read: () => unknown): void => {
    try {
      const value = read();
      if (value !== undefined) params[name] = value;
    } catch (error) {
      if (!(error instanceof InputError) || error.field === 'mapping') throw error;
      faults.push({ field: error.field, message: error.reason });
    }
  };
  attempt('currency', () =>
    (readField('currency', chosen.currency, place, '') ?? defaults.currency).toUpperCase(),
  );
  const currency = String(params.currency);
  for (const [name, field] of Object.entries(chosen)) {
    if (name !== 'currency' && name !== OTHER_IDS && field)
      attempt(name, () => readOne(name, field, place, currency));
  }
  for (const name of LENIENT) dropDamaged(params, name, notes);
  if (WITH_ITEMS.has(act) && mapping.items.length > 0) {
    const before = faults.length;
    attempt('items', () => readItems(mapping.items, place, currency));
    if (faults.length > before) {
      notes.push(
        `items are left out: ${faults
          .splice(before)
          .map(({ field, message }) => `${field} ${message}`)
          .join('; ')}`,
      );
    }
  }
  if (faults.length > 0) return { params, report: undefined, faults, snapshot };
  const read = checked(params, notes);
  const { report } = read;
  if (!report?.event) return { ...read, snapshot };
  const roundingMinor =
    chosen.amount && roundingOf({ name: 'amount', field: chosen.amount, place, currency });
  const event = givenBack(report.event, { roundingMinor, isDispute: rule.dispute });
  return { ...read, report: { ...report, event }, snapshot };
}

/** What a rule says of what is given back beside its fields. */
function givenBack(
  event: OrderEvent,
  { roundingMinor, isDispute }: { roundingMinor: bigint | undefined; isDispute: boolean | undefined },
): OrderEvent {
  if (event.kind !== 'refunded' && event.kind !== 'charged_back' && event.kind !== 'restored') return event;
  const { amount } = event;
  return {
    ...event,
    ...(amount && roundingMinor && { amount: { ...amount, roundingMinor } }),
    ...(isDispute && { isDispute }),
  };
}

/** The report by the schema of every order; items that do not come to its amount are left out. */
function checked(params: Record<string, unknown>, notes: string[]): Omit<ReadReport, 'snapshot'> {
  const read = sourceReport.safeParse(params);
  if (!read.success) {
    const faults = faultsIn(read.error);
    if (params.items !== undefined && faults.every(({ field }) => field.startsWith('items'))) {
      notes.push(
        `items are left out: ${faults.map(({ field, message }) => `${field} ${message}`).join('; ')}`,
      );
      return checked(without(params, 'items'), notes);
    }
    return { params, report: undefined, faults };
  }
  const { order } = read.data;
  const sumMinor = order?.items?.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
  if (order && sumMinor !== undefined && sumMinor !== order.amountMinor) {
    notes.push('items are left out: they do not come to the amount of the order');
    return checked(without(params, 'items'), notes);
  }
  return { params, report: read.data, faults: [] };
}

function without(params: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([one]) => one !== name));
}

function dropDamaged(params: Record<string, unknown>, name: (typeof LENIENT)[number], notes: string[]): void {
  const value = params[name];
  if (value === undefined) return;
  if (name === 'user_agent' || name === 'accept_language')
    params[name] = String(value).slice(0, MAX_HEADER_LENGTH);
  const schema: z.ZodType = orderFields[name];
  const read = schema.safeParse(params[name]);
  if (read.success) return;
  notes.push(`${name} is left out: it ${faultsIn(read.error)[0]?.message ?? 'is not valid'}`);
  delete params[name];
}

function actOf({ does }: Rule, place: Place, field: string): (typeof ACTS)[number] {
  if (does.value !== undefined) return does.value;
  const word = firstText(does.from ?? [], place);
  const known = word === undefined ? does.default : (wordIn(does.words, word) ?? parseOrderStatus(word));
  if (known !== undefined) return known;
  const reason =
    word === undefined
      ? 'finds no status in this call'
      : `does not know the status ${JSON.stringify(word.slice(0, 50))}`;
  throw new InputError(`mapping.${field}`, reason);
}

function readOne(name: string, field: FieldMapping, place: Place, currency: string): unknown {
  if (name === 'coupon') {
    const texts = (field.from ?? []).flatMap((path) => allTexts([path], place));
    const { split } = field;
    const codes = split === undefined ? texts : texts.flatMap((text) => text.split(split));
    return codes.length > 0 ? [...new Set(codes)] : readField(name, field, place, currency);
  }
  return readField(name, field, place, currency);
}

/** Items with an amount; a list that is not there gives none. @throws InputError. */
function readItems(
  lists: readonly ItemMapping[],
  place: Place,
  currency: string,
): Record<string, unknown>[] | undefined {
  const items = lists.flatMap(({ each, when, fields }) => {
    if (when && !holds(when, place)) return [];
    const members: readonly Sent[] = each === undefined ? [place.here] : sentAt(each, place);
    return members.map((here) => readItem(fields, { ...place, here }, currency));
  });
  const sold = items.filter(({ amount }) => amount !== undefined && !isZero(String(amount)));
  if (sold.length > MAX_ITEMS) throw new InputError('items', `are more than ${MAX_ITEMS}`);
  return sold.length === 0 ? undefined : sold;
}

function readItem(fields: ItemMapping['fields'], place: Place, currency: string): Record<string, unknown> {
  const item: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    const text = readField(name, field, place, currency);
    if (text === undefined) continue;
    if (name === 'quantity') item[name] = Number(text);
    else if (name === 'gift_card') item[name] = text === 'true';
    else item[name] = text;
  }
  return item;
}
