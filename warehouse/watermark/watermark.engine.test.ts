import { afterEach, beforeEach, expect, it } from 'vitest';
import { forgetLease, type Lease, listLeases, openLease, writeLease } from '../../core/clicks/lease.ts';
import { OperatingError } from '../../core/errors.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, type Pipeline, startPipeline } from '../../test/support/warehouse.ts';
import { createClicksReader, createWatermarkWriter, REMEMBERED_LEASES, readWatermark } from './watermark.ts';

let pipeline: Pipeline;

beforeEach(async () => {
  pipeline = await startPipeline();
});
afterEach(() => pipeline.stop());

function clicksAt(now: () => number, shards: readonly number[] = [0]) {
  return createClicksReader({ leases: pipeline.leasesBucket, shards: async () => shards, now });
}

function streamAt(lastSeq: number, created = 0) {
  return { created: new Date(created).toISOString(), lastSeq };
}

function checkpointAt(seq: number, created = 0) {
  return { stream: new Date(created).toISOString(), seq };
}

async function completeTo(): Promise<number> {
  return (await readWatermark(pipeline.warehouse)) ?? 0;
}

it('never passes a click that a collector still holds, and follows when it lets go', async () => {
  const startedAt = Date.now();
  const { lease } = await openLease(pipeline.leasesBucket, startedAt - 60_000);
  const held = startedAt - 30_000;
  await writeLease(pipeline.leasesBucket, { ...lease, heldFromMs: held, nextSeq: 10 });
  const loader = pipeline.loader();
  const running = loader.run();
  try {
    await waitFor(async () => (await completeTo()) === held, { deadlineMs: 10_000, what: 'the held time' });
    // Newer clicks of the same lease arrive before the held one.
    await pipeline.publish(clickRecords(lease.node, 5, 5, { ts: startedAt }));
    await waitFor(async () => (await pipeline.counts()).clicks === 5, {
      deadlineMs: 10_000,
      what: '5 clicks',
    });
    // The time moves by what the collector let go, which also shows that the leases were read since.
    await writeLease(pipeline.leasesBucket, { ...lease, heldFromMs: held + 1, nextSeq: 10 });
    await waitFor(async () => (await completeTo()) !== held, { deadlineMs: 10_000, what: 'the next time' });
    expect(await completeTo()).toBe(held + 1);

    await pipeline.publish(clickRecords(lease.node, 0, 5, { ts: held + 1 }));
    const released: Lease = { ...lease, heldFromMs: startedAt, nextSeq: 10 };
    await writeLease(pipeline.leasesBucket, released);
    await waitFor(async () => (await completeTo()) === startedAt, {
      deadlineMs: 10_000,
      what: 'the released time',
    });
    expect((await pipeline.counts()).clicks).toBe(10);

    await writeLease(pipeline.leasesBucket, { ...released, state: 'closed' });
    await waitFor(async () => (await completeTo()) > startedAt + 1_000, {
      deadlineMs: 10_000,
      what: 'the present',
    });
    expect(await completeTo()).toBeLessThan(Date.now());
  } finally {
    await loader.stop();
    await running;
  }
});

it('waits for the checkpoint to pass the stream as it was after the leases were read', async () => {
  let lastSeq = 7;
  const clock = Date.now();
  const writer = createWatermarkWriter({
    warehouse: pipeline.warehouse,
    shard: 0,
    clicks: clicksAt(() => clock),
    confirm: async () => undefined,
    forget: async () => undefined,
    stream: async () => streamAt(lastSeq),
    now: () => clock,
  });
  await writer.advance(checkpointAt(6));
  expect(await readWatermark(pipeline.warehouse)).toBeUndefined();
  lastSeq = 9;
  await writer.advance(checkpointAt(7));
  expect(await completeTo()).toBe(clock - 500);
});

it('does not publish what it read of a stream that was made again since', async () => {
  let created = 1_000;
  let clock = Date.now();
  const writer = createWatermarkWriter({
    warehouse: pipeline.warehouse,
    shard: 0,
    clicks: clicksAt(() => clock),
    confirm: async () => undefined,
    forget: async () => undefined,
    stream: async () => streamAt(created === 1_000 ? 7 : 2, created),
    now: () => clock,
  });
  await writer.advance(checkpointAt(6, 1_000));
  created = 2_000;
  clock += 10_000;
  // The new stream's checkpoint is beyond the sequence of the old one only if both are compared.
  await writer.advance(checkpointAt(1, 2_000));
  expect(writer.published()).toBe(0);
  await writer.advance(checkpointAt(2, 2_000));
  expect(await completeTo()).toBe(clock - 500);
  clock += 10_000;
  await expect(writer.advance(checkpointAt(9, 1_000))).rejects.toMatchObject({ code: 'stream_replaced' });
  expect(await completeTo()).toBe(clock - 10_500);
});

it('publishes nothing that it read of a NATS server that is cut off from the others', async () => {
  const clock = Date.now();
  const cutOff = new OperatingError('nats_failed', 'no majority');
  let writes = 0;
  const writer = createWatermarkWriter({
    warehouse: pipeline.warehouse,
    shard: 0,
    clicks: clicksAt(() => clock),
    // It was cut off while it was read: the write before went through, that behind it does not.
    confirm: () => (++writes === 2 ? Promise.reject(cutOff) : Promise.resolve()),
    forget: async () => undefined,
    stream: async () => streamAt(0),
    now: () => clock,
  });
  await expect(writer.advance(checkpointAt(0))).rejects.toBe(cutOff);
  expect(await readWatermark(pipeline.warehouse)).toBeUndefined();
  await writer.advance(checkpointAt(0));
  expect(await completeTo()).toBe(clock - 500);
});

it('reads the leases before the stream', async () => {
  const clock = Date.now();
  const { lease } = await openLease(pipeline.leasesBucket, clock - 10_000);
  const writer = createWatermarkWriter({
    warehouse: pipeline.warehouse,
    shard: 0,
    clicks: clicksAt(() => clock),
    confirm: async () => undefined,
    forget: async () => undefined,
    // The collector publishes what it held between the two: a read of its lease after this is too late.
    async stream() {
      await writeLease(pipeline.leasesBucket, { ...lease, heldFromMs: clock });
      return streamAt(0);
    },
    now: () => clock,
  });
  await writer.advance(checkpointAt(0));
  expect(await completeTo()).toBe(clock - 10_000);
});

it('is held back by a shard that no loader leads yet, and not by one without clicks', async () => {
  const clock = Date.now();
  const { lease } = await openLease(pipeline.leasesBucket, clock - 7_000, 1);
  const createdAt = (shard: number) => clock - 10_000 * (shard + 1);
  const writer = (shard: number) =>
    createWatermarkWriter({
      warehouse: pipeline.warehouse,
      shard,
      clicks: clicksAt(() => clock, [0, 1, 2]),
      confirm: async () => undefined,
      forget: async () => undefined,
      stream: async (of) => streamAt(0, createdAt(of)),
      now: () => clock,
    });
  await writer(0).advance(checkpointAt(0, createdAt(0)));
  expect(await completeTo()).toBe(clock - 30_500);
  await writer(1).advance(checkpointAt(0, createdAt(1)));
  await writer(2).advance(checkpointAt(0, createdAt(2)));
  // Of the leases each shard has its own: only the second one's holds a click.
  expect(await completeTo()).toBe(lease.heldFromMs);
  const { rows } = await pipeline.warehouse.query<{ shard: number; to: string }>(
    'SELECT shard, toUnixTimestamp64Milli(complete_to) AS to FROM watermarks FINAL ORDER BY shard',
  );
  expect(rows.map(({ to }) => Number(to))).toEqual([clock - 500, lease.heldFromMs, clock - 500]);
});

it('does not go back', async () => {
  let clock = Date.now();
  const writer = createWatermarkWriter({
    warehouse: pipeline.warehouse,
    shard: 0,
    clicks: clicksAt(() => clock),
    confirm: async () => undefined,
    forget: async () => undefined,
    stream: async () => streamAt(0),
    now: () => clock,
  });
  await writer.advance(checkpointAt(0));
  const first = await completeTo();
  clock -= 3_600_000;
  await writer.advance(checkpointAt(0));
  expect(writer.published()).toBe(first);
  expect(await completeTo()).toBe(first);
});

it('moves ended leases from NATS to the warehouse once there are many, and nothing else', async () => {
  const clock = Date.now();
  const all = Array.from(
    { length: REMEMBERED_LEASES + 3 },
    (_, node): Lease => ({
      node,
      startedAtMs: clock - 10_000 + node,
      state: node === 0 ? 'open' : node === 1 ? 'crashed' : 'closed',
      heldFromMs: clock,
      nextSeq: node,
      ended: true,
      updatedAtMs: clock - 5_000 + node,
    }),
  );
  await Promise.all(all.map((lease) => writeLease(pipeline.leasesBucket, lease)));
  const writer = (forget: (lease: Lease) => Promise<void>, stream = async () => streamAt(0)) =>
    createWatermarkWriter({
      warehouse: pipeline.warehouse,
      shard: 0,
      clicks: clicksAt(() => clock),
      confirm: async () => undefined,
      forget,
      stream,
      now: () => clock,
    });
  const died = writer(async () => {
    throw new Error('killed');
  });
  await expect(died.advance(checkpointAt(0))).rejects.toThrow('killed');
  const { manager, leasesBucket } = pipeline;
  await writer((lease) => forgetLease(leasesBucket, { manager, lease })).advance(checkpointAt(0));
  const left = (await listLeases(leasesBucket)).map(({ node }) => node).sort((a, b) => a - b);
  expect(left).toEqual([0, ...Array.from({ length: REMEMBERED_LEASES }, (_, i) => i + 3)]);
  const { rows } = await pipeline.warehouse.query(
    'SELECT node, next_seq, state FROM sealed_leases FINAL ORDER BY node',
  );
  expect(rows).toEqual([
    { node: 1, next_seq: '1', state: 'crashed' },
    { node: 2, next_seq: '2', state: 'closed' },
  ]);
  // A number that was leased again in the meantime is another lease.
  const again = all[5] as Lease;
  await writeLease(leasesBucket, { ...again, state: 'open', startedAtMs: clock });
  await forgetLease(leasesBucket, { manager, lease: again });
  expect(await listLeases(leasesBucket)).toHaveLength(REMEMBERED_LEASES + 1);
  // The checkpoint forgets them from the next start on, once it has passed what is in the stream.
  let lastSeq = 1;
  const next = writer(
    async () => undefined,
    async () => streamAt(lastSeq),
  );
  await next.advance(checkpointAt(0));
  expect(next.sealedNodes()).toEqual(new Set());
  lastSeq = 2;
  await next.advance(checkpointAt(1));
  expect(next.sealedNodes()).toEqual(new Set([1, 2]));
});
