import type { Readable } from 'node:stream';
import { type Table, tableFromIPC } from 'apache-arrow';
import { errorText, OperatingError } from '../../core/errors.ts';
import { NO_TLS_FILES, readTlsFiles, type TlsFiles } from '../../core/tls.ts';
import { openHttpTransport } from './http.ts';
import { openOfficialTransport } from './official.ts';
import {
  type Query,
  type QueryParams,
  readAll,
  ServerFault,
  type Settings,
  type Target,
  type Transport,
} from './transport.ts';

export type { QueryParams } from './transport.ts';

export interface QueryResult<Row> {
  readonly rows: Row[];
  /** How many rows the engine read to answer. */
  readonly readRows: number;
}

/** A connection to the ClickHouse database that holds the clicks. */
export interface Warehouse {
  readonly database: string;
  /** The account of the connection: a dictionary reads its table under the same one. */
  readonly account: { readonly username: string; readonly password: string };
  /** Rows as objects. 64-bit integers arrive as decimal strings, smaller ones as numbers. */
  query<Row>(sql: string, params?: QueryParams, settings?: Settings): Promise<QueryResult<Row>>;
  /**
   * The answer in one of ClickHouse's formats, such as `CSVWithNames`, while the engine makes it. A failure on the way
   * ends the stream with an error; destroying the stream ends the query.
   */
  stream(sql: string, how: { format: string; params?: QueryParams; settings?: Settings }): Promise<Readable>;
  /** The answer as Arrow columns: for thousands of rows, where objects would cost more than the query. */
  queryArrow(sql: string, params?: QueryParams, settings?: Settings): Promise<Table>;
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
/** The variant of Arrow that `apache-arrow` reads. */
const ARROW_SETTINGS = {
  output_format_arrow_string_as_string: 1,
  output_format_arrow_compression_method: 'none',
} as const;

/**
 * Connects to `http://user:password@host:8123/database` and creates the database if it is missing.
 * @throws OperatingError `clickhouse_unreachable` (network), `clickhouse_refused` (its answer was an exception),
 * `invalid_config` for a certificate's file that cannot be read.
 */
export async function connectWarehouse(options: {
  url: string;
  tls?: TlsFiles;
  name: string;
}): Promise<Warehouse> {
  const { url, tls = NO_TLS_FILES } = options;
  const target = { ...parseTarget(url), tls: readTlsFiles('CLICKHOUSE', tls) };
  await createDatabase(target, options.name);
  return warehouseOf(target, {
    queries: openHttpTransport(target, options.name),
    rest: openOfficialTransport(target, options.name),
  });
}

async function createDatabase(target: Target, name: string): Promise<void> {
  const transport = openHttpTransport({ ...target, database: '' }, name);
  const { database } = target;
  try {
    await translated(target.origin, async () => {
      const sql = 'CREATE DATABASE IF NOT EXISTS {database:Identifier}';
      await readAll((await transport.send({ sql, params: { database } })).body);
    });
  } finally {
    await transport.close();
  }
}

/**
 * A warehouse over its transports: `queries` carries {@link Warehouse.query}, `rest` everything else. The one place that
 * decides which client carries which call.
 */
export function warehouseOf(
  target: Target,
  transports: { queries: Transport<Query>; rest: Transport },
): Warehouse {
  const { queries, rest } = transports;
  const bytesOf = <Request extends Query>(transport: Transport<Request>, request: Request) =>
    translated(target.origin, async () => {
      const { headers, body } = await transport.send(request);
      return { headers, bytes: await readAll(body) };
    });

  return {
    database: target.database,
    account: { username: target.username, password: target.password },
    async query<Row>(sql: string, params?: QueryParams, settings?: Settings) {
      const { bytes } = await bytesOf(queries, {
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
      translated(target.origin, async () => {
        const { body } = await rest.send({
          sql: `${sql}\nFORMAT ${format}`,
          params,
          settings: { ...JSON_SETTINGS, ...settings },
        });
        return body;
      }),
    async queryArrow(sql, params, settings) {
      const { bytes } = await bytesOf(rest, {
        sql: `${sql}\nFORMAT ArrowStream`,
        params,
        settings: { ...ARROW_SETTINGS, ...settings },
      });
      return tableFromIPC(bytes);
    },
    async command(sql, params, settings) {
      await bytesOf(rest, { sql, params, settings });
    },
    async insertRows(table, rows) {
      await bytesOf(rest, {
        sql: `INSERT INTO ${table} FORMAT JSONEachRow`,
        data: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
        settings: { async_insert: 0 },
      });
    },
    async insertBytes(insert) {
      await bytesOf(rest, insert).catch((error) => {
        const fault = error instanceof OperatingError ? error.cause : undefined;
        if (!(fault instanceof ServerFault && ROW_FAULTS.has(fault.number))) throw error;
        throw new OperatingError('rows_refused', `ClickHouse refused rows: ${fault.message}`, {
          cause: fault,
          clickhouseCode: fault.number,
        });
      });
    },
    async close() {
      await Promise.all([queries.close(), rest.close()]);
    },
  };
}

/** A time (Unix milliseconds) as a DateTime64(3, 'UTC') column takes it in {@link Warehouse.insertRows}. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

export function parseTarget(url: string): Target {
  const parsed = new URL(url);
  return {
    origin: parsed.origin,
    database: decodeURIComponent(parsed.pathname.replace(/^\/+|\/+$/g, '')) || DEFAULT_DATABASE,
    username: decodeURIComponent(parsed.username) || 'default',
    password: decodeURIComponent(parsed.password),
    tls: {},
  };
}

/**
 * Errors that the rows themselves cause, by ClickHouse's numbers: text, assertion or end of data while
 * parsing, unreadable or incorrect data, a value out of bounds or range, throwIf, too long a string, a constraint.
 */
const ROW_FAULTS: ReadonlySet<number> = new Set([6, 27, 32, 33, 69, 117, 131, 321, 395, 469]);

/** Turns errors of the network and the server into operating errors. */
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
