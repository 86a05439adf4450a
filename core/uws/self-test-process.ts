import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { loadUws } from './uws.ts';

/**
 * `node self-test-process.js FOLDER`: loads the server and sends it what real networks send. Ends with 0, or prints what
 * went wrong and ends with 1.
 */
const HEADER_BYTES = 14_000;
const MAX_HEADER_BYTES = 16_384;
/** Of a TCP segment over Ethernet. */
const SEGMENT_BYTES = 1_460;
/** Between two pieces, so that each is a read of its own. */
const PIECE_MS = 2;
const REQUEST = 'GET /c/self-test?a=b HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n';

const uws = loadUws({ folder: process.argv[2] ?? '', maxHeaderBytes: MAX_HEADER_BYTES });
const port = await new Promise<number>((resolve, reject) => {
  uws
    .App()
    .get('/c/:code', (response) => void response.end('ok'))
    .listen('127.0.0.1', 0, (socket) => {
      if (socket) resolve(uws.us_socket_local_port(socket));
      else reject(new Error('the server cannot listen'));
    });
});

/** Sends the pieces one by one. @throws Error that names the answer when it is not 200. */
async function send(what: string, pieces: readonly Buffer[]): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const answer = new Promise<string>((resolve, reject) => {
    socket.once('data', (bytes) => resolve(bytes.toString('latin1', 9, 12)));
    socket.once('close', () => resolve('a closed connection'));
    socket.once('error', reject);
  });
  for (const [i, piece] of pieces.entries()) {
    if (i > 0) await delay(PIECE_MS);
    socket.write(piece);
  }
  const status = await answer;
  socket.destroy();
  if (status !== '200') throw new Error(`${what} was answered with ${status}`);
}

/** PROXY version 2: IPv4 over TCP, from 203.0.113.7:4660 to 10.0.0.1:80. */
const proxy = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb0071070a00000112340050', 'hex');
const request = Buffer.from(REQUEST);
const large = Buffer.from(REQUEST.replace('\r\n\r\n', `\r\nCookie: ${'c'.repeat(HEADER_BYTES)}\r\n\r\n`));
const segments = Array.from({ length: Math.ceil(large.length / SEGMENT_BYTES) }, (_, i) =>
  large.subarray(i * SEGMENT_BYTES, (i + 1) * SEGMENT_BYTES),
);
try {
  await Promise.all([
    ...Array.from({ length: request.length - 1 }, (_, i) =>
      send(`a request cut at byte ${i + 1}`, [request.subarray(0, i + 1), request.subarray(i + 1)]),
    ),
    send('a PROXY header in a segment of its own', [proxy, request]),
    send(`${HEADER_BYTES} bytes of headers in segments`, segments),
  ]);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
