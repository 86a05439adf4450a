import { existsSync, linkSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A folder that this process has for itself. */
export interface FolderClaim {
  /** Whether an earlier process ended without giving the folder back: killed, or the machine lost power. */
  readonly wasCrash: boolean;
  release(): void;
}

/** Another process that has a folder, and still runs. */
export interface ClaimOwner {
  readonly pid: number;
  /** The process that started it and would end it has ended: it is to end by itself. */
  readonly isOrphan: boolean;
}

/** Another process has the folder. */
export class FolderClaimed extends Error {
  readonly owner: ClaimOwner;

  constructor(owner: ClaimOwner) {
    super(`the process ${owner.pid} has the folder`);
    this.owner = owner;
  }
}

/** A file that a process has, or had, the folder by: `NAME.pid`, and after a crash `NAME.1.pid` and so on. */
interface ClaimFile {
  readonly path: string;
  readonly generation: number;
  readonly owner: ClaimOwner | undefined;
}

interface Claims {
  readonly folder: string;
  /** Letters; several claims of a folder can have names of their own. */
  readonly name: string;
  /** The process that wrote a file, if it is another one and still runs. */
  readonly ownerOf: (path: string) => ClaimOwner | undefined;
}

interface ClaimOptions extends Claims {
  /** What names this process to `ownerOf`. */
  readonly content: string;
}

/**
 * Takes a folder for this process. A claim left behind by a crash is never deleted to make room, because another starter
 * may have replaced it by then: the next generation is created, which one process only can do, and the older files go
 * afterwards.
 * @throws FolderClaimed, and what the file system says of a folder that cannot be read or written to.
 */
export function claimFolder(options: ClaimOptions): FolderClaim {
  const { folder, name } = options;
  let wasCrash = false;
  for (;;) {
    const found = claimFiles(options);
    refuseOther(found);
    wasCrash ||= found.length > 0;
    const generation = Math.max(-1, ...found.map((file) => file.generation)) + 1;
    const path = join(folder, generation === 0 ? `${name}.pid` : `${name}.${generation}.pid`);
    if (!create(path, options)) continue;
    try {
      // A starter that saw the folder before ours was created may hold another generation.
      refuseOther(claimFiles(options));
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    for (const stale of found) rmSync(stale.path, { force: true });
    return { wasCrash, release: () => rmSync(path, { force: true }) };
  }
}

/** The other process that has a folder at this moment. */
export function claimOwner(claims: Claims): ClaimOwner | undefined {
  return ownerAmong(claimFiles(claims));
}

function ownerAmong(files: readonly ClaimFile[]): ClaimOwner | undefined {
  return files.find(({ owner }) => owner !== undefined)?.owner;
}

function refuseOther(files: readonly ClaimFile[]): void {
  const owner = ownerAmong(files);
  if (owner !== undefined) throw new FolderClaimed(owner);
}

function claimFiles({ folder, name, ownerOf }: Claims): ClaimFile[] {
  const form = new RegExp(`^${name}(?:\\.([1-9]\\d*))?\\.pid$`);
  return readdirSync(folder).flatMap((file): ClaimFile[] => {
    const match = form.exec(file);
    if (!match) return [];
    const path = join(folder, file);
    const owner = ownerOf(path);
    // Released since the folder was read.
    if (owner === undefined && !existsSync(path)) return [];
    return [{ path, generation: Number(match[1] ?? 0), owner }];
  });
}

/** Whether the file was created by this process; its content is whole as soon as it is visible. */
function create(path: string, { folder, name, content }: ClaimOptions): boolean {
  const draft = join(folder, `.${name}.pid.${process.pid}`);
  try {
    writeFileSync(draft, content);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
