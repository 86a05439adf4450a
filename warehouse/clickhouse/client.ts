import { setTimeout as sleep } from 'node:timers/promises';
import { tableFromIPC } from 'apache-arrow';
import { readingDatabase } from '../../core/config/servers.ts';
import { assert, errorText, OperatingError } from '../../core/errors.ts';
import { NO_TLS_FILES, readTlsFiles, type TlsFiles } from '../../core/tls.ts';
import { splitUrls } from '../../core/url.ts';
import { type BrokenProjection, withoutBrokenProjections } from './broken-projections.ts';
import { onCluster, quotedName } from './cluster.ts';
import { withFailover } from './failover.ts';
import { openHttpTransport } from './http.ts';
import { openOfficialTransport } from './official.ts';
import {
  CLUSTER_STATEMENT_S,
  CLUSTER_TIMEOUT_MS,
  type Query,
  type QueryParams,
  REQUEST_TIMEOUT_MS,
  readAll,
  ServerFault,
  type Settings,
  type Statement,
  type Target,
  type Transport,
} from './transport.ts';
import type { Warehouse } from './warehouse.ts';

export type { QueryParams } from './transport.ts';
export type { Warehouse } from './warehouse.ts';

const DEFAULT_DATABASE = 'afflux';
/** A fingerprint does not fit a JavaScript number, so every 64-bit integer is text. */
const JSON_SETTINGS = { output_format_json_quote_64bit_integers: 1 } as const;
/** The variant of Arrow that `apache-arrow` reads. */
const ARROW_SETTINGS = {
  output_format_arrow_string_as_string: 1,
  output_format_arrow_compression_method: 'none',
} as const;

/**
 * Of every read of a cluster. Row numbers in a subquery are those of the replica that is read, so subqueries stay on it.
 * A replica that lacks an acknowledged insert refuses instead of leaving it out, so that a click is missing or the
 * watermark before it is.
 */
const CLUSTER_READS: Settings = {
  distributed_product_mode: 'local',
  optimize_skip_unused_shards: 1,
  select_sequential_consistency: 1,
};
/** How long the replicas may take, and after that the answer, which says that too few of them had the rows. */
const QUORUM_TIMEOUT_MS = 60_000;
const INSERT_TIMEOUT_MS = QUORUM_TIMEOUT_MS + 30_000;
/**
 * Of every insert into a cluster, whatever carries it and whatever its caller says: the loss of one server loses nothing
 * that was acknowledged. One insert after the other into a table, which is what lets a read know whether its replica has
 * all of them. A table's inserts are all like this or none: a read with CLUSTER_READS leaves out what is newer than the
 * last insert with a quorum, and the parts of older rows that were merged with it.
 */
const CLUSTER_INSERTS: Settings = {
  insert_quorum: 'auto',
  insert_quorum_parallel: 0,
  insert_quorum_timeout: QUORUM_TIMEOUT_MS,
};

/** Another insert into the table still waits for its replicas (286): this one has not begun. */
const OTHER_INSERT_WAITS = 286;
const INSERT_PAUSE_MS = 100;
/** A statement that writes rows, behind its comments. */
const WRITES_ROWS = /^INSERT\s/im;

/** How to connect, and what is read. */
interface Connection {
  /** `http://user:password@host:8123/database`; of a cluster one for each server, separated by commas. */
  readonly url: string;
  readonly tls?: TlsFiles;
  /** The cluster of these servers; by default '', one server. */
  readonly cluster?: string;
  readonly name: string;
  /** `server`: the tables of the server itself. By default those of every shard. */
  readonly reads?: 'cluster' | 'server';
  /** Whether a server of a cluster may be used, asked before it is. @throws OperatingError why not. */
  readonly accept?: (server: Warehouse) => Promise<void>;
  /** Called for each read that a damaged projection fails; it is asked again without projections. By default it fails. */
  readonly onBrokenProjection?: (broken: BrokenProjection) => void;
}

/**
 * Connects to a server, or to one of the servers of a cluster, and creates the databases if they are missing.
 * @throws OperatingError `clickhouse_unreachable` (network), `clickhouse_refused` (its answer was an exception),
 * `invalid_config` for a certificate's file that cannot be read, and those of `accept`.
 */
export async function connectWarehouse(connection: Connection): Promise<Warehouse> {
  const { warehouse, connect } = openServers(connection);
  try {
    await connect();
  } catch (error) {
    await warehouse.close();
    throw error;
  }
  return warehouse;
}

/** Opens the servers of a cluster and connects to one at the first call, which throws what `connectWarehouse` does. */
export function openWarehouse(connection: Connection & { cluster: string }): Warehouse {
  return openServers(connection).warehouse;
}

function openServers(connection: Connection): ReturnType<typeof withFailover> {
  const { url, cluster = '', name, reads = 'cluster', accept, onBrokenProjection } = connection;
  const tls = readTlsFiles('CLICKHOUSE', connection.tls ?? NO_TLS_FILES);
  const servers = splitUrls(url).map((one) => {
    const target = { ...parseTarget(one), tls };
    const reading = {
      ...target,
      database: readingDatabase(target.database, reads === 'server' ? '' : cluster),
    };
    const rest = openOfficialTransport(
      cluster === '' ? target : { ...target, timeoutMs: INSERT_TIMEOUT_MS },
      name,
    );
    const warehouse = warehouseOf(target, {
      cluster,
      ...(onBrokenProjection && { onBrokenProjection }),
      queries: openHttpTransport(reading, name),
      rest,
      ...(cluster !== '' && {
        reads: openOfficialTransport(reading, name),
        everywhere: openOfficialTransport({ ...target, timeoutMs: CLUSTER_TIMEOUT_MS }, name),
      }),
    });
    return {
      warehouse,
      async prepare() {
        await createDatabases({ ...target, timeoutMs: CLUSTER_TIMEOUT_MS }, { name, cluster });
        await accept?.(warehouse);
      },
    };
  });
  const [first, ...others] = servers;
  assert(first, 'a URL names a server');
  return cluster === ''
    ? { warehouse: first.warehouse, connect: first.prepare }
    : withFailover([first, ...others]);
}

/** Of a cluster only where they are missing: a statement for all servers waits for all of them. */
async function createDatabases(target: Target, of: { name: string; cluster: string }): Promise<void> {
  const transport = openHttpTransport({ ...target, database: '' }, of.name);
  const run = (sql: string): Promise<string> =>
    translated(target.origin, async () => String(await readAll((await transport.send({ sql })).body)));
  try {
    for (const database of new Set([target.database, readingDatabase(target.database, of.cluster)])) {
      const name = quotedName(database);
      if (of.cluster === '') await run(`CREATE DATABASE IF NOT EXISTS ${name}`);
      else if ((await run(`EXISTS DATABASE ${name}`)).trim() !== '1') {
        await run(onCluster(`CREATE DATABASE IF NOT EXISTS ${name}`, of.cluster));
      }
    }
  } finally {
    await transport.close();
  }
}

/**
 * A warehouse over its transports: `queries` carries {@link Warehouse.query}, `reads` other answers with rows, `everywhere`
 * statements for a cluster, by default as `rest` does everything else. The one place that decides which client carries which call.
 */
export function warehouseOf(
  target: Target,
  transports: {
    queries: Transport<Query>;
    rest: Transport;
    reads?: Transport;
    everywhere?: Transport;
    cluster?: string;
    onBrokenProjection?: (broken: BrokenProjection) => void;
  },
): Warehouse {
  const { rest, everywhere = rest, cluster = '', onBrokenProjection } = transports;
  const reading = <Request extends Query>(transport: Transport<Request>): Transport<Request> =>
    onBrokenProjection ? withoutBrokenProjections(transport, onBrokenProjection) : transport;
  const queries = reading(transports.queries);
  const reads = reading(transports.reads ?? rest);
  const opened = new Set<{ close(): Promise<void> }>([
    transports.queries,
    transports.reads ?? rest,
    everywhere,
    rest,
  ]);
  const ofReads = cluster === '' ? {} : CLUSTER_READS;
  const ofInserts = cluster === '' ? {} : CLUSTER_INSERTS;
  const bytesOf = <Request extends Query>(transport: Transport<Request>, request: Request) =>
    translated(target.origin, async () => {
      const { headers, body } = await transport.send(request);
      return { headers, bytes: await readAll(body) };
    });
  const insert = (statement: Statement, transport = rest) =>
    whenOthersAreDone(() =>
      bytesOf(transport, { ...statement, settings: { ...statement.settings, ...ofInserts } }),
    );

  const warehouse: Warehouse = {
    database: target.database,
    cluster,
    account: { username: target.username, password: target.password },
    async query<Row>(sql: string, params?: QueryParams, settings?: Settings) {
      const { bytes } = await bytesOf(queries, {
        sql: `${sql}\nFORMAT JSONCompact`,
        params,
        settings: { ...JSON_SETTINGS, ...ofReads, ...settings },
      });
      const answer = JSON.parse(bytes.toString()) as CompactAnswer;
      return { rows: rowsOf<Row>(answer), readRows: answer.statistics?.rows_read ?? 0 };
    },
    stream: (sql, { format, params, settings }) =>
      translated(target.origin, async () => {
        const { body } = await reads.send({
          sql: `${sql}\nFORMAT ${format}`,
          params,
          settings: { ...JSON_SETTINGS, ...ofReads, ...settings },
        });
        return body;
      }),
    async queryArrow(sql, params, settings) {
      const { bytes } = await bytesOf(reads, {
        sql: `${sql}\nFORMAT ArrowStream`,
        params,
        settings: { ...ARROW_SETTINGS, ...ofReads, ...settings },
      });
      return tableFromIPC(bytes);
    },
    async command(sql, params, settings) {
      const statement = { sql, params, settings };
      await (WRITES_ROWS.test(sql) ? insert(statement) : bytesOf(rest, statement));
    },
    async everywhere(sql, params, settings) {
      if (cluster === '') return await warehouse.command(sql, params, settings);
      // Replicas have the rows from one another.
      if (WRITES_ROWS.test(sql)) {
        await insert({ sql, params, settings }, everywhere);
        return;
      }
      await bytesOf(everywhere, {
        sql: onCluster(sql, cluster),
        params,
        settings: { distributed_ddl_task_timeout: CLUSTER_STATEMENT_S, ...settings },
      });
    },
    async insertRows(table, rows) {
      await insert({
        sql: `INSERT INTO ${table} FORMAT JSONEachRow`,
        data: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
        settings: { async_insert: 0 },
      });
    },
    async insertBytes({ sql, data, settings }) {
      await insert({ sql, data, settings }).catch((error) => {
        const fault = error instanceof OperatingError ? error.cause : undefined;
        if (!(fault instanceof ServerFault && ROW_FAULTS.has(fault.number))) throw error;
        throw new OperatingError('rows_refused', `ClickHouse refused rows: ${fault.message}`, {
          cause: fault,
          clickhouseCode: fault.number,
        });
      });
    },
    // With whatever a caller has put over its calls.
    async server() {
      return this;
    },
    async close() {
      await Promise.all([...opened].map((one) => one.close()));
    },
  };
  return warehouse;
}

/** ClickHouse's JSONCompact: a third of the bytes of JSON, which names every value of every row. */
interface CompactAnswer {
  readonly meta: readonly { readonly name: string }[];
  readonly data: readonly (readonly unknown[])[];
  readonly statistics?: { readonly rows_read: number };
}

function rowsOf<Row>({ meta, data }: CompactAnswer): Row[] {
  return data.map((values) => {
    // One by one: by Object.fromEntries five thousand rows take as long again as reading them.
    const row: Record<string, unknown> = {};
    for (const [i, { name }] of meta.entries()) row[name] = values[i];
    return row as Row;
  });
}

/** Repeats an insert that another one kept from beginning, which may take as long as its replicas may. */
async function whenOthersAreDone<T>(insert: () => Promise<T>): Promise<T> {
  const lastMs = performance.now() + QUORUM_TIMEOUT_MS;
  for (;;) {
    try {
      return await insert();
    } catch (error) {
      const isEarly = error instanceof OperatingError && error.clickhouseCode === OTHER_INSERT_WAITS;
      if (!isEarly || performance.now() > lastMs) throw error;
      await sleep(INSERT_PAUSE_MS);
    }
  }
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
    timeoutMs: REQUEST_TIMEOUT_MS,
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
