import type { HttpResponse } from 'uWebSockets.js';

/**
 * Ends the answer to a HEAD request: `bytes` is what GET would send.
 *
 * The length is written by hand. Told one above 0, `endWithoutBody` waits for a body that never comes: the answer never
 * ends, and a handler that attached no abort handler ends the whole process.
 */
export function endHead(response: HttpResponse, bytes: number): void {
  response.writeHeader('Content-Length', String(bytes)).endWithoutBody();
}
