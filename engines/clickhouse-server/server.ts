import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { listenError, type Running } from '../../core/service/service.ts';
import { HOUR_MS } from '../../core/time.ts';
import { sendError, writeCommonHeaders, writeQueryId } from './answer.ts';
import { decode } from './bodies/encodings.ts';
import { isForm, readForm, readTables } from './bodies/form.ts';
import { MAX_FRAME_BYTES, unpackFrames } from './bodies/frames.ts';
import { openRequestBuffer } from './bodies/request-buffer.ts';
import { Queries, type Question } from './queries.ts';
import { authenticate, readRequest, requireLocal } from './request.ts';
import { openEngine } from './sessions/engine.ts';
import { createShares, MAX_RUNNING_QUERIES } from './shares.ts';
import { createTokenChecks } from './statement/access.ts';
import { MAX_HEAD_BYTES, MAX_QUERY_BYTES, readQuery } from './statement/query-text.ts';
import type { AnalystReads } from './users/config.ts';
import { type AnalystPasswords, checksOf, OWNER, type User } from './users/users.ts';

/** Sent to the server's process when it starts. */
export interface ServerOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly logLevel: string;
  readonly password: string;
  /** A user that only reads; undefined: there is none. */
  readonly analyst: AnalystOptions | undefined;
}

export interface AnalystOptions extends AnalystPasswords {
  readonly reads: AnalystReads;
}

/** Longer than clients keep an idle connection, so that none is closed under a request. */
const KEEP_ALIVE_MS = 60_000;
/** For the whole of one request; a large upload may be slow. */
const REQUEST_TIMEOUT_MS = HOUR_MS;
/** For a query's text, which is all that an analyst sends. */
const ANALYST_UPLOAD_MS = 30_000;
/** How long running queries may take to finish by themselves at the end. */
const DRAIN_MS = 8_000;
const MAX_HEADER_BYTES = 512 * 1024;

/** Starts the embedded ClickHouse engine behind ClickHouse's HTTP interface, on loopback only. */
export async function startServer(options: ServerOptions, log: Logger): Promise<Running> {
  const engine = await openEngine(options.dataDir, options.analyst?.reads);
  const shares = createShares(engine);
  const passwords = { owner: options.password, analysts: options.analyst };
  const checks = createTokenChecks(await engine.readTableFunctions());
  const buffer = openRequestBuffer({ dataDir: options.dataDir, pipeCount: MAX_RUNNING_QUERIES });
  const queries = new Queries({ engine, shares, buffer, log });
  const active = new Map<ServerResponse, Promise<void>>();

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client has gone'));
    });
    try {
      requireLocal(message);
      const url = new URL(message.url ?? '/', 'http://localhost');
      if (url.pathname === '/ping') {
        response.end('Ok.\n');
        return;
      }
      if (message.method === 'OPTIONS') {
        // A browser asks before it sends what a page of another site may not: nothing is allowed.
        response.writeHead(204, { Allow: 'GET, HEAD, POST, OPTIONS' }).end();
        return;
      }
      const user = authenticate(message, url, passwords);
      writeCommonHeaders(response);
      if (isGreeting(message, url)) {
        response.end('Ok.\n');
        return;
      }
      const given = url.searchParams;
      const reading = () => inTime(user, message, () => read(user, message, given, response));
      const question = isSmall(message, given)
        ? await reading()
        : await queries.inUpload(user, gone.signal, reading);
      await queries.answer({ ...question, response, gone: gone.signal });
    } catch (error) {
      if (gone.signal.aborted || response.headersSent) {
        log.debug({ reason: errorText(error) }, 'a query ended early');
        response.destroy();
      } else {
        sendError(message, response, error);
      }
    }
  }

  async function read(
    user: User,
    message: IncomingMessage,
    given: URLSearchParams,
    response: ServerResponse,
  ): Promise<Question> {
    const body = decode(message.headers['content-encoding'], message);
    const limits = user === OWNER ? {} : { form: MAX_HEAD_BYTES, query: MAX_HEAD_BYTES };
    const form = isForm(message) ? await readForm(message, body, limits.form) : undefined;
    for (const [name, value] of form?.fields ?? []) given.append(name, value);
    const tables = readTables(form?.files ?? new Map(), given);
    const request = readRequest(message, given, [...(form?.files.keys() ?? [])], user);
    writeQueryId(response, request.queryId);
    let maxFrameBytes = MAX_QUERY_BYTES;
    const text = form ? nothing() : request.framedBody ? unpackFrames(body, () => maxFrameBytes) : body;
    const query = await readQuery(text, request.query, checksOf(user, checks), limits.query);
    maxFrameBytes = MAX_FRAME_BYTES;
    return { request, query, tables };
  }

  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (message, response) => {
      const work = handle(message, response).finally(() => active.delete(response));
      active.set(response, work);
    },
  );
  await listen(server, options.port);

  return {
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await Promise.race([Promise.all(active.values()), delay(DRAIN_MS, undefined, { ref: false })]);
      // Reads that still run are killed with their connections; inserts are waited for.
      server.closeAllConnections();
      await Promise.all([closed, ...active.values()]);
      for (const { sessions } of Object.values(shares)) sessions.close();
      await engine.close();
      buffer.remove();
    },
  };
}

/** An upload takes a slot until it has arrived. */
async function inTime<T>(user: User, message: IncomingMessage, read: () => Promise<T>): Promise<T> {
  const late = user === OWNER ? undefined : setTimeout(() => message.destroy(), ANALYST_UPLOAD_MS);
  return await read().finally(() => clearTimeout(late));
}

function isGreeting(message: IncomingMessage, url: URL): boolean {
  return (
    url.pathname === '/' && ['GET', 'HEAD'].includes(message.method ?? '') && !url.searchParams.has('query')
  );
}

/** Whether a body is no matter for memory: its size is known, and it is not packed. */
function isSmall({ headers }: IncomingMessage, given: URLSearchParams): boolean {
  if (headers['content-encoding'] !== undefined || given.has('decompress')) return false;
  return (
    headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= MAX_HEAD_BYTES
  );
}

async function* nothing(): AsyncGenerator<Buffer> {}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, port)));
    server.listen(port, '127.0.0.1', resolve);
  });
}
