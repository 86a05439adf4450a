import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { copyFile, type FileHandle, open, rm } from 'node:fs/promises';
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

/** Opens the request buffer of a data folder, empty: files of an earlier process are removed. */
export function openRequestBuffer(options: { dataDir: string; pipeCount: number }): RequestBuffer {
  const diskFolder = join(options.dataDir, 'requests');
  rmSync(diskFolder, { recursive: true, force: true });
  mkdirSync(diskFolder, { mode: 0o700 });
  const ramFolder = isFolder(RAM_FOLDER) ? makeRamFolder(options.dataDir) : undefined;
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

async function writeRows(options: {
  rows: AsyncIterable<Buffer>;
  disk: string;
  ram: string | undefined;
}): Promise<{ path: string; bytes: number }> {
  const { rows, disk, ram } = options;
  let path = ram ?? disk;
  let bytes = 0;
  let file: FileHandle = await open(path, 'w', 0o600);
  try {
    for await (const chunk of rows) {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) {
        throw new QueryError(TOO_LARGE, `Rows of more than ${MAX_BODY_BYTES} bytes`, 'TOO_MANY_BYTES');
      }
      if (path === ram && bytes > MAX_RAM_BYTES) {
        await file.close();
        await copyFile(path, disk);
        path = disk;
        file = await open(path, 'a', 0o600);
      }
      await file.appendFile(chunk);
    }
  } finally {
    await file.close();
  }
  return { path, bytes };
}

/** Every account can write there: a new name, that no other account has taken before, and only folders of this account are removed. */
function makeRamFolder(dataDir: string): string {
  const id = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const prefix = `afflux-${id}-`;
  for (const name of readdirSync(RAM_FOLDER)) {
    const path = join(RAM_FOLDER, name);
    const owner = name.startsWith(prefix) ? statSync(path, { throwIfNoEntry: false })?.uid : undefined;
    if (owner === process.getuid?.()) rmSync(path, { recursive: true, force: true });
  }
  return mkdtempSync(join(RAM_FOLDER, prefix));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
