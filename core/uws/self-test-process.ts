import { sendInPieces } from './pieces.ts';
import { loadUws } from './uws.ts';

/**
 * `node self-test-process.js FOLDER`: loads the server and sends it what real networks send. Ends with 0, or prints what
 * went wrong and ends with 1.
 */
const MAX_HEADER_BYTES = 16_384;

const uws = loadUws({ folder: process.argv[2] ?? '', maxHeaderBytes: MAX_HEADER_BYTES });
/** The port on which the server listens at an address; undefined where the machine has no such address. */
function listen(host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    uws
      .App()
      .get('/c/:code', (response) => void response.end('ok'))
      .listen(host, 0, (socket) => resolve(socket ? uws.us_socket_local_port(socket) : undefined));
  });
}

try {
  let host = '127.0.0.1';
  let port = await listen(host);
  if (port === undefined) {
    host = '::1';
    port = await listen(host);
  }
  if (port === undefined) throw new Error('it listens neither on 127.0.0.1 nor on ::1');
  await sendInPieces(port, host);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
