import { QueryError } from '../errors.ts';

/**
 * ClickHouse's lexer (src/Parsers/Lexer.cpp), as far as it takes to know which words of a query stand outside of quotes
 * and comments. Positions count bytes: the text is given as latin1.
 */

export interface Token {
  /** 'word' for bare words and numbers, 'name' for quoted identifiers, 'text' for strings, or the symbol itself. */
  readonly kind: string;
  /** The upper-case text of a word, otherwise ''. */
  readonly word: string;
  readonly start: number;
  readonly end: number;
  /** How many brackets are open around it. */
  readonly depth: number;
}

export const SYNTAX_ERROR = 62;

const SPACE = /[ \t\n\r\f\v\0]*/y;
const LINE_COMMENT = /(?:--|\/\/|#!|# )[^\n]*/y;
const COMMENT_EDGE = /\/\*|\*\//g;
const WORD = /[A-Za-z0-9_][A-Za-z0-9_$]*/y;
// Loops over whole runs of ordinary characters: long strings would otherwise exhaust the matcher's stack.
const TEXT = /'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'/sy;
const BACKTICKS = /`[^`\\]*(?:(?:\\.|``)[^`\\]*)*`/sy;
const QUOTES = /"[^"\\]*(?:(?:\\.|"")[^"\\]*)*"/sy;
const HEREDOC = /\$([A-Za-z0-9_]*)\$.*?\$\1\$/sy;

/** Beyond ASCII there are spaces and quotes to the engine too; an open quote or an unknown $ begins no text here. */
const PLAIN_SYMBOL = /[^\x80-\xff$'"`]/;

const TOKENS: readonly (readonly [RegExp, string])[] = [
  [TEXT, 'text'],
  [BACKTICKS, 'name'],
  [QUOTES, 'name'],
  [HEREDOC, 'text'],
  [WORD, 'word'],
];

function matchAt(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

function skipBlank(text: string, start: number): number {
  let at = start;
  for (;;) {
    const from = at;
    for (const pattern of [SPACE, LINE_COMMENT]) at = matchAt(pattern, text, at);
    if (text.startsWith('/*', at)) at = endOfBlockComment(text, at);
    if (at === from) return at;
  }
}

/** Block comments nest. */
function endOfBlockComment(text: string, start: number): number {
  let open = 0;
  COMMENT_EDGE.lastIndex = start;
  for (let edge = COMMENT_EDGE.exec(text); edge; edge = COMMENT_EDGE.exec(text)) {
    open += edge[0] === '/*' ? 1 : -1;
    if (open === 0) return COMMENT_EDGE.lastIndex;
  }
  throw new QueryError(SYNTAX_ERROR, 'Syntax error: a comment has no end', 'SYNTAX_ERROR');
}

/**
 * The tokens of `text`, one at a time: behind an INSERT's FORMAT there is data instead of tokens.
 * @throws QueryError for what the engine may read otherwise than this lexer.
 */
export function* tokens(text: string): Generator<Token, undefined> {
  let depth = 0;
  for (let at = skipBlank(text, 0); at < text.length; at = skipBlank(text, at)) {
    const start = at;
    const symbol = text[at] ?? '';
    let kind = symbol;
    at += 1;
    for (const [pattern, name] of TOKENS) {
      const end = matchAt(pattern, text, start);
      if (end > start) {
        kind = name;
        at = end;
        break;
      }
    }
    if (kind === symbol && !PLAIN_SYMBOL.test(symbol)) {
      throw new QueryError(
        SYNTAX_ERROR,
        `Syntax error at byte ${start}: outside of quotes the embedded engine takes ASCII only, and no $ but in $tag$text$tag$`,
        'SYNTAX_ERROR',
      );
    }
    if (symbol === ')' || symbol === ']' || symbol === '}') depth -= 1;
    const word = kind === 'word' ? text.slice(start, at).toUpperCase() : '';
    yield { kind, word, start, end: at, depth };
    if (symbol === '(' || symbol === '[' || symbol === '{') depth += 1;
  }
  return undefined;
}
