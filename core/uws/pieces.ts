import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

/** What real networks send to a server of this process, on a loopback port that answers `/c/{code}` with 200. */

const HEADER_BYTES = 14_000;
/** Of a TCP segment over Ethernet. */
const SEGMENT_BYTES = 1_460;
/**
 * Turns of the event loop between two pieces: in one the server accepts the connection, in the next it reads. A pause by
 * the clock would not do: on a busy machine both pieces are there before the server reads once.
 */
const TURNS = 5;
const REQUEST = 'GET /c/self-test?a=b HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n';
/** PROXY version 2: IPv4 over TCP, from 203.0.113.7:4660 to 10.0.0.1:80. */
const PROXY = '0d0a0d0a000d0a515549540a2111000ccb0071070a00000112340050';

/** Where the server listens. */
interface Target {
  readonly port: number;
  readonly host?: string;
}

/**
 * Sends a request cut at each of its bytes, a PROXY header in a segment of its own, and large headers in segments.
 * @throws Error that names the answer when it is not 200.
 */
export async function sendInPieces(port: number, host = '127.0.0.1'): Promise<void> {
  const request = Buffer.from(REQUEST);
  const cookie = `\r\nCookie: ${'c'.repeat(HEADER_BYTES)}\r\n\r\n`;
  const large = Buffer.from(REQUEST.replace('\r\n\r\n', cookie));
  const segments = Array.from({ length: Math.ceil(large.length / SEGMENT_BYTES) }, (_, i) =>
    large.subarray(i * SEGMENT_BYTES, (i + 1) * SEGMENT_BYTES),
  );
  await Promise.all([
    ...Array.from({ length: request.length - 1 }, (_, i) =>
      send({ port, host }, `a request cut at byte ${i + 1}`, [
        request.subarray(0, i + 1),
        request.subarray(i + 1),
      ]),
    ),
    send({ port, host }, 'a PROXY header in a segment of its own', [Buffer.from(PROXY, 'hex'), request]),
    send({ port, host }, `${HEADER_BYTES} bytes of headers in segments`, segments),
  ]);
}

async function send(target: Target, what: string, pieces: readonly Buffer[]): Promise<void> {
  const status = await answerTo(target, pieces);
  if (status !== '200') throw new Error(`${what} was answered with ${status}`);
}

/** Sends pieces, each a read of its own for a server in this process; the status, or what came instead of an answer. */
export async function answerTo(
  { port, host = '127.0.0.1' }: Target,
  pieces: readonly Buffer[],
  silenceMs = 10_000,
): Promise<string> {
  const socket = connect({ port, host, noDelay: true });
  let status: string | undefined;
  const answered = new Promise<string>((resolve) => {
    const settle = (value: string): void => {
      status ??= value;
      resolve(value);
    };
    socket.setTimeout(silenceMs, () => settle('silence'));
    socket.once('data', (bytes) => settle(bytes.toString('latin1', 9, 12)));
    socket.once('close', () => settle('a closed connection'));
    // The server may answer and close before the last piece is sent.
    socket.on('error', () => undefined);
  });
  await Promise.race([once(socket, 'connect'), answered]);
  for (const piece of pieces) {
    if (status !== undefined) break;
    socket.write(piece);
    for (let i = 0; i < TURNS; i++) await turn();
  }
  const got = await answered;
  socket.destroy();
  return got;
}
