import { InputError } from '../../core/errors.ts';
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
  const given = givenText(field, place);
  if (AMOUNTS.has(name)) {
    const text = given ?? field.default;
    const value =
      sumOf(name, field, place) ?? (text === undefined ? undefined : readNumber(text, name, field));
    return value && exchanged(value, { name, field, place, currency });
  }
  const text = given === undefined ? undefined : valueText(name, given, field, currency);
  if (text !== undefined || field.default === undefined) return text;
  return valueText(name, field.default, { ...field, words: undefined }, currency);
}

/** The amount in the currency that it is to be in. @throws InputError where the call does not say what it is there. */
function exchanged(
  value: Amount,
  { name, field, place, currency }: { name: string; field: FieldMapping; place: Place; currency: string },
): string {
  const form = { currency, field: name, form: field };
  const { exchange } = field;
  const from = exchange && firstText(exchange.from, place)?.toUpperCase();
  const to = exchange && firstText(exchange.to, place)?.toUpperCase();
  if (!exchange || from === undefined || to === undefined || from === to) return amountText(value, form);
  const total = (paths: readonly string[]) =>
    paths
      .flatMap((path) => allTexts([path], place))
      .reduce((sum, text) => sum.add(readNumber(text, name, field)), zero());
  for (const { of, per } of exchange.by) {
    const [there, here] = [total(of), total(per)];
    if (there.isZero() || here.isZero()) continue;
    return amountText(value.mul(there).div(here), { ...form, form: { ...field, round: true } });
  }
  throw new InputError(name, `is in ${from}, and the call does not say what that is in ${to}`);
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
