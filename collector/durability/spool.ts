import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { SpoolReserve } from './spool-reserve.ts';
import { type Batch, encodeRecordHeader, RECORD_HEADER_BYTES, readSegment } from './spool-segment.ts';

export interface SpoolStats {
  bytes: number;
  segments: number;
  appendedBatches: number;
  appendedClicks: number;
  replayedBatches: number;
  /** Bytes outside of whole records: a write cut short by a crash, or a damaged disk. */
  damagedBytes: number;
  refusedFull: number;
  /** Room that is taken already and holds no clicks, beyond the limit. */
  reserveBytes: number;
}

/** The room on a collector's disk that the spools of all its shards share, bytes. */
export interface SpoolBudget {
  readonly maxBytes: number;
  usedBytes: number;
}

/** Whether the limit is near: the collector should not be sent more. */
export function isNearlyFull({ maxBytes, usedBytes }: SpoolBudget): boolean {
  return usedBytes >= NEARLY_FULL * maxBytes;
}

/**
 * A segment is replayed and deleted as a whole: small enough to give space back soon. As the reserve it is some 100,000
 * clicks: a quarter of an hour of ten million a day.
 */
const SEGMENT_BYTES = 16 * 1024 * 1024;
/** Share of the limit from which the collector is not ready. */
const NEARLY_FULL = 0.9;
export const SEGMENT_NAME = /^(\d{10})\.spool$/;

interface Segment {
  readonly path: string;
  readonly number: number;
  bytes: number;
  /** Bytes of whose records the stream has every one. */
  replayed: number;
  /** Oldest click by node. */
  readonly oldest: Map<number, number>;
}

/** Opens the spool in `folder`, cutting off what a crash left half-written. */
export async function openSpool(options: {
  folder: string;
  budget: SpoolBudget;
  log: Logger;
}): Promise<Spool> {
  const { folder, budget, log } = options;
  await mkdir(folder, { recursive: true });
  const reserve = await SpoolReserve.find({ folder, bytes: SEGMENT_BYTES, log });
  const stats: SpoolStats = {
    bytes: 0,
    segments: 0,
    appendedBatches: 0,
    appendedClicks: 0,
    replayedBatches: 0,
    damagedBytes: 0,
    refusedFull: 0,
    get reserveBytes() {
      return reserve.bytes;
    },
  };
  const segments = await recoverSegments(folder, stats, log);
  budget.usedBytes += stats.bytes;
  return new Spool({ folder, budget, stats, segments, reserve, log });
}

/**
 * The spool keeps batches on the local disk while the stream does not take them: append-only segments, one fdatasync
 * a batch, then its redirects leave. When the stream is back the segments are published again under the same message
 * ids, oldest first, and each is deleted when all of it is acknowledged. Where the disk takes no more, the segment that
 * was written ahead does.
 */
export class Spool {
  readonly stats: SpoolStats;
  readonly #folder: string;
  readonly #budget: SpoolBudget;
  readonly #reserve: SpoolReserve;
  readonly #log: Logger;
  /** Oldest first. */
  readonly #segments: Segment[];
  #nextNumber: number;
  /** The segment appended to, and its file; undefined when the next append starts a new one. */
  #current: { segment: Segment; file: FileHandle } | undefined;
  #appending: Promise<unknown> = Promise.resolve();

  constructor(options: {
    folder: string;
    budget: SpoolBudget;
    stats: SpoolStats;
    segments: Segment[];
    reserve: SpoolReserve;
    log: Logger;
  }) {
    this.stats = options.stats;
    this.#folder = options.folder;
    this.#budget = options.budget;
    this.#reserve = options.reserve;
    this.#log = options.log;
    this.#segments = options.segments;
    this.#nextNumber = (options.segments.at(-1)?.number ?? 0) + 1;
  }

  /** Resolves when the batch is on the disk. @throws OperatingError `spool_full`, `spool_failed`. */
  append(batch: Batch): Promise<void> {
    const appended = this.#appending.then(() => this.#appendNow(batch));
    this.#appending = appended.catch(() => undefined);
    return appended;
  }

  async #appendNow(batch: Batch): Promise<void> {
    const { stats } = this;
    const budget = this.#budget;
    const bytes = RECORD_HEADER_BYTES + batch.payload.length;
    if (budget.usedBytes + bytes > budget.maxBytes) {
      stats.refusedFull++;
      throw new OperatingError(
        'spool_full',
        `the spool in ${this.#folder} has reached its limit of ${budget.maxBytes} bytes`,
      );
    }
    // Before the write: other shards append at the same time.
    budget.usedBytes += bytes;
    try {
      await this.#write(batch, bytes).catch((error) => this.#writeToReserve(batch, bytes, error));
      stats.bytes += bytes;
      stats.appendedBatches++;
      stats.appendedClicks += batch.rows;
    } catch (error) {
      budget.usedBytes -= bytes;
      throw new OperatingError(
        'spool_failed',
        `cannot write to the spool in ${this.#folder}: ${errorText(error)}`,
        { cause: error },
      );
    }
  }

  async #write(batch: Batch, bytes: number): Promise<void> {
    try {
      const { segment, file } = await this.#segmentToAppendTo(bytes);
      await writeAll(file, [encodeRecordHeader(batch), batch.payload], segment.bytes);
      await file.datasync();
      noteRecord(segment, batch, bytes);
    } catch (error) {
      await this.#abandonSegment();
      throw error;
    }
  }

  /** @throws `failure` when it is not the room, or there is no reserve. */
  async #writeToReserve(batch: Batch, bytes: number, failure: unknown): Promise<void> {
    const segment = this.#newSegment();
    if (!isOutOfRoom(failure) || !(await this.#reserve.become(segment.path))) throw failure;
    this.#log.error(
      { reason: errorText(failure), folder: this.#folder },
      'spool: the disk takes no more; writing to the reserve',
    );
    this.#list(segment);
    try {
      this.#current = { segment, file: await open(segment.path, 'r+') };
      await syncFolder(this.#folder);
    } catch (error) {
      await this.#abandonSegment();
      throw error;
    }
    await this.#write(batch, bytes);
  }

  async #segmentToAppendTo(bytes: number): Promise<{ segment: Segment; file: FileHandle }> {
    if (this.#current && this.#current.segment.bytes + bytes > SEGMENT_BYTES) await this.#endSegment();
    if (this.#current) return this.#current;
    const segment = this.#newSegment();
    this.#current = { segment, file: await open(segment.path, 'wx') };
    this.#list(segment);
    await syncFolder(this.#folder);
    return this.#current;
  }

  #newSegment(): Segment {
    const number = this.#nextNumber++;
    const path = join(this.#folder, `${String(number).padStart(10, '0')}.spool`);
    return { path, number, bytes: 0, replayed: 0, oldest: new Map() };
  }

  /** A replay may find it from now on, and waits for the append under way before it takes it for ended. */
  #list(segment: Segment): void {
    this.#segments.push(segment);
    this.stats.segments = this.#segments.length;
  }

  async #endSegment(): Promise<void> {
    const ended = this.#current;
    this.#current = undefined;
    await ended?.file.close();
  }

  /** After a failed write nothing is appended behind it: what the disk holds of it is unknown. */
  async #abandonSegment(): Promise<void> {
    const failed = this.#current;
    this.#current = undefined;
    if (!failed) return;
    await failed.file.truncate(failed.segment.bytes).catch(() => undefined);
    await failed.file.close().catch(() => undefined);
  }

  /** Publishes the oldest segment and deletes it; false when there is none. What `publish` throws passes through. */
  async replayOldest(publish: (batch: Batch) => Promise<void>): Promise<boolean> {
    const [oldest] = this.#segments;
    if (!oldest) return false;
    const file = await open(oldest.path, constants.O_RDONLY);
    try {
      do {
        const whole = oldest.bytes;
        for await (const part of readSegment(file, oldest.replayed, whole)) {
          if (part.kind === 'damage') continue;
          await publish(part.batch);
          oldest.replayed = part.end;
          this.stats.replayedBatches++;
        }
        oldest.replayed = whole;
      } while (!(await this.#isEndedAt(oldest, oldest.replayed)));
    } finally {
      await file.close();
    }
    await this.#reserve.recycle(oldest.path);
    this.#segments.shift();
    this.stats.segments = this.#segments.length;
    this.stats.bytes -= oldest.bytes;
    this.#budget.usedBytes -= oldest.bytes;
    await syncFolder(this.#folder);
    return true;
  }

  /** Ends a segment there. False when more has been appended: until then it is appended to, also while its replay fails. */
  async #isEndedAt(segment: Segment, bytes: number): Promise<boolean> {
    const ended = this.#appending.then(async () => {
      if (segment.bytes > bytes) return false;
      if (this.#current?.segment === segment) await this.#endSegment();
      return true;
    });
    this.#appending = ended.catch(() => undefined);
    return await ended;
  }

  /** Makes room for a segment ahead where there is none. Not while a segment is replayed. */
  async keepReserve(): Promise<void> {
    await this.#reserve.keep();
  }

  /** Unix milliseconds of the oldest click of a node that is held here. */
  oldestHeldMs(node: number): number | undefined {
    let held: number | undefined;
    for (const { oldest } of this.#segments) {
      const ts = oldest.get(node);
      if (ts !== undefined && (held === undefined || ts < held)) held = ts;
    }
    return held;
  }

  /** Every node that has clicks here. */
  nodes(): number[] {
    return [...new Set(this.#segments.flatMap(({ oldest }) => [...oldest.keys()]))];
  }

  async close(): Promise<void> {
    await this.#appending;
    await this.#endSegment();
  }
}

/** Reads the segments of an earlier process, cuts torn ends off, and reports bytes outside of whole records. */
async function recoverSegments(folder: string, stats: SpoolStats, log: Logger): Promise<Segment[]> {
  const segments: Segment[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const number = SEGMENT_NAME.exec(name)?.[1];
    if (number === undefined) continue;
    const segment: Segment = {
      path: join(folder, name),
      number: Number(number),
      bytes: 0,
      replayed: 0,
      oldest: new Map(),
    };
    await recoverSegment(segment, stats, log);
    segments.push(segment);
    stats.bytes += segment.bytes;
  }
  stats.segments = segments.length;
  if (segments.length > 0)
    log.info({ segments: segments.length, bytes: stats.bytes }, 'spool found; replaying');
  return segments;
}

async function recoverSegment(segment: Segment, stats: SpoolStats, log: Logger): Promise<void> {
  const file = await open(segment.path, 'r+');
  try {
    for await (const part of readSegment(file, 0, (await file.stat()).size)) {
      if (part.kind === 'record') {
        noteRecord(segment, part.batch, RECORD_HEADER_BYTES + part.batch.payload.length);
        continue;
      }
      stats.damagedBytes += part.length;
      log.warn(
        { path: segment.path, offset: part.offset, bytes: part.length },
        'spool: damaged bytes skipped',
      );
      if (part.atEnd) {
        await file.truncate(part.offset);
        await file.datasync();
      } else segment.bytes += part.length;
    }
  } finally {
    await file.close();
  }
}

function noteRecord(segment: Segment, batch: Batch, bytes: number): void {
  segment.bytes += bytes;
  const known = segment.oldest.get(batch.node);
  if (known === undefined || batch.oldestTs < known) segment.oldest.set(batch.node, batch.oldestTs);
}

async function writeAll(file: FileHandle, parts: Buffer[], position: number): Promise<void> {
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const { bytesWritten } = await file.writev(parts, position);
  // A disk that fills up shows as a short write.
  if (bytesWritten !== total) {
    const error = new Error(`only ${bytesWritten} of ${total} bytes were written: disk full?`);
    throw Object.assign(error, { code: 'ENOSPC' });
  }
}

/** Whether a write failed because the disk, or its user's share of it, is full. */
function isOutOfRoom(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** Makes a file's creation or removal survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
