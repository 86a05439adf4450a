import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

/** Where a ClickHouse database is, and as whom it is asked. */
export interface Target {
  readonly origin: string;
  readonly database: string;
  readonly username: string;
  readonly password: string;
}

export type Settings = Readonly<Record<string, string | number>>;
/** Values bound to `{name:Type}` in a query. */
export type QueryParams = Readonly<Record<string, unknown>>;

/** One request: a query, and the rows of an INSERT behind it. */
export interface Statement {
  readonly sql: string;
  readonly params?: QueryParams | undefined;
  readonly settings?: Settings | undefined;
  /** Rows; each buffer is sent as it is. */
  readonly data?: readonly Buffer[];
  /** Whether the target's database may be missing. */
  readonly outside?: boolean;
}

/**
 * ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http). Its own client waits for a timer before
 * every request, which took 1.1 to 2 ms of the 15 that a question may take, and cannot send rows as they are.
 */
export interface Http {
  /** The answer, once its head has come. @throws ServerFault, or the network's error. */
  post(statement: Statement): Promise<IncomingMessage>;
  close(): void;
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

/** Longer than any query of ours: behind it the server is stuck, and the caller has to know. */
const REQUEST_TIMEOUT_MS = 60_000;
/** Below every server's own, so that none closes a connection that is about to be used (ClickHouse: 3 s and more). */
const IDLE_MS = 2_000;
/** Of one process at a time; more questions wait. */
const MAX_CONNECTIONS = 10;
/** How much of a server's error text is kept. */
const ERROR_TEXT_CHARS = 2_000;

export function openHttp(target: Target, name: string): Http {
  const secure = target.origin.startsWith('https:');
  const settings = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_MS };
  const agent = secure ? new HttpsAgent(settings) : new Agent(settings);
  const send = secure ? httpsRequest : httpRequest;
  const headers = {
    'User-Agent': `afflux-${name}`,
    'X-ClickHouse-User': target.username,
    'X-ClickHouse-Key': target.password,
  };

  function post(statement: Statement): Promise<IncomingMessage> {
    const { data } = statement;
    return new Promise((resolve, reject) => {
      const request = send(urlOf(target, statement), {
        agent,
        method: 'POST',
        timeout: REQUEST_TIMEOUT_MS,
        // ClickHouse takes a body cut short of its Content-Length for a whole, shorter insert (ClickHouse issue 34725),
        // but refuses a chunked body without its end.
        headers: data ? { ...headers, 'Transfer-Encoding': 'chunked' } : headers,
      });
      request.on('timeout', () => request.destroy(new Error(`no answer in ${REQUEST_TIMEOUT_MS} ms`)));
      request.on('error', reject);
      request.on('response', (response) => {
        const code = response.headers['x-clickhouse-exception-code'];
        if (response.statusCode === 200 && code === undefined) resolve(response);
        else {
          readAll(response).then((bytes) => {
            const text = bytes.toString('utf8', 0, ERROR_TEXT_CHARS);
            reject(new ServerFault(Number(code), text || `status ${response.statusCode}`));
          }, reject);
        }
      });
      for (const part of data ?? []) request.write(part);
      if (data) request.end();
      else request.end(statement.sql);
    });
  }

  return { post, close: () => agent.destroy() };
}

/** Everything that comes. @throws the network's error when the answer is cut short. */
export async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}

function urlOf(target: Target, { sql, data, params, settings, outside }: Statement): URL {
  const url = new URL('/', target.origin);
  const set = (name: string, value: string | number): void => url.searchParams.set(name, String(value));
  if (!outside) set('database', target.database);
  // Rows are the body; the query stands before them.
  if (data) set('query', sql);
  for (const [name, value] of Object.entries(params ?? {})) set(`param_${name}`, parameterText(value));
  for (const [name, value] of Object.entries(settings ?? {})) set(name, value);
  return url;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  "'": "\\'",
  '\\': '\\\\',
};
const escaped = (text: string): string => text.replaceAll(/[\t\n\r'\\]/g, (one) => ESCAPES[one] ?? one);

/** A parameter as ClickHouse reads it: escaped text; in an array, texts stand in quotes. */
function parameterText(value: unknown): string {
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) {
    return `[${value.map((one) => (typeof one === 'string' ? `'${escaped(one)}'` : parameterText(one))).join(',')}]`;
  }
  throw new TypeError(`a query's parameter cannot be ${typeof value}`);
}
