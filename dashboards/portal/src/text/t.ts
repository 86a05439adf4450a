import type { ComponentChildren } from 'preact';
import { type Key, LANGUAGE, LOCALE, type Message, messages } from './language.ts';
import type english from './messages/en.ts';

/** Texts of the portal by their keys; a wrong key or a missing parameter does not compile. */

type Texts<Of> = Of extends string ? Of : Of[keyof Of];
type Parameters<Text> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Parameters<Rest>
  : never;
type Tags<Text> = Text extends `${string}</${infer Name}>${infer Rest}` ? Name | Tags<Rest> : never;
type Form<K extends Key> = Texts<(typeof english)[K]>;
type Count<K extends Key> = (typeof english)[K] extends string ? never : 'count';

type Value = string | number;
type Values<K extends Key, Node> = { readonly [Name in Exclude<Parameters<Form<K>>, Count<K>>]: Node } & {
  readonly [Name in Count<K>]: number;
};
/** Keys of messages without markup. */
type PlainKey = { [K in Key]: Tags<Form<K>> extends never ? K : never }[Key];
type PlainArgs<K extends Key> = [Parameters<Form<K>> | Count<K>] extends [never]
  ? []
  : [values: Values<K, Value>];
/** What stands for each tag, made of the text within it. */
type Elements<K extends Key> = { readonly [Name in Tags<Form<K>>]: (text: string) => ComponentChildren };

const plurals = new Intl.PluralRules(LANGUAGE);
const numbers = new Intl.NumberFormat(LOCALE);
const lists = new Intl.ListFormat(LANGUAGE, { type: 'conjunction' });

/** A message as text; numbers are written as the reader writes them. */
export function t<K extends PlainKey>(key: K, ...[values]: PlainArgs<K>): string {
  const given: Readonly<Record<string, Value>> = values ?? {};
  return textOf(messages[key], given.count).replaceAll(
    /\{(\w+)\}/g,
    (_, name) => shown(given[name]) as string,
  );
}

/** A message with elements in it, in the order of its language. */
export function rich<K extends Key>(
  key: K,
  values: Values<K, ComponentChildren> & Elements<K>,
): ComponentChildren[] {
  const given = values as Readonly<Record<string, unknown>>;
  const text = textOf(messages[key], given.count as Value | undefined);
  // Between the marks stand a parameter, or a tag and its text.
  const parts = text.split(/(\{\w+\}|<\w+>[^<]*<\/\w+>)/);
  return parts.map((part) => {
    const [, name, tag, inner = ''] = /^(?:\{(\w+)\}|<(\w+)>([^<]*)<\/\w+>)$/.exec(part) ?? [];
    if (name !== undefined) return shown(given[name] as ComponentChildren);
    if (tag !== undefined) return (given[tag] as (text: string) => ComponentChildren)(inner);
    return part;
  });
}

/** "a, b and c". */
export function listed(texts: readonly string[]): string {
  return lists.format(texts);
}

/** The name of a code of the API, such as a status; undefined for one that has none. */
export function nameOf(code: string): string | undefined {
  const message = messages[`name.${code}` as Key] as Message | undefined;
  return message === undefined ? undefined : textOf(message, undefined);
}

function textOf(message: Message, count: Value | undefined): string {
  if (typeof message === 'string') return message;
  return message[plurals.select(Number(count))] ?? message.other;
}

function shown<Given>(value: Given): Given | string {
  return typeof value === 'number' ? numbers.format(value) : value;
}
