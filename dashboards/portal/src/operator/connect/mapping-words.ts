import { t } from '../../text/t.ts';

/** A mapping (docs/connect/anything.md) as sentences, for people who look at it and write none. */

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
type Members = { readonly [name: string]: Json };

export interface MappingWords {
  /** Of every rule, by our name. */
  readonly fields: readonly { readonly name: string; readonly text: string }[];
  readonly rules: readonly string[];
  readonly items: readonly string[];
}

const isMembers = (value: Json | undefined): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const members = (value: Json | undefined): Members => (isMembers(value) ? value : {});
const list = (value: Json | undefined): readonly Json[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value as Json];

const ROOTS: readonly (readonly [prefix: string, text: (rest: string) => string])[] = [
  ['$header.', (rest) => t('mappingWords.header', { rest })],
  ['$query.', (rest) => t('mappingWords.parameter', { rest })],
  ['$body.', (rest) => t('mappingWords.of_the_call', { rest })],
];

/** `landing_site?click_id` is a parameter of the URL that stands there. */
function placeText(path: Json): string {
  const text = String(path);
  for (const [prefix, say] of ROOTS) if (text.startsWith(prefix)) return say(text.slice(prefix.length));
  const at = text.indexOf('?');
  if (at < 0) return text;
  return t('mappingWords.in_the_url', { parameter: text.slice(at + 1), place: text.slice(0, at) });
}

/** Joined two by two by a message with `first` and `second`. */
function joined(texts: readonly string[], key: 'or_else' | 'or' | 'and'): string {
  return texts.length === 0
    ? ''
    : texts.reduce((first, second) => t(`mappingWords.${key}`, { first, second }));
}

const placesText = (value: Json | undefined): string => joined(list(value).map(placeText), 'or_else');

function termText(term: Json): string {
  const { from, times, negative } = isMembers(term)
    ? term
    : { from: term, times: undefined, negative: false };
  const amount = `${placesText(from)}${times === undefined ? '' : ` × ${placeText(times)}`}`;
  return negative ? t('mappingWords.less', { amount }) : amount;
}

/** Where a field comes from. */
export function fieldText(field: Json): string {
  if (!isMembers(field)) return placesText(field);
  const { units, round, zone, words } = field;
  const notes = [
    units === 'minor' && t('mappingWords.minor'),
    units === 'stripe' && t('mappingWords.stripe'),
    round && t('mappingWords.rounded'),
    zone !== undefined && t('mappingWords.in_the_zone', { zone: String(zone) }),
    wordsText(words) !== '' && t('mappingWords.in_its_words', { words: wordsText(words) }),
    field.default !== undefined && t('mappingWords.otherwise', { value: String(field.default) }),
  ];
  return [originText(field), ...notes].filter((part) => typeof part === 'string' && part !== '').join(', ');
}

/** Further ids are all of these paths, any other field the first that gives something. */
function namedText(name: string, field: Json): string {
  if (name !== 'other_ids') return fieldText(field);
  return list(isMembers(field) ? field.from : field)
    .map(placeText)
    .join(', ');
}

function originText({ from, join, sum, value }: Members): string {
  if (value !== undefined) return t('mappingWords.always', { value: String(value) });
  if (join !== undefined) return list(join).map(placeText).join(' : ');
  if (sum !== undefined) return t('mappingWords.sum', { terms: list(sum).map(termText).join(', ') });
  return placesText(from);
}

const wordsText = (words: Json | undefined): string =>
  Object.entries(members(words))
    .map(([theirs, ours]) =>
      t('mappingWords.word', { theirs, ours: ours === '' ? t('mappingWords.nothing') : String(ours) }),
    )
    .join(', ');

function conditionText([path, wanted]: readonly [string, Json]): string {
  const place = placeText(path);
  if (wanted === true) return t('mappingWords.is_there', { place });
  if (wanted === false) return t('mappingWords.is_not_there', { place });
  return t('mappingWords.is', { place, values: joined(list(wanted).map(String), 'or') });
}

const whenText = (when: Json | undefined): string =>
  joined(Object.entries(members(when)).map(conditionText), 'and');

function doesText(does: Json | undefined): string {
  if (!isMembers(does)) return String(does);
  const { value, from, words, default: other } = does;
  if (value !== undefined) return String(value);
  const places = placesText(from);
  const known = wordsText(words);
  const first =
    known === ''
      ? t('mappingWords.what_says', { places })
      : t('mappingWords.what_says_words', { places, words: known });
  return other === undefined ? first : t('mappingWords.or_else', { first, second: String(other) });
}

function ruleText(rule: Json): string {
  const { when, each, reason, fields, does: act } = members(rule);
  const own = Object.entries(members(fields)).map(([name, field]) =>
    field === null
      ? t('mappingWords.without', { name })
      : t('mappingWords.from', { name, field: namedText(name, field) }),
  );
  let does = doesText(act);
  if (each !== undefined) does = t('mappingWords.once_for_each', { does, list: placeText(each) });
  if (own.length > 0) does = t('mappingWords.with_fields', { does, fields: own.join(', ') });
  if (reason !== undefined) does = t('mappingWords.because', { does, reason: String(reason) });
  const condition = whenText(when);
  return condition === ''
    ? t('mappingWords.any_call', { does })
    : t('mappingWords.when', { condition, does });
}

function itemText(item: Json): string {
  const { each, fields: given } = members(item);
  const fields = Object.entries(members(given))
    .map(([name, field]) => t('mappingWords.field', { name, text: fieldText(field) }))
    .join('; ');
  return each === undefined
    ? t('mappingWords.the_call', { fields })
    : t('mappingWords.each_of', { list: placeText(each), fields });
}

export function mappingWords(mapping: unknown): MappingWords {
  const { fields, rules, items } = members(mapping as Json);
  return {
    fields: Object.entries(members(fields)).map(([name, field]) => ({ name, text: namedText(name, field) })),
    rules: list(rules).map(ruleText),
    items: list(items).map(itemText),
  };
}
