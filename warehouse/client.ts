import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { type Table, tableFromIPC } from 'apache-arrow';
import { errorText, OperatingError } from '../core/errors.ts';

/** Values bound to `{name:Type}` in a query. */
export type QueryParams = Readonly<Record<string, unknown>>;
type Settings = Readonly<Record<string, string | number>>;

export interface QueryResult<Row> {
  readonly rows: Row[];
  /** How many rows the engine read to answer. */
  readonly readRows: number;
}

/** A connection to the ClickHouse database that holds the clicks. */
export interface Warehouse {
  readonly database: string;
  /** Whom the connection belongs to: a dictionary reads its table as the same account. */
  readonly account: { readonly username: string; readonly password: string };
  /** Rows as objects. 64-bit integers arrive as decimal strings, smaller ones as numbers. */
  query<Row>(sql: string, params?: QueryParams, settings?: Settings): Promise<QueryResult<Row>>;
  /**
   * The answer in one of ClickHouse's formats, such as `CSVWithNames`, while the engine makes it. A failure on the way
   * ends the stream with an error; destroying the stream ends the query.
   */
  stream(sql: string, how: { format: string; params?: QueryParams; settings?: Settings }): Promise<Readable>;
  /** The answer as Arrow columns: for thousands of rows, where objects would cost more than the query. */
  queryArrow(
    sql: string,
    params?: QueryParams,
    settings?: Settings,
  ): Promise<{ table: Table; readRows: number }>;
  /** A statement without an answer. */
  command(sql: string, params?: QueryParams, settings?: Settings): Promise<void>;
  /** A few rows given as objects; the bulk of clicks goes through {@link Warehouse.insertBytes}. */
  insertRows(table: string, rows: readonly object[]): Promise<void>;
  /**
   * Sends `INSERT … FORMAT X` with its data as they are, without copying them together.
   * Resolves only when the server has written everything. @throws OperatingError `rows_refused` when no repetition helps.
   */
  insertBytes(insert: { sql: string; data: readonly Buffer[]; settings: Settings }): Promise<void>;
  close(): Promise<void>;
}

/** Longer than any query of ours: behind it the server is stuck, and the caller has to know. */
const REQUEST_TIMEOUT_MS = 60_000;
const DEFAULT_DATABASE = 'afflux';
/** How much of a server's error text is kept. */
const ERROR_TEXT_CHARS = 2_000;

/**
 * Connects to `http://user:password@host:8123/database` and creates the database if it is missing.
 * @throws OperatingError `clickhouse_unreachable` (network) or `clickhouse_refused` (its answer was an exception).
 */
export async function connectWarehouse(options: { url: string; name: string }): Promise<Warehouse> {
  const target = parseTarget(options.url);
  const common = {
    url: target.origin,
    username: target.username,
    password: target.password,
    application: options.name,
    request_timeout: REQUEST_TIMEOUT_MS,
    // Every error is thrown to the caller, who logs it where it matters.
    log: { level: ClickHouseLogLevel.OFF },
  };
  const { database } = target;
  const bootstrap = createClient(common);
  try {
    await translated(target.origin, () =>
      bootstrap.command({
        query: 'CREATE DATABASE IF NOT EXISTS {database:Identifier}',
        query_params: { database },
      }),
    );
  } finally {
    await bootstrap.close();
  }
  const client = createClient({
    ...common,
    database,
    // A fingerprint does not fit a JavaScript number, so every 64-bit integer is text.
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  });
  return {
    database,
    account: { username: target.username, password: target.password },
    query: <Row>(sql: string, params: QueryParams = {}, settings: Settings = {}) =>
      translated(target.origin, () => queryRows<Row>(client, sql, params, settings)),
    stream: (sql, { format, params = {}, settings = {} }) =>
      translated(target.origin, async () => {
        const { stream } = await client.exec({
          query: `${sql}\nFORMAT ${format}`,
          query_params: { ...params },
          clickhouse_settings: { ...settings },
        });
        return stream as Readable;
      }),
    queryArrow: (sql, params = {}, settings = {}) =>
      translated(target.origin, async () => {
        const { stream, summary } = await client.exec({
          query: `${sql}\nFORMAT ArrowStream`,
          query_params: { ...params },
          clickhouse_settings: {
            ...settings,
            output_format_arrow_string_as_string: 1,
            output_format_arrow_compression_method: 'none',
          },
        });
        return { table: await tableFromIPC(stream), readRows: Number(summary?.read_rows ?? 0) };
      }),
    async command(sql, params = {}, settings = {}) {
      await translated(target.origin, () =>
        client.command({ query: sql, query_params: { ...params }, clickhouse_settings: { ...settings } }),
      );
    },
    async insertRows(table, rows) {
      await translated(target.origin, () =>
        client.insert({
          table,
          values: rows,
          format: 'JSONEachRow',
          clickhouse_settings: { async_insert: 0 },
        }),
      );
    },
    insertBytes: (insert) => translated(target.origin, () => postBytes(target, insert)),
    close: () => client.close(),
  };
}

/** A time (Unix milliseconds) as a DateTime64(3, 'UTC') column takes it in {@link Warehouse.insertRows}. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

interface Target {
  readonly origin: string;
  readonly database: string;
  readonly username: string;
  readonly password: string;
}

function parseTarget(url: string): Target {
  const parsed = new URL(url);
  return {
    origin: parsed.origin,
    database: decodeURIComponent(parsed.pathname.replace(/^\/+|\/+$/g, '')) || DEFAULT_DATABASE,
    username: decodeURIComponent(parsed.username) || 'default',
    password: decodeURIComponent(parsed.password),
  };
}

async function queryRows<Row>(
  client: ClickHouseClient,
  sql: string,
  params: QueryParams,
  settings: Settings,
): Promise<QueryResult<Row>> {
  const answer = await client.query({
    query: sql,
    query_params: { ...params },
    format: 'JSON',
    clickhouse_settings: { ...settings },
  });
  const { data, statistics } = await answer.json<Row>();
  return { rows: data, readRows: Number(statistics?.rows_read ?? 0) };
}

/**
 * A chunked POST: ClickHouse takes a body cut short of its Content-Length for a whole, shorter insert
 * (ClickHouse issue 34725), but refuses a chunked body without its end.
 */
function postBytes(
  target: Target,
  insert: { sql: string; data: readonly Buffer[]; settings: Settings },
): Promise<void> {
  const url = new URL('/', target.origin);
  url.searchParams.set('database', target.database);
  url.searchParams.set('query', insert.sql);
  for (const [name, value] of Object.entries(insert.settings)) url.searchParams.set(name, String(value));
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: 'POST',
      timeout: REQUEST_TIMEOUT_MS,
      headers: {
        'Transfer-Encoding': 'chunked',
        'X-ClickHouse-User': target.username,
        'X-ClickHouse-Key': target.password,
      },
    });
    request.on('timeout', () => request.destroy(new Error(`no answer in ${REQUEST_TIMEOUT_MS} ms`)));
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        if (text.length < ERROR_TEXT_CHARS) text += part;
      });
      response.on('error', reject);
      response.on('end', () => {
        const failed = response.statusCode !== 200 || response.headers['x-clickhouse-exception-code'];
        if (failed) reject(refusedInsert(response, text.slice(0, ERROR_TEXT_CHARS)));
        else resolve();
      });
    });
    for (const part of insert.data) request.write(part);
    request.end();
  });
}

/**
 * What the rows themselves are at fault for, by ClickHouse's error numbers: text, assertion or end of data while
 * parsing, unreadable or incorrect data, a value out of bounds or range, throwIf, too long a string, a constraint.
 */
const ROW_FAULTS: ReadonlySet<number> = new Set([6, 27, 32, 33, 69, 117, 131, 321, 395, 469]);

function refusedInsert(response: IncomingMessage, text: string): OperatingError {
  const code = Number(response.headers['x-clickhouse-exception-code']);
  if (!ROW_FAULTS.has(code)) return refused(text || `status ${response.statusCode}`);
  return new OperatingError('rows_refused', `ClickHouse refused rows: ${text}`);
}

function refused(text: string, cause?: unknown): OperatingError {
  return new OperatingError('clickhouse_refused', `ClickHouse refused a statement: ${text}`, { cause });
}

/** Turns what the network and the server throw into operating errors. */
async function translated<T>(origin: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    if (error instanceof ClickHouseError)
      throw refused(`${error.type ?? error.code}: ${error.message}`, error);
    throw new OperatingError(
      'clickhouse_unreachable',
      `cannot reach ClickHouse at ${origin}: ${errorText(error)}. Start the platform with "npm start", or set CLICKHOUSE_URL`,
      { cause: error },
    );
  }
}
