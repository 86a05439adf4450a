import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fromProject } from '../../../core/config/paths.ts';

/** A shop of a few pages on loopback, each with a snippet as an operator copies it. */

export interface Shop {
  /** `http://localhost:…`: the shop. */
  readonly url: string;
  /** `http://127.0.0.1:…`: another host, with `/afflux.js` as the collector serves it. */
  readonly elsewhere: string;
  /** What the shop was sent by POST: path and body. */
  readonly posts: { path: string; body: string }[];
  stop(): Promise<void>;
}

/** A snippet with the address of a collector. */
export function snippet(file: string, collectorUrl: string): string {
  return readFileSync(fromProject(`snippets/${file}`), 'utf8').replaceAll(
    'https://COLLECTOR_URL',
    collectorUrl,
  );
}

/** @param options.head Of every page, by the address of the collector. */
export async function startShop({ head }: { head: (collectorUrl: string) => string }): Promise<Shop> {
  const posts: Shop['posts'] = [];
  const server = createServer((request, response) => void answer(request, response));
  server.listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const elsewhere = `http://127.0.0.1:${port}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', elsewhere);
    if (pathname === '/afflux.js') {
      response.setHeader('content-type', 'text/javascript; charset=utf-8');
      response.end(readFileSync(fromProject('snippets/afflux.js')));
      return;
    }
    if (request.method === 'POST') {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      posts.push({ path: pathname, body: Buffer.concat(parts).toString() });
    }
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(page(pathname, { head: head(elsewhere), elsewhere }));
  }

  return {
    url: `http://localhost:${port}`,
    elsewhere,
    posts,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function page(path: string, { head, elsewhere }: { head: string; elsewhere: string }): string {
  return `<!doctype html><html lang="en"><head><title>${path}</title>${head}</head><body>
    <a href="/other">Other page</a> <a href="/checkout">Checkout</a>
    <a href="${elsewhere}/pay?plan=1">Pay elsewhere</a> <a href="/help?topic=1">Help</a>
    <form method="post" action="/order"><input type="hidden" name="click_id"><input name="visible" value="1">
      <button>Order</button></form></body></html>`;
}
