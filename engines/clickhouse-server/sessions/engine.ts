import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChdbResult, drainPending, Session } from 'chdb';
import { asQueryError } from '../errors.ts';
import { MAX_QUERY_BYTES } from '../statement/query-text.ts';
import { type AnalystReads, accessConfig, USER_SETTING } from '../users/config.ts';
import { joined, quote } from './context.ts';

/** The rows and bytes of a query's result; of an INSERT from a file those that it wrote. */
export interface QueryStats {
  readonly rows: number;
  readonly bytes: number;
  readonly elapsedSeconds: number;
}

export type QueryResult = QueryStats & { readonly output: Uint8Array };

/** As ClickHouse reports it in X-ClickHouse-Progress: whole numbers in texts. */
export type QueryProgress = Readonly<
  Record<'read_rows' | 'read_bytes' | 'total_rows_to_read' | 'elapsed_ns' | 'memory_usage', string>
>;

/** A session of the engine: its settings, parameters, database and temporary tables are gone with it. */
export interface EngineSession {
  /**
   * Runs statements; the rows of the last one that do not go to a file are returned.
   * @throws QueryError
   */
  run(sql: string, format: string): Promise<QueryResult>;
  close(): void;
}

export interface ClickHouseEngine {
  /** @param statements what makes it a user's: no query runs in it before they have. */
  open(statements: readonly string[]): EngineSession;
  /** The settings of a new session by name, where they are not the engine's own defaults. */
  readonly profile: ReadonlyMap<string, string>;
  /** Makes the query whose text has this comment fail, if it runs. */
  kill(mark: string): Promise<void>;
  /** Texts of the queries that have been killed and still run, with their analyst's name; '' for the owner. */
  killed(): Promise<[query: string, analyst: string][]>;
  /** How far the query whose text has this comment has come; undefined when it does not run. */
  progress(mark: string): Promise<QueryProgress | undefined>;
  /**
   * A statement as the engine understands it, in one spelling. It takes a thread while it is read: to be called in a slot.
   * @throws QueryError for one that does not parse.
   */
  format(sql: string): Promise<string>;
  readTableFunctions(): Promise<string[]>;
  close(): Promise<void>;
}

/**
 * For reading a command, quoted twice at most, as a text. A server takes no bare expression for a query: what begins with no
 * known word is a syntax error. The engine's own bound of backtracks is a second of work, and for nested brackets only.
 */
const FORMATTING = `SET max_query_size = ${4 * MAX_QUERY_BYTES}, implicit_select = 0, max_parser_backtracks = 50000`;

/** What a session needs no privilege for, and what leaves nothing behind. */
const RELEASE = 'SELECT 1';

/** Opens the ClickHouse engine of a data folder. Only one process can have it open. */
export async function openEngine(dataDir: string, reads?: AnalystReads): Promise<ClickHouseEngine> {
  const path = join(dataDir, 'engine');
  mkdirSync(path, { recursive: true });
  const config = join(dataDir, 'access.xml');
  writeFileSync(config, accessConfig(reads));
  // The engine shuts down with its last session; this one keeps it up, and kills queries.
  const keeper = new Session(path, {
    connectionArgs: [`--config-file=${config}`, `--users_config=${config}`],
  });
  const profile = await readChanged(keeper);
  // Read once, when the engine started with the first session.
  rmSync(config);

  let spare: Session | undefined;
  let isClosing = false;

  /** Opening and closing is done when the answer has gone. */
  function replace(used: Session): void {
    setImmediate(() => {
      used.close();
      if (!isClosing) spare ??= new Session(path);
    });
  }

  function open(statements: readonly string[]): EngineSession {
    const session = spare ?? new Session(path);
    spare = undefined;
    const entered = statements.length > 0 ? session.queryAsync(joined(statements)) : undefined;
    // Reported by the query that cannot run.
    entered?.catch(() => undefined);
    async function run(sql: string, format: string): Promise<QueryResult> {
      try {
        await entered;
        const result: ChdbResult = await session.queryAsync(sql, { format });
        return {
          rows: result.rowsRead,
          bytes: result.bytesRead,
          elapsedSeconds: result.elapsed,
          output: result.bytes(),
        };
      } catch (error) {
        // A session keeps its failed query with all that it holds until the next one, and ends only when no other session works.
        await session.queryAsync(RELEASE).catch(() => undefined);
        throw asQueryError(error);
      }
    }
    function close(): void {
      if (entered === undefined) replace(session);
      // A session is not closed under its own statements.
      else void entered.catch(() => undefined).then(() => replace(session));
    }
    return { run, close };
  }

  async function kill(mark: string): Promise<void> {
    await keeper.queryAsync(`KILL QUERY WHERE ${hasMark(mark)}`);
  }

  async function killed(): Promise<[query: string, analyst: string][]> {
    const rows = await keeper.queryAsync(
      `SELECT query, Settings['${USER_SETTING}'] FROM system.processes WHERE is_cancelled`,
      { format: 'JSONCompactEachRow' },
    );
    return rowsOf<[string, string]>(rows);
  }

  async function progress(mark: string): Promise<QueryProgress | undefined> {
    const rows = await keeper.queryAsync(
      `SELECT toString(read_rows) AS read_rows, toString(read_bytes) AS read_bytes,
        toString(total_rows_approx) AS total_rows_to_read,
        toString(toUInt64(elapsed * 1e9)) AS elapsed_ns, toString(memory_usage) AS memory_usage
      FROM system.processes WHERE ${hasMark(mark)}`,
      { format: 'JSONEachRow' },
    );
    const [line] = rows.text().split('\n');
    return line ? (JSON.parse(line) as QueryProgress) : undefined;
  }

  async function close(): Promise<void> {
    isClosing = true;
    await new Promise((resolve) => setImmediate(resolve));
    spare?.close();
    await drainPending();
    keeper.close();
    await drainPending();
  }

  return {
    open,
    profile,
    kill,
    killed,
    progress,
    // Not in the session that kills, which never waits for a client's text.
    format: (sql) => formatIn(open([FORMATTING]), sql),
    readTableFunctions: () => readNames(keeper),
    close,
  };
}

async function formatIn(session: EngineSession, sql: string): Promise<string> {
  try {
    const { output } = await session.run(`SELECT formatQuerySingleLine(${quote(sql)})`, 'TSVRaw');
    return Buffer.from(output).toString();
  } finally {
    session.close();
  }
}

async function readNames(session: Session): Promise<string[]> {
  const names = await session.queryAsync('SELECT name FROM system.table_functions', { format: 'TSVRaw' });
  return names.text().trim().split('\n');
}

async function readChanged(session: Session): Promise<ReadonlyMap<string, string>> {
  const rows = await session.queryAsync('SELECT name, value FROM system.settings WHERE changed', {
    format: 'JSONCompactEachRow',
  });
  return new Map(rowsOf<[string, string]>(rows));
}

/** The rows of JSONCompactEachRow. */
function rowsOf<Row>(result: ChdbResult): Row[] {
  const lines = result.text().split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Row);
}

/** In two pieces, so that the query with this condition is not one of those it looks for. */
function hasMark(mark: string): string {
  return `position(query, concat(${quote(mark.slice(0, 2))}, ${quote(mark.slice(2))})) > 0`;
}
