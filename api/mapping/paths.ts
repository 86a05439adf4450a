import { InputError } from '../../core/errors.ts';

/**
 * Places in what a source sends: `data.object.amount_total`, `note_attributes[name=click_id].value`, `line_items[0].sku`,
 * `refunds[*].total`, `landing_site?click_id` (a parameter of the URL that stands there), `["a.b"]` (a name with dots),
 * `$header.x-shopify-topic`, `$query.subid`. A path begins where its rule reads: at the body or, within a list, at the
 * member; `$body.currency` begins at the body anywhere.
 */

/** A value as it was sent, with numbers as the text they were written as: no digit of an id or an amount is lost. */
export type Sent = string | boolean | null | readonly Sent[] | { readonly [name: string]: Sent };

type Root = 'here' | 'body' | 'query' | 'header';
type Step =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'filter'; readonly name: string; readonly values: readonly string[] };

interface Path {
  readonly root: Root;
  readonly steps: readonly Step[];
  /** Of the URL that stands there. */
  readonly parameter: string | undefined;
}

/** Where paths are looked up. */
export interface Place {
  readonly here: Sent;
  readonly body: Sent;
  readonly query: Sent;
  readonly headers: Sent;
  readonly effort: Effort;
}

export const MAX_PATH_LENGTH = 200;
/** Documents nest some ten deep. */
const MAX_STEPS_OF_PATH = 20;
/** Members looked at while one call is read: an order of 500 items takes some 20,000. */
const MAX_EFFORT = 500_000;
/** Longer texts are no URLs. */
const MAX_URL_LENGTH = 8_192;
/** Paths that are kept parsed. */
const MAX_KNOWN_PATHS = 10_000;

/** Bounds the work of reading one call: lists within lists cannot hold a server up. */
export interface Effort {
  /** @throws InputError naming `mapping`. */
  take(members: number): void;
}

export function newEffort(): Effort {
  let left = MAX_EFFORT;
  return {
    take(members) {
      left -= members;
      if (left < 0)
        throw new InputError(
          'mapping',
          `looks at more than ${MAX_EFFORT} members of this call: make its paths shorter`,
        );
    },
  };
}

const ROOT = /^\$(body|query|header)(?:\.|(?=\[)|$)/;
const NAME = /[^.[\]?="|]+/y;
const BRACKET = /\[(?:(\d{1,6})|(\*)|"([^"]+)"|([^\]=*"]+)=([^\]]+))\]/y;
const PARAMETER = /\?([^.[\]?=&]+)$/y;

const known = new Map<string, Path | string>();

/** What is wrong with a path; undefined when it is right. */
export function pathFault(text: string): string | undefined {
  const path = parsed(text);
  return typeof path === 'string' ? path : undefined;
}

function parsed(text: string): Path | string {
  const before = known.get(text);
  if (before !== undefined) return before;
  if (known.size >= MAX_KNOWN_PATHS) known.clear();
  const path = parse(text);
  known.set(text, path);
  return path;
}

function parse(text: string): Path | string {
  if (text.length > MAX_PATH_LENGTH) return `must not exceed ${MAX_PATH_LENGTH} characters`;
  const [prefix = '', root = 'here'] = ROOT.exec(text) ?? [];
  const steps: Step[] = [];
  let at = prefix.length;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  let parameter: string | undefined;
  let isNameExpected = at < text.length && text[at] !== '[';
  while (isNameExpected || at < text.length) {
    if (isNameExpected) {
      const [name] = match(NAME) ?? [];
      if (name === undefined) return faultAt(text, at, 'a name');
      steps.push({ kind: 'name', name });
      isNameExpected = false;
    } else if (text[at] === '.') {
      at++;
      isNameExpected = true;
    } else if (text[at] === '?') {
      parameter = match(PARAMETER)?.[1];
      if (parameter === undefined) return faultAt(text, at, '"?" and the name of a parameter at the end');
    } else {
      const bracket = match(BRACKET);
      if (!bracket) return faultAt(text, at, '[0], [*], [name=value] or ["name"]');
      steps.push(stepOf(bracket));
    }
  }
  if (steps.length === 0 && root === 'here') return 'must not be empty';
  if (steps.length > MAX_STEPS_OF_PATH) return `must not have more than ${MAX_STEPS_OF_PATH} steps`;
  return { root: root as Root, steps, parameter };
}

function faultAt(text: string, at: number, wanted: string): string {
  return `is no path: ${wanted} is expected at character ${at + 1} of ${JSON.stringify(text)}`;
}

function stepOf([, index, all, quoted, name, values]: RegExpExecArray): Step {
  if (index !== undefined) return { kind: 'index', index: Number(index) };
  if (all !== undefined) return { kind: 'all' };
  if (quoted !== undefined) return { kind: 'name', name: quoted };
  return { kind: 'filter', name: name ?? '', values: (values ?? '').split('|') };
}

/** Everything that stands at a path, in its order. @throws InputError. */
export function sentAt(text: string, place: Place): readonly Sent[] {
  const path = parsed(text);
  if (typeof path === 'string') throw new InputError('mapping', path);
  const roots = { here: place.here, body: place.body, query: place.query, header: place.headers };
  let found: readonly Sent[] = [roots[path.root]];
  for (const step of path.steps) {
    found = found.flatMap((one) => follow(one, step, place.effort));
    if (found.length === 0) return [];
  }
  const { parameter } = path;
  return parameter === undefined ? found : found.flatMap((one) => parameterOf(one, parameter, place.effort));
}

function follow(sent: Sent, step: Step, effort: Effort): readonly Sent[] {
  effort.take(1);
  switch (step.kind) {
    case 'name':
      return memberOf(sent, step.name);
    case 'index': {
      const one = Array.isArray(sent) ? (sent as readonly Sent[])[step.index] : undefined;
      return one === undefined ? [] : [one];
    }
    case 'all':
      return listOf(sent, effort);
    case 'filter': {
      const members = Array.isArray(sent) ? listOf(sent, effort) : [sent];
      return members.filter((member) =>
        memberOf(member, step.name).some((value) => step.values.includes(textOf(value) ?? '')),
      );
    }
  }
}

function listOf(sent: Sent, effort: Effort): readonly Sent[] {
  if (!Array.isArray(sent)) return [];
  effort.take(sent.length);
  return sent as readonly Sent[];
}

/** Own members only: a name such as `constructor` finds what was sent, and nothing else. */
function memberOf(sent: Sent, name: string): readonly Sent[] {
  if (typeof sent !== 'object' || sent === null || Array.isArray(sent) || !Object.hasOwn(sent, name))
    return [];
  const value = (sent as { readonly [name: string]: Sent })[name];
  return value === undefined ? [] : [value];
}

function parameterOf(sent: Sent, name: string, effort: Effort): readonly string[] {
  const text = textOf(sent);
  if (text === undefined || text.length > MAX_URL_LENGTH) return [];
  effort.take(effortOf(text));
  const from = text.indexOf('?');
  const query = from < 0 ? text : text.slice(from + 1);
  const value = new URLSearchParams(query.replace(/#.*$/s, '')).get(name);
  return value === null ? [] : [value];
}

/** Looking through a text is as much work as so many members. */
export function effortOf(text: string): number {
  return 1 + (text.length >> 6);
}

/** The text of a value; undefined: it has none, or an empty one. */
export function textOf(sent: Sent | undefined): string | undefined {
  if (typeof sent === 'boolean') return String(sent);
  if (typeof sent !== 'string') return undefined;
  const text = sent.trim();
  return text === '' ? undefined : text;
}
