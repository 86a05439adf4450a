import { QueryError } from '../errors.ts';
import type { TokenCheck } from './access.ts';
import { readStatement, type Statement } from './statement.ts';

/** A query with its statement, and the rows that follow it. */
export interface ReadQuery {
  readonly statement: Statement;
  /** Bytes from `start` to `end` of the query as text. */
  text(start: number, end: number): string;
  /** The rows of an INSERT: those behind its text, then the rest of the body. */
  rows(): AsyncGenerator<Buffer>;
}

/** A statement's kind must show in this much of it; ClickHouse's own `max_query_size` is the same. */
const MAX_HEAD_BYTES = 256 * 1024;
/** Bounds the memory for one query's text; the engine has a limit of its own (max_query_size). */
const MAX_QUERY_BYTES = 16 * 1024 ** 2;
const QUERY_IS_TOO_LARGE = 266;

function hasRows(statement: Statement): statement is Extract<Statement, { rowsAt: number }> {
  return statement.kind === 'insert-rows' || statement.kind === 'insert-input';
}

/** The INSERT with rows that `text` begins with, or undefined: of another query the text can be cut off in a quote. */
function readInsertWithRows(text: string, check: TokenCheck): Statement | undefined {
  try {
    const statement = readStatement(text, check);
    return hasRows(statement) ? statement : undefined;
  } catch (error) {
    if (error instanceof QueryError) return undefined;
    throw error;
  }
}

/**
 * Reads the query: that of the URL, a line end, and the body, as ClickHouse joins them. Of an INSERT with rows no
 * more is read than shows where they begin.
 * @param source the body, unpacked.
 * @param newCheck makes a check of the query's tokens.
 * @throws QueryError, or the body's own error when the client vanished.
 */
export async function readQuery(
  source: AsyncIterable<Buffer>,
  urlQuery: string,
  newCheck: () => TokenCheck,
): Promise<ReadQuery> {
  const body = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = urlQuery === '' ? [] : [Buffer.from(`${urlQuery}\n`)];
  let bytes = chunks[0]?.length ?? 0;
  let ended = false;

  async function readUntil(limit: number): Promise<string> {
    while (!ended && bytes < limit) {
      const next = await body.next();
      if (next.done) ended = true;
      else {
        chunks.push(next.value);
        bytes += next.value.length;
      }
    }
    return Buffer.concat(chunks).toString('latin1');
  }

  let latin1 = await readUntil(MAX_HEAD_BYTES);
  let statement = ended ? readStatement(latin1, newCheck()) : readInsertWithRows(latin1, newCheck());
  if (statement === undefined) {
    latin1 = await readUntil(MAX_QUERY_BYTES);
    if (!ended) {
      throw new QueryError(
        QUERY_IS_TOO_LARGE,
        `Query of more than ${MAX_QUERY_BYTES} bytes`,
        'QUERY_IS_TOO_LARGE',
      );
    }
    statement = readStatement(latin1, newCheck());
  }
  const rowsAt = hasRows(statement) ? statement.rowsAt : 0;

  async function* rows(): AsyncGenerator<Buffer> {
    const inText = Buffer.from(latin1.slice(rowsAt), 'latin1');
    if (inText.length > 0) yield inText;
    while (!ended) {
      const next = await body.next();
      if (next.done) return;
      yield next.value;
    }
  }

  return {
    statement,
    text: (start, end) => Buffer.from(latin1.slice(start, end), 'latin1').toString('utf8'),
    rows,
  };
}
