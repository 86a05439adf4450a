import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newLease, writeLease } from '../../core/clicks/lease.ts';
import { DEAD_LETTERS_STREAM, ensureStreams } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  batchHeaders,
  clickRecord,
  clickRecords,
  encodeClicks,
  type Pipeline,
  startPipeline,
} from '../../test/support/warehouse.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import type { LoaderStep } from './block-loader.ts';
import { MAX_UNFINISHED_MS, sharingTokens } from './loader-store.ts';

let pipeline: Pipeline;
const running: { stop(): Promise<void> }[] = [];

beforeEach(async () => {
  pipeline = await startPipeline();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((loader) => loader.stop()));
  await pipeline.stop();
});

/** Runs a loader until the test ends; `failed` becomes true when it stops with an error. */
function run(loader: ReturnType<Pipeline['loader']>): { stop(): Promise<void>; failed: () => unknown } {
  let failure: unknown;
  loader.run().catch((error: unknown) => {
    failure = error;
  });
  const handle = { stop: () => loader.stop().catch(() => undefined), failed: () => failure };
  running.push(handle);
  return handle;
}

async function loaded(clicks: number): Promise<void> {
  await waitFor(async () => (await pipeline.counts()).clicks >= clicks && (await checkpointReached()), {
    deadlineMs: 15_000,
    what: `${clicks} clicks in the warehouse and the checkpoint behind them`,
  });
}

async function checkpointReached(): Promise<boolean> {
  const checkpoint = await pipeline.loaderBucket.get('checkpoint.0');
  const { state } = await pipeline.manager.streams.info('CLICKS');
  return checkpoint?.json<{ seq: number }>().seq === state.last_seq;
}

function readinessReason(loader: ReturnType<Pipeline['loader']>): string {
  const readiness = loader.readiness();
  return readiness.ready ? '' : readiness.reason;
}

function sealedLease(node: number, atMs: number, shard: number) {
  const [started_at, ended_at] = [timeText(atMs - 1_000), timeText(atMs + 1_000)];
  return { node, started_at, ended_at, next_seq: 10, state: 'closed', shard };
}

function exactly(clicks: number) {
  return expect.objectContaining({ clicks, distinct: clicks, rolledUp: clicks });
}

describe('the loader', () => {
  it('loads every click once, in the table and the rollup', async () => {
    for (let i = 0; i < 20; i++) await pipeline.publish(clickRecords(1, i * 50, 50));
    run(pipeline.loader());
    await loaded(1_000);
    for (let i = 0; i < 5; i++) await pipeline.publish(clickRecords(2, i * 10, 10));
    await loaded(1_050);
    expect(await pipeline.counts()).toEqual({
      clicks: 1_050,
      distinct: 1_050,
      rolledUp: 1_050,
      rolledUpValid: 945,
    });
  });

  it.each<LoaderStep>(['intent', 'insert', 'checkpoint'])(
    'finishes what it began when it dies after "%s"',
    async (dying) => {
      await pipeline.publish(clickRecords(1, 0, 300));
      const bug = new Error(`dies after ${dying}`);
      const first = run(
        pipeline.loader({
          async onStep(step) {
            if (step === dying) throw bug;
          },
        }),
      );
      await waitFor(() => first.failed() === bug, { deadlineMs: 10_000, what: 'the loader to die' });
      await pipeline.publish(clickRecords(1, 300, 200));
      run(pipeline.loader());
      await loaded(500);
      expect(await pipeline.counts()).toEqual(exactly(500));
    },
  );

  it('starts over after an operating error at any step', async () => {
    await pipeline.publish(clickRecords(1, 0, 300));
    const failing: LoaderStep[] = ['intent', 'insert', 'checkpoint', 'insert', 'intent'];
    run(
      pipeline.loader({
        async onStep(step) {
          if (failing[0] !== step) return;
          failing.shift();
          throw new OperatingError('clickhouse_unreachable', `after ${step}`);
        },
      }),
    );
    await loaded(300);
    for (let i = 0; i < 4; i++) {
      await pipeline.publish(clickRecords(1, 300 + i * 100, 100));
      await loaded(400 + i * 100);
    }
    expect(failing).toEqual([]);
    expect(await pipeline.counts()).toEqual(exactly(700));
  });

  it('counts nothing twice when the answer to an insert is lost', async () => {
    let lost = 0;
    const warehouse: Warehouse = {
      ...pipeline.warehouse,
      async insertBytes(insert) {
        await pipeline.warehouse.insertBytes(insert);
        if (lost++ < 2) throw new OperatingError('clickhouse_unreachable', 'the answer was lost');
      },
    };
    await pipeline.publish(clickRecords(1, 0, 300));
    run(pipeline.loader({ warehouse }));
    await loaded(300);
    expect(lost).toBe(3);
    expect(await pipeline.counts()).toEqual(exactly(300));
  });

  it('says why it is not ready, and loads what gathered once ClickHouse is back', async () => {
    let unavailable = true;
    const absent = new OperatingError('clickhouse_unreachable', 'cannot reach ClickHouse');
    const warehouse: Warehouse = {
      ...pipeline.warehouse,
      insertBytes: (insert) =>
        unavailable ? Promise.reject(absent) : pipeline.warehouse.insertBytes(insert),
    };
    await pipeline.publish(clickRecords(1, 0, 100));
    const loader = pipeline.loader({ warehouse });
    run(loader);
    await waitFor(
      async () => (await pipeline.metrics.retries.get()).values.some((value) => value.value >= 2),
      {
        deadlineMs: 10_000,
        what: 'two tries',
      },
    );
    expect(loader.readiness()).toEqual({
      ready: false,
      reason: expect.stringContaining('cannot reach ClickHouse'),
    });
    await pipeline.publish(clickRecords(1, 100, 100));
    unavailable = false;
    await loaded(200);
    await waitFor(() => loader.readiness().ready, { deadlineMs: 5_000, what: 'readiness' });
    expect(await pipeline.counts()).toEqual(exactly(200));
  });

  it('leaves one of two active, and neither counts a click twice', async () => {
    run(pipeline.loader());
    run(pipeline.loader());
    for (let i = 0; i < 20; i++) {
      await pipeline.publish(clickRecords(1, i * 20, 20));
      if (i % 5 === 4) await loaded((i + 1) * 20);
    }
    await loaded(400);
    expect(await pipeline.counts()).toEqual(exactly(400));
    const { values } = await pipeline.metrics.retries.get();
    expect(values.map((value) => value.labels.code)).toEqual(['loader_superseded']);
  });

  it('a loader that wakes after its successor changes nothing', async () => {
    await pipeline.publish(clickRecords(1, 0, 100));
    let wake: () => void = () => undefined;
    let asleep = false;
    const sleeping = new Promise<void>((resolve) => {
      wake = resolve;
    });
    run(
      pipeline.loader({
        async onStep(step) {
          if (step !== 'intent' || asleep) return;
          asleep = true;
          await sleeping;
        },
      }),
    );
    await waitFor(() => asleep, { deadlineMs: 10_000, what: 'the first loader to record its intent' });
    run(pipeline.loader());
    await loaded(100);
    await pipeline.publish(clickRecords(1, 100, 50));
    await loaded(150);
    wake();
    await waitFor(async () => (await pipeline.metrics.retries.get()).values.length > 0, {
      deadlineMs: 10_000,
      what: 'the woken loader to notice',
    });
    expect(await pipeline.counts()).toEqual(exactly(150));
  });

  // The monotonic clock stands still while the machine is suspended.
  it.each([
    { paused: 'process', clockOf: performance },
    { paused: 'machine', clockOf: Date },
  ])(
    'of a $paused that was paused for long before its insert reads its records again',
    async ({ clockOf }) => {
      await pipeline.publish(clickRecords(1, 0, 100));
      let pausedMs = 0;
      const clock = clockOf.now.bind(clockOf);
      const spy = vi.spyOn(clockOf, 'now').mockImplementation(() => clock() + pausedMs);
      run(
        pipeline.loader({
          async onStep(step) {
            if (step === 'intent') pausedMs = MAX_UNFINISHED_MS + 1;
          },
        }),
      );
      // The clock of the wait jumps as well.
      await waitFor(() => pausedMs > 0, { deadlineMs: MAX_UNFINISHED_MS + 10_000, what: 'the pause' });
      await loaded(100);
      spy.mockRestore();
      const { values } = await pipeline.metrics.retries.get();
      expect(values.map((value) => value.labels.code)).toEqual(['loader_paused']);
      expect(await pipeline.counts()).toEqual(exactly(100));
    },
  );

  it('waits for the shards that insert into the same tables', () => {
    const among = [0, 1, 2, 3, 4, 5];
    expect(sharingTokens(3, { among, clickhouseShards: 1 })).toEqual([0, 1, 2, 4, 5]);
    expect(sharingTokens(3, { among, clickhouseShards: 2 })).toEqual([1, 5]);
    expect(sharingTokens(3, { among, clickhouseShards: 6 })).toEqual([]);
  });

  it('waits while the insert of another shard has been unfinished for long', async () => {
    await ensureStreams(pipeline.nc, { shards: [0, 1] });
    await pipeline.publish(clickRecords(2, 0, 50), { shard: 1 });
    const died = run(
      pipeline.loader({
        shard: 1,
        async onStep() {
          throw new Error('dies after its intent');
        },
      }),
    );
    await waitFor(died.failed, { deadlineMs: 10_000, what: 'the loader of the other shard to die' });
    await pipeline.publish(clickRecords(1, 0, 100));
    const clock = Date.now.bind(Date);
    const spy = vi.spyOn(Date, 'now').mockImplementation(() => clock() + MAX_UNFINISHED_MS);
    const loader = pipeline.loader();
    run(loader);
    await waitFor(() => /shard_unfinished/.test(readinessReason(loader)), {
      deadlineMs: 10_000,
      what: 'the loader to wait',
    });
    expect((await pipeline.counts()).clicks).toBe(0);
    run(pipeline.loader({ shard: 1 }));
    await loaded(150);
    spy.mockRestore();
    expect(await pipeline.counts()).toEqual(exactly(150));
  });

  it('skips a batch that was published again after the duplicate window', async () => {
    run(pipeline.loader());
    await pipeline.publish(clickRecords(1, 0, 100));
    await loaded(100);
    await pipeline.publish(clickRecords(1, 0, 100), { again: true });
    await pipeline.publish(clickRecords(1, 100, 10));
    await pipeline.publish(clickRecords(1, 100, 10), { again: true });
    await loaded(110);
    expect(await pipeline.counts()).toEqual(exactly(110));
    expect((await pipeline.metrics.repeatedBatches.get()).values[0]?.value).toBe(2);
  });

  it('sets aside what does not decode, with its bytes, headers and reason, and loads the rest', async () => {
    const good = encodeClicks(clickRecords(3, 0, 5));
    const bad: [Buffer, Record<string, string>, string][] = [
      [good.subarray(0, good.length - 1), batchHeaders(3, 0, 5), 'malformed'],
      [good, batchHeaders(3, 0, 6), 'malformed'],
      [good, batchHeaders(3, 0, 4), 'malformed'],
      [good, batchHeaders(4, 0, 5), 'malformed'],
      [good, batchHeaders(3, 1, 5), 'malformed'],
      [Buffer.from('hello'), batchHeaders(3, 0, 1), 'malformed'],
      [good, {}, 'bad_headers'],
      [good, { ...batchHeaders(3, 0, 5), 'Afflux-Version': '0' }, 'outdated_version'],
      [good, { ...batchHeaders(3, 0, 5), 'Afflux-Version': '2' }, 'unknown_version'],
      [good, { ...batchHeaders(3, 0, 5), 'Afflux-Rows': '-1' }, 'bad_headers'],
      [good, { ...batchHeaders(3, 0, 5), 'Afflux-Rows': '0' }, 'bad_headers'],
      [good, { ...batchHeaders(3, 0, 5), 'Afflux-Node': '65536' }, 'bad_headers'],
      [encodeClicks([clickRecord({ ts: 0 })]), batchHeaders(0, 0, 1), 'implausible_time'],
      [encodeClicks([clickRecord({ ts: 7_000_000_000_000 })]), batchHeaders(0, 0, 1), 'implausible_time'],
    ];
    for (const [data, headers] of bad) await pipeline.publishRaw(data, headers);
    await pipeline.publish(clickRecords(3, 0, 5));
    // Shares seq 4 with the batch before it: taking it would count a click twice.
    await pipeline.publish(clickRecords(3, 4, 3));
    run(pipeline.loader());
    await loaded(5);
    expect(await pipeline.counts()).toEqual(exactly(5));

    const letters = await pipeline.js.consumers.get(DEAD_LETTERS_STREAM);
    const reasons: string[] = [];
    for await (const letter of await letters.fetch({ max_messages: bad.length + 1, expires: 2_000 })) {
      const [data, headers] = bad[reasons.length] ?? [undefined, {}];
      reasons.push(letter.headers?.get('Afflux-Reason') ?? '');
      if (data) expect(Buffer.from(letter.data)).toEqual(data);
      for (const [name, value] of Object.entries(headers)) {
        expect(letter.headers?.get(`Afflux-Original-${name}`)).toBe(value);
      }
    }
    expect(reasons).toEqual([...bad.map(([, , reason]) => reason), 'overlapping']);
  });

  it('rebuilds its checkpoint from the warehouse when the record is gone', async () => {
    const first = run(pipeline.loader());
    // Clicks from after the stream was made, as they are in life.
    const ts = Date.now();
    await pipeline.publish(clickRecords(1, 0, 100, { ts }));
    await loaded(100);
    await first.stop();
    await pipeline.loaderBucket.purge('checkpoint.0');
    await pipeline.publish(clickRecords(1, 100, 20, { ts }));
    run(pipeline.loader());
    await loaded(120);
    expect(await pipeline.counts()).toEqual(exactly(120));
  });

  it('loads a new stream whose sequences start again', async () => {
    const first = run(pipeline.loader());
    await pipeline.publish(clickRecords(1, 0, 100));
    await loaded(100);
    await first.stop();
    const { config } = await pipeline.manager.streams.info('CLICKS');
    await pipeline.manager.streams.delete('CLICKS');
    await pipeline.manager.streams.add(config);
    await pipeline.publish(clickRecords(2, 0, 70));
    run(pipeline.loader());
    await loaded(170);
    expect(await pipeline.counts()).toEqual(exactly(170));
  });

  it('loads a stream that is made again while it runs, from its first message', async () => {
    const loader = pipeline.loader();
    run(loader);
    for (let i = 0; i < 5; i++) await pipeline.publish(clickRecords(1, i * 10, 10));
    await loaded(50);
    const { config } = await pipeline.manager.streams.info('CLICKS');
    await pipeline.manager.streams.delete('CLICKS');
    await pipeline.manager.streams.add(config);
    for (let i = 0; i < 12; i++) await pipeline.publish(clickRecords(2, i * 7, 7));
    await loaded(50 + 12 * 7);
    expect(await pipeline.counts()).toEqual(exactly(50 + 12 * 7));
  });

  it('forgets a sealed lease without a block, so that its number can come again', async () => {
    await ensureStreams(pipeline.nc, { shards: [0, 1] });
    const first = run(pipeline.loader({ shard: 1 }));
    const startedAtMs = Date.now() - 60_000;
    await pipeline.publish(clickRecords(7, 0, 10, { ts: startedAtMs }), { shard: 1 });
    const accepted = async () =>
      (await pipeline.loaderBucket.get('checkpoint.1'))?.json<{ accepted: unknown[] }>().accepted;
    await waitFor(async () => (await accepted())?.length === 1, {
      deadlineMs: 10_000,
      what: 'the first block',
    });
    await first.stop();
    await pipeline.warehouse.insertRows('sealed_leases', [sealedLease(7, startedAtMs, 1)]);
    await pipeline.leasesBucket.purge('lease.7');
    run(pipeline.loader({ shard: 1 }));
    await waitFor(async () => (await accepted())?.length === 0, {
      deadlineMs: 10_000,
      what: 'the lease to go',
    });
    await writeLease(pipeline.leasesBucket, newLease(7, Date.now() - 1_000, 1));
    await pipeline.publish(clickRecords(7, 0, 5, { ts: Date.now() }), { shard: 1, again: true });
    await waitFor(async () => (await pipeline.counts()).clicks === 15, {
      deadlineMs: 10_000,
      what: 'the clicks of the new lease',
    });
    await pipeline.publish(clickRecords(7, 0, 5, { ts: Date.now() }), { shard: 1, again: true });
    await waitFor(
      async () => (await pipeline.metrics.repeatedBatches.get()).values.some(({ value }) => value === 1),
      { deadlineMs: 10_000, what: 'a repetition of the new lease to be recognised' },
    );
  });

  it('rebuilds its checkpoint from the clicks of the latest lease of a number in its own shard', async () => {
    await ensureStreams(pipeline.nc, { shards: [0, 1] });
    const stored = run(pipeline.loader());
    const ts = Date.now();
    await pipeline.publish(clickRecords(7, 0, 10, { ts }));
    await pipeline.publish(clickRecords(8, 0, 10, { ts }));
    await loaded(20);
    await stored.stop();
    // Both numbers come again: one in another shard, one in the same.
    await pipeline.warehouse.insertRows('sealed_leases', [sealedLease(7, ts, 0), sealedLease(8, ts, 0)]);
    const later = ts + 120_000;
    await writeLease(pipeline.leasesBucket, newLease(7, later, 1));
    await writeLease(pipeline.leasesBucket, newLease(8, later, 0));
    await pipeline.loaderBucket.purge('checkpoint.0');
    await pipeline.publish(clickRecords(7, 0, 5, { ts: later }), { shard: 1, again: true });
    await pipeline.publish(clickRecords(8, 0, 5, { ts: later }), { again: true });
    run(pipeline.loader());
    run(pipeline.loader({ shard: 1 }));
    await waitFor(async () => (await pipeline.counts()).clicks >= 30, {
      deadlineMs: 10_000,
      what: 'the clicks of the new leases',
    });
  });

  it('says that messages were purged before they were loaded', async () => {
    await pipeline.publish(clickRecords(1, 0, 10));
    await pipeline.publish(clickRecords(1, 10, 10));
    await pipeline.manager.streams.purge('CLICKS', { seq: 2 });
    run(pipeline.loader());
    await loaded(10);
    expect((await pipeline.metrics.missingMessages.get()).values[0]?.value).toBe(1);
  });
});
