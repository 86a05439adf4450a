import type { Readable } from 'node:stream';
import { type Table, tableFromIPC } from 'apache-arrow';
import { errorText, OperatingError } from '../../core/errors.ts';
import {
  openHttp,
  type QueryParams,
  readAll,
  ServerFault,
  type Settings,
  type Statement,
  type Target,
} from './http.ts';

export type { QueryParams } from './http.ts';

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

const DEFAULT_DATABASE = 'afflux';
/** A fingerprint does not fit a JavaScript number, so every 64-bit integer is text. */
const JSON_SETTINGS = { output_format_json_quote_64bit_integers: 1 } as const;
/** What `apache-arrow` can read. */
const ARROW_SETTINGS = {
  output_format_arrow_string_as_string: 1,
  output_format_arrow_compression_method: 'none',
} as const;

/**
 * Connects to `http://user:password@host:8123/database` and creates the database if it is missing.
 * @throws OperatingError `clickhouse_unreachable` (network), `clickhouse_refused` (its answer was an exception).
 */
export async function connectWarehouse(options: { url: string; name: string }): Promise<Warehouse> {
  const target = parseTarget(options.url);
  const { origin, database, username, password } = target;
  const http = openHttp(target, options.name);
  const bytesOf = (statement: Statement) =>
    translated(origin, async () => {
      const response = await http.post(statement);
      return { bytes: await readAll(response), headers: response.headers };
    });

  await bytesOf({
    sql: 'CREATE DATABASE IF NOT EXISTS {database:Identifier}',
    params: { database },
    outside: true,
  }).catch((error) => {
    http.close();
    throw error;
  });
  return {
    database,
    account: { username, password },
    async query<Row>(sql: string, params?: QueryParams, settings?: Settings) {
      const { bytes } = await bytesOf({
        sql: `${sql}\nFORMAT JSON`,
        params,
        settings: { ...JSON_SETTINGS, ...settings },
      });
      const { data, statistics } = JSON.parse(bytes.toString()) as {
        data: Row[];
        statistics?: { rows_read: number };
      };
      return { rows: data, readRows: statistics?.rows_read ?? 0 };
    },
    stream: (sql, { format, params, settings }) =>
      translated(origin, () =>
        http.post({
          sql: `${sql}\nFORMAT ${format}`,
          params,
          settings: { ...JSON_SETTINGS, ...settings },
        }),
      ),
    async queryArrow(sql, params, settings) {
      const { bytes, headers } = await bytesOf({
        sql: `${sql}\nFORMAT ArrowStream`,
        params,
        settings: { ...ARROW_SETTINGS, ...settings },
      });
      const summary = JSON.parse(String(headers['x-clickhouse-summary'] ?? '{}')) as { read_rows?: string };
      return { table: tableFromIPC(bytes), readRows: Number(summary.read_rows ?? 0) };
    },
    async command(sql, params, settings) {
      await bytesOf({ sql, params, settings });
    },
    async insertRows(table, rows) {
      await bytesOf({
        sql: `INSERT INTO ${table} FORMAT JSONEachRow`,
        data: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
        settings: { async_insert: 0 },
      });
    },
    async insertBytes(insert) {
      await bytesOf(insert).catch((error) => {
        const fault = error instanceof OperatingError ? error.cause : undefined;
        if (!(fault instanceof ServerFault && ROW_FAULTS.has(fault.number))) throw error;
        throw new OperatingError('rows_refused', `ClickHouse refused rows: ${fault.message}`, {
          cause: fault,
          clickhouseCode: fault.number,
        });
      });
    },
    async close() {
      http.close();
    },
  };
}

/** A time (Unix milliseconds) as a DateTime64(3, 'UTC') column takes it in {@link Warehouse.insertRows}. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
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

/**
 * What the rows themselves are at fault for, by ClickHouse's error numbers: text, assertion or end of data while
 * parsing, unreadable or incorrect data, a value out of bounds or range, throwIf, too long a string, a constraint.
 */
const ROW_FAULTS: ReadonlySet<number> = new Set([6, 27, 32, 33, 69, 117, 131, 321, 395, 469]);

/** Turns what the network and the server throw into operating errors. */
async function translated<T>(origin: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ServerFault) {
      const text = `ClickHouse refused a statement: ${error.message}`;
      throw new OperatingError('clickhouse_refused', text, { cause: error, clickhouseCode: error.number });
    }
    throw new OperatingError(
      'clickhouse_unreachable',
      `cannot reach ClickHouse at ${origin}: ${errorText(error)}. Start the platform with "npm start", or set CLICKHOUSE_URL`,
      { cause: error },
    );
  }
}
