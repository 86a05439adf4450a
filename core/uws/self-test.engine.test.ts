import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { fromProject } from '../config/paths.ts';
import { createLogger } from '../service/log.ts';
import { requireServer } from './self-test.ts';

it('tests the server once in a child process, and keeps the pass', async () => {
  const home = mkdtempSync(join(tmpdir(), 'afflux-server-'));
  const log = createLogger({ name: 'test', level: 'silent' });
  try {
    await requireServer({ home, log });
    const file = join(home, 'server-self-test');
    expect(readFileSync(file, 'utf8')).toContain(process.version);
    const { mtimeNs, ino } = statSync(file, { bigint: true });
    await requireServer({ home, log });
    expect(statSync(file, { bigint: true })).toMatchObject({ mtimeNs, ino });
  } finally {
    rmSync(home, { recursive: true });
  }
});

/** Loads a library, serves `/c/{code}` and sends it pieces. */
const PROBE = `
const [file, pieces] = process.argv.slice(1);
process.env.UWS_HTTP_MAX_HEADERS_SIZE = '16384';
const uws = { exports: {} };
process.dlopen(uws, file);
const { App, us_socket_local_port } = uws.exports;
const { sendInPieces } = await import(pieces);
App().get('/c/:code', (response) => void response.end('ok')).listen('127.0.0.1', 0, async (socket) => {
  await sendInPieces(us_socket_local_port(socket)).then(() => process.exit(0), (error) => {
    console.error(error.message);
    process.exit(1);
  });
});
`;

it.runIf(process.version.startsWith('v20.'))(
  'fails with the library of before the repair of requests in pieces, whatever else the machine does',
  () => {
    const old = createRequire(import.meta.url).resolve('uWebSockets.js');
    const file = join(dirname(old), `uws_linux_${process.arch}_115.node`);
    const pieces = pathToFileURL(fromProject('dist/core/uws/pieces.js')).href;
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', PROBE, file, pieces], {
      encoding: 'utf8',
    });
    expect(run.stderr).toMatch(/^a (request cut at byte \d+|PROXY header in .*) was answered with 505\n/);
  },
);
