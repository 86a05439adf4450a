import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { mountSmallDisk, type SmallDisk } from '../../loadtest/small-disk.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { isNearlyFull, openSpool, type Spool, type SpoolBudget } from './spool.ts';
import type { Batch } from './spool-segment.ts';

const log = createLogger({ name: 'test', level: 'fatal' });
const MEGABYTE = 1024 * 1024;
/** Room for a reserve four times, and some. */
const DISK_MB = 80;

function batch(node: number, firstSeq: number, bytes = 100): Batch {
  return {
    version: 1,
    node,
    firstSeq,
    rows: 3,
    oldestTs: 1_767_225_600_000 + firstSeq,
    payload: Buffer.alloc(bytes, `${node}:${firstSeq} AFSP `),
  };
}

describe('spool', () => {
  let folder = '';
  let opened: Spool[] = [];
  let budget: SpoolBudget;
  const open = async (maxBytes = 64 * MEGABYTE): Promise<Spool> => {
    budget = { maxBytes, usedBytes: 0 };
    const spool = await openSpool({ folder, budget, log });
    opened.push(spool);
    return spool;
  };
  const replayAll = async (spool: Spool): Promise<Batch[]> => {
    const batches: Batch[] = [];
    while (await spool.replayOldest(async (replayed) => void batches.push(replayed)));
    return batches;
  };
  const segmentFile = (): string => join(folder, readdirSync(folder).sort().at(-1) ?? '');

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'afflux-spool-'));
    opened = [];
  });
  afterEach(async () => {
    for (const spool of opened) await spool.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('gives back what it was given, oldest first, and forgets it afterwards', async () => {
    const spool = await open();
    const batches = [batch(1, 0), batch(1, 3, 0), batch(2, 0, 200_000)];
    await Promise.all(batches.map((one) => spool.append(one)));
    expect(spool.oldestHeldMs(1)).toBe(batches[0]?.oldestTs);
    expect(spool.oldestHeldMs(3)).toBeUndefined();
    expect(spool.nodes()).toEqual([1, 2]);
    expect(await replayAll(spool)).toEqual(batches);
    expect(spool.oldestHeldMs(1)).toBeUndefined();
    expect(spool.stats).toMatchObject({ bytes: 0, segments: 0, appendedBatches: 3, replayedBatches: 3 });
    await spool.keepReserve();
    expect(readdirSync(folder)).toEqual(['reserve']);
  });

  it('keeps everything for the next process', async () => {
    const batches = [batch(1, 0), batch(1, 3)];
    const before = await open();
    for (const one of batches) await before.append(one);
    // No close: a killed process closes nothing.
    const after = await open();
    expect(after.nodes()).toEqual([1]);
    expect(after.oldestHeldMs(1)).toBe(batches[0]?.oldestTs);
    await after.append(batch(2, 0));
    expect(await replayAll(after)).toEqual([...batches, batch(2, 0)]);
  });

  it('replays a segment again from the batch whose publish failed', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3), batch(1, 6)]) await spool.append(one);
    let published = 0;
    const failing = spool.replayOldest(async () => {
      published++;
      if (published === 2) throw new Error('away');
    });
    await expect(failing).rejects.toThrow('away');
    await spool.append(batch(1, 9));
    expect((await replayAll(spool)).map((one) => one.firstSeq)).toEqual([3, 6, 9]);
  });

  it('cuts off a torn tail at any length, and loses nothing whole', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3)]) await spool.append(one);
    await spool.close();
    const whole = readFileSync(segmentFile());
    const record = whole.length / 2;
    for (const cut of [1, 31, 32, 33, record - 1, record]) {
      writeFileSync(segmentFile(), whole.subarray(0, whole.length - cut));
      const recovered = await open();
      const damaged = cut === record ? 0 : record - cut;
      expect(recovered.stats.damagedBytes).toBe(damaged);
      expect(recovered.stats.bytes).toBe(record);
      expect(readFileSync(segmentFile())).toHaveLength(record);
    }
    const last = await open();
    expect(await replayAll(last)).toEqual([batch(1, 0)]);
  });

  it('passes over a damaged record and keeps those behind it', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3), batch(1, 6)]) await spool.append(one);
    await spool.close();
    const bytes = readFileSync(segmentFile());
    const record = bytes.length / 3;
    for (const flipped of [record, record + 4, record + 8, record + 20, record + 60]) {
      const damaged = Buffer.from(bytes);
      damaged[flipped] = (damaged[flipped] ?? 0) ^ 1;
      writeFileSync(segmentFile(), damaged);
      const recovered = await open();
      expect(recovered.stats.damagedBytes).toBe(record);
      expect(recovered.nodes()).toEqual([1]);
    }
    const last = await open();
    expect((await replayAll(last)).map((one) => one.firstSeq)).toEqual([0, 6]);
  });

  it('survives a segment of rubbish and an empty one', async () => {
    writeFileSync(join(folder, '0000000001.spool'), Buffer.alloc(5_000, 'AFSP'));
    writeFileSync(join(folder, '0000000002.spool'), '');
    writeFileSync(join(folder, 'notes.txt'), 'not a segment');
    const spool = await open();
    expect(spool.stats.damagedBytes).toBe(5_000);
    expect(await replayAll(spool)).toEqual([]);
    expect(readdirSync(folder)).toEqual(['notes.txt']);
  });

  it('refuses beyond its limit and takes again what fits after a replay', async () => {
    const spool = await open(1_000);
    await spool.append(batch(1, 0, 400));
    expect(isNearlyFull(budget)).toBe(false);
    await spool.append(batch(1, 3, 500));
    expect(isNearlyFull(budget)).toBe(true);
    await expect(spool.append(batch(1, 6, 100))).rejects.toMatchObject({ code: 'spool_full' });
    expect((await replayAll(spool)).map((one) => one.firstSeq)).toEqual([0, 3]);
    await spool.append(batch(1, 6, 100));
    expect(spool.stats.refusedFull).toBe(1);
  });

  it('loses nothing when a replay begins while a segment is being started', async () => {
    const spool = await open();
    const replayed = new Set<number>();
    const publish = async (one: Batch) => void replayed.add(one.firstSeq);
    for (let i = 0; i < 200; i++) {
      const appended = spool.append(batch(1, i));
      // Each time a little later in the start of the segment.
      for (let turn = 0; turn < i % 12; turn++) await new Promise((resolve) => setImmediate(resolve));
      await spool.replayOldest(publish);
      await appended;
      while (await spool.replayOldest(publish));
    }
    expect(replayed.size).toBe(200);
  });

  it('goes on in a segment whose replay fails, and gives back what was appended during a replay', async () => {
    const spool = await open();
    await spool.append(batch(1, 0));
    const failing = spool.replayOldest(() => Promise.reject(new Error('away')));
    await expect(failing).rejects.toThrow('away');
    await spool.append(batch(1, 3));
    expect(spool.stats.segments).toBe(1);
    const seqs: number[] = [];
    await spool.replayOldest(async ({ firstSeq }) => {
      seqs.push(firstSeq);
      if (firstSeq < 9) await spool.append(batch(1, firstSeq + 6));
    });
    expect(seqs).toEqual([0, 3, 6, 9, 12]);
    expect(spool.stats).toMatchObject({ bytes: 0, segments: 0 });
  });

  it('keeps a segment of which the disk gives less than was written', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3), batch(1, 6)]) await spool.append(one);
    const whole = readFileSync(segmentFile());
    truncateSync(segmentFile(), whole.length / 2);
    await expect(replayAll(spool)).rejects.toThrow('the disk gave');
    writeFileSync(segmentFile(), whole);
    // The first had been published.
    expect((await replayAll(spool)).map((one) => one.firstSeq)).toEqual([3, 6]);
  });

  it('starts a new segment when one is large', async () => {
    const spool = await open(256 * MEGABYTE);
    for (let i = 0; i < 70; i++) await spool.append(batch(1, i * 3, 256 * 1024));
    expect(spool.stats.segments).toBe(2);
    const seqs = (await replayAll(spool)).map((one) => one.firstSeq);
    expect(seqs).toEqual(Array.from({ length: 70 }, (_, i) => i * 3));
  });

  it('skips a record that was torn within what was written ahead, and the rest of that', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3)]) await spool.append(one);
    await spool.close();
    const record = readFileSync(segmentFile()).length / 2;
    for (const torn of [1, 31, 32, 33, record - 1, 0]) {
      const ahead = Buffer.alloc(record * 4);
      readFileSync(segmentFile()).copy(ahead, 0, 0, record + torn);
      const reserved = join(folder, '0000000002.spool');
      writeFileSync(reserved, ahead);
      const recovered = await open();
      // Zeros at the end of what was written look like those written ahead.
      expect(recovered.stats.damagedBytes).toBeLessThanOrEqual(torn);
      expect(recovered.stats.damagedBytes).toBeGreaterThanOrEqual(Math.max(0, torn - 6));
      expect(recovered.stats.bytes).toBe(3 * record);
      rmSync(reserved);
    }
  });

  it('says so when it cannot write, and goes on when it can again', async () => {
    const spool = await open();
    rmSync(folder, { recursive: true });
    await expect(spool.append(batch(1, 0))).rejects.toMatchObject({ code: 'spool_failed' });
    mkdirSync(folder);
    await spool.append(batch(1, 0));
    expect(await replayAll(spool)).toEqual([batch(1, 0)]);
  });

  describe('on a full disk', () => {
    let disk: SmallDisk | undefined;
    beforeEach(() => {
      disk = mountSmallDisk(DISK_MB);
      if (!disk) return reportMissing('root', 'a spool on a full disk');
      rmSync(folder, { recursive: true });
      folder = join(disk.folder, 'spool');
    });
    afterEach(async () => {
      for (const spool of opened.splice(0)) await spool.close();
      disk?.dispose();
    });
    const LARGE = 250_000;
    /** Comparing large payloads byte by byte takes a minute. */
    const digests = (batches: Batch[]) =>
      batches.map(({ payload, ...rest }) => ({
        ...rest,
        payload: createHash('sha256').update(payload).digest('hex'),
      }));
    /** Appends until the disk takes no more. */
    const appendAll = async (spool: Spool, firstSeq = 0): Promise<Batch[]> => {
      const taken: Batch[] = [];
      for (;;) {
        const one = batch(1, firstSeq + taken.length * 3, LARGE);
        try {
          await spool.append(one);
        } catch (error) {
          expect(error).toMatchObject({
            code: 'spool_failed',
            message: expect.stringMatching(/ENOSPC|disk full/),
          });
          return taken;
        }
        taken.push(one);
      }
    };

    it('takes a segment more, gives all of it to the next process, and has that room again', async (context) => {
      if (!disk) return context.skip();
      const spool = await open();
      expect(spool.stats.reserveBytes).toBe(0);
      await spool.keepReserve();
      expect(spool.stats.reserveBytes).toBe(16 * MEGABYTE);
      await spool.append(batch(2, 0));
      disk.fill();
      const taken = await appendAll(spool);
      expect(taken).toHaveLength(Math.floor((16 * MEGABYTE) / (LARGE + 32)));
      expect(spool.stats.reserveBytes).toBe(0);
      // No close: a killed process closes nothing.
      const after = await open();
      expect(after.stats.damagedBytes).toBe(0);
      expect(await appendAll(after)).toEqual([]);
      expect(digests(await replayAll(after))).toEqual(digests([batch(2, 0), ...taken]));
      await after.keepReserve();
      expect(after.stats.reserveBytes).toBe(16 * MEGABYTE);
      expect(await appendAll(after, 300)).toHaveLength(taken.length);
      expect((await replayAll(after)).map((one) => one.firstSeq)).toEqual(
        taken.map((one) => one.firstSeq + 300),
      );
    });

    it('has no reserve that would take the last room', async (context) => {
      if (!disk) return context.skip();
      writeFileSync(join(disk.folder, 'other'), Buffer.alloc((DISK_MB - 63) * MEGABYTE));
      const spool = await open();
      await spool.keepReserve();
      expect(spool.stats.reserveBytes).toBe(0);
      rmSync(join(disk.folder, 'other'));
      await spool.keepReserve();
      expect(spool.stats.reserveBytes).toBe(16 * MEGABYTE);
    });

    it('makes again a reserve that was not finished', async (context) => {
      if (!disk) return context.skip();
      const before = await open();
      writeFileSync(join(folder, 'reserve'), Buffer.alloc(MEGABYTE));
      writeFileSync(join(folder, 'reserve.new'), Buffer.alloc(20 * MEGABYTE, 'AFSP'));
      const spool = await open();
      expect([before, spool].map(({ stats }) => stats.reserveBytes)).toEqual([0, 0]);
      await spool.keepReserve();
      disk.fill();
      const taken = await appendAll(spool);
      expect(taken.length).toBeGreaterThan(60);
      const after = await open();
      expect(digests(await replayAll(after))).toEqual(digests(taken));
      expect(after.stats.damagedBytes).toBe(0);
    });
  });
});
