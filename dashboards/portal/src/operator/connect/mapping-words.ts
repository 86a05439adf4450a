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
  ['$header.', (rest) => `the header ${rest}`],
  ['$query.', (rest) => `the parameter ${rest}`],
  ['$body.', (rest) => `${rest} of the call`],
];

/** `landing_site?click_id` is a parameter of the URL that stands there. */
function placeText(path: Json): string {
  const text = String(path);
  for (const [prefix, say] of ROOTS) if (text.startsWith(prefix)) return say(text.slice(prefix.length));
  const at = text.indexOf('?');
  return at < 0 ? text : `${text.slice(at + 1)} in the URL at ${text.slice(0, at)}`;
}

const placesText = (value: Json | undefined): string => list(value).map(placeText).join(', else ');

function termText(term: Json): string {
  const { from, times, negative } = isMembers(term)
    ? term
    : { from: term, times: undefined, negative: false };
  return `${negative ? 'less ' : ''}${placesText(from)}${times === undefined ? '' : ` × ${placeText(times)}`}`;
}

/** Where a field comes from. */
export function fieldText(field: Json): string {
  if (!isMembers(field)) return placesText(field);
  const { from, join, sum, value, units, round, zone, words } = field;
  const source =
    value !== undefined
      ? `always ${String(value)}`
      : join !== undefined
        ? list(join).map(placeText).join(' : ')
        : sum !== undefined
          ? `the sum of ${list(sum).map(termText).join(', ')}`
          : placesText(from);
  const notes = [
    units === 'minor' && 'in the smallest unit',
    units === 'stripe' && 'as Stripe counts it',
    round && 'rounded',
    zone !== undefined && `in the zone ${String(zone)}`,
    words !== undefined && `in its words: ${wordsText(words)}`,
    field.default !== undefined && `else ${String(field.default)}`,
  ];
  return [source, ...notes].filter((part) => typeof part === 'string' && part !== '').join(', ');
}

const wordsText = (words: Json): string =>
  Object.entries(members(words))
    .map(([theirs, ours]) => `${theirs} is ${ours === '' ? 'nothing' : String(ours)}`)
    .join(', ');

function conditionText([path, wanted]: readonly [string, Json]): string {
  const place = placeText(path);
  if (wanted === true) return `${place} is there`;
  if (wanted === false) return `${place} is not there`;
  return `${place} is ${list(wanted).map(String).join(' or ')}`;
}

const whenText = (when: Json | undefined): string =>
  Object.entries(members(when)).map(conditionText).join(' and ');

function doesText(does: Json | undefined): string {
  if (!isMembers(does)) return String(does);
  const { value, from, words, default: other } = does;
  if (value !== undefined) return String(value);
  const known = words === undefined ? '' : ` (${wordsText(words)})`;
  return `what ${placesText(from)} says${known}${other === undefined ? '' : `, else ${String(other)}`}`;
}

function ruleText(rule: Json): string {
  const { when, does, each, reason, fields } = members(rule);
  const condition = whenText(when);
  const own = Object.entries(members(fields)).map(([name, field]) =>
    field === null ? `without ${name}` : `${name} from ${fieldText(field)}`,
  );
  return [
    condition === '' ? 'Any call' : `When ${condition}`,
    ': ',
    doesText(does),
    each === undefined ? '' : `, once for each of ${placeText(each)}`,
    own.length === 0 ? '' : `; ${own.join(', ')}`,
    reason === undefined ? '' : ` (${String(reason)})`,
  ].join('');
}

function itemText(item: Json): string {
  const { each, fields } = members(item);
  const named = Object.entries(members(fields)).map(([name, field]) => `${name}: ${fieldText(field)}`);
  return `${each === undefined ? 'The call' : `Each of ${placeText(each)}`}: ${named.join('; ')}`;
}

export function mappingWords(mapping: unknown): MappingWords {
  const { fields, rules, items } = members(mapping as Json);
  return {
    fields: Object.entries(members(fields)).map(([name, field]) => ({ name, text: fieldText(field) })),
    rules: list(rules).map(ruleText),
    items: list(items).map(itemText),
  };
}
