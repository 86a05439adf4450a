import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { isNearlyFull, openSpool, type Spool, type SpoolBudget } from './spool.ts';
import type { Batch } from './spool-segment.ts';

const log = createLogger({ name: 'test', level: 'fatal' });
const MEGABYTE = 1024 * 1024;

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
    rmSync(folder, { recursive: true });
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
    expect(readdirSync(folder)).toEqual([]);
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

  it('replays a segment again from its start when a publish failed', async () => {
    const spool = await open();
    for (const one of [batch(1, 0), batch(1, 3), batch(1, 6)]) await spool.append(one);
    let published = 0;
    const failing = spool.replayOldest(async () => {
      published++;
      if (published === 2) throw new Error('away');
    });
    await expect(failing).rejects.toThrow('away');
    await spool.append(batch(1, 9));
    expect((await replayAll(spool)).map((one) => one.firstSeq)).toEqual([0, 3, 6, 9]);
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

  it('starts a new segment when one is large', async () => {
    const spool = await open(256 * MEGABYTE);
    for (let i = 0; i < 70; i++) await spool.append(batch(1, i * 3, 256 * 1024));
    expect(spool.stats.segments).toBe(2);
    const seqs = (await replayAll(spool)).map((one) => one.firstSeq);
    expect(seqs).toEqual(Array.from({ length: 70 }, (_, i) => i * 3));
  });

  it('says so when it cannot write, and goes on when it can again', async () => {
    const spool = await open();
    rmSync(folder, { recursive: true });
    await expect(spool.append(batch(1, 0))).rejects.toMatchObject({ code: 'spool_failed' });
    mkdirSync(folder);
    await spool.append(batch(1, 0));
    expect(await replayAll(spool)).toEqual([batch(1, 0)]);
  });
});
