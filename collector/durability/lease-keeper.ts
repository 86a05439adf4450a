import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Lease,
  listLeases,
  newLease,
  openLease,
  readLease,
  readStoredLease,
  replaceLease,
  type StoredLease,
  shardOfLease,
} from '../../core/clicks/lease.ts';
import { untilLed } from '../../core/clicks/nats-errors.ts';
import { firstShards } from '../../core/clicks/shards.ts';
import type { Bucket } from '../../core/clicks/stream.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { type Clock, createMonotonicClock } from './clock.ts';
import { collectorRunning, ownName, type ProcessName, stillRuns } from './state-folder.ts';

/** A node lease in use: the committer counts `nextSeq` up; a new lease replaces it before the count wraps. */
export interface NodeLease {
  readonly node: number;
  readonly startedAtMs: number;
  nextSeq: number;
}

export interface LeaseKeeper {
  readonly clock: Clock;
  /** The lease that new batches of a shard are written under. */
  current(shard: number): NodeLease;
  /** Starts to report, a few times a second, the oldest click that this collector still holds. */
  startHeartbeat(oldestHeldMs: (node: number) => number | undefined): void;
  /** Closes every lease that holds no click any more. `complete`: by shard, whether every accepted click is durable. */
  close(options: { complete: readonly boolean[] }): Promise<void>;
}

/** How often held clicks are reported: the watermark, and so the freshness of every figure, lags by this much. */
const HEARTBEAT_MS = 250;
/** A lease is replaced this far before its 32-bit count would wrap: hours ahead at any possible rate. */
const ROTATE_AT_SEQ = 2 ** 32 - 2 ** 28;
/** A lease that was not written for this long has no living collector. */
const IN_USE_MS = 5_000;

/** The name of the state file below a state folder. */
export const LEASE_FILE = 'lease.json';

/** The process is the one that has the folder, or had it last. */
interface StateFile extends ProcessName {
  /** Leases that can be open: that of each shard, and earlier ones whose last state is not written yet. */
  readonly nodes: readonly number[];
}

/** As releases wrote it that had one lease a process. */
interface EarlierStateFile {
  readonly node: number;
  readonly pid: number;
}

/** A lease this process reports on: its own, or an earlier one whose clicks still wait in the spool. */
interface KeptLease extends NodeLease {
  readonly shard: number;
  /** That this process wrote or read last. */
  revision: number;
  /** What it becomes when nothing of it is held any more. */
  readonly endsAs: 'closed' | 'crashed';
}

/**
 * Opens a node lease for each shard and keeps their records, and those of earlier leases until their spooled clicks are in the stream.
 * `stateFile` remembers the lease across a crash.
 */
export async function openLeaseKeeper(options: {
  bucket: Bucket;
  stateFile: string;
  /** New clicks go to the shards `0 … shards - 1`. */
  shards: number;
  /** Nodes with clicks in the spool, of this or an earlier process. */
  spooledNodes: readonly number[];
  log: Logger;
  rotateAtSeq?: number;
}): Promise<LeaseKeeper> {
  const { bucket, stateFile, shards, spooledNodes, log, rotateAtSeq = ROTATE_AT_SEQ } = options;
  const retiring = await adoptEarlierLeases({ bucket, stateFile, spooledNodes, log });
  const completeToMs = Math.max(
    0,
    ...(await untilLed(() => listLeases(bucket))).filter(isOpen).map((lease) => lease.heldFromMs),
  );
  const clock = createMonotonicClock(completeToMs);
  /** By shard. */
  const current: KeptLease[] = [];
  for (const shard of firstShards(shards)) await open(shard);
  let oldestHeldMs: (node: number) => number | undefined = () => 0;
  let timer: NodeJS.Timeout | undefined;
  let renewing: Promise<void> | undefined;

  async function open(shard: number): Promise<void> {
    const opened = await openLease(bucket, clock.now(), shard, (taken) => remember([taken]));
    const { node, startedAtMs } = opened.lease;
    log.info({ node, shard }, 'node lease opened');
    current[shard] = { node, shard, startedAtMs, revision: opened.revision, nextSeq: 0, endsAs: 'closed' };
  }

  /** What a later process must take over if this one dies now. `opened`: beside the leases that it keeps. */
  async function remember(opened: readonly number[] = []): Promise<void> {
    const nodes = new Set([...current, ...retiring].map((lease) => lease.node));
    await rememberLeases(stateFile, { nodes: [...nodes, ...opened], ...ownName() });
  }

  /** Writes the final state of a lease that gets no more clicks, once none of its clicks is held. */
  async function retire(lease: KeptLease): Promise<boolean> {
    const held = oldestHeldMs(lease.node);
    await write(
      bucket,
      lease,
      held === undefined ? lease.endsAs : 'open',
      held ?? clock.now(),
      lease.endsAs === 'closed',
    );
    return held === undefined;
  }

  async function renew(): Promise<void> {
    for (const lease of current) {
      if (lease.nextSeq < rotateAtSeq) continue;
      await open(lease.shard);
      retiring.add(lease);
    }
    let retired = false;
    for (const lease of retiring) {
      if (!(await retire(lease))) continue;
      retiring.delete(lease);
      retired = true;
    }
    // A number that is leased again belongs to another collector.
    if (retired) await remember();
    // Read before the write: clicks that arrive meanwhile are younger than the clock's value.
    await Promise.all(
      current.map((lease) => write(bucket, lease, 'open', oldestHeldMs(lease.node) ?? clock.now(), false)),
    );
  }

  function startHeartbeat(oldest: (node: number) => number | undefined): void {
    oldestHeldMs = oldest;
    timer = setInterval(() => {
      renewing ??= renew()
        .catch((error) => log.warn({ reason: errorText(error) }, 'node lease renewal failed; retrying'))
        .finally(() => {
          renewing = undefined;
        });
    }, HEARTBEAT_MS);
  }

  async function close({ complete }: { complete: readonly boolean[] }): Promise<void> {
    clearInterval(timer);
    await renewing;
    try {
      for (const lease of retiring) await retire(lease);
      for (const lease of current) {
        await retire(complete[lease.shard] ? lease : { ...lease, endsAs: 'crashed' });
      }
    } catch (error) {
      // Nothing is lost: the next start in this state folder takes the lease over.
      log.warn({ reason: errorText(error) }, 'node lease left open: NATS unavailable');
    }
  }

  return { clock, current: (shard) => current[shard] as KeptLease, startHeartbeat, close };
}

async function write(
  bucket: Bucket,
  lease: KeptLease,
  state: Lease['state'],
  heldFromMs: number,
  ended: boolean,
): Promise<void> {
  const { node, shard, startedAtMs, nextSeq, revision } = lease;
  const record = { node, shard, startedAtMs, state, heldFromMs, nextSeq, ended, updatedAtMs: Date.now() };
  lease.revision = await replaceLease(bucket, record, revision);
}

function isOpen(lease: Lease): boolean {
  return lease.state === 'open';
}

/**
 * Takes over the leases that an earlier process of this state folder left open. Every click that a killed collector
 * redirected is in the stream or in the spool, so its lease holds the watermark back for the spool's clicks only.
 */
async function adoptEarlierLeases(options: {
  bucket: Bucket;
  stateFile: string;
  spooledNodes: readonly number[];
  log: Logger;
}): Promise<Set<KeptLease>> {
  const { bucket, stateFile, spooledNodes, log } = options;
  const previous = await readStateFile(stateFile);
  const nodes = new Set([...(previous?.nodes ?? []), ...spooledNodes]);
  const adopted = new Set<KeptLease>();
  for (const node of nodes) {
    const stored = await untilLed(() => readStoredLease(bucket, node));
    if (!stored || !isOpen(stored.lease)) {
      if (previous?.nodes.includes(node)) await untilLed(() => keepEnded(bucket, node, stored));
      continue;
    }
    const { lease, revision } = stored;
    log.warn({ node, ended: lease.ended }, 'earlier node lease left open; taking it over');
    adopted.add({
      node,
      shard: shardOfLease(lease),
      startedAtMs: lease.startedAtMs,
      revision,
      nextSeq: lease.nextSeq,
      endsAs: lease.ended ? 'closed' : 'crashed',
    });
  }
  return adopted;
}

/**
 * Writes a lease that was noted and is not open, so that the write which opens it is refused where a killed process has sent
 * it and it is still to arrive. Where that is the first lease of the number, it is one without clicks.
 */
async function keepEnded(bucket: Bucket, node: number, stored: StoredLease | undefined): Promise<void> {
  const ended = stored?.lease ?? { ...newLease(node, Date.now()), state: 'crashed' as const };
  await replaceLease(bucket, ended, stored?.revision ?? 0);
}

/**
 * Refuses a state folder whose leases another process keeps renewing: one of another machine or container, or of a release
 * that did not claim its folder. To be awaited before anything in the folder is touched.
 * @throws OperatingError `collector_running`, `state_unreadable`.
 */
export async function refuseKeptLeases(bucket: Bucket, stateFile: string): Promise<void> {
  const previous = await readStateFile(stateFile);
  // The claim says what it can: where the name is of this place, the process has ended.
  if (!previous || (previous.place !== undefined && stillRuns(previous) === false)) return;
  const renewals = async () =>
    await Promise.all(
      previous.nodes.map(async (node) => {
        const lease = await untilLed(() => readLease(bucket, node));
        return lease && isOpen(lease) ? lease.updatedAtMs : 0;
      }),
    );
  const before = await renewals();
  if (before.every((updatedAtMs) => Date.now() - updatedAtMs > IN_USE_MS)) return;
  await delay(4 * HEARTBEAT_MS);
  const after = await renewals();
  if (after.some((updatedAtMs, i) => updatedAtMs > (before[i] ?? 0))) {
    throw collectorRunning(previous.pid, dirname(stateFile));
  }
}

/**
 * Gives the leases in the state file of a collector that is not started again to the one that starts next with the other
 * file. @returns how many.
 */
export async function handOverLeases({ from, to }: { from: string; to: string }): Promise<number> {
  const left = await readStateFile(from);
  if (!left) return 0;
  const known = await readStateFile(to);
  const nodes = new Set([...(known?.nodes ?? []), ...left.nodes]);
  await rememberLeases(to, { ...(known ?? left), nodes: [...nodes] });
  await rm(from);
  return left.nodes.length;
}

async function readStateFile(file: string): Promise<StateFile | undefined> {
  try {
    const state = JSON.parse(await readFile(file, 'utf8')) as StateFile | EarlierStateFile;
    return 'nodes' in state ? state : { nodes: [state.node], pid: state.pid };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OperatingError(
      'state_unreadable',
      `cannot read ${file}: ${errorText(error)}. Repair it, or remove it if no collector holds clicks`,
      { cause: error },
    );
  }
}

async function rememberLeases(file: string, state: StateFile): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify(state), { flush: true });
  await rename(`${file}.new`, file);
}
