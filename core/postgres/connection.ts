import pg from 'pg';
import { errorText } from '../errors.ts';
import { type CompiledSql, toCamelCase } from './sql.ts';
import { COLUMN_TYPES } from './values.ts';

/** What PostgreSQL answers instead of rows; `code` is its SQLSTATE, `constraint` what was violated. */
export { DatabaseError } from 'pg';

/**
 * The connection could not be made, or has ended. `code` is the socket's of the attempt, `NO_PRIMARY` of a server that may
 * not be written to, `ETIMEDOUT` of one that has stopped answering, or `CONNECTION_CLOSED`.
 */
export class ConnectionError extends Error {
  readonly code: string;

  constructor(message: string, options: { code?: string | undefined; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'ConnectionError';
    this.code = options.code ?? 'CONNECTION_CLOSED';
  }
}

/** What a statement answers: its rows, how many it touched, and its command, such as `INSERT`. */
export interface Answer {
  readonly rows: unknown[];
  readonly affected: number;
  readonly command: string;
}

/** Statements beyond so many are not prepared: their texts vary, and each would take memory for ever. */
const MAX_PREPARED = 1_000;
const preparedNames = new Map<string, string>();

/** The name under which every connection prepares a text. */
function preparedName(text: string): string | undefined {
  const known = preparedNames.get(text);
  if (known !== undefined || preparedNames.size >= MAX_PREPARED) return known;
  const name = `s${preparedNames.size + 1}`;
  preparedNames.set(text, name);
  return name;
}

/**
 * After these a connection answers nothing more, or nothing right: the session has been ended (08, 57P0x, and 25P03 and
 * 25P04 of the transaction's time-outs), a prepared statement has another result than it had (0A000) or is gone (26000), the
 * server may not be written to any more (25006).
 */
const LAST_ANSWERS = /^(08|57P0|25P03|25P04|0A000|26000|25006)/;
/** `read_only_sql_transaction`: a transaction of ours that is begun as one writes nothing, so the server has become a standby or the like. */
const READ_ONLY = '25006';

/** One connection. What is sent while it waits for an answer is sent at once, and answered in the same order. */
export class Connection {
  readonly openedAtMs = Date.now();
  /** Equal for connections to the same primary. */
  serverName = '';
  readonly #client: pg.Client;
  readonly #listeners = new Set<(error: ConnectionError) => void>();
  #lost: ConnectionError | undefined;
  #isSpoilt = false;
  #isServerLost = false;
  readonly #answerTimeoutMs: number | undefined;
  #isLimited = true;
  #unanswered = 0;
  #answers = 0;
  #answerTimer: NodeJS.Timeout | undefined;

  /**
   * @param answerTimeoutMs The connection ends when it has brought no answer for so long while one was awaited.
   * @throws ConnectionError, or PostgreSQL's own error when it refuses the session.
   */
  static async open(config: pg.ClientConfig, answerTimeoutMs?: number): Promise<Connection> {
    const client = openClient(config);
    const connection = new Connection(client, answerTimeoutMs);
    try {
      await client.connect();
      return connection;
    } catch (error) {
      connection.destroy();
      if (error instanceof pg.DatabaseError) throw error;
      throw connectionError(error);
    }
  }

  private constructor(client: pg.Client, answerTimeoutMs: number | undefined) {
    this.#client = client;
    this.#answerTimeoutMs = answerTimeoutMs;
    client.on('error', (error) => this.#lose(error));
    client.on('end', () => this.#lose());
  }

  /** Whether another statement may be sent. */
  get isUsable(): boolean {
    return !this.#lost && !this.#isSpoilt;
  }

  /** Its server has stopped answering or may not be written to: other connections to it are of no use either. */
  get isServerLost(): boolean {
    return this.#isServerLost;
  }

  /** The server's process that the connection was given; a proxy that shares its own gives a number of its own making. */
  get pid(): number {
    return (this.#client as pg.Client & { processID: number }).processID;
  }

  /** Calls `listener` when the connection ends, at once when it has ended; returns what takes it back. */
  onLost(listener: (error: ConnectionError) => void): () => void {
    if (this.#lost) listener(this.#lost);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @throws pg.DatabaseError, or ConnectionError when the connection has ended or ends before the answer. */
  async query(sql: CompiledSql, options: { isPrepared: boolean }): Promise<Answer> {
    if (this.#lost) throw this.#lost;
    const { text, parameters } = sql;
    const name = options.isPrepared ? preparedName(text) : undefined;
    this.#awaitAnswer();
    try {
      const query = { text, values: parameters as unknown[], rowMode: 'array' as const };
      const result: unknown = await this.#client.query(name === undefined ? query : { ...query, name });
      return toAnswer(result as pg.QueryArrayResult | pg.QueryArrayResult[]);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw this.#lost ?? error;
      if (LAST_ANSWERS.test(error.code ?? '')) this.#isSpoilt = true;
      if (error.code === READ_ONLY) this.#isServerLost = true;
      throw error;
    } finally {
      this.#answered();
    }
  }

  /** Whether answers are awaited for `answerTimeoutMs` only, as at first. Without, keep-alive finds a server that is gone. */
  limitAnswers(isLimited: boolean): void {
    this.#isLimited = isLimited;
    clearTimeout(this.#answerTimer);
    if (this.#unanswered > 0) this.#startAnswerTimer();
  }

  /** The time runs from the last answer, or from the statement when none was awaited: those sent together are answered in turn. */
  #awaitAnswer(): void {
    if (this.#unanswered++ === 0) this.#startAnswerTimer();
  }

  #startAnswerTimer(): void {
    if (this.#answerTimeoutMs === undefined || !this.#isLimited) return;
    this.#answerTimer = setTimeout(() => {
      const before = this.#answers;
      // After a pause of the process timers run before what has arrived meanwhile is read.
      setImmediate(() => {
        if (this.#answers === before && this.#unanswered > 0 && this.#isLimited) this.#giveUp();
      });
    }, this.#answerTimeoutMs);
  }

  #giveUp(): void {
    this.#isServerLost = true;
    this.#lose(new ConnectionError('PostgreSQL does not answer', { code: 'ETIMEDOUT' }));
    this.destroy();
  }

  #answered(): void {
    this.#answers++;
    clearTimeout(this.#answerTimer);
    if (--this.#unanswered > 0) this.#startAnswerTimer();
  }

  /** It is closed, not reused, once it is given back. */
  retire(): void {
    this.#isSpoilt = true;
  }

  /** Says goodbye and waits for the end. */
  async close(): Promise<void> {
    this.#lose();
    await this.#client.end();
  }

  /** Ends it without another word, whatever is under way. */
  destroy(): void {
    this.#client.connection.stream.destroy();
  }

  #lose(cause?: Error): void {
    if (this.#lost) return;
    const ended = 'the connection to PostgreSQL has ended';
    this.#lost = cause instanceof ConnectionError ? cause : new ConnectionError(ended, { cause });
    for (const listener of this.#listeners) listener(this.#lost);
  }
}

/** @throws ConnectionError for a certificate's file that cannot be read, which the client does here. */
function openClient(config: pg.ClientConfig): pg.Client {
  try {
    return new pg.Client({ ...config, pipeline: true, types: COLUMN_TYPES });
  } catch (error) {
    throw connectionError(error);
  }
}

function connectionError(error: unknown): ConnectionError {
  const { code } = error as NodeJS.ErrnoException;
  return new ConnectionError(errorText(error), { code, cause: error });
}

/** Of several statements in one text the last one's. */
function toAnswer(results: pg.QueryArrayResult | pg.QueryArrayResult[]): Answer {
  const result = Array.isArray(results) ? results.at(-1) : results;
  if (!result) return { rows: [], affected: 0, command: '' };
  const names = result.fields.map(({ name }) => toCamelCase(name));
  const rows = result.rows.map((values) => {
    const row: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) row[names[i] as string] = values[i];
    return row;
  });
  return { rows, affected: result.rowCount ?? 0, command: result.command };
}
