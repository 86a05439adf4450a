import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionError, InjectOptions, LightMyRequestResponse } from 'fastify';
import type { ApiMetrics } from '../metrics.ts';
import { PROBLEM_MEDIA_TYPE, PROBLEMS, Problem, type ProblemCode, problemBody } from '../problems.ts';

/** Executes a request that has no connection. */
type Inject = (request: InjectOptions) => Promise<LightMyRequestResponse>;

/** Requests that Node's parser refuses: answered on the bare socket, in the same form. */
export function createClientErrorHandler({ metrics, inject }: { metrics: ApiMetrics; inject: Inject }) {
  return async (error: ConnectionError, socket: Socket): Promise<void> => {
    if (error.code === 'ECONNRESET' || socket.destroyed) return;
    if (
      error.code === 'HPE_INVALID_URL' &&
      (await answerUnencoded(inject, Buffer.from(error.rawPacket as unknown as Uint8Array), socket))
    )
      return;
    const code = clientErrorCode(error.code);
    metrics.countProblem(code);
    const { status, title } = PROBLEMS[code];
    const detail =
      error.code === 'HPE_INVALID_URL' ? 'percent-encode what is beyond ASCII in the URL' : title;
    const problem = new Problem(code, { detail });
    const body = JSON.stringify(problemBody(problem, ''));
    if (socket.writable) {
      socket.write(
        `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${PROBLEM_MEDIA_TYPE}\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
    socket.destroy();
  };
}

function clientErrorCode(code: string | undefined): ProblemCode {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return 'malformed_request';
}

/** The request by which shops report orders, and what has come of its body; what is not of this form is refused. */
const REPORT =
  /^(GET|POST) (\/(?:postback|pixel|aff_lsr|in\/[\w-]+)\?\S+) HTTP\/1\.[01]\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)*)\r\n([\s\S]*)$/;
/** As much as the largest route takes, which refuses by its own limit. */
const MAX_BODY_BYTES = 1_048_576;
/** A body that takes longer is not awaited: a shop sends it at once. */
const BODY_TIMEOUT_MS = 10_000;

/**
 * Many shops write UTF-8 into a URL as it is, which Node refuses, and the order would be lost without a trace: their
 * reports are answered as if they were percent-encoded (RFC 3986, 2.1), and the connection is closed.
 * @returns Whether it was such a request.
 */
async function answerUnencoded(inject: Inject, packet: Buffer, socket: Socket): Promise<boolean> {
  const [, method, url, lines = '', begun = ''] = REPORT.exec(packet.toString('latin1')) ?? [];
  if (url === undefined) return false;
  const received = headersIn(lines);
  const payload = await bodyOf(received, Buffer.from(begun, 'latin1'), socket);
  if (!payload) return false;
  const { statusCode, headers, rawPayload } = await inject({
    method: method as 'GET' | 'POST',
    url: url.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`),
    headers: received,
    ...(payload.length > 0 && { payload }),
    ...(socket.remoteAddress !== undefined && { remoteAddress: socket.remoteAddress }),
  });
  const { 'transfer-encoding': _, ...kept } = headers;
  const head = Object.entries({ ...kept, 'content-length': rawPayload.length, connection: 'close' });
  const text = head.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.end(
    Buffer.concat([
      Buffer.from(`HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? ''}\r\n${text}\r\n`, 'latin1'),
      rawPayload,
    ]),
  );
  return true;
}

/** The body, of which some has come with the head; undefined: it has no length, not this one, or does not end. */
async function bodyOf(
  headers: Readonly<Record<string, string>>,
  begun: Buffer,
  socket: Socket,
): Promise<Buffer | undefined> {
  const { 'content-length': given = '0', 'transfer-encoding': coding, expect } = headers;
  const length = /^\d{1,7}$/.test(given) ? Number(given) : Number.POSITIVE_INFINITY;
  if (coding !== undefined || expect !== undefined || length > MAX_BODY_BYTES) return undefined;
  const parts = [begun];
  let bytes = begun.length;
  // The parser that has refused the head would refuse the rest as another request.
  socket.removeAllListeners('data');
  await new Promise<void>((resolve) => {
    const timeout = setTimeout(resolve, BODY_TIMEOUT_MS);
    const end = () => {
      clearTimeout(timeout);
      resolve();
    };
    const take = (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (bytes >= length) end();
    };
    if (bytes >= length) end();
    else socket.on('data', take).once('close', end);
  });
  return bytes === length ? Buffer.concat(parts) : undefined;
}

/** Headers that come more than once are joined: of a key that makes none. */
function headersIn(lines: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines.split('\r\n').filter((one) => one !== '')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return headers;
}
