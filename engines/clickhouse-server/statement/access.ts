import { QueryError } from '../errors.ts';
import { type Token, tokens } from './lexer.ts';

/**
 * What a request may reach: the tables of this engine, and neither files nor the network. The engine's own access control
 * refuses every source that has a privilege of its own (users/config.ts). What has none is refused here, by
 * lists of what is allowed. The server's own ways to move rows (INTO OUTFILE, FROM INFILE) need no privilege.
 */

/** Functions that make up their rows, or read them from tables and from the request. */
const TABLE_FUNCTIONS = ['dictionary', 'input', 'merge', 'numbers', 'numbers_mt', 'zeros', 'zeros_mt'];
/** Of the platform alone: it asks for no right to the table whose rows it reads. */
const OWNER_TABLE_FUNCTIONS = ['mergeTreeProjection'];

/**
 * Whether the session of a query keeps hold of a table that it reads by a function: as long as the session lives, DROP TABLE … SYNC
 * would wait for it.
 */
export function holdsTable(sql: string): boolean {
  return OWNER_TABLE_FUNCTIONS.some((name) => sql.includes(name));
}

const TABLE_ENGINES = [
  'MergeTree',
  'ReplacingMergeTree',
  'SummingMergeTree',
  'AggregatingMergeTree',
  'CollapsingMergeTree',
  'VersionedCollapsingMergeTree',
  'Memory',
  'Null',
  'Log',
];
const DATABASE_ENGINES = ['Atomic'];

/** Statements by their first word, beside those that only read. */
const COMMANDS = new Set([
  'ALTER',
  'CHECK',
  'CREATE',
  'DELETE',
  'DROP',
  'EXCHANGE',
  'INSERT',
  'KILL',
  'OPTIMIZE',
  'RENAME',
  'SET',
  'SYSTEM',
  'TRUNCATE',
  'UPDATE',
  'USE',
]);

/** Not WHERE and QUERY, whose texts are expressions. */
const DICTIONARY_SOURCE_KEYS = new Set(['TABLE', 'DB', 'USER', 'PASSWORD']);
const DICTIONARY_LAYOUTS = new Set([
  'FLAT',
  'HASHED',
  'HASHED_ARRAY',
  'SPARSE_HASHED',
  'COMPLEX_KEY_HASHED',
  'COMPLEX_KEY_HASHED_ARRAY',
  'COMPLEX_KEY_SPARSE_HASHED',
  'RANGE_HASHED',
  'IP_TRIE',
]);

/** Functions for expressions that reach files, programs or servers and need no privilege. */
const OUTSIDE_FUNCTIONS = new Set([
  'FILE',
  'CATBOOSTEVALUATE',
  'AICLASSIFY',
  'AIEMBED',
  'AIEXTRACT',
  'AIGENERATE',
  'AITRANSLATE',
]);

/**
 * Texts as settings that are harmless: names, representations, sizes. Every other setting that takes a text, an address or
 * a map is fixed, for it can name a file or a server, or hold an expression.
 */
export const FREE_TEXT_SETTINGS: readonly string[] = [
  // Expressions, which are checked like the query itself; Grafana sends them.
  'additional_table_filters',
  'bool_false_representation',
  'bool_true_representation',
  'count_distinct_implementation',
  'force_data_skipping_indices',
  'format_csv_null_representation',
  'format_tsv_null_representation',
  'ignore_data_skipping_indices',
  'insert_deduplication_token',
  'log_comment',
  'output_format_pretty_grid_charset',
  // Of an analyst it is fixed: see users/config.ts.
  'query_cache_tag',
];

const FILTERS = 'ADDITIONAL_TABLE_FILTERS';

/** Checks each token of a query as it is read. @throws QueryError 497. */
export type TokenCheck = (token: Token, text: string) => void;

/**
 * Makes checks of single queries, the platform's or an analyst's: each reads one query from its beginning.
 * @param tableFunctions all that the engine has; those not in {@link TABLE_FUNCTIONS} are refused.
 */
export function createTokenChecks(
  tableFunctions: readonly string[],
): Readonly<Record<'owner' | 'analyst', () => TokenCheck>> {
  // disk(…) describes a place for a table.
  const refusedBut = (...allowed: string[]): ReadonlySet<string> => {
    const names = new Set([...tableFunctions, 'disk'].map((name) => name.toUpperCase()));
    for (const name of allowed) names.delete(name.toUpperCase());
    return names;
  };
  return {
    owner: checksWithout(refusedBut(...TABLE_FUNCTIONS, ...OWNER_TABLE_FUNCTIONS)),
    analyst: checksWithout(refusedBut(...TABLE_FUNCTIONS)),
  };
}

/** Makes checks that refuse the functions of these names, in capitals. */
function checksWithout(refusedCalls: ReadonlySet<string>): () => TokenCheck {
  function newCheck(): TokenCheck {
    let previous: Token | undefined;
    let name = '';
    let readsFilters = false;
    let readsSettings = false;
    return (token, text) => {
      if (token.kind === '(' && refusedCalls.has(name)) throw refused(name);
      const previousName = name;
      name = nameOf(token, text);
      readsSettings ||= token.word === 'SETTINGS' || (token.word === 'SET' && previous === undefined);
      // The engine checks a value against the fixed settings and readonly, but not their return to its own default.
      if (readsSettings && previous?.kind === '=' && token.word === 'DEFAULT') {
        throw refused('= DEFAULT for a setting');
      }
      // With a profile come its fixed settings and limits, and those of another are gone.
      if (readsSettings && token.kind === '=' && previousName === 'PROFILE')
        throw refused('the setting profile');
      if (OUTSIDE_FUNCTIONS.has(name)) throw refused(name);
      readsFilters ||= name === FILTERS;
      if (readsFilters && token.kind === 'text') {
        const expression = contentOf(text.slice(token.start, token.end));
        const check = newCheck();
        for (const part of tokens(expression)) check(part, expression);
      }
      // A parameter, whose value is not in the text.
      if (readsFilters && previous?.kind === '{' && name !== '') throw refused(`a parameter for ${FILTERS}`);
      previous = token;
    };
  }
  return newCheck;
}

/** The text of a string literal or heredoc. Escapes for control characters become blanks. */
export function contentOf(literal: string): string {
  if (literal.startsWith('$')) {
    const tag = literal.indexOf('$', 1) + 1;
    return literal.slice(tag, -tag);
  }
  return literal
    .slice(1, -1)
    .replaceAll(
      /\\x([0-9a-f]{2})|\\(.)|''/gis,
      (all, hex: string | undefined, escaped: string | undefined) => {
        if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
        return escaped === undefined ? all.slice(1) : /[a-z0]/i.test(escaped) ? ' ' : escaped;
      },
    );
}

/** A word or quoted name in capitals; '' for any other token. */
function nameOf(token: Token, text: string): string {
  if (token.kind !== 'name') return token.word;
  const name = text.slice(token.start + 1, token.end - 1);
  if (name.includes('\\')) throw refused('a quoted name with a backslash');
  return name.toUpperCase();
}

/** Whether a query has this name outside of texts, in quotes or not. @param text the query as latin1. */
export function hasName(text: string, name: string): boolean {
  for (const token of tokens(text)) if (nameOf(token, text) === name.toUpperCase()) return true;
  return false;
}

export function refused(what: string): QueryError {
  return new QueryError(
    ACCESS_DENIED,
    `The embedded engine reads and writes its own tables only: ${what} is not allowed`,
    'ACCESS_DENIED',
  );
}

const ACCESS_DENIED = 497;

/**
 * Checks a statement that is no mere reading, as the engine itself has written it out: one spelling, no comments. Returns its
 * first word. @throws QueryError 497.
 */
export function checkCommand(formatted: string): string {
  const list = [...tokens(formatted)];
  const first = list[0]?.word ?? '';
  if (!COMMANDS.has(first)) throw refused(`the statement ${first}`);
  for (const [i, token] of list.entries()) {
    const { word, depth } = token;
    const [next, second] = [list[i + 1], list[i + 2]];
    if (depth === 0 && (word === 'INFILE' || word === 'OUTFILE')) throw refused(word);
    if (word === 'ENGINE' && next?.kind === '=' && second)
      checkEngine(formatted.slice(second.start, second.end).replaceAll('`', ''));
    if (first === 'CREATE' && word === 'SOURCE' && next?.kind === '(') checkSource(list.slice(i + 2));
    if (
      first === 'CREATE' &&
      word === 'LAYOUT' &&
      next?.kind === '(' &&
      !DICTIONARY_LAYOUTS.has(second?.word ?? '')
    ) {
      throw refused(`the layout ${second?.word}`);
    }
  }
  return first;
}

function checkEngine(name: string): void {
  if (![...TABLE_ENGINES, ...DATABASE_ENGINES].includes(name)) throw refused(`the engine ${name}`);
}

/** `CLICKHOUSE(KEY 'value' …))`: a table of this engine, not of another server. */
function checkSource(list: readonly Token[]): void {
  const [source, open, ...rest] = list;
  if (source?.word !== 'CLICKHOUSE' || open?.kind !== '(')
    throw refused(`the dictionary source ${source?.word}`);
  for (const token of rest) {
    if (token.depth <= open.depth) return;
    if (token.kind === 'text') continue;
    if (!DICTIONARY_SOURCE_KEYS.has(token.word))
      throw refused(`${token.word || token.kind} of a dictionary source`);
  }
}
