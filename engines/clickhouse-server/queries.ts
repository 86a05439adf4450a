import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { checkCommand } from './access.ts';
import { sendRows, writeFormatHeaders, writeSummary } from './answer.ts';
import { type EngineSessions, type QuerySession, quote } from './engine-sessions.ts';
import { QueryError } from './errors.ts';
import { NATIVE_SETTING } from './native/revision.ts';
import { openResultPipe } from './pipe.ts';
import type { ReadQuery } from './query-text.ts';
import type { QueryRequest } from './request.ts';
import type { RequestBuffer } from './request-buffer.ts';
import { createSlots, type Slots } from './slots.ts';
import type { Statement } from './statement.ts';

/** Queries that run at a time; each holds a thread of libuv's pool and a pipe. */
export const MAX_RUNNING_QUERIES = 16;
/** Bodies that are read at a time; each can hold RAM. */
const MAX_UPLOADS = 16;
/** More than any honest set of clients has open; further ones get an error. */
const MAX_WAITING = 512;

const SYNTAX_ERROR = 62;
/** The rows of an INSERT … SELECT … FROM input(…), in the session's own memory. */
const ROWS_TABLE = '`rows of the request`';
/** The format whose blocks differ between versions of the protocol. */
const NATIVE = 'Native';
const FORMAT_NAME = /^\w+$/;

/** A query to answer. */
interface Work {
  readonly request: QueryRequest;
  readonly query: ReadQuery;
  readonly response: ServerResponse;
  /** Aborts when the client has gone. */
  readonly gone: AbortSignal;
}

type InsertRows = Extract<Statement, { kind: 'insert-rows' | 'insert-input' }>;
type Rows = Extract<Statement, { kind: 'rows' }>;

/** The INSERT with a file in the place of the rows that follow it. */
function insertFromFile(query: ReadQuery, statement: InsertRows, path: string): string {
  if (statement.kind === 'insert-input') {
    // The function file() would read the rows at once, but it needs a privilege that would open every file.
    return [
      `CREATE TEMPORARY TABLE ${ROWS_TABLE} ENGINE = Memory AS SELECT * FROM null(${query.text(...statement.structure)});`,
      `INSERT INTO ${ROWS_TABLE} FROM INFILE ${quote(path)} COMPRESSION 'none' FORMAT ${statement.format};`,
      query.text(0, statement.inputAt),
      ROWS_TABLE,
      query.text(statement.inputEnd, statement.end),
    ].join('\n');
  }
  return [
    query.text(0, statement.fileAt),
    `FROM INFILE ${quote(path)} COMPRESSION 'none'`,
    query.text(statement.fileAt, statement.end),
    statement.isValues ? 'FORMAT Values' : '',
  ].join('\n');
}

/** The query with its rows written to a file or named pipe. */
function selectIntoFile(query: ReadQuery, statement: Rows, format: string, path: string): string {
  return [
    query.text(0, statement.fileAt),
    `INTO OUTFILE ${quote(path)} APPEND COMPRESSION 'none'`,
    statement.format === undefined ? `FORMAT ${format}` : query.text(statement.fileAt, statement.end),
  ].join('\n');
}

/** Runs queries, a bounded number at a time, and writes their answers. */
export class Queries {
  readonly #sessions: EngineSessions;
  readonly #buffer: RequestBuffer;
  readonly #log: Logger;
  readonly #running: Slots = createSlots({ count: MAX_RUNNING_QUERIES, maxWaiting: MAX_WAITING });
  readonly #uploads: Slots = createSlots({ count: MAX_UPLOADS, maxWaiting: MAX_WAITING });

  constructor(options: { sessions: EngineSessions; buffer: RequestBuffer; log: Logger }) {
    this.#sessions = options.sessions;
    this.#buffer = options.buffer;
    this.#log = options.log;
  }

  /** @throws QueryError while nothing has been sent yet. */
  async answer(work: Work): Promise<void> {
    const { statement } = work.query;
    if (statement.kind === 'insert-rows' || statement.kind === 'insert-input') {
      await this.#answerInsert(work, statement);
    } else if (statement.kind === 'rows') await this.#answerRows(work, statement);
    else await this.#answerCommand(work, statement.end);
  }

  async #answerCommand(work: Work, end: number): Promise<void> {
    const sql = work.query.text(0, end);
    checkCommand(await this.#sessions.format(sql));
    const result = await this.#inSession(work, [], (session) => session.run(sql));
    writeFormatHeaders(work.response, work.request.defaultFormat);
    writeSummary(work.response, result, false);
    work.response.end(result.output);
  }

  /** An INSERT that has arrived whole is carried out, whether or not its client still listens. */
  async #answerInsert(work: Work, statement: InsertRows): Promise<void> {
    const upload = await this.#uploads.acquire(work.gone);
    try {
      const file = await this.#buffer.save(work.query.rows());
      const sql = insertFromFile(work.query, statement, file.path);
      const result = await this.#inSession(work, [], (session) => session.run(sql)).finally(() =>
        file.remove(),
      );
      writeSummary(work.response, result, true);
      work.response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
      work.response.end();
    } finally {
      this.#uploads.release(upload);
    }
  }

  async #answerRows(work: Work, statement: Rows): Promise<void> {
    const format = statement.format ?? work.request.defaultFormat;
    if (!FORMAT_NAME.test(format)) {
      throw new QueryError(SYNTAX_ERROR, `Unknown format ${format}`, 'SYNTAX_ERROR');
    }
    writeFormatHeaders(work.response, format);
    const answer = { ...answerOf(work), revision: format === NATIVE ? work.request.revision : 0 };
    const settings = answer.revision > 0 ? [NATIVE_SETTING] : [];
    await this.#inSession(work, settings, async (session, slot) => {
      const kill = (): void => {
        session.kill().catch((error) => this.#log.warn({ reason: errorText(error) }, 'cannot kill a query'));
      };
      work.gone.addEventListener('abort', kill, { once: true });
      try {
        const path = work.request.waitForEnd ? this.#buffer.newResultFile() : this.#buffer.pipe(slot);
        const target = { sql: selectIntoFile(work.query, statement, format, path), path };
        if (work.request.waitForEnd) await sendFromFile(answer, session, target);
        else await sendFromPipe({ ...answer, gone: work.gone }, session, target);
      } finally {
        work.gone.removeEventListener('abort', kill);
      }
    });
  }

  /** @param settings beside those of the request. */
  async #inSession<T>(
    work: Work,
    settings: readonly (readonly [name: string, value: string])[],
    use: (session: QuerySession, slot: number) => Promise<T>,
  ): Promise<T> {
    const slot = await this.#running.acquire(work.gone);
    try {
      const { request } = work;
      const session = this.#sessions.open({
        ...request,
        settings: new Map([...request.settings, ...settings]),
      });
      return await use(session, slot).finally(() => session.close());
    } finally {
      this.#running.release(slot);
    }
  }
}

/** A query with the file or pipe that its rows go to. */
interface Target {
  readonly sql: string;
  readonly path: string;
}

type Answer = Omit<Parameters<typeof sendRows>[0], 'rows' | 'finished'>;

/** The result is sent while the engine makes it; a slow reader slows the engine down. */
async function sendFromPipe(
  { gone, ...answer }: Answer & { gone: AbortSignal },
  session: QuerySession,
  { sql, path }: Target,
): Promise<void> {
  const pipe = openResultPipe(path);
  // The client is gone: the engine's next write fails instead of waiting for ever.
  gone.addEventListener('abort', () => pipe.reader.destroy(), { once: true });
  const finished = session.run(sql).finally(pipe.endWriting);
  // Its failure is handled later, when the rows have been read.
  finished.catch(() => undefined);
  try {
    await sendRows({ ...answer, rows: pipe.reader, finished });
  } finally {
    pipe.reader.destroy();
    // The session and the pipe are free only when the engine has let go of them.
    await finished.catch(() => undefined);
  }
}

/** The result is complete before its first byte is sent. */
async function sendFromFile(answer: Answer, session: QuerySession, { sql, path }: Target): Promise<void> {
  try {
    const stats = await session.run(sql);
    writeSummary(answer.response, stats, false);
    await sendRows({ ...answer, rows: createReadStream(path), finished: Promise.resolve(stats) });
  } finally {
    await rm(path, { force: true });
  }
}

function answerOf({ response, request }: Work): Pick<Answer, 'response' | 'gzip'> {
  return { response, gzip: request.compressAnswer };
}
