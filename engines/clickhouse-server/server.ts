import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { listenError, type Running } from '../../core/service/service.ts';
import { HOUR_MS } from '../../core/time.ts';
import { createTokenChecks } from './access.ts';
import { sendError, writeCommonHeaders } from './answer.ts';
import { openEngineSessions } from './engine-sessions.ts';
import { MAX_RUNNING_QUERIES, Queries } from './queries.ts';
import { readQuery } from './query-text.ts';
import { authenticate, readRequest, requireLocal } from './request.ts';
import { openRequestBuffer } from './request-buffer.ts';

/** Sent to the server's process when it starts. */
export interface ServerOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly logLevel: string;
  readonly password: string;
}

/** Longer than clients keep an idle connection, so that none is closed under a request. */
const KEEP_ALIVE_MS = 60_000;
/** For the whole of one request; a large upload may be slow. */
const REQUEST_TIMEOUT_MS = HOUR_MS;
/** How long running queries may take to finish by themselves at the end. */
const DRAIN_MS = 8_000;
const MAX_HEADER_BYTES = 512 * 1024;

/** Starts the embedded ClickHouse engine behind ClickHouse's HTTP interface, on loopback only. */
export async function startServer(options: ServerOptions, log: Logger): Promise<Running> {
  const sessions = await openEngineSessions(options.dataDir);
  const newCheck = createTokenChecks(await sessions.readTableFunctions());
  const buffer = openRequestBuffer({ dataDir: options.dataDir, pipeCount: MAX_RUNNING_QUERIES });
  const queries = new Queries({ sessions, buffer, log });
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
      authenticate(message, url, options.password);
      writeCommonHeaders(response, url.searchParams.get('query_id') ?? undefined);
      if (isGreeting(message, url)) {
        response.end('Ok.\n');
        return;
      }
      const request = readRequest(message, url);
      const query = await readQuery(message, request.query, newCheck);
      await queries.answer({ request, query, response, gone: gone.signal });
    } catch (error) {
      if (gone.signal.aborted || response.headersSent) {
        log.debug({ reason: errorText(error) }, 'a query ended early');
        response.destroy();
      } else {
        sendError(message, response, error);
      }
    }
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
      await sessions.close();
      buffer.remove();
    },
  };
}

function isGreeting(message: IncomingMessage, url: URL): boolean {
  return url.pathname === '/' && message.method === 'GET' && !url.searchParams.has('query');
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, port)));
    server.listen(port, '127.0.0.1', resolve);
  });
}
