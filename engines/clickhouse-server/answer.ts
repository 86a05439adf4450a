import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { type AnswerEncoding, encode } from './bodies/encodings.ts';
import { packFrames } from './bodies/frames.ts';
import { asQueryError, httpStatus, type QueryError } from './errors.ts';
import { writeRevision } from './native/revision.ts';
import type { QueryStats } from './sessions/engine.ts';

/** ClickHouse holds back as much before it commits to a status. */
const HELD_BYTES = 1024 ** 2;

const TYPES: Readonly<Record<string, string>> = {
  JSON: 'application/json; charset=UTF-8',
  JSONCompact: 'application/json; charset=UTF-8',
  JSONStrings: 'application/json; charset=UTF-8',
  JSONEachRow: 'application/x-ndjson; charset=UTF-8',
  JSONCompactEachRow: 'application/x-ndjson; charset=UTF-8',
  JSONStringsEachRow: 'application/x-ndjson; charset=UTF-8',
  CSV: 'text/csv; charset=UTF-8; header=absent',
  CSVWithNames: 'text/csv; charset=UTF-8; header=present',
  CSVWithNamesAndTypes: 'text/csv; charset=UTF-8; header=present',
  TabSeparated: 'text/tab-separated-values; charset=UTF-8',
  TSV: 'text/tab-separated-values; charset=UTF-8',
  TabSeparatedWithNames: 'text/tab-separated-values; charset=UTF-8',
  TSVWithNames: 'text/tab-separated-values; charset=UTF-8',
  Vertical: 'text/plain; charset=UTF-8',
  Pretty: 'text/plain; charset=UTF-8',
  XML: 'application/xml; charset=UTF-8',
};

/** Headers that every answer has. */
export function writeCommonHeaders(response: ServerResponse): void {
  response.setHeader('X-ClickHouse-Server-Display-Name', 'afflux');
  response.setHeader('X-ClickHouse-Timezone', 'UTC');
  response.setHeader('Access-Control-Expose-Headers', 'X-ClickHouse-Query-Id,X-ClickHouse-Summary');
}

export function writeQueryId(response: ServerResponse, queryId: string): void {
  // A header cannot hold every character that an id may have.
  response.setHeader('X-ClickHouse-Query-Id', queryId.replaceAll(/[^\x20-\x7e]/g, '?'));
}

export function writeFormatHeaders(response: ServerResponse, format: string): void {
  response.setHeader('X-ClickHouse-Format', format);
  response.setHeader('Content-Type', TYPES[format] ?? 'application/octet-stream');
}

/**
 * The engine tells how many rows a result has, and not how many were read for it: fields without a true value are left out.
 * @param written whether the rows were written.
 */
export function writeSummary(response: ServerResponse, stats: QueryStats, written: boolean): void {
  const rows = String(stats.rows);
  const bytes = String(stats.bytes);
  response.setHeader(
    'X-ClickHouse-Summary',
    JSON.stringify({
      written_rows: written ? rows : '0',
      written_bytes: written ? bytes : '0',
      result_rows: rows,
      result_bytes: bytes,
      elapsed_ns: String(Math.round(stats.elapsedSeconds * 1e9)),
    }),
  );
}

/** Answers with an error before anything else was sent. */
export function sendError(message: IncomingMessage, response: ServerResponse, thrown: unknown): void {
  const error = asQueryError(thrown);
  const status = httpStatus(error);
  if (status === 401) response.setHeader('WWW-Authenticate', 'Basic realm="ClickHouse server HTTP API"');
  response.statusCode = status;
  response.setHeader('X-ClickHouse-Exception-Code', error.code);
  response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
  response.removeHeader('X-ClickHouse-Format');
  // The rest of the body would be taken for the next request.
  if (!message.complete) response.setHeader('Connection', 'close');
  response.end(`${error.message}\n`);
}

/** What is left of an answer when its query has ended: to be called when the session is free for the next one. */
export type RestOfAnswer = () => Promise<void>;

/**
 * Sends a result while it is made. Up to HELD_BYTES are held back, so that a query which fails early gets its real
 * status and a short result its complete summary; a later failure is sent at the end of the body, between the
 * markers of ClickHouse 25.11 and later, and the connection is cut without the last chunk.
 * @param finished settles when the query has ended; the stream ends with it.
 */
export async function sendRows(options: {
  response: ServerResponse;
  rows: AsyncIterable<Buffer>;
  finished: Promise<QueryStats>;
  encoding: AnswerEncoding | undefined;
  /** Whether the bytes go in compressed frames. */
  framed: boolean;
  /** The protocol version that Native format is turned into; 0 for rows to send as they are. */
  revision: number;
}): Promise<RestOfAnswer> {
  const { response, finished, revision, framed, encoding } = options;
  const rows = revision > 0 ? writeRevision(options.rows, revision) : options.rows;
  const chunks = rows[Symbol.asyncIterator]();
  const held: Buffer[] = [];
  let heldBytes = 0;
  let ended = false;
  while (!ended && heldBytes < HELD_BYTES) {
    const next = await chunks.next();
    if (next.done) ended = true;
    else {
      held.push(next.value);
      heldBytes += next.value.length;
    }
  }
  const tag = randomBytes(8).toString('hex');
  let failure: QueryError | undefined;
  async function* content(): AsyncGenerator<Buffer> {
    yield* held;
    held.length = 0;
    try {
      while (!ended) {
        const next = await chunks.next();
        if (next.done) ended = true;
        else yield next.value;
      }
      await finished;
    } catch (error) {
      failure = asQueryError(error);
      yield renderFailure(failure, tag);
    }
  }
  function body(): AsyncIterable<Buffer> {
    const packed = framed ? packFrames(content()) : content();
    if (encoding === undefined) return packed;
    response.setHeader('Content-Encoding', encoding);
    return encode(encoding, packed);
  }
  if (ended) {
    writeSummary(response, await finished, false);
    if (encoding === undefined && !framed) {
      response.setHeader('Content-Length', heldBytes);
      return async () => void response.end(Buffer.concat(held));
    }
    return () => pipeline(body(), response);
  }
  response.setHeader('X-ClickHouse-Exception-Tag', tag);
  await pipeline(body(), response, { end: false });
  return async () => void (failure ? response.socket?.end() : response.end());
}

/** https://clickhouse.com/docs/interfaces/http#http_response_codes_caveats */
function renderFailure(error: QueryError, tag: string): Buffer {
  const text = `${error.message}\n`;
  return Buffer.from(
    `\r\n__exception__\r\n${tag}\r\n${text}${Buffer.byteLength(text)} ${tag}\r\n__exception__\r\n`,
  );
}
