import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromProject } from '../config/paths.ts';
import type { Logger } from '../service/log.ts';
import { chooseBinary, unavailable } from './binaries.ts';
import { thisMachine } from './uws.ts';

const MAIN = fromProject('dist/core/uws/self-test-process.js');
/** It takes a quarter of a second; a machine that starts everything at once needs longer. */
const TIMEOUT_MS = 15_000;

/**
 * Loads the server in a child process and sends it requests in pieces, once for each library, Node.js and glibc: a pass is kept in
 * `home`. Warns of the limits of the old library.
 * @throws OperatingError `server_unavailable`, which says what would work.
 */
export async function requireServer({ home, log }: { home: string; log: Logger }): Promise<void> {
  const machine = thisMachine();
  const binary = chooseBinary(machine);
  if (binary.old) {
    log.warn(
      { glibc: machine.glibc?.join('.') },
      'this glibc is older than 2.36, so an old uWebSockets.js runs: it answers 505 to a request line or PROXY header ' +
        'in a segment of its own. Put a proxy that speaks plain HTTP/1.1 in front, or use the image node:24-bookworm',
    );
    return;
  }
  const file = join(home, 'server-self-test');
  const pass = `${binary.sha256} ${process.version} glibc ${machine.glibc?.join('.')}\n`;
  if (readIfPresent(file) === pass) return;
  mkdirSync(home, { recursive: true });
  try {
    await promisify(execFile)(process.execPath, [MAIN, home], { timeout: TIMEOUT_MS });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw unavailable(`its self-test failed (${stderr?.trim() || message})`);
  }
  writeFileSync(file, pass);
}

function readIfPresent(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
