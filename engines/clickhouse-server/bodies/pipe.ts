import { closeSync, constants, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** The reading end of a named pipe that the engine writes a result into. */
export interface ResultPipe {
  /**
   * The result while the query runs; the engine waits while it is not read. Ends when the query has ended and all has been
   * read.
   * @param finished settles when the query has ended, also when it never opened the pipe.
   */
  read(finished: Promise<unknown>): AsyncIterable<Buffer>;
  /**
   * To be called when nothing more is read. The engine finds a reader until it has opened the pipe, or it would wait for one
   * for ever; its next write then fails.
   * @param finished as in `read`. @returns settles when the engine has let go of the pipe; never rejects.
   */
  close(finished: Promise<unknown>): Promise<void>;
}

/** How often is looked whether the engine has opened a pipe without a reader. */
const LOOK_MS = 50;

/**
 * A query that ends sooner leaves its whole result in the pipe, where it is read at once: watching the pipe costs more than
 * such a query.
 */
const QUICK_MS = 10;
/**
 * How often is looked meanwhile whether the pipe is full, and the query waits: 2,000 rows that are made at once took 13.6 ms
 * and take 6.9.
 */
const LOOK_QUICKLY_MS = 2;
/** What a pipe holds. */
const PIPE_BYTES = 64 * 1024;

/**
 * Opens a named pipe for one result. We hold a writing end too: without it the reader would see the end of the
 * stream before the engine has opened the pipe, or never, when the query fails first.
 */
export function openResultPipe(path: string): ResultPipe {
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  // Another reader, for the time between the end of our reading and the engine's opening.
  const watchFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let reader: Socket | undefined;
  let isClosed = false;
  let isWritten = false;

  function endWriting(): void {
    if (!isWritten) closeSync(writeFd);
    isWritten = true;
  }

  async function close(finished: Promise<unknown>): Promise<void> {
    const ended = endOf(finished);
    if (!isClosed) {
      isClosed = true;
      endWriting();
      if (reader) reader.destroy();
      else closeSync(readFd);
      while (isUnopened(watchFd) && !(await Promise.race([ended, delay(LOOK_MS, false)])));
      closeSync(watchFd);
    }
    await ended;
  }

  async function* read(finished: Promise<unknown>): AsyncGenerator<Buffer> {
    const ended = endOf(finished);
    let hasEnded = false;
    // A full pipe may have had more in it than is read at once, and the engine waits.
    let isFull = false;
    for (let ms = 0; ms < QUICK_MS && !hasEnded && !isFull; ms += LOOK_QUICKLY_MS) {
      hasEnded = await Promise.race([ended, delay(LOOK_QUICKLY_MS, false)]);
      if (isClosed) return;
      if (hasEnded) endWriting();
      const bytes = readNow(readFd);
      if (bytes !== undefined) yield bytes;
      isFull = bytes?.length === PIPE_BYTES;
      if (isClosed || (hasEnded && bytes !== undefined && !isFull)) return;
    }
    reader = new Socket({ fd: readFd, readable: true, writable: false });
    ended.then(endWriting);
    yield* reader as AsyncIterable<Buffer>;
  }

  return { read, close };
}

/** True when it settles, in whichever way. */
function endOf(finished: Promise<unknown>): Promise<true> {
  return finished.then(
    () => true,
    () => true,
  );
}

/** Whether no process has the pipe open for writing: there is an end to read, and nothing before it. */
function isUnopened(fd: number): boolean {
  return readNow(fd)?.length === 0;
}

const scratch = Buffer.alloc(PIPE_BYTES);

/** What is in a pipe; undefined while there is nothing and somebody may still write. */
function readNow(fd: number): Buffer | undefined {
  try {
    return Buffer.from(scratch.subarray(0, readSync(fd, scratch, 0, PIPE_BYTES, null)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}
