import { Agent, type IncomingMessage, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A client that sends everything once: what it does not hear the answer of, it does not know. */
export interface Http {
  /** Undefined: no whole answer came. `onHead` hears of an answer whose body may still fail to come. */
  send(
    method: 'GET' | 'POST' | 'PATCH' | 'PUT',
    url: string,
    options?: {
      headers?: Readonly<Record<string, string>>;
      body?: unknown;
      onHead?: (head: IncomingMessage) => void;
    },
  ): Promise<Answer | undefined>;
  close(): void;
}

const MAX_SOCKETS = 128;
/** Longer than any pause of the schedule; who waits longer has gone. */
const PATIENCE_MS = 10_000;

export function createHttp(): Http {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  return {
    send(method, url, { headers = {}, body, onHead } = {}) {
      const text = body === undefined ? undefined : JSON.stringify(body);
      return new Promise((resolve) => {
        const outgoing = request(
          url,
          {
            method,
            agent,
            headers: { ...headers, ...(text !== undefined && { 'Content-Type': 'application/json' }) },
            signal: AbortSignal.timeout(PATIENCE_MS),
          },
          (incoming) => {
            onHead?.(incoming);
            let received = '';
            incoming.setEncoding('utf8');
            incoming.on('data', (part: string) => {
              received += part;
            });
            incoming.on('error', () => resolve(undefined));
            incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: received }));
          },
        );
        outgoing.on('error', () => resolve(undefined));
        outgoing.end(text);
      });
    },
    close: () => agent.destroy(),
  };
}
