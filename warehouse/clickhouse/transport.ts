import { Agent, type IncomingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import type { TlsContents } from '../../core/tls.ts';

/** The address of a ClickHouse database and the account that uses it. */
export interface Target {
  readonly origin: string;
  /** '' sends no database, for statements that do not need one. */
  readonly database: string;
  readonly username: string;
  readonly password: string;
  /** Authorities and client certificate of an https origin. */
  readonly tls: TlsContents;
  /** How long an answer may take. */
  readonly timeoutMs: number;
}

export type Settings = Readonly<Record<string, string | number>>;
/** Values bound to `{name:Type}` in a query. */
export type QueryParams = Readonly<Record<string, unknown>>;

/** A statement without rows of its own. */
export interface Query {
  readonly sql: string;
  readonly params?: QueryParams | undefined;
  readonly settings?: Settings | undefined;
}

/** Any statement: a query, or an INSERT with its rows behind it. */
export interface Statement extends Query {
  /** Rows; each buffer is sent as it is. */
  readonly data?: readonly Buffer[];
}

export interface Answer {
  readonly headers: IncomingHttpHeaders;
  /** Fails with the network's error when it is cut short. */
  readonly body: Readable;
}

/** A client of ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http). */
export interface Transport<Request extends Query = Statement> {
  /** The answer, once its head has arrived. @throws ServerFault, or the network's error. */
  send: (request: Request) => Promise<Answer>;
  close(): Promise<void>;
}

/** An exception of the server. */
export class ServerFault extends Error {
  /** ClickHouse's number of the error, NaN when something else answered. */
  readonly number: number;

  constructor(number: number, text: string) {
    const [, message, type] = /DB::Exception: (.+?)\s*\(([A-Z][A-Z0-9_]{2,})\)/s.exec(text) ?? [];
    super(message === undefined ? text : `${type}: ${message}`);
    this.number = number;
  }
}

/** No answer came in time, from a server that may still be at work on the request. */
export class NoAnswer extends Error {}

/** Longer than any query of ours: behind it the server is stuck, and the caller has to know. */
export const REQUEST_TIMEOUT_MS = 60_000;
/**
 * How long the servers of a cluster may take for a statement that all of them run, and how long its answer may take, which
 * names the servers that have not. Statements of migrations rewrite no large table.
 */
export const CLUSTER_STATEMENT_S = 180;
export const CLUSTER_TIMEOUT_MS = (CLUSTER_STATEMENT_S + 60) * 1_000;
/** Below every server's own, so that none closes a connection that is about to be used (ClickHouse: 3 s and more). */
export const IDLE_MS = 2_000;
/** Of one transport at a time; more requests wait. */
export const MAX_CONNECTIONS = 10;
/** Bytes of a server's error text that are kept. */
const MAX_ERROR_TEXT_BYTES = 2_000;

/** Connections to a target. */
export function createAgent(target: Target, options: { timeout?: number } = {}): Agent {
  const settings = { keepAlive: true, maxSockets: MAX_CONNECTIONS, ...options };
  return isSecure(target) ? new HttpsAgent({ ...settings, ...target.tls }) : new Agent(settings);
}

export function isSecure({ origin }: Target): boolean {
  return origin.startsWith('https:');
}

/** Who we are to ClickHouse: by the password, or by the client certificate alone when there is none. */
export function loginHeaders({ username, password, tls }: Target): Record<string, string> {
  const proof: Record<string, string> =
    tls.cert && password === ''
      ? { 'X-ClickHouse-SSL-Certificate-Auth': 'on' }
      : { 'X-ClickHouse-Key': password };
  return { 'X-ClickHouse-User': username, ...proof };
}

/** Passes an answer on unless it is an exception. @throws ServerFault, or the network's error. */
export async function successful(answer: Answer & { status: number | undefined }): Promise<Answer> {
  const { headers, body, status } = answer;
  const code = headers['x-clickhouse-exception-code'];
  if (status === 200 && code === undefined) return answer;
  const text = (await readAll(body)).toString('utf8', 0, MAX_ERROR_TEXT_BYTES);
  throw new ServerFault(Number(code), text || `status ${status}`);
}

/** Everything up to the body's end. @throws the network's error when it is cut short. */
export async function readAll(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}
