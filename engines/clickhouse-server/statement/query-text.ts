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
export const MAX_HEAD_BYTES = 256 * 1024;
/** Bounds the memory for one query's text; the engine has a limit of its own (max_query_size). */
export const MAX_QUERY_BYTES = 16 * 1024 ** 2;
const QUERY_IS_TOO_LARGE = 266;

type InsertWithRows = Extract<Statement, { rowsAt: number }>;

function hasRows(statement: Statement): statement is InsertWithRows {
  return statement.kind === 'insert-rows' || statement.kind === 'insert-input';
}

/** The INSERT with rows that `text` begins with, or undefined: of another query the text can be cut off in a quote. */
function readInsertWithRows(text: string, check: TokenCheck): InsertWithRows | undefined {
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
 * @param maxBytes of the query. Its words are read at once, and other requests wait for that: 0.2 s for a million of them.
 * @throws QueryError, or the body's own error when the client vanished.
 */
export async function readQuery(
  source: AsyncIterable<Buffer>,
  urlQuery: string,
  newCheck: () => TokenCheck,
  maxBytes = MAX_QUERY_BYTES,
): Promise<ReadQuery> {
  const body = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [Buffer.from(urlQuery === '' ? '' : `${urlQuery}\n`)];
  let bytes = chunks[0]?.length ?? 0;
  let ended = false;

  async function readUntil(limit: number): Promise<Buffer> {
    while (!ended && bytes < limit) {
      const next = await body.next();
      if (next.done) ended = true;
      else {
        chunks.push(next.value);
        bytes += next.value.length;
      }
    }
    return Buffer.concat(chunks);
  }

  async function readWhole(): Promise<Statement> {
    read = await readUntil(maxBytes + 1);
    requireSize();
    return readStatement(read.toString('latin1'), newCheck());
  }

  let read: Buffer = Buffer.concat(chunks);

  function requireSize(): void {
    if (bytes <= maxBytes) return;
    throw new QueryError(QUERY_IS_TOO_LARGE, `Query of more than ${maxBytes} bytes`, 'QUERY_IS_TOO_LARGE');
  }

  async function readStart(): Promise<Statement> {
    requireSize();
    // The line end completes the last word: of an INSERT in the URL the body is left alone, whatever its size.
    const inUrl = readInsertWithRows(read.toString('latin1'), newCheck());
    if (inUrl) return inUrl;
    read = await readUntil(MAX_HEAD_BYTES);
    // A chunk can be far larger than what is looked at.
    const head = read.toString('latin1', 0, MAX_HEAD_BYTES);
    if (ended && bytes <= MAX_HEAD_BYTES) return readStatement(head, newCheck());
    const insert = readInsertWithRows(head, newCheck());
    // A word at the end of the head can go on.
    return insert && insert.rowsAt < head.length ? insert : await readWhole();
  }

  const statement = await readStart();
  const rowsAt = hasRows(statement) ? statement.rowsAt : 0;

  async function* rows(): AsyncGenerator<Buffer> {
    const inText = read.subarray(rowsAt);
    if (inText.length > 0) yield inText;
    while (!ended) {
      const next = await body.next();
      if (next.done) return;
      yield next.value;
    }
  }

  return {
    statement,
    text: (start, end) => read.toString('utf8', start, end),
    rows,
  };
}
