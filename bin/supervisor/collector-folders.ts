import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { handOverLeases, LEASE_FILE } from '../../collector/durability/lease-keeper.ts';
import { SPOOL_FOLDER } from '../../collector/durability/shard-stores.ts';
import { RESERVE_FILES } from '../../collector/durability/spool-reserve.ts';
import { claimStateFolder, stateFolderOwner } from '../../collector/durability/state-folder.ts';
import { collectorSlotFolder } from '../../collector/main.ts';
import type { FolderClaim } from '../../core/files/folder-claim.ts';
import type { Logger } from '../../core/service/log.ts';

/** The state folders of a data folder's collectors, one for each slot. */

/** Collectors of other processes that run on a data folder, with their state folders. */
export function runningCollectors(home: string): { pid: number; isOrphan: boolean; folder: string }[] {
  return slotsOf(home).flatMap((slot) => {
    const folder = collectorSlotFolder(home, slot);
    const owner = stateFolderOwner(folder);
    return owner ? [{ ...owner, folder }] : [];
  });
}

/**
 * What slots have left that have no collector any more goes to the first one: spools, shard by shard, which it replays with its
 * own, and node leases, which would hold the watermark for ever. It must not run.
 */
export async function gatherOrphans(options: {
  home: string;
  /** Slots that have a collector, or get one. */
  taken: ReadonlySet<number>;
  log: Logger;
  stopping?: AbortSignal | undefined;
}): Promise<void> {
  const { home, taken, log } = options;
  const slots = slotsOf(home).filter((slot) => !taken.has(slot));
  if (slots.length === 0) return;
  const first = collectorSlotFolder(home, 0);
  const folders = [first, ...slots.map((slot) => collectorSlotFolder(home, slot))];
  await withClaims(folders, options, async () => {
    for (const slot of slots) {
      const orphan = collectorSlotFolder(home, slot);
      for (const spool of readdirSync(orphan).filter((entry) => SPOOL_FOLDER.test(entry))) {
        const segments = moveSegments(join(orphan, spool), join(first, spool));
        if (segments > 0) {
          log.warn({ slot, spool, segments }, 'the spool of a removed worker is moved to the first worker');
        }
      }
      const leases = await handOverLeases({ from: join(orphan, LEASE_FILE), to: join(first, LEASE_FILE) });
      if (leases > 0) {
        log.info({ slot, leases }, 'the leases of a removed worker are given to the first worker');
      }
    }
  });
}

function slotsOf(home: string): number[] {
  try {
    return readdirSync(join(home, 'collector')).map(Number).filter(Number.isInteger);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Several hang for no longer than one does. */
async function withClaims(
  folders: readonly string[],
  options: Parameters<typeof claimStateFolder>[1],
  work: () => Promise<void>,
): Promise<void> {
  const claiming = await Promise.allSettled(folders.map((folder) => claimStateFolder(folder, options)));
  const claims: FolderClaim[] = [];
  const failures: unknown[] = [];
  for (const one of claiming) {
    if (one.status === 'fulfilled') claims.push(one.value);
    else failures.push(one.reason);
  }
  try {
    if (failures.length > 0) throw failures[0];
    await work();
  } finally {
    for (const claim of claims) claim.release();
  }
}

/** Moves the segments of a spool behind those of another, and gives its reserve back. @returns how many segments. */
function moveSegments(from: string, to: string): number {
  mkdirSync(to, { recursive: true });
  const numbers = segmentsOf(to).map((name) => Number.parseInt(name, 10));
  let next = Math.max(0, ...numbers) + 1;
  const segments = segmentsOf(from);
  for (const segment of segments) {
    renameSync(join(from, segment), join(to, `${String(next++).padStart(10, '0')}.spool`));
  }
  for (const reserve of RESERVE_FILES) rmSync(join(from, reserve), { force: true });
  return segments.length;
}

function segmentsOf(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith('.spool'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
