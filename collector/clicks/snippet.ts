import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fromProject } from '../../core/config/paths.ts';
import { endHead } from './answers.ts';
import type { Handler } from './server.ts';

/** Read from the sources also when the code runs from dist/. */
const SNIPPET_FILE = 'snippets/afflux.js';
/** Fresh for a day, served stale for a week while it is fetched again: shops load it on every page. */
const CACHE_CONTROL = 'public, max-age=86400, stale-while-revalidate=604800';

/** The handler of `GET` and `HEAD /afflux.js`. */
export async function openSnippet(): Promise<Handler> {
  const body = await readFile(fromProject(SNIPPET_FILE));
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  return (response, request, isHead) => {
    const isKnown = request.getHeader('if-none-match').includes(etag);
    response
      .writeStatus(isKnown ? '304 Not Modified' : '200 OK')
      .writeHeader('Cache-Control', CACHE_CONTROL)
      .writeHeader('ETag', etag);
    if (isKnown) {
      response.endWithoutBody();
      return;
    }
    response
      .writeHeader('Content-Type', 'text/javascript; charset=utf-8')
      .writeHeader('X-Content-Type-Options', 'nosniff')
      .writeHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    if (isHead) endHead(response, body.length);
    else response.end(body);
  };
}
