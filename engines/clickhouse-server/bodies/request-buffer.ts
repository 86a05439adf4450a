import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { QueryError } from '../errors.ts';

/**
 * The request buffer: rows on their way in, results on their way out. The engine reads an INSERT's rows from a file, and
 * only once the whole body has arrived: a client that vanishes midway inserts nothing. Where there is a RAM-backed
 * folder the file never touches a disk.
 */

const RAM_FOLDER = '/dev/shm';
/** Two or three of the loader's largest blocks; with every slot in use, 2 GiB of RAM at the most. */
const MAX_RAM_BYTES = 128 * 1024 ** 2;
/** A mistake rather than an insert; ClickHouse itself has no limit. */
const MAX_BODY_BYTES = 16 * 1024 ** 3;
const TOO_LARGE = 307;

/** The rows of one insert in a file that the engine can read. */
export interface RowsFile {
  readonly path: string;
  readonly bytes: number;
  remove(): Promise<void>;
}

export interface RequestBuffer {
  /** The named pipe that the engine writes the result of the query in this slot into. */
  pipe(slot: number): string;
  /** Writes the rows to a file. @throws the stream's error when it ends too early; the file is gone then. */
  save(rows: AsyncIterable<Buffer>): Promise<RowsFile>;
  /** A path on disk for a result that is completed before it is sent. */
  newResultFile(): string;
  remove(): void;
}

/**
 * Opens the request buffer of a data folder, empty: files of an earlier process are removed.
 * @param options.ramFolder where a RAM-backed folder is made, if it exists.
 */
export function openRequestBuffer(options: {
  dataDir: string;
  pipeCount: number;
  ramFolder?: string;
}): RequestBuffer {
  const diskFolder = join(options.dataDir, 'requests');
  rmSync(diskFolder, { recursive: true, force: true });
  mkdirSync(diskFolder, { mode: 0o700 });
  const ramFolder = makeRamFolder(options.ramFolder ?? RAM_FOLDER, options.dataDir);
  const folders = [diskFolder, ...(ramFolder ? [ramFolder] : [])];
  function removeFolders(): void {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
  const pipe = (slot: number): string => join(ramFolder ?? diskFolder, `pipe-${slot}`);
  // Node cannot make named pipes itself.
  execFileSync('mkfifo', [
    '-m',
    '600',
    ...Array.from({ length: options.pipeCount }, (_, slot) => pipe(slot)),
  ]);
  let count = 0;

  async function save(rows: AsyncIterable<Buffer>): Promise<RowsFile> {
    const name = `rows-${count++}.bin`;
    const paths = folders.map((folder) => join(folder, name));
    const remove = async (): Promise<void> => {
      await Promise.all(paths.map((path) => rm(path, { force: true })));
    };
    try {
      const disk = join(diskFolder, name);
      const ram = ramFolder && join(ramFolder, name);
      const saved = await writeRows({ rows, disk, ram });
      return { ...saved, remove };
    } catch (error) {
      await remove();
      throw error;
    }
  }

  return {
    pipe,
    save,
    newResultFile: () => join(diskFolder, `result-${count++}.bin`),
    remove: removeFolders,
  };
}

/** To RAM as far as there is room in it: every account can fill it. */
async function writeRows(options: {
  rows: AsyncIterable<Buffer>;
  disk: string;
  ram: string | undefined;
}): Promise<{ path: string; bytes: number }> {
  const { rows, disk, ram } = options;
  let path = ram ?? disk;
  let bytes = 0;
  let file: FileHandle | undefined;

  async function append(chunk: Buffer): Promise<void> {
    file ??= await open(path, 'w', 0o600);
    await file.appendFile(chunk);
  }

  async function moveToDisk(): Promise<void> {
    await file?.close();
    const left = path;
    const onDisk = await open(disk, 'w', 0o600);
    file = onDisk;
    path = disk;
    // Of the chunk that had no room a part may be there too.
    if (bytes > 0) {
      const parts: AsyncIterable<Buffer> = createReadStream(left, { end: bytes - 1 });
      for await (const part of parts) await onDisk.appendFile(part);
    }
    await rm(left, { force: true });
  }

  async function write(chunk: Buffer): Promise<void> {
    if (path === ram && bytes + chunk.length > MAX_RAM_BYTES) await moveToDisk();
    try {
      await append(chunk);
    } catch (error) {
      if (path !== ram || !isFull(error)) throw error;
      await moveToDisk();
      await append(chunk);
    }
    bytes += chunk.length;
  }

  try {
    // The engine is given a file also where there are no rows.
    await write(Buffer.alloc(0));
    for await (const chunk of rows) {
      if (bytes + chunk.length > MAX_BODY_BYTES) {
        throw new QueryError(TOO_LARGE, `Rows of more than ${MAX_BODY_BYTES} bytes`, 'TOO_MANY_BYTES');
      }
      await write(chunk);
    }
  } finally {
    await file?.close();
  }
  return { path, bytes };
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * Every account can write there: a new name, that no other account has taken before, and only folders of this account
 * are removed. Undefined where there is no such folder, or no room in it.
 */
function makeRamFolder(parent: string, dataDir: string): string | undefined {
  if (!isFolder(parent)) return undefined;
  const id = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const prefix = `afflux-${id}-`;
  for (const name of readdirSync(parent)) {
    if (name.startsWith(prefix)) removeOwnFolder(join(parent, name));
  }
  try {
    return mkdtempSync(join(parent, prefix));
  } catch (error) {
    if (isFull(error)) return undefined;
    throw error;
  }
}

/** What is left there takes room, and stands in the way of nothing. */
function removeOwnFolder(path: string): void {
  try {
    // Not what a link leads to, which may be ours while the link is not.
    const found = lstatSync(path);
    if (found.isDirectory() && found.uid === process.getuid?.()) rmSync(path, { recursive: true });
  } catch {
    // Another account has put something into it, or has taken it away.
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
