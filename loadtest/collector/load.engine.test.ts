import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { reportMissing } from '../../test/support/programs.ts';
import { createLoadGenerator } from './load.ts';

const CONNECTIONS = 4;
const ANSWERED_BEFORE_SILENCE = 3;

let folder: string;
let server: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-silence-'));
});
afterEach(() => {
  server?.close();
  rmSync(folder, { recursive: true });
});

/** A server whose last connections answer a few requests and then none, without closing. */
async function serve(silentConnections: number): Promise<string> {
  let connections = 0;
  server = createServer((socket) => {
    let number: number | undefined;
    let requests = 0;
    socket.on('error', () => undefined);
    socket.on('data', () => {
      // wrk tries the address first, with a connection that asks nothing.
      number ??= connections++;
      if (number >= CONNECTIONS - silentConnections && requests++ >= ANSWERED_BEFORE_SILENCE) return;
      socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it.for([0, 1, 3])('connections that fall silent are errors: %i of 4', async (silent, { skip }) => {
  const generator = createLoadGenerator({ folder, name: 'requests', requests: [{ path: '/', headers: {} }] });
  if (generator.name !== 'wrk') {
    reportMissing('wrk', 'silent connections under load');
    skip('no wrk');
  }
  const url = await serve(silent);
  const load = await generator.run({ url, connections: CONNECTIONS, seconds: 2, core: '0-255' });
  expect(load.requests).toBeGreaterThan(CONNECTIONS * ANSWERED_BEFORE_SILENCE);
  expect(load.errors).toBe(silent);
});
