import { Pool } from 'undici';
import type { Answer, TrafficRequest } from '../traffic/http.ts';
import { PATIENCE_MS } from '../traffic/limits.ts';

/** Sends every request once and follows no redirect. */
export interface Client {
  /** Undefined: no whole answer came. */
  send(request: TrafficRequest): Promise<Answer | undefined>;
  close(): Promise<void>;
}

/** As many as the collector's benchmark has; requests beyond wait for one, and their wait counts. */
const CONNECTIONS = 256;

/** A client of both services, by their origins. */
export function createClient(origins: Readonly<Record<TrafficRequest['service'], string>>): Client {
  const connect = (origin: string): Pool =>
    new Pool(origin, { connections: CONNECTIONS, headersTimeout: PATIENCE_MS, bodyTimeout: PATIENCE_MS });
  const pools = { collector: connect(origins.collector), api: connect(origins.api) };
  return {
    send({ service, method, path, headers, body }) {
      let status = 0;
      let received: Record<string, string> = {};
      let text = '';
      return new Promise((resolve) => {
        pools[service].dispatch(
          { method, path, headers, body: body ?? null },
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
    async close() {
      await Promise.all([pools.collector.destroy(), pools.api.destroy()]);
    },
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
