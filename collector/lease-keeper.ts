import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { KV } from '@nats-io/kv';
import { errorText, OperatingError } from '../core/errors.ts';
import { type Lease, listLeases, openLease, readLease, writeLease } from '../core/lease.ts';
import type { Logger } from '../core/log.ts';
import { type Clock, createMonotonicClock } from './clock.ts';

/** A node lease in use: the committer counts `nextSeq` up and asks for a successor before it wraps. */
export interface NodeLease {
  readonly node: number;
  readonly startedAtMs: number;
  nextSeq: number;
}

export interface LeaseKeeper {
  readonly clock: Clock;
  /** The lease new batches are written under. */
  current(): NodeLease;
  /** Starts writing, a few times a second, how far back this collector still holds clicks. */
  startHeartbeat(oldestHeldMs: (lease: NodeLease) => number | undefined): void;
  /** The last word: closes every lease that holds nothing any more. */
  close(): Promise<void>;
}

/** How often held clicks are reported: the watermark, and so the freshness of every figure, is behind by this much. */
const HEARTBEAT_MS = 250;
/** A lease is replaced this far before its 32-bit count would wrap: hours ahead at any possible rate. */
const ROTATE_AT_SEQ = 2 ** 32 - 2 ** 28;
/** A lease of ours written this recently by a living process belongs to a collector that still runs. */
const IN_USE_MS = 5_000;

interface StateFile {
  readonly node: number;
  readonly pid: number;
}

/**
 * Opens a node lease and keeps its record. `stateFile` remembers the lease across a crash, so that the next start can
 * say that nothing of it is held any more.
 */
export async function openLeaseKeeper(options: {
  bucket: KV;
  stateFile: string;
  log: Logger;
  rotateAtSeq?: number;
}): Promise<LeaseKeeper> {
  const { bucket, stateFile, log, rotateAtSeq = ROTATE_AT_SEQ } = options;
  await retirePrevious(bucket, stateFile, log);
  const floor = Math.max(0, ...(await listLeases(bucket)).filter(isOpen).map((lease) => lease.heldFromMs));
  const clock = createMonotonicClock(floor);
  let current = await open();
  const retiring = new Set<NodeLease>();
  let oldestHeldMs: (lease: NodeLease) => number | undefined = () => undefined;
  let timer: NodeJS.Timeout | undefined;
  let beating: Promise<void> | undefined;

  async function open(): Promise<NodeLease> {
    const lease = await openLease(bucket, clock.now());
    await rememberLease(stateFile, { node: lease.node, pid: process.pid });
    log.info({ node: lease.node }, 'node lease opened');
    return { node: lease.node, startedAtMs: lease.startedAtMs, nextSeq: 0 };
  }

  async function write(lease: NodeLease, state: Lease['state'], heldFromMs: number): Promise<void> {
    await writeLease(bucket, {
      node: lease.node,
      startedAtMs: lease.startedAtMs,
      state,
      heldFromMs,
      nextSeq: lease.nextSeq,
      updatedAtMs: Date.now(),
    });
  }

  async function beat(): Promise<void> {
    if (current.nextSeq >= rotateAtSeq) {
      retiring.add(current);
      current = await open();
    }
    for (const lease of retiring) {
      const held = oldestHeldMs(lease);
      await write(lease, held === undefined ? 'closed' : 'open', held ?? clock.now());
      if (held === undefined) retiring.delete(lease);
    }
    // Read before the write: clicks that arrive meanwhile are younger than the clock's value.
    await write(current, 'open', oldestHeldMs(current) ?? clock.now());
  }

  function startHeartbeat(oldest: (lease: NodeLease) => number | undefined): void {
    oldestHeldMs = oldest;
    timer = setInterval(() => {
      beating ??= beat()
        .catch((error) => log.warn({ reason: errorText(error) }, 'the node lease could not be renewed'))
        .finally(() => {
          beating = undefined;
        });
    }, HEARTBEAT_MS);
  }

  async function close(): Promise<void> {
    clearInterval(timer);
    await beating;
    for (const lease of [...retiring, current]) {
      const held = oldestHeldMs(lease);
      await write(lease, held === undefined ? 'closed' : 'open', held ?? clock.now());
    }
  }

  return { clock, current: () => current, startHeartbeat, close };
}

function isOpen(lease: Lease): boolean {
  return lease.state === 'open';
}

/**
 * A collector that was killed left its lease open. What it had redirected is in the stream; what it had not is lost to
 * nobody. So the lease holds nothing, and its `nextSeq` is only a lower bound.
 */
async function retirePrevious(bucket: KV, stateFile: string, log: Logger): Promise<void> {
  const previous = await readStateFile(stateFile);
  const lease = previous && (await readLease(bucket, previous.node));
  if (!previous || !lease || !isOpen(lease)) return;
  if (isAlive(previous.pid) && Date.now() - lease.updatedAtMs < IN_USE_MS) {
    throw new OperatingError(
      'collector_running',
      `a collector with process id ${previous.pid} uses ${stateFile}; stop it, or set another AFFLUX_HOME`,
    );
  }
  await writeLease(bucket, { ...lease, state: 'crashed', updatedAtMs: Date.now() });
  log.warn({ node: lease.node }, 'the previous collector ended without closing its lease; closed it');
}

async function readStateFile(file: string): Promise<StateFile | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as StateFile;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OperatingError(
      'state_unreadable',
      `cannot read ${file}: ${errorText(error)}. Repair it, or remove it if no collector holds clicks`,
      { cause: error },
    );
  }
}

async function rememberLease(file: string, state: StateFile): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify(state), { flush: true });
  await rename(`${file}.new`, file);
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
