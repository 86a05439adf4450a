import { execFile, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromProject } from '../../../core/config/paths.ts';
import { reportMissing } from '../programs.ts';

/** Programs in Go of test/fixtures, for what has no client or checker in JavaScript. */

const MAX_OUTPUT_BYTES = 64 * 1024 ** 2;

/** Whether there is a Go. @param untested What is not tested without one. @throws Error in CI, which has one. */
export function hasGo(untested: string): boolean {
  if (spawnSync('go', ['version']).status === 0) return true;
  if (process.env.CI) throw new Error(`There is no Go to build with: ${untested}`);
  reportMissing('go', untested);
  return false;
}

export interface GoProgram {
  /** Its standard output. @throws Error with its error output. */
  run(args: readonly string[], env?: Record<string, string>, input?: string): Promise<string>;
  remove(): void;
}

/** Builds `test/fixtures/<name>`; Go keeps what it has compiled, so that a second build takes a second. */
export async function buildGo(name: string): Promise<GoProgram> {
  const folder = mkdtempSync(join(tmpdir(), `afflux-${name}-`));
  cpSync(fromProject(`test/fixtures/${name}`), folder, { recursive: true });
  const execute = promisify(execFile);
  const options = { cwd: folder, maxBuffer: MAX_OUTPUT_BYTES };
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' };
  await execute('go', ['build', '-o', 'program', '.'], { ...options, env });
  return {
    run: async (args, given = {}, input = '') => {
      const running = execute(join(folder, 'program'), [...args], {
        ...options,
        env: { ...process.env, ...given },
      });
      running.child.stdin?.end(input);
      return (await running).stdout;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
