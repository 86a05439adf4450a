import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChdbResult, drainPending, Session } from 'chdb';
import { ACCESS_CONFIG } from './access.ts';
import { asQueryError } from './errors.ts';
import type { QueryRequest } from './request.ts';

/** The rows and bytes that a finished query read (an INSERT from a file: wrote). */
export interface QueryStats {
  readonly rows: number;
  readonly bytes: number;
  readonly elapsedSeconds: number;
}

/** A command that the engine writes out is quoted twice at most. */
const MAX_COMMAND_BYTES = 64 * 1024 ** 2;

/** One query's own session: its settings, parameters and database are gone with it. */
export interface QuerySession {
  /**
   * Runs the query, once; rows that do not go to a file are returned.
   * @throws QueryError, also for an unknown database or setting.
   */
  run(sql: string): Promise<QueryStats & { output: Uint8Array }>;
  /** Makes the running query fail, if it still runs. */
  kill(): Promise<void>;
  close(): void;
}

export interface EngineSessions {
  /**
   * A session with the request's database, settings and parameters. Opening one costs 0.1 ms, which is why none is
   * ever used twice: nothing can leak from one query to the next.
   */
  open(request: Pick<QueryRequest, 'database' | 'settings' | 'parameters' | 'defaultFormat'>): QuerySession;
  /** A statement as the engine understands it, in one spelling. @throws QueryError for one that does not parse. */
  format(sql: string): Promise<string>;
  readTableFunctions(): Promise<string[]>;
  close(): Promise<void>;
}

/** Opens the ClickHouse engine of a data folder. Only one process can have it open. */
export async function openEngineSessions(dataDir: string): Promise<EngineSessions> {
  const path = join(dataDir, 'engine');
  mkdirSync(path, { recursive: true });
  const config = join(dataDir, 'access.xml');
  writeFileSync(config, ACCESS_CONFIG);
  // The engine shuts down with its last session; this one keeps it up, and kills queries.
  const keeper = new Session(path, {
    connectionArgs: [`--config-file=${config}`, `--users_config=${config}`],
  });
  await keeper.queryAsync(`SET max_query_size = ${MAX_COMMAND_BYTES}`);
  // Read once, when the engine started with the first session.
  rmSync(config);

  function open(
    request: Pick<QueryRequest, 'database' | 'settings' | 'parameters' | 'defaultFormat'>,
  ): QuerySession {
    const session = new Session(path);
    const tag = `/* ${randomUUID()} */`;
    const prelude = renderPrelude(request);

    async function run(sql: string): Promise<QueryStats & { output: Uint8Array }> {
      try {
        // The tag identifies the query for kill(): the library assigns query ids of its own.
        // In one call with its context: each costs half a millisecond.
        const result: ChdbResult = await session.queryAsync(`${prelude}${tag} ${sql}`, {
          format: request.defaultFormat,
        });
        return {
          rows: result.rowsRead,
          bytes: result.bytesRead,
          elapsedSeconds: result.elapsed,
          output: result.bytes(),
        };
      } catch (error) {
        throw asQueryError(error);
      }
    }

    async function kill(): Promise<void> {
      await keeper.queryAsync(`KILL QUERY WHERE startsWith(query, '${tag}')`);
    }

    return { run, kill, close: () => session.close() };
  }

  async function format(sql: string): Promise<string> {
    try {
      return await ask(`SELECT formatQuerySingleLine(${quote(sql)})`);
    } catch (error) {
      throw asQueryError(error);
    }
  }

  async function readTableFunctions(): Promise<string[]> {
    return (await ask('SELECT name FROM system.table_functions')).trim().split('\n');
  }

  async function ask(sql: string): Promise<string> {
    return (await keeper.queryAsync(sql, { format: 'TSVRaw' })).text();
  }

  async function close(): Promise<void> {
    await drainPending();
    keeper.close();
    await drainPending();
  }

  return { open, format, readTableFunctions, close };
}

/**
 * Statements that put the request's context in force. Parameters go through SET, which keeps them in the session:
 * the library's own binding is not safe when queries run in parallel, and therefore runs one at a time.
 */
function renderPrelude(request: Pick<QueryRequest, 'database' | 'settings' | 'parameters'>): string {
  const statements: string[] = [];
  if (request.database) statements.push(`USE ${quoteName(request.database)}`);
  const assignments = [
    ...[...request.parameters].map(([name, value]) => `param_${name}=${quote(value)}`),
    ...[...request.settings]
      .filter(([name]) => name !== 'readonly')
      .map(([name, value]) => `${name}=${quote(value)}`),
  ];
  if (assignments.length > 0) statements.push(`SET ${assignments.join(', ')}`);
  // Last: it can forbid further changes.
  const readonly = request.settings.get('readonly');
  if (readonly !== undefined) statements.push(`SET readonly=${quote(readonly)}`);
  return statements.map((statement) => `${statement}; `).join('');
}

export function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}
