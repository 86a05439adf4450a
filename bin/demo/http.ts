import { Agent, request } from 'node:http';

/** An answer, without following redirects. */
export interface Answer {
  readonly status: number;
  readonly location: string;
  readonly body: string;
}

export interface HttpClient {
  get(url: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Sends JSON or CSV under a bearer key; the answer's body parsed. @throws Error when the status is not 2xx. */
  post<T>(url: string, options: Sent): Promise<T>;
  put<T>(url: string, options: Sent): Promise<T>;
  patch<T>(url: string, options: Sent): Promise<T>;
  getJson<T>(url: string, options: { key: string }): Promise<T>;
  close(): void;
}

interface Sent {
  readonly key: string;
  readonly body?: unknown;
  readonly csv?: string;
}

/** Connections kept open to each server. */
const MAX_SOCKETS = 64;

export function createHttpClient(): HttpClient {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });

  function send(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    body?: string,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { method, agent, headers }, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (part: string) => {
          text += part;
        });
        incoming.on('error', reject);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            location: incoming.headers.location ?? '',
            body: text,
          }),
        );
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  async function json<T>(method: string, url: string, { key, body, csv }: Sent): Promise<T> {
    const headers: Record<string, string> = { Authorization: `Bearer ${key}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (csv !== undefined) headers['Content-Type'] = 'text/csv';
    const sent = csv ?? (body === undefined ? undefined : JSON.stringify(body));
    const answer = await send(method, url, headers, sent);
    if (answer.status < 200 || answer.status > 299) {
      throw new Error(`${method} ${new URL(url).pathname} answered ${answer.status}: ${answer.body}`);
    }
    return JSON.parse(answer.body) as T;
  }

  return {
    get: (url, headers = {}) => send('GET', url, headers),
    post: (url, sent) => json('POST', url, sent),
    put: (url, sent) => json('PUT', url, sent),
    patch: (url, sent) => json('PATCH', url, sent),
    getJson: (url, { key }) => json('GET', url, { key }),
    close: () => agent.destroy(),
  };
}

/** Runs `work` over all items, at most `width` at a time, and returns the results in order. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  width: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  let next = 0;
  async function worker(): Promise<void> {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as Item, index);
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}
