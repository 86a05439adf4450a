type Send = (request: Request) => Promise<Response>;

const HEADER = 'idempotency-key';
/** A page has few changes open at once; what was given up is forgotten first. */
const MAX_KEPT = 20;

/**
 * Sends a change again under the key that it was sent with before, until one is answered with success: when the connection
 * broke or the server failed, it may have been made. A request that was refused changed nothing, and left its key free. The
 * same change is one of equal address and body.
 */
export function withKeptKeys(send: Send): Send {
  const unfinished = new Map<string, string>();
  return async (request) => {
    const fresh = request.headers.get(HEADER);
    if (fresh === null) return await send(request);
    const change = `${request.method} ${request.url} ${await request.clone().text()}`;
    const key = unfinished.get(change) ?? fresh;
    request.headers.set(HEADER, key);
    unfinished.delete(change);
    unfinished.set(change, key);
    for (const oldest of unfinished.keys()) {
      if (unfinished.size <= MAX_KEPT) break;
      unfinished.delete(oldest);
    }
    const response = await send(request);
    if (response.ok) unfinished.delete(change);
    return response;
  };
}
