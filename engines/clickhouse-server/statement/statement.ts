import { QueryError } from '../errors.ts';
import type { TokenCheck } from './access.ts';
import { SYNTAX_ERROR, type Token, tokens } from './lexer.ts';

/**
 * The kind of a query, found by its words alone, so that the server knows whether a body holds rows, whether an answer
 * can be streamed, and where to write a file name. The engine parses the query itself afterwards.
 * Positions count bytes: the text is given as latin1.
 */
export type Statement =
  | {
      /** INSERT … VALUES or FORMAT: rows follow the query text. */
      readonly kind: 'insert-rows';
      readonly format: string;
      /** Where `FROM INFILE` belongs: behind the table and its columns. */
      readonly fileAt: number;
      /** The end of the query proper: before VALUES, or behind FORMAT and its name. */
      readonly end: number;
      /** Whether the format must still be named, because the query says VALUES. */
      readonly isValues: boolean;
      /** Where the rows begin. */
      readonly rowsAt: number;
    }
  | {
      /** INSERT … SELECT … FROM input('structure') … FORMAT: rows follow, and the query reads them as a table. */
      readonly kind: 'insert-input';
      readonly format: string;
      /** The call `input(…)`: where it begins and ends, and its argument between the brackets. */
      readonly inputAt: number;
      readonly inputEnd: number;
      readonly structure: readonly [start: number, end: number];
      /** The end of the query proper: before FORMAT. */
      readonly end: number;
      readonly rowsAt: number;
    }
  | {
      /** A query whose rows go to a format: its output can be sent to a file. */
      readonly kind: 'rows';
      /** The format it names, or undefined for the request's default. */
      readonly format: string | undefined;
      /** Where `INTO OUTFILE` belongs: before FORMAT, or at the end. */
      readonly fileAt: number;
      readonly end: number;
    }
  | { readonly kind: 'command'; readonly end: number };

const INTO_OUTFILE_NOT_ALLOWED = 344;
const UNKNOWN_TYPE_OF_QUERY = 78;

const ROWS_FIRST_WORDS = new Set(['SELECT', 'WITH', 'FROM', 'SHOW', 'DESCRIBE', 'DESC', 'EXPLAIN', 'EXISTS']);

/**
 * Finds the kind of a query.
 * @param text the beginning of the query, at most the longest query allowed, one character a byte (latin1).
 * @param check sees every token of the query proper.
 * @throws QueryError for an empty query, several statements, and INTO OUTFILE or FROM INFILE, as ClickHouse does.
 */
export function readStatement(text: string, check: TokenCheck): Statement {
  const reader = checkedTokens(text, check);
  const first = reader.next().value;
  if (first === undefined) throw new QueryError(SYNTAX_ERROR, 'Empty query', 'SYNTAX_ERROR');
  if (first.word === 'INSERT') return readInsert(text, reader);
  return readOther(text, first, reader);
}

function* checkedTokens(text: string, check: TokenCheck): Generator<Token, undefined> {
  for (const token of tokens(text)) {
    check(token, text);
    yield token;
  }
  return undefined;
}

function readOther(text: string, first: Token, reader: Generator<Token, undefined>): Statement {
  // The query's own clauses stand outside all brackets.
  const top = [first];
  let end = first.end;
  for (const token of reader) {
    if (token.kind === ';' && token.depth === 0) {
      refuseMore(reader);
      break;
    }
    end = token.end;
    if (token.depth > 0) continue;
    const previous = top.at(-1);
    if (token.word === 'INTO' && previous?.word === 'INSERT' && first.word === 'WITH') {
      return readInsert(text, reader);
    }
    if (token.word === 'OUTFILE' && previous?.word === 'INTO') {
      throw new QueryError(INTO_OUTFILE_NOT_ALLOWED, 'INTO OUTFILE is not allowed', 'SUPPORT_IS_DISABLED');
    }
    top.push(token);
  }
  if (!ROWS_FIRST_WORDS.has(first.word) && first.kind !== '(') return { kind: 'command', end };
  const at = top.findLastIndex((token) => token.word === 'FORMAT');
  const [format, name, next] = at > 0 ? top.slice(at) : [];
  const isClause = isName(name) && (next === undefined || next.word === 'SETTINGS');
  if (!format || !name || !isClause) return { kind: 'rows', format: undefined, fileAt: end, end };
  return {
    kind: 'rows',
    format: text.slice(name.start, name.end).replaceAll(/[`"]/g, ''),
    fileAt: format.start,
    end,
  };
}

function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'name';
}

function refuseMore(reader: Generator<Token, undefined>): void {
  for (const token of reader) {
    if (token.kind !== ';') {
      throw new QueryError(SYNTAX_ERROR, 'Syntax error (Multi-statements are not allowed)', 'SYNTAX_ERROR');
    }
  }
}

/** Reads on behind INSERT: `INTO [TABLE|FUNCTION] name [(columns)] [SETTINGS …] (VALUES | FORMAT name | SELECT …)`. */
function readInsert(text: string, reader: Generator<Token, undefined>): Statement {
  let fileAt: number | undefined;
  let previous: Token | undefined;
  let input: InputCall | undefined;
  let named = false;
  let selects = false;
  let end = text.trimEnd().length;
  for (const token of reader) {
    const { word } = token;
    const behindName = named && previous?.kind !== '.' && token.depth === 0 && !selects;
    if (selects && word === 'INPUT' && previous?.word === 'FROM') {
      input = readInputCall(token, reader);
      previous = undefined;
      continue;
    }
    if (input && token.depth === 0 && previous?.word === 'FORMAT' && token.kind === 'word') {
      const format = text.slice(token.start, token.end);
      const rowsAt = skipBeforeRows(text, token.end);
      return { kind: 'insert-input', format, ...input, end: previous.start, rowsAt };
    }
    if (token.kind === ';' && token.depth === 0) {
      refuseMore(reader);
      break;
    }
    if (behindName && word === 'INFILE') {
      throw new QueryError(
        UNKNOWN_TYPE_OF_QUERY,
        'Query has infile and was send directly to server',
        'UNKNOWN_TYPE_OF_QUERY',
      );
    }
    if (behindName && word === 'SETTINGS') fileAt ??= token.start;
    if (behindName && word === 'VALUES') {
      fileAt ??= token.start;
      return {
        kind: 'insert-rows',
        format: 'Values',
        fileAt,
        end: token.start,
        isValues: true,
        rowsAt: token.end,
      };
    }
    if (behindName && previous?.word === 'FORMAT' && token.kind === 'word') {
      const format = text.slice(token.start, token.end);
      const rowsAt = skipBeforeRows(text, token.end);
      return {
        kind: 'insert-rows',
        format,
        fileAt: fileAt ?? previous.start,
        end: token.end,
        isValues: false,
        rowsAt,
      };
    }
    if (behindName) selects = word === 'SELECT' || word === 'WITH' || word === 'WATCH';
    if (!named) named = endsName(token, previous);
    previous = token;
    end = token.end;
  }
  return { kind: 'command', end };
}

interface InputCall {
  readonly inputAt: number;
  readonly inputEnd: number;
  readonly structure: readonly [start: number, end: number];
}

/** Reads `('structure')` behind the word `input`; anything else is left for the engine to refuse. */
function readInputCall(word: Token, reader: Generator<Token, undefined>): InputCall | undefined {
  const [open, structure, close] = [reader.next().value, reader.next().value, reader.next().value];
  if (open?.kind !== '(' || structure?.kind !== 'text' || close?.kind !== ')') return undefined;
  return {
    inputAt: word.start,
    inputEnd: close.end,
    structure: [structure.start, structure.end],
  };
}

/** Whether `token` is (the last known part of) the table's name, which may itself be a word such as "values". */
function endsName(token: Token, previous: Token | undefined): boolean {
  if (token.word === 'INTO' && previous === undefined) return false;
  if ((token.word === 'TABLE' || token.word === 'FUNCTION') && previous?.word === 'INTO') return false;
  return isName(token) || token.kind === '{';
}

/** As ClickHouse does: blanks and one line end between FORMAT and the rows are no part of them. */
function skipBeforeRows(text: string, start: number): number {
  let at = start;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\f') at += 1;
  if (text[at] === ';') {
    throw new QueryError(
      SYNTAX_ERROR,
      "You have excessive ';' symbol before data for INSERT",
      'SYNTAX_ERROR',
    );
  }
  if (text[at] === '\r') at += 1;
  if (text[at] === '\n') at += 1;
  return at;
}
