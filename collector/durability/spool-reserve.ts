import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';

/** Zeros that are on the disk, and nothing else. */
const RESERVE = 'reserve';
/** On its way there: new, or a replayed segment whose records are still in it. */
const UNFINISHED = 'reserve.new';
const ZEROS = Buffer.alloc(1024 * 1024);
export const RESERVE_FILES = [RESERVE, UNFINISHED];
/** A reserve is made where that many times its size is free: it must not be what fills the disk. */
const LEAST_FREE = 4;
const RETRY_MS = 10_000;

/**
 * A segment's room that a spool has taken ahead, as a file of zeros: what is written over them needs no more room, so that a
 * full disk goes on taking clicks. That holds where a file system writes in place (ext4, XFS, tmpfs), not where it writes
 * elsewhere first (Btrfs, ZFS).
 */
export class SpoolReserve {
  readonly #folder: string;
  readonly #bytes: number;
  readonly #log: Logger;
  #isReady: boolean;
  #retryAtMs = 0;

  private constructor(options: { folder: string; bytes: number; log: Logger; isReady: boolean }) {
    this.#folder = options.folder;
    this.#bytes = options.bytes;
    this.#log = options.log;
    this.#isReady = options.isReady;
  }

  /** Finds what an earlier process left in `folder`; makes nothing. */
  static async find(options: { folder: string; bytes: number; log: Logger }): Promise<SpoolReserve> {
    const size = await sizeOf(join(options.folder, RESERVE));
    return new SpoolReserve({ ...options, isReady: size === options.bytes });
  }

  /** Bytes that a full disk would still take. */
  get bytes(): number {
    return this.#isReady ? this.#bytes : 0;
  }

  /** Makes the reserve where there is none and the disk has room. */
  async keep(): Promise<void> {
    if (this.#isReady || performance.now() < this.#retryAtMs) return;
    try {
      if (await this.#hasRoom()) await this.#make();
    } catch (error) {
      this.#retryAtMs = performance.now() + RETRY_MS;
      await rm(join(this.#folder, UNFINISHED), { force: true }).catch(() => undefined);
      this.#log.warn(
        { reason: errorText(error), folder: this.#folder },
        'no reserve for the spool; retrying',
      );
    }
  }

  /** The reserve becomes the empty segment `path`. False when there is none. */
  async become(path: string): Promise<boolean> {
    if (!this.#isReady) return false;
    const reserve = join(this.#folder, RESERVE);
    try {
      await rename(reserve, path);
      return true;
    } finally {
      this.#isReady = (await sizeOf(reserve)) === this.#bytes;
    }
  }

  /** Takes a segment out of the spool that is not needed any more: the largest becomes the reserve where there is none. */
  async recycle(path: string): Promise<void> {
    const unfinished = join(this.#folder, UNFINISHED);
    if (this.#isReady || (await sizeOf(path)) <= (await sizeOf(unfinished))) await rm(path);
    else await rename(path, unfinished);
  }

  async #hasRoom(): Promise<boolean> {
    const missing = this.#bytes - (await sizeOf(join(this.#folder, UNFINISHED)));
    if (missing <= 0) return true;
    const { bavail, bsize } = await statfs(this.#folder);
    return bavail * bsize >= LEAST_FREE * this.#bytes;
  }

  async #make(): Promise<void> {
    const path = join(this.#folder, UNFINISHED);
    const file = await open(path, constants.O_RDWR | constants.O_CREAT);
    try {
      await file.truncate(Math.min((await file.stat()).size, this.#bytes));
      await writeZeros(file, this.#bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path, join(this.#folder, RESERVE));
    this.#isReady = true;
  }
}

async function writeZeros(file: FileHandle, bytes: number): Promise<void> {
  for (let at = 0; at < bytes; ) {
    const { bytesWritten } = await file.write(ZEROS, 0, Math.min(ZEROS.length, bytes - at), at);
    at += bytesWritten;
  }
}

/** 0 for a file that is not there. */
async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
