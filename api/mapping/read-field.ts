import { InputError } from '../../core/errors.ts';
import { currencyExponent } from '../../core/money.ts';
import type { Conditions, FieldMapping, ValueForm } from './field.ts';
import { effortOf, type Place, sentAt, textOf } from './paths.ts';
import { amountText, readNumber, timeText, zero } from './values.ts';

/** What a mapping finds at the places that it names. */

const AMOUNTS: ReadonlySet<string> = new Set(['amount', 'discount', 'tax', 'shipping']);

export function holds(conditions: Conditions, place: Place): boolean {
  return Object.entries(conditions).every(([path, wanted]) => {
    const texts = sentAt(path, place).map((sent) => {
      if (typeof sent === 'string') place.effort.take(effortOf(sent));
      return typeof sent === 'object' && sent !== null ? '{}' : textOf(sent);
    });
    const there = texts.filter((one) => one !== undefined);
    if (typeof wanted === 'boolean') return there.length > 0 === wanted;
    const lower = wanted.map((one) => one.toLowerCase());
    return there.some((one) => lower.includes(one.toLowerCase()));
  });
}

export function wordIn<Ours>(
  words: Readonly<Record<string, Ours>> | undefined,
  word: string,
): Ours | undefined {
  const lower = word.toLowerCase();
  return Object.entries(words ?? {}).find(([theirs]) => theirs.toLowerCase() === lower)?.[1];
}

export function firstText(paths: readonly string[], place: Place): string | undefined {
  for (const path of paths) {
    const found = sentAt(path, place)
      .map(textOf)
      .find((text) => text !== undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** All texts of the first path that gives any. */
export function allTexts(paths: readonly string[], place: Place): string[] {
  for (const path of paths) {
    const found = sentAt(path, place)
      .map(textOf)
      .filter((text) => text !== undefined);
    if (found.length > 0) return found;
  }
  return [];
}

/** The text of a field, as reports have it. @throws InputError naming the field. */
export function readField(
  name: string,
  field: FieldMapping | undefined,
  place: Place,
  currency: string,
): string | undefined {
  if (!field) return undefined;
  if (AMOUNTS.has(name)) {
    const value = amountOf(name, field, place);
    return value && exchanged(value, { name, field, place, currency });
  }
  const given = givenText(field, place);
  const text = given === undefined ? undefined : valueText(name, given, field, currency);
  if (text !== undefined || field.default === undefined) return text;
  return valueText(name, field.default, { ...field, words: undefined }, currency);
}

interface Exchanging {
  readonly name: string;
  readonly field: FieldMapping;
  readonly place: Place;
  readonly currency: string;
}

/** The amount in the currency that it is to be in. @throws InputError where the call does not say what it is there. */
function exchanged(value: Amount, { name, field, place, currency }: Exchanging): string {
  const form = { currency, field: name, form: field };
  const rate = rateOf({ name, field, place, currency });
  if (!rate) return amountText(value, form);
  return amountText(value.mul(rate.there).div(rate.here), { ...form, form: { ...field, round: true } });
}

/** The same money in both currencies; undefined: the amount is in the currency that it is to be in. @throws InputError. */
function rateOf({ name, field, place }: Exchanging) {
  const { exchange } = field;
  const from = exchange && firstText(exchange.from, place)?.toUpperCase();
  const to = exchange && firstText(exchange.to, place)?.toUpperCase();
  if (!exchange || from === undefined || to === undefined || from === to) return undefined;
  const sum = (texts: readonly string[]) =>
    texts.reduce((total, text) => total.add(readNumber(text, name, field)), zero());
  for (const { of, per } of exchange.by) {
    const [inTo, inFrom] = [of, per].map((paths) => paths.flatMap((path) => allTexts([path], place)));
    const [there, here] = [sum(inTo ?? []), sum(inFrom ?? [])];
    if (there.isZero() || here.isZero()) continue;
    return { from, to, there, here, addends: { there: inTo?.length ?? 0, here: inFrom?.length ?? 0 } };
  }
  throw new InputError(name, `is in ${from}, and the call does not say what that is in ${to}`);
}

/**
 * How far an exchanged amount may be from what the sender counts in the same currency, in minor units: each addend of the
 * amount and of the sums that it is exchanged by was rounded by up to half a unit of its currency, and so is the result.
 * Zero: it is not exchanged. @throws InputError.
 */
export function roundingOf(exchanging: Exchanging): bigint {
  const { name, field, place } = exchanging;
  const rate = rateOf(exchanging);
  const value = rate && amountOf(name, field, place);
  if (!value) return 0n;
  const { from, to, there, here, addends } = rate;
  const isMajor = (field.units ?? 'major') === 'major';
  const unit = (currency: string) =>
    zero()
      .add(10)
      .pow(isMajor ? -(currencyExponent(currency) ?? 2) : 0);
  const own = field.sum?.flatMap((term) => allTexts(term.from, place)).length ?? 1;
  const share = value.div(here).abs();
  const inFrom = share.mul(addends.here).add(own).mul(there.div(here).abs()).mul(unit(from)).div(unit(to));
  return BigInt(share.mul(addends.there).add(inFrom).add(1).div(2).ceil().toFixed(0));
}

/**
 * A value as reports have it, by how it is written; undefined where its word stands for nothing.
 * @throws InputError naming the field.
 */
export function valueText(
  name: string,
  given: string,
  form: ValueForm,
  currency: string,
): string | undefined {
  if (AMOUNTS.has(name)) return amountText(readNumber(given, name, form), { currency, field: name, form });
  const text = wordIn(form.words, given) ?? given;
  if (text === '') return undefined;
  return name === 'occurred_at' ? timeText(text, { field: name, zone: form.zone }) : text;
}

function givenText(field: FieldMapping, place: Place): string | undefined {
  if (field.value !== undefined) return field.value;
  if (field.join) {
    const parts = field.join.map((path) => firstText([path], place));
    return parts.some((part) => part === undefined) ? undefined : parts.join(':');
  }
  return firstText(field.from ?? [], place);
}

type Amount = ReturnType<typeof zero>;

/** Undefined: nothing of it is there. */
function amountOf(name: string, field: FieldMapping, place: Place): Amount | undefined {
  const text = givenText(field, place) ?? field.default;
  return sumOf(name, field, place) ?? (text === undefined ? undefined : readNumber(text, name, field));
}

/** Undefined: nothing of it is there. */
function sumOf(name: string, field: FieldMapping, place: Place): Amount | undefined {
  let sum = zero();
  let isThere = false;
  for (const { from, times, negative, when } of field.sum ?? []) {
    if (when && !holds(when, place)) continue;
    const factor = times === undefined ? undefined : firstText([times], place);
    for (const text of allTexts(from, place)) {
      isThere = true;
      const value = readNumber(text, name, field).mul(
        factor === undefined ? 1 : readNumber(factor, name, field),
      );
      sum = negative ? sum.sub(value) : sum.add(value);
    }
  }
  return isThere ? sum : undefined;
}
