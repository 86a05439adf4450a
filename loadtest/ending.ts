import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { errorText } from '../core/errors.ts';
import { descendantsOf } from './process-usage.ts';

/** What a command has started, and the one way in which that ends: after its work, an error, or a Ctrl-C. */
export class Run {
  /** Aborted by SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly #ends: (() => unknown)[] = [];
  readonly #folders: string[] = [];

  constructor(signal: AbortSignal = new AbortController().signal) {
    this.signal = signal;
  }

  /** A temporary folder, removed when nothing that was started is left. */
  makeFolder(prefix: string): string {
    const folder = mkdtempSync(join(tmpdir(), prefix));
    this.#folders.push(folder);
    return folder;
  }

  /** Starts an engine or a platform, which is ended also when its start is still going on. @throws once interrupted. */
  async start<T extends { stop(): Promise<void> }>(begin: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    const starting = begin(this.signal);
    this.#ends.push(() =>
      starting.then(
        (started) => started.stop(),
        // What did not start has ended by itself.
        () => undefined,
      ),
    );
    return await starting;
  }

  /** Undoes what would outlive this process, such as a mount, after what was started later has ended. */
  atEnd(end: () => unknown): void {
    this.#ends.push(end);
  }

  /** Ends in order, the last first. @throws AggregateError when not everything could be ended; the rest has. */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (let end = this.#ends.pop(); end; end = this.#ends.pop()) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not everything that was started has ended');
  }

  /** Ends in order, and removes the folders. */
  async end(): Promise<void> {
    await this.stop().finally(() => this.removeFolders());
  }

  removeFolders(): void {
    for (const folder of this.#folders.splice(0)) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

/** Does `work`, and ends what it has started. */
export async function withRun<T>(work: (run: Run) => Promise<T>): Promise<T> {
  const run = new Run();
  try {
    return await work(run);
  } finally {
    await run.end();
  }
}

/**
 * The whole of a benchmark, load or failure run: does its work, and ends this process when everything that it has started
 * is gone. Code 1 for an error or a signal; further signals do not hurry it. Servers under measurement, generators and
 * installers are killed: what they hold belongs to the run.
 */
export async function carryOut(work: (run: Run) => Promise<void>): Promise<never> {
  const interruption = new AbortController();
  const run = new Run(interruption.signal);
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        interruption.abort();
        reject(new Error(`${name}: ending what was started`));
      });
    }
  });
  const fail = (error: unknown): void => {
    process.stderr.write(interruption.signal.aborted ? `${errorText(error)}\n` : `${inspect(error)}\n`);
    process.exitCode = 1;
  };
  await Promise.race([work(run), interrupted]).catch(fail);
  await run.stop().catch(fail);
  // From here on nothing is awaited, so that the work, which goes on after a signal, starts nothing more.
  for (const pid of descendantsOf(process.pid)) kill(pid);
  run.removeFolders();
  process.exit();
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}
