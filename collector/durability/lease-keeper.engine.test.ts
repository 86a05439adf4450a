import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lease, listLeases, openLease, readLease, writeLease } from '../../core/clicks/lease.ts';
import { type Bucket, connectNats, openBucket } from '../../core/clicks/stream.ts';
import { startTestNats, type TestNats, waitFor } from '../../test/support/engines.ts';
import { startHoldingProxy } from '../../test/support/servers/holding-proxy.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { type LeaseKeeper, openLeaseKeeper, refuseKeptLeases } from './lease-keeper.ts';

describe('node leases', () => {
  let nats: TestNats;
  let nc: NatsConnection;
  let bucket: Bucket;
  let folder = '';
  let buckets = 0;
  const keepers: LeaseKeeper[] = [];

  const open = async (changes: { name?: string; rotateAtSeq?: number } = {}): Promise<LeaseKeeper> => {
    const { name = 'lease', rotateAtSeq } = changes;
    const keeper = await openLeaseKeeper({
      bucket,
      stateFile: join(folder, `${name}.json`),
      shards: 1,
      spooledNodes: [],
      log: quietLog,
      ...(rotateAtSeq === undefined ? {} : { rotateAtSeq }),
    });
    keepers.push(keeper);
    return keeper;
  };
  const freshBucket = async () => {
    bucket = await openBucket(nc, `leases_${buckets++}`);
    folder = mkdtempSync(join(tmpdir(), 'afflux-leases-'));
  };

  beforeAll(async () => {
    nats = await startTestNats();
    nc = await connectNats({ url: nats.url, name: 'test' });
  });
  afterEach(async () => {
    for (const keeper of keepers.splice(0)) await keeper.close({ complete: [true] });
    rmSync(folder, { recursive: true });
  });
  afterAll(async () => {
    await nc.close();
    await nats.stop();
  });

  it('are one each, however many collectors start at once', async () => {
    await freshBucket();
    const starters = 40;
    const leases = await Promise.all(Array.from({ length: starters }, () => openLease(bucket, 1_000)));
    expect(new Set(leases.map(({ lease }) => lease.node)).size).toBe(starters);
    expect((await listLeases(bucket)).map((lease) => lease.state)).toEqual(Array(starters).fill('open'));
  });

  it('begin no earlier than any other collector’s promise, even where this machine’s clock is behind', async () => {
    await freshBucket();
    const ahead = Date.now() + 3_600_000;
    const { lease: other } = await openLease(bucket, ahead);
    await writeLease(bucket, { ...other, heldFromMs: ahead });
    const keeper = await open();
    expect(keeper.clock.now()).toBeGreaterThanOrEqual(ahead);
    expect((await readLease(bucket, keeper.current(0).node))?.startedAtMs).toBeGreaterThanOrEqual(ahead);
  });

  it('are changed before their count wraps, and the old one is closed with its number of clicks', async () => {
    await freshBucket();
    const keeper = await open({ rotateAtSeq: 1_000 });
    const first = keeper.current(0);
    keeper.startHeartbeat(() => undefined);
    first.nextSeq = 1_234;
    await waitFor(() => keeper.current(0) !== first, { deadlineMs: 5_000, what: 'the next lease' });
    expect(keeper.current(0).nextSeq).toBe(0);
    const closed = await waitFor(
      async () => {
        const lease = await readLease(bucket, first.node);
        return lease?.state === 'closed' && lease;
      },
      { deadlineMs: 5_000, what: 'the first lease to be closed' },
    );
    expect(closed).toMatchObject({ nextSeq: 1_234, ended: true });
  });

  it('hold the watermark while the collector holds a click', async () => {
    await freshBucket();
    const keeper = await open();
    const heldMs = Date.now() - 60_000;
    keeper.startHeartbeat(() => heldMs);
    const { node } = keeper.current(0);
    await waitFor(async () => (await readLease(bucket, node))?.heldFromMs === heldMs, {
      deadlineMs: 5_000,
      what: 'the heartbeat',
    });
    await keeper.close({ complete: [false] });
    expect(await readLease(bucket, node)).toMatchObject({ state: 'open', heldFromMs: heldMs });
  });

  it('of collectors that were killed one after another are all taken over, and then forgotten', async () => {
    await freshBucket();
    const stateFile = join(folder, 'lease.json');
    const start = () => openLeaseKeeper({ bucket, stateFile, shards: 2, spooledNodes: [], log: quietLog });
    // Both die before their first heartbeat.
    await start();
    await start();
    const last = await start();
    keepers.push(last);
    const own = [last.current(0).node, last.current(1).node];
    const noted = () => (JSON.parse(readFileSync(stateFile, 'utf8')) as { nodes: number[] }).nodes;
    expect(noted().toSorted()).toEqual((await listLeases(bucket)).map(({ node }) => node).toSorted());
    last.startHeartbeat(() => undefined);
    await waitFor(() => noted().length === own.length, { deadlineMs: 5_000, what: 'the earlier leases' });
    expect(noted()).toEqual(own);
    const open = (await listLeases(bucket)).filter(({ state }) => state === 'open');
    expect(open.map(({ node }) => node).toSorted()).toEqual(own);
    await last.close({ complete: [true, true] });
  });

  describe('of a collector that is killed while its network is cut off', () => {
    const stateOf = async (node: number) => (await readLease(bucket, node))?.state;

    /** A collector of its own connection, all of whose bytes from now on arrive only at `release`, after its kill. */
    async function startLate() {
      await freshBucket();
      const way = await startHoldingProxy(Number(new URL(nats.url).port));
      const late = await connectNats({ url: nats.url.replace(/:\d+$/, `:${way.port}`), name: 'late' });
      const lateBucket = await openBucket(late, `leases_${buckets - 1}`);
      return {
        ...way,
        lateBucket,
        /** What arrives late has been stored or refused before this returns. */
        async release() {
          await way.release();
          await bucket.put('marker', '');
          await late.close();
        },
      };
    }

    it('stays ended when a renewal arrives after its successor has ended it', async () => {
      const { hold, isHolding, release, lateBucket } = await startLate();
      const stateFile = join(folder, 'lease.json');
      const open = { stateFile, shards: 1, spooledNodes: [], log: quietLog };
      const killed = await openLeaseKeeper({ ...open, bucket: lateBucket });
      const { node } = killed.current(0);
      hold();
      killed.startHeartbeat(() => undefined);
      await waitFor(() => isHolding(`lease.${node} `), { deadlineMs: 5_000, what: 'the renewal' });
      const successor = await openLeaseKeeper({ ...open, bucket });
      keepers.push(successor);
      successor.startHeartbeat(() => undefined);
      await waitFor(async () => (await stateOf(node)) === 'crashed', { deadlineMs: 5_000, what: 'the end' });
      await release();
      expect(await stateOf(node)).toBe('crashed');
      await killed.close({ complete: [true] });
    });

    it('is not open when the write that opens it arrives after its successor has begun', async () => {
      const { hold, isHolding, release, lateBucket } = await startLate();
      const stateFile = join(folder, 'lease.json');
      const opening = openLease(lateBucket, Date.now(), 0, async (node) => {
        writeFileSync(stateFile, JSON.stringify({ nodes: [node], pid: 1 }));
        hold();
      });
      const given = expect(opening).rejects.toThrow();
      await waitFor(() => isHolding('lease.0 '), { deadlineMs: 5_000, what: 'the opening' });
      keepers.push(await openLeaseKeeper({ bucket, stateFile, shards: 1, spooledNodes: [], log: quietLog }));
      await release();
      await given;
      expect(await stateOf(0)).toBe('crashed');
    });
  });

  it('goes on when a renewal that was given up took effect', async () => {
    await freshBucket();
    const keeper = await open();
    const { node } = keeper.current(0);
    const lost = await readLease(bucket, node);
    await writeLease(bucket, { ...(lost as Lease), heldFromMs: 1 });
    const heldMs = Date.now() - 60_000;
    keeper.startHeartbeat(() => heldMs);
    await waitFor(async () => (await readLease(bucket, node))?.heldFromMs === heldMs, {
      deadlineMs: 5_000,
      what: 'the next renewal',
    });
  });

  it('is not opened before its number is noted, or a crash between the two would hold the watermark for ever', async () => {
    await freshBucket();
    // Nothing is there, and nothing can be written there.
    symlinkSync(join(folder, 'missing'), join(folder, 'state'));
    const stateFile = join(folder, 'state', 'lease.json');
    const opening = openLeaseKeeper({ bucket, stateFile, shards: 1, spooledNodes: [], log: quietLog });
    await expect(opening).rejects.toThrow(/ENOENT|EEXIST/);
    expect(await listLeases(bucket)).toEqual([]);
  });

  it('of a state folder that somebody else keeps renewing are refused, and others are not', async () => {
    await freshBucket();
    const stateFile = join(folder, 'lease.json');
    const keeper = await openLeaseKeeper({ bucket, stateFile, shards: 1, spooledNodes: [], log: quietLog });
    keepers.push(keeper);
    const { pid, ...noted } = JSON.parse(readFileSync(stateFile, 'utf8')) as { pid: number };
    const elsewhere = () => writeFileSync(stateFile, JSON.stringify({ ...noted, pid, place: 'a container' }));
    elsewhere();
    // Killed a moment ago: fresh, and not renewed.
    await refuseKeptLeases(bucket, stateFile);
    keeper.startHeartbeat(() => undefined);
    await expect(refuseKeptLeases(bucket, stateFile)).rejects.toMatchObject({ code: 'collector_running' });
    await keeper.close({ complete: [true] });
    elsewhere();
    await refuseKeptLeases(bucket, stateFile);
  });
});
