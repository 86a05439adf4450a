import { spawnSync } from 'node:child_process';
import { Missing } from './peer.ts';

/** @throws Missing when the program is not in PATH; `args` make it say its version. */
export function requireProgram(program: string, ...args: string[]): void {
  if (spawnSync(program, args, { stdio: 'ignore' }).error) throw new Missing(`no ${program} in PATH`);
}
