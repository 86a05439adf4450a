import { sendInPieces } from './pieces.ts';
import { loadUws } from './uws.ts';

/**
 * `node self-test-process.js FOLDER`: loads the server and sends it what real networks send. Ends with 0, or prints what
 * went wrong and ends with 1.
 */
const MAX_HEADER_BYTES = 16_384;

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
try {
  await sendInPieces(port);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
