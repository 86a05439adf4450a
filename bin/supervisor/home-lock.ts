import { OperatingError } from '../../core/errors.ts';
import {
  type ClaimOwner,
  claimFolder,
  type FolderClaim,
  FolderClaimed,
} from '../../core/files/folder-claim.ts';
import { findLeftover } from '../../engines/engine.ts';

/**
 * Takes the data folder for this process, the one running `afflux up` of it.
 * @throws OperatingError `already_running` with the pid of the other one, `home_unusable`.
 */
export function lockHome(home: string): FolderClaim {
  try {
    return claimFolder({ folder: home, name: 'afflux', content: `${process.pid}\n`, ownerOf });
  } catch (error) {
    if (error instanceof FolderClaimed) {
      throw new OperatingError(
        'already_running',
        `Afflux is already running on ${home} (pid ${error.owner.pid}). Stop it, or set AFFLUX_HOME to another folder and the ports to free ones`,
      );
    }
    throw new OperatingError(
      'home_unusable',
      `cannot write in ${home}: ${(error as Error).message}. Make it writable, or set AFFLUX_HOME`,
      { cause: error },
    );
  }
}

function ownerOf(path: string): ClaimOwner | undefined {
  const pid = findLeftover(path, 'afflux');
  return pid === undefined || pid === process.pid ? undefined : { pid, isOrphan: false };
}
