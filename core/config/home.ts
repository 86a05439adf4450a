import { chmodSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Started by root, the embedded engines run under this user and group id. It belongs to no account, so that no other
 * program of the machine runs under it: one with the user id of a server can stop it and read its memory and files. From the range that systemd leaves unused (https://systemd.io/UIDS-GIDS).
 */
export const ENGINE_ID = 61_100;

/** The processes of the platform write for their own account alone. */
export const PRIVATE_UMASK = 0o077;

/** Programs that set-up fetched: no data, and an engine's account runs them. */
const PROGRAMS = 'bin';

/**
 * Makes the data folder if it is missing, and takes it and what lies in it from everybody but its owner: earlier
 * versions left parts of it readable by every account. What lies deeper is out of reach then.
 */
export function openHome(home: string): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  closeToOthers(home);
  for (const name of readdirSync(home)) if (name !== PROGRAMS) closeToOthers(join(home, name));
}

function closeToOthers(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined || status.isSymbolicLink()) return;
  const user = process.getuid?.();
  if (user !== 0 && status.uid !== user) return;
  // The group of the engines passes through the folder that holds theirs.
  const kept = status.gid === ENGINE_ID ? 0o710 : 0o700;
  const mode = status.mode & 0o777;
  if ((mode & ~kept) !== 0) chmodSync(path, mode & kept);
}
