import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import {
  createAgent,
  IDLE_MS,
  isSecure,
  loginHeaders,
  NoAnswer,
  type Query,
  successful,
  type Target,
  type Transport,
} from './transport.ts';

/** Sends each query at once, without the official client's timer: docs/decisions/0002-clickhouse-client.md. */
export function openHttpTransport(target: Target, name: string): Transport<Query> {
  const agent = createAgent(target, { timeout: IDLE_MS });
  const open = isSecure(target) ? httpsRequest : httpRequest;
  const headers = { 'User-Agent': `afflux-${name}`, ...loginHeaders(target) };

  function post(query: Query): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = open(urlOf(target, query), {
        agent,
        method: 'POST',
        timeout: target.timeoutMs,
        headers,
      });
      request.on('timeout', () => request.destroy(new NoAnswer(`no answer in ${target.timeoutMs} ms`)));
      request.on('error', reject);
      request.on('response', resolve);
      request.end(query.sql);
    });
  }

  return {
    async send(query) {
      const message = await post(query);
      return await successful({ headers: message.headers, body: message, status: message.statusCode });
    },
    async close() {
      agent.destroy();
    },
  };
}

function urlOf(target: Target, { params, settings }: Query): URL {
  const url = new URL('/', target.origin);
  const set = (name: string, value: string | number): void => url.searchParams.set(name, String(value));
  if (target.database !== '') set('database', target.database);
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
export function parameterText(value: unknown): string {
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) {
    return `[${value.map((one) => (typeof one === 'string' ? `'${escaped(one)}'` : parameterText(one))).join(',')}]`;
  }
  throw new TypeError(`a query's parameter cannot be ${typeof value}`);
}
