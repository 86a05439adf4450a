import { tmpdir } from 'node:os';
import { loadUws } from '../../core/uws/uws.ts';

/** The floor: uWebSockets.js answering with the same bytes as the collector, and doing nothing else. */
const uws = loadUws({ folder: tmpdir(), maxHeaderBytes: 16_384 });
const port = Number(process.argv[2]);
const CLICK_ID = 's-uIPaf-AWjKzOHBSY1BfA';

uws
  .App()
  .get('/*', (response) => {
    response
      .writeStatus('302 Found')
      .writeHeader('Location', `https://shop.example/landing/page?campaign=summer&click_id=${CLICK_ID}`)
      .writeHeader('Cache-Control', 'no-store')
      .writeHeader('Set-Cookie', `aff_click=${CLICK_ID}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax`)
      .end();
  })
  .listen('127.0.0.1', port, (socket) => {
    if (!socket) throw new Error(`cannot listen on port ${port}`);
  });
process.on('SIGTERM', () => process.exit(0));
