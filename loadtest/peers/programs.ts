import { spawnSync } from 'node:child_process';
import { Missing } from './peer.ts';

/** @throws Missing when the program is not in PATH; `args` make it say its version. */
export function requireProgram(program: Missing['program'], ...args: string[]): void {
  if (spawnSync(program, args, { stdio: 'ignore' }).error)
    throw new Missing(program, `no ${program} in PATH`);
}
