import { assert } from '../errors.ts';
import type { Answer, Connection } from './connection.ts';
import { createOpener, type OpenOptions } from './open.ts';
import { ConnectionPool } from './pool.ts';
import {
  type CompiledSql,
  compile,
  encode,
  Fragment,
  identifiers,
  insertedValues,
  Json,
  type JsonValue,
  type SqlParameter,
  setValues,
} from './sql.ts';

type Row = Record<string, unknown>;

/** Runs statements: each on a connection of its own, or all in a transaction, or all on one connection. */
export interface PostgresSql {
  /** A statement, which is sent once it is awaited; or a part of another statement's template. */
  <Rows extends readonly unknown[] = Row[]>(
    texts: TemplateStringsArray,
    ...values: readonly (SqlParameter | Fragment)[]
  ): Statement<Rows>;
  /** Names of columns or tables: `a, b`. */
  (names: string | readonly string[]): Fragment;
  /** The rows of an insert: `(a, b) values ($1, $2), ($3, $4)`. */
  values(rows: object | readonly object[]): Fragment;
  /** The columns of an update: `a = $1, b = $2`. */
  set(row: object): Fragment;
  /** A parameter of the type json or jsonb. */
  json(value: JsonValue): Json;
  /** Sends a text as it is, with `$1` for the first parameter; without parameters it may be several statements. */
  unsafe<Rows extends readonly unknown[] = Row[]>(
    text: string,
    parameters?: readonly SqlParameter[],
  ): Promise<Rows>;
}

/** A pool of connections. */
export interface Postgres extends PostgresSql {
  /**
   * Runs `work` in one transaction; `mode` is what follows `begin`. It fails with the first statement that failed in
   * it, also when `work` caught that, and as soon as its connection ends.
   */
  begin<T>(work: (tx: PostgresTransaction) => Promise<T>): Promise<T>;
  begin<T>(mode: string, work: (tx: PostgresTransaction) => Promise<T>): Promise<T>;
  /** A session for the caller alone, whose settings and locks end with it. */
  reserve(): Promise<PostgresSession>;
  /** Waits for what is under way, at most so long, and closes every connection. */
  end(options?: { timeoutMs?: number }): Promise<void>;
}

/** A transaction on a connection of its own. */
export interface PostgresTransaction extends PostgresSql {
  /** Runs `work`; when it fails, what it did is undone, and the transaction goes on. */
  savepoint<T>(work: (point: PostgresTransaction) => Promise<T>): Promise<T>;
  /** To the end of the transaction its statements take as long as they take. What they wait for a lock stays limited. */
  withoutTimeLimit(): Promise<void>;
}

/** One connection of the pool. */
export interface PostgresSession extends PostgresSql {
  /** Ends the session. */
  release(): void;
}

/** A server's process is replaced after so long: its caches only grow. */
const MAX_CONNECTION_AGE_MS = 3_600_000;
/** As long as any orderly statement takes. */
const DEFAULT_END_TIMEOUT_MS = 60_000;

type Run = (sql: CompiledSql, options: { isPrepared: boolean }) => Promise<Answer>;

/** A statement that is sent when it is awaited, once. */
export class Statement<Rows extends readonly unknown[]> extends Fragment implements PromiseLike<Rows> {
  readonly #run: Run;
  #answer: Promise<Rows> | undefined;

  constructor(run: Run, texts: readonly string[], values: readonly (SqlParameter | Fragment)[]) {
    super(texts, values);
    this.#run = run;
  }

  /** Sends it without waiting. */
  execute(): Promise<Rows> {
    this.#answer ??= this.#send();
    return this.#answer;
  }

  async #send(): Promise<Rows> {
    const { rows } = await this.#run(compile(this), { isPrepared: true });
    return rows as unknown as Rows;
  }

  /** Sends it, and gives how many rows it has inserted, updated or deleted instead of those it returns. */
  async affected(): Promise<number> {
    const { affected } = await this.#run(compile(this), { isPrepared: true });
    return affected;
  }

  // biome-ignore lint/suspicious/noThenProperty: a statement is awaited as a promise is, and is not sent before that.
  then<A = Rows, B = never>(
    onFulfilled?: ((rows: Rows) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.execute().then(onFulfilled, onRejected);
  }

  catch<B>(onRejected: (error: unknown) => B | PromiseLike<B>): Promise<Rows | B> {
    return this.execute().catch(onRejected);
  }

  finally(onSettled: () => void): Promise<Rows> {
    return this.execute().finally(onSettled);
  }

  /** Yields the rows, so many at a time; in a transaction, to whose end the cursor stays open. */
  async *cursor(rowsAtATime: number): AsyncGenerator<Rows> {
    const name = uniqueName('cursor');
    const declaration = new Fragment([`declare ${name} no scroll cursor for `, ''], [this]);
    await this.#run(compile(declaration), { isPrepared: false });
    for (;;) {
      const { rows } = await send(this.#run, `fetch ${rowsAtATime} from ${name}`);
      if (rows.length > 0) yield rows as unknown as Rows;
      if (rows.length < rowsAtATime) return;
    }
  }
}

let names = 0;

/** A name for a cursor or a savepoint. */
function uniqueName(kind: string): string {
  return `${kind}_${++names}`;
}

/** Sends a text as it is. */
async function send(run: Run, text: string): Promise<Answer> {
  return await run({ text, parameters: [] }, { isPrepared: false });
}

function createSql(run: Run): PostgresSql {
  function sql(
    first: TemplateStringsArray | string | readonly string[],
    ...values: readonly (SqlParameter | Fragment)[]
  ): Statement<readonly unknown[]> | Fragment {
    const isTemplate = typeof first !== 'string' && 'raw' in first;
    return isTemplate ? new Statement(run, first, values) : identifiers(first);
  }
  return Object.assign(sql as PostgresSql, {
    values: insertedValues,
    set: setValues,
    json: (value: JsonValue) => new Json(value),
    async unsafe<Rows>(text: string, parameters: readonly SqlParameter[] = []): Promise<Rows> {
      const { rows } = await run({ text, parameters: parameters.map(encode) }, { isPrepared: false });
      return rows as Rows;
    },
  });
}

/**
 * A pool of at most `max` connections, opened when they are first used as {@link createOpener} says. A statement whose connection ends is rejected with ConnectionError or PostgreSQL's own last word, a transaction
 * with it, whatever it was doing; nothing of it is sent on another connection.
 */
export function openPostgres(options: OpenOptions & { max: number }): Postgres {
  const pool = new ConnectionPool({
    max: options.max,
    maxAgeMs: MAX_CONNECTION_AGE_MS,
    open: createOpener(options),
  });
  async function runOnce(...statement: Parameters<Run>): Promise<Answer> {
    const connection = await pool.take();
    try {
      return await connection.query(...statement);
    } finally {
      pool.giveBack(connection);
    }
  }
  async function begin<T>(...args: [Work<T>] | [string, Work<T>]): Promise<T> {
    const [mode, work] = args.length === 1 ? ['', args[0]] : args;
    const connection = await pool.take();
    try {
      return await transact(connection, mode, work);
    } finally {
      pool.giveBack(connection);
    }
  }
  return Object.assign(createSql(runOnce), {
    begin,
    async reserve(): Promise<PostgresSession> {
      const connection = await pool.take();
      let isReleased = false;
      async function run(...statement: Parameters<Run>): Promise<Answer> {
        assert(!isReleased, 'a reserved connection is used before it is released');
        return await connection.query(...statement);
      }
      return Object.assign(createSql(run), {
        release(): void {
          if (isReleased) return;
          isReleased = true;
          connection.retire();
          pool.giveBack(connection);
        },
      });
    },
    end: ({ timeoutMs = DEFAULT_END_TIMEOUT_MS } = {}) => pool.end(timeoutMs),
  });
}

type Work<T> = (tx: PostgresTransaction) => Promise<T>;

async function transact<T>(connection: Connection, mode: string, work: Work<T>): Promise<T> {
  const run: Run = (...statement) => connection.query(...statement);
  let stopListening = (): void => undefined;
  const lost = new Promise<never>((_, reject) => {
    stopListening = connection.onLost(reject);
  });
  lost.catch(() => undefined);
  const liftLimit = (): void => connection.limitAnswers(false);
  try {
    await send(run, `begin ${mode}`);
    const result = await Promise.race([lost, runScope({ run, liftLimit }, work)]);
    connection.limitAnswers(true);
    const { command } = await send(run, 'commit');
    assert(command === 'COMMIT', 'a transaction whose statements have all succeeded is committed');
    return result;
  } catch (error) {
    connection.limitAnswers(true);
    await send(run, 'rollback').catch(() => connection.destroy());
    throw error;
  } finally {
    stopListening();
  }
}

/** @property liftLimit Lets the client wait for answers as long as they take. */
interface Scope {
  readonly run: Run;
  readonly liftLimit: () => void;
}

/**
 * Runs the work of a transaction or a savepoint. It has failed when one of its statements has, and what it sends once
 * it is over is refused: that would be done outside of it.
 */
async function runScope<T>({ run, liftLimit }: Scope, work: Work<T>): Promise<T> {
  let failure: unknown;
  let isOver = false;
  const runHere: Run = async (...statement) => {
    assert(!isOver, 'a transaction sends its statements before it ends');
    try {
      return await run(...statement);
    } catch (error) {
      failure ??= error;
      throw error;
    }
  };
  const tx: PostgresTransaction = Object.assign(createSql(runHere), {
    savepoint: <U>(inner: Work<U>) => runPoint(runHere, { run, liftLimit }, inner),
    async withoutTimeLimit(): Promise<void> {
      await send(runHere, 'set local statement_timeout = 0');
      liftLimit();
    },
  });
  try {
    const result = await work(tx);
    if (failure !== undefined) throw failure;
    return result;
  } finally {
    isOver = true;
  }
}

/** @param outer Runs statements of the scope that the savepoint is in, which has not failed when `work` has. */
async function runPoint<T>(outer: Run, scope: Scope, work: Work<T>): Promise<T> {
  const name = uniqueName('point');
  await send(outer, `savepoint ${name}`);
  try {
    const result = await runScope(scope, work);
    await send(outer, `release ${name}`);
    return result;
  } catch (error) {
    await send(outer, `rollback to ${name}`);
    throw error;
  }
}
