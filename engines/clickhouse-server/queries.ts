import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { type RestOfAnswer, sendRows, writeFormatHeaders, writeSummary } from './answer.ts';
import { type ExternalTable, FORMAT_NAME } from './bodies/form.ts';
import { openResultPipe } from './bodies/pipe.ts';
import type { RequestBuffer, RowsFile } from './bodies/request-buffer.ts';
import { asQueryError, QueryError } from './errors.ts';
import { NATIVE_SETTING } from './native/revision.ts';
import { isOn, type QueryRequest } from './request.ts';
import { quote } from './sessions/context.ts';
import type { ClickHouseEngine, QueryResult, QueryStats } from './sessions/engine.ts';
import type { QuerySession } from './sessions/sessions.ts';
import type { Share } from './shares.ts';
import type { Slots } from './slots.ts';
import { checkCommand, contentOf, hasName, holdsTable } from './statement/access.ts';
import { tokens } from './statement/lexer.ts';
import type { ReadQuery } from './statement/query-text.ts';
import type { Statement } from './statement/statement.ts';
import { checkStructure } from './statement/structure.ts';
import { MAX_EXECUTION_TIME } from './users/config.ts';
import { OWNER, requireCommandOf, requireWriter, type User } from './users/users.ts';

/** After KILL QUERY a query may take as long to end by itself, with its error behind the rows. */
const KILLED_MS = 1_000;
const PROGRESS_SETTING = 'send_progress_in_http_headers';
/** As a server's http_headers_progress_interval_ms. */
const PROGRESS_MS = 100;

/** While a query whose client has gone still runs. */
const KILL_AGAIN_MS = 500;

/** Of an analyst's query whose client does not read, behind its own limit of time. */
const UNREAD_GRACE_MS = 2_000;

const BAD_ARGUMENTS = 36;
const SYNTAX_ERROR = 62;
const READONLY = 164;
const QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216;
/** The rows of an INSERT … SELECT … FROM input(…), in the session's own memory. */
const ROWS_TABLE = '`rows of the request`';
/** The format whose blocks differ between versions of the protocol. */
const NATIVE = 'Native';

const NOT_UNDERSTOOD =
  'Syntax error: the embedded engine takes the last FORMAT for the clause, and VALUES or FORMAT for the end of an INSERT; quote a name of these words';

/** What a request asks for. */
export interface Question {
  readonly request: QueryRequest;
  readonly query: ReadQuery;
  readonly tables: readonly ExternalTable[];
}

/** A query to answer. */
interface Work extends Question {
  readonly response: ServerResponse;
  /** Aborts when the client has gone. */
  readonly gone: AbortSignal;
}

type InsertRows = Extract<Statement, { kind: 'insert-rows' | 'insert-input' }>;
type Rows = Extract<Statement, { kind: 'rows' }>;

/** A query as the engine gets it. */
interface EngineText {
  readonly sql: string;
  /** Of a single statement: what its client has written. */
  readonly clientText?: string;
  /** Whether it is a SET or USE, which is there to change the session. */
  readonly changesSession?: boolean;
  /** Whether it only reads, and leaves nothing in its session. */
  readonly onlyReads?: boolean;
}

/** `put` between two parts of the client's text. */
function putting(before: string, put: string, after: string, isValues = false): EngineText {
  const [format, values] = isValues ? ['\nFORMAT Values', ' VALUES'] : ['', ''];
  return { sql: `${before}\n${put}\n${after}${format}`, clientText: before + after + values };
}

/** The INSERT with a file in the place of the rows that follow it. */
function insertFromFile(query: ReadQuery, statement: InsertRows, path: string, mark: string): EngineText {
  if (statement.kind === 'insert-input') {
    // Quoted again: the engine gets what has been checked.
    const structure = contentOf(query.text(...statement.structure));
    checkStructure(structure);
    // The function file() would read the rows at once, but it needs a privilege that would open every file.
    const load = loadTable({ name: ROWS_TABLE, structure }, statement.format, path);
    const insert = [
      query.text(0, statement.inputAt),
      ROWS_TABLE,
      query.text(statement.inputEnd, statement.end),
    ];
    return { sql: [...load, ...insert, mark].join('\n') };
  }
  const [before, after] = [query.text(0, statement.fileAt), query.text(statement.fileAt, statement.end)];
  return putting(before, `${mark} FROM INFILE ${quote(path)} COMPRESSION 'none'`, after, statement.isValues);
}

/** @param table its name, quoted, and its structure, checked. */
function loadTable(table: { name: string; structure: string }, format: string, path: string): string[] {
  return [
    `CREATE TEMPORARY TABLE ${table.name} ENGINE = Memory AS SELECT * FROM null(${quote(table.structure)});`,
    `INSERT INTO ${table.name} FROM INFILE ${quote(path)} COMPRESSION 'none' FORMAT ${format};`,
  ];
}

/** The query with its rows written to a file or named pipe. */
function selectIntoFile(
  query: ReadQuery,
  statement: Rows,
  target: { format: string; path: string; mark: string },
): EngineText {
  const text = putting(
    query.text(0, statement.fileAt),
    `${target.mark} INTO OUTFILE ${quote(target.path)} APPEND COMPRESSION 'none'`,
    statement.format === undefined ? `FORMAT ${target.format}` : query.text(statement.fileAt, statement.end),
  );
  return { ...text, onlyReads: !holdsTable(text.sql) };
}

/** The comment by which a query of a client's id is known in the engine, which gives ids of its own. */
function markOf({ queryId, user }: QueryRequest): string {
  return `/* query_id ${Buffer.from(queryId).toString('hex').toUpperCase()} of ${user.name} */`;
}

const MARK = /\/\* query_id ([0-9A-F]+) of \w+ \*\//;

/** The client's id of a query as the engine has it. */
function idOf(query: string): string {
  return Buffer.from(MARK.exec(query)?.[1] ?? '', 'hex').toString();
}

const CLIENT_QUERY_ID = "unhex(extract(query, '/[*] query_id ([0-9A-F]+) of'))";

/** A KILL QUERY in which `query_id` is the client's, and which does not wait: by SYNC the library would wait for ever. */
function withClientIds(formatted: string): string {
  const bytes = Buffer.from(formatted).toString('latin1');
  let text = '';
  let at = 0;
  for (const { kind, word, start, end } of tokens(bytes)) {
    const isId = word === 'QUERY_ID' || (kind === 'name' && bytes.slice(start + 1, end - 1) === 'query_id');
    if (!isId && word !== 'SYNC') continue;
    text += bytes.slice(at, start) + (isId ? CLIENT_QUERY_ID : 'ASYNC');
    at = end;
  }
  return Buffer.from(text + bytes.slice(at), 'latin1').toString();
}

/** Runs queries, a bounded number at a time, and writes their answers. */
export class Queries {
  readonly #engine: ClickHouseEngine;
  readonly #buffer: RequestBuffer;
  readonly #log: Logger;
  readonly #shares: Readonly<Record<User['share'], Share>>;
  /** Answers to the queries that run, or wait for a slot, by user and id. */
  readonly #answers = new Map<string, ServerResponse>();

  constructor(options: {
    engine: ClickHouseEngine;
    shares: Readonly<Record<User['share'], Share>>;
    buffer: RequestBuffer;
    log: Logger;
  }) {
    this.#engine = options.engine;
    this.#shares = options.shares;
    this.#buffer = options.buffer;
    this.#log = options.log;
  }

  /** Reads a body, or a part of it that is held in memory, when it is its turn. @throws what `read` throws. */
  async inUpload<T>(user: User, gone: AbortSignal, read: () => Promise<T>): Promise<T> {
    const { uploads } = this.#shares[user.share];
    const upload = await uploads.acquire(gone, user.name);
    try {
      return await read();
    } finally {
      uploads.release(upload);
    }
  }

  /** @throws QueryError while nothing has been sent yet. */
  async answer(work: Work): Promise<void> {
    const { statement } = work.query;
    requireReading(work.request, statement);
    if (statement.kind === 'insert-rows' || statement.kind === 'insert-input') {
      await this.#answerInsert(work, statement);
    } else if (statement.kind === 'rows') await this.#answerRows(work, statement);
    else await this.#answerCommand(work, statement.end);
  }

  async #answerCommand(work: Work, end: number): Promise<void> {
    const { request, response } = work;
    const text = work.query.text(0, end);
    const isKill = requireCommandOf(request.user, text) === 'KILL';
    const { kills, running } = this.#shares[request.user.share];
    const result = await this.#inSession(work, { slots: isKill ? kills : running }, async (run) => {
      const formatted = await this.#engine.format(text);
      const command = checkCommand(formatted);
      requireCommandOf(request.user, formatted);
      const sql = command === 'KILL' ? withClientIds(formatted) : text;
      const changesSession = command === 'SET' || command === 'USE';
      return await run({ sql: `${sql}\n${markOf(request)}`, changesSession });
    }).finally(() => {
      // One that fails may have done a part.
      this.#shares[OWNER.share].sessions.forgetUnnamed();
    });
    writeFormatHeaders(response, request.defaultFormat);
    writeSummary(response, result, false);
    if (result.output.length === 0) response.end();
    else {
      const rows = onePiece(Buffer.from(result.output));
      const finished = Promise.resolve(result);
      const endAnswer = await sendRows({ ...answerOf(work), revision: 0, rows, finished });
      await endAnswer();
    }
    if (isKill) await this.#cutKilled();
  }

  /** A query whose reader pauses waits in the middle of a write, and would not learn that it has been killed. */
  async #cutKilled(): Promise<void> {
    await delay(KILLED_MS);
    try {
      for (const [query, analyst] of await this.#engine.killed()) {
        const answer = this.#answers.get(keyOf(analyst || OWNER.name, idOf(query)));
        if (answer?.writableNeedDrain) answer.destroy();
      }
    } catch (error) {
      this.#log.warn({ reason: errorText(error) }, 'cannot end killed queries');
    }
  }

  /** An INSERT that has arrived whole is carried out, whether or not its client still listens. */
  async #answerInsert(work: Work, statement: InsertRows): Promise<void> {
    requireWriter(work.request.user);
    await this.inUpload(work.request.user, work.gone, async () => {
      const file = await this.#buffer.save(work.query.rows());
      const text = insertFromFile(work.query, statement, file.path, markOf(work.request));
      const result = await this.#inSession(work, { ownTables: [ROWS_TABLE] }, (run) => run(text)).finally(
        () => file.remove(),
      );
      writeSummary(work.response, result, true);
      work.response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
      work.response.end();
    });
  }

  async #answerRows(work: Work, statement: Rows): Promise<void> {
    const { request, gone } = work;
    const format = statement.format ?? request.defaultFormat;
    if (!FORMAT_NAME.test(format)) {
      throw new QueryError(SYNTAX_ERROR, `Unknown format ${format}`, 'SYNTAX_ERROR');
    }
    writeFormatHeaders(work.response, format);
    const answer = { ...answerOf(work), revision: format === NATIVE ? request.revision : 0 };
    const settings = answer.revision > 0 ? [NATIVE_SETTING] : [];
    if (answer.revision > 0) requireOurNative(work.query.text(0, statement.end));
    const mark = markOf(request);
    const endAnswer = await this.#inSession(work, { settings }, async (run, slot) => {
      const kill = (): void => {
        this.#engine
          .kill(mark)
          .catch((error) => this.#log.warn({ reason: errorText(error) }, 'cannot kill a query'));
      };
      // Again, because the engine may not know the query yet.
      let killing: NodeJS.Timeout | undefined;
      const keepKilling = (): void => {
        kill();
        killing = setInterval(kill, KILL_AGAIN_MS);
      };
      gone.addEventListener('abort', keepKilling, { once: true });
      const stopWatching = request.user === OWNER ? undefined : cutUnread(work);
      // The rows to read are those below a view, which are not one program's alone.
      const reports =
        isOn(request.context.settings.get(PROGRESS_SETTING)) && request.user.share !== 'programs';
      const reporting = reports
        ? setInterval(() => this.#reportProgress(mark, work.response), PROGRESS_MS)
        : undefined;
      try {
        const path = request.waitForEnd ? this.#buffer.newResultFile() : this.#buffer.pipe(slot);
        const write = () => run(selectIntoFile(work.query, statement, { format, path, mark }));
        return await (request.waitForEnd
          ? sendFromFile(answer, write, path)
          : sendFromPipe({ ...answer, gone }, write, path));
      } finally {
        gone.removeEventListener('abort', keepKilling);
        clearInterval(killing);
        clearInterval(reporting);
        stopWatching?.();
      }
    });
    await endAnswer();
  }

  #takeId({ queryId, user }: QueryRequest, response: ServerResponse): void {
    const key = keyOf(user.name, queryId);
    if (this.#answers.has(key)) {
      throw new QueryError(
        QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
        `Query with id = ${queryId} is already running`,
        'QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING',
      );
    }
    this.#answers.set(key, response);
  }

  /** A syntax error as the engine reports it of the client's text alone, with its positions and without our files. */
  async #inClientText(error: unknown, clientText: string): Promise<QueryError> {
    const given = asQueryError(error);
    if (given.code !== SYNTAX_ERROR) return given;
    const own = await this.#engine.format(clientText).then(() => undefined, asQueryError);
    if (own || !/'\/.*\/(?:pipe|rows|result)-\d/.test(given.message)) return own ?? given;
    return new QueryError(SYNTAX_ERROR, NOT_UNDERSTOOD, 'SYNTAX_ERROR');
  }

  /** The latest state: a server sends a header each time, which is too many for some clients. */
  #reportProgress(mark: string, response: ServerResponse): void {
    this.#engine.progress(mark).then(
      (progress) => {
        if (progress && !response.headersSent) {
          response.setHeader('X-ClickHouse-Progress', JSON.stringify(progress));
        }
      },
      (error) => this.#log.warn({ reason: errorText(error) }, 'cannot read the progress of a query'),
    );
  }

  /** In the request's session, with its context and its external tables. */
  async #inSession<T>(
    work: Work,
    more: {
      /** Beside those of the request. */
      settings?: readonly (readonly [name: string, value: string])[];
      ownTables?: readonly string[];
      slots?: Slots;
    },
    use: (run: (text: EngineText) => Promise<QueryResult>, slot: number) => Promise<T>,
  ): Promise<T> {
    const { request, tables } = work;
    const share = this.#shares[request.user.share];
    const { settings = [], ownTables = [], slots = share.running } = more;
    this.#takeId(request, work.response);
    let session: QuerySession | undefined;
    let slot: number | undefined;
    const files: RowsFile[] = [];
    try {
      const held = share.sessions.open(request.session, request.user);
      session = held;
      for (const { rows } of tables) files.push(await this.#buffer.save(onePiece(rows)));
      slot = await slots.acquire(work.gone, request.user.name);
      const loads = tables.flatMap(({ name, structure, format }, i) =>
        loadTable({ name, structure }, format, files[i]?.path ?? ''),
      );
      const context = { ...request.context, settings: new Map([...request.context.settings, ...settings]) };
      const run = async (text: EngineText): Promise<QueryResult> => {
        const { sql, clientText, changesSession = false, onlyReads = false } = text;
        try {
          return await held.run({
            sql: [...loads, sql].join('\n'),
            format: request.defaultFormat,
            context,
            changesSession,
            onlyReads: onlyReads && loads.length === 0,
            ownTables: [...ownTables, ...tables.map(({ name }) => name)],
          });
        } catch (error) {
          throw clientText ? await this.#inClientText(error, clientText) : error;
        }
      };
      return await use(run, slot);
    } finally {
      session?.close();
      if (slot !== undefined) slots.release(slot);
      this.#answers.delete(keyOf(request.user.name, request.queryId));
      await Promise.all(files.map((file) => file.remove()));
    }
  }
}

/** Two users may have queries of one id. */
function keyOf(user: string, queryId: string): string {
  return `${user} ${queryId}`;
}

async function* onePiece(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** A session outlives its request: one that may only read changes nothing of it, also not what the engine would let it. */
function requireReading({ session, context }: QueryRequest, { kind }: Statement): void {
  if (session === undefined || kind === 'rows' || (context.settings.get('readonly') ?? '0') === '0') return;
  throw new QueryError(READONLY, 'default: Cannot execute query in readonly mode', 'READONLY');
}

/** The blocks of a protocol version are made from blocks of one kind, which the query could change. */
function requireOurNative(text: string): void {
  const [setting] = NATIVE_SETTING;
  if (!hasName(Buffer.from(text).toString('latin1'), setting)) return;
  throw new QueryError(
    BAD_ARGUMENTS,
    `With client_protocol_version the embedded engine sets ${setting} itself`,
    'BAD_ARGUMENTS',
  );
}

/**
 * Cuts an answer that its client does not read: a query that waits in the middle of a write cannot learn that its time is over.
 * One that is read slowly has the time that any query may take.
 */
function cutUnread({ request, response }: Work): () => void {
  const { value, max } = MAX_EXECUTION_TIME;
  const seconds = Number(request.context.settings.get('max_execution_time') ?? value);
  const ms = (limit: number): number => Math.min(limit || max, max) * 1_000 + UNREAD_GRACE_MS;
  response.setTimeout(ms(seconds), () => {
    if (response.writableNeedDrain) response.destroy();
  });
  const end = setTimeout(() => response.destroy(), ms(max));
  return () => {
    clearTimeout(end);
    response.setTimeout(0);
  };
}

type Answer = Omit<Parameters<typeof sendRows>[0], 'rows' | 'finished'>;

/** The result is sent while the engine makes it; a slow reader slows the engine down. */
async function sendFromPipe(
  { gone, ...answer }: Answer & { gone: AbortSignal },
  write: () => Promise<QueryStats>,
  path: string,
): Promise<RestOfAnswer> {
  const pipe = openResultPipe(path);
  const finished = write();
  // Its failure is handled later, when the rows have been read.
  finished.catch(() => undefined);
  const leave = () => pipe.close(finished);
  gone.addEventListener('abort', leave, { once: true });
  try {
    return await sendRows({ ...answer, rows: pipe.read(finished), finished });
  } finally {
    gone.removeEventListener('abort', leave);
    // The session and the pipe are free only when the engine has let go of them.
    await leave();
  }
}

/** The result is complete before its first byte is sent. */
async function sendFromFile(
  answer: Answer,
  write: () => Promise<QueryStats>,
  path: string,
): Promise<RestOfAnswer> {
  try {
    const stats = await write();
    writeSummary(answer.response, stats, false);
    return await sendRows({ ...answer, rows: createReadStream(path), finished: Promise.resolve(stats) });
  } finally {
    await rm(path, { force: true });
  }
}

function answerOf({ response, request }: Work): Pick<Answer, 'response' | 'encoding' | 'framed'> {
  return { response, encoding: request.encoding, framed: request.framedAnswer };
}
