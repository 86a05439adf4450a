import type { Readable } from 'node:stream';
import type { Table } from 'apache-arrow';
import type { QueryParams, Settings } from './transport.ts';

export interface QueryResult<Row> {
  readonly rows: Row[];
  /** How many rows the engine read to answer. */
  readonly readRows: number;
}

/** A connection to the ClickHouse database that holds the clicks: to a server, or to one server of a cluster at a time. */
export interface Warehouse {
  /** Of the tables; on a cluster those that are read have a database of their own (`readingDatabase`). */
  readonly database: string;
  /** The cluster of the server, '' for none. */
  readonly cluster: string;
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
  /** A statement without an answer, of the tables' database. */
  command(sql: string, params?: QueryParams, settings?: Settings): Promise<void>;
  /**
   * {@link Warehouse.command} for every server of the cluster; returns when all of them have done it. An INSERT is done by
   * one of them.
   */
  everywhere(sql: string, params?: QueryParams, settings?: Settings): Promise<void>;
  /** A few rows given as objects; the bulk of clicks goes through {@link Warehouse.insertBytes}. */
  insertRows(table: string, rows: readonly object[]): Promise<void>;
  /**
   * Sends `INSERT … FORMAT X` with its data as they are, without copying them together.
   * Resolves only when the server has written everything, on a cluster most of its replicas.
   * @throws OperatingError `rows_refused` when no repetition helps.
   */
  insertBytes(insert: { sql: string; data: readonly Buffer[]; settings: Settings }): Promise<void>;
  /** The server in use, and no other: for statements that belong together. */
  server(): Promise<Warehouse>;
  close(): Promise<void>;
}
