import { Pool } from 'undici';

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  /** By name in lower case; the values of a repeated one are lines. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

export interface ClientRequest {
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** Sends every request once and follows no redirect. */
export interface Client {
  /** Undefined: no whole answer came. */
  send(request: ClientRequest): Promise<Answer | undefined>;
  close(): Promise<void>;
}

/** As many as the collector's benchmark has; requests beyond wait for one, and their wait counts. */
const CONNECTIONS = 256;
/** Who waits longer has gone. */
const PATIENCE_MS = 10_000;

export function createClient(origin: string): Client {
  const pool = new Pool(origin, {
    connections: CONNECTIONS,
    headersTimeout: PATIENCE_MS,
    bodyTimeout: PATIENCE_MS,
  });
  return {
    send({ method, path, headers = {}, body }) {
      const json = body === undefined ? undefined : JSON.stringify(body);
      const all = json === undefined ? headers : { ...headers, 'content-type': 'application/json' };
      let status = 0;
      let received: Record<string, string> = {};
      let text = '';
      return new Promise((resolve) => {
        pool.dispatch(
          { method, path, headers: all, body: json ?? null },
          {
            onConnect: () => undefined,
            onHeaders(code, raw) {
              status = code;
              received = byName(raw);
              return true;
            },
            onData(part) {
              text += part.toString('utf8');
              return true;
            },
            onComplete: () => resolve({ status, headers: received, body: text }),
            onError: () => resolve(undefined),
          },
        );
      });
    },
    close: () => pool.destroy(),
  };
}

function byName(raw: readonly Buffer[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = String(raw[i]).toLowerCase();
    headers[name] = headers[name] === undefined ? String(raw[i + 1]) : `${headers[name]}\n${raw[i + 1]}`;
  }
  return headers;
}
