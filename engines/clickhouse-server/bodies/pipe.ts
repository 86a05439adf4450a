import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';

/** The reading end of a named pipe that the engine writes a result into. */
export interface ResultPipe {
  /** The engine's output; the engine waits while it is not read. Ends after `endWriting`, when all has been read. */
  readonly reader: Socket;
  /** To be called when the engine has finished, also when it never opened the pipe. */
  endWriting(): void;
}

/**
 * Opens a named pipe for one result. We hold a writing end too: without it the reader would see the end of the
 * stream before the engine has opened the pipe, or never, when the query fails first.
 */
export function openResultPipe(path: string): ResultPipe {
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  return {
    reader: new Socket({ fd: readFd, readable: true, writable: false }),
    endWriting: () => closeSync(writeFd),
  };
}
