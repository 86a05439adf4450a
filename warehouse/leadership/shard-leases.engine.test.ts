import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Bucket, connectNats, LEADERS_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { HEARTBEAT_MS, LEADERS_TTL_MS, ShardLeases } from './shard-leases.ts';
import { movesOf } from './shares.ts';

let nats: TestNats;
let nc: NatsConnection;
let bucket: Bucket;
let buckets = 0;
let clock = 0;
const now = () => clock;

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test' });
});
beforeEach(async () => {
  bucket = await openBucket(nc, `${LEADERS_BUCKET}_${buckets++}`, { ttlMs: LEADERS_TTL_MS });
});
afterAll(async () => {
  await nc.close();
  await nats.stop();
});

/** One heartbeat of a loader, as a process makes it. */
async function beat(
  leases: ShardLeases,
  shards: readonly number[] = [0, 1],
): Promise<{ lost: number[]; claimed: number[] }> {
  const lost = await leases.beat();
  const { claim } = movesOf(leases.id, await leases.look(shards));
  const claimed: number[] = [];
  for (const shard of claim) if (await leases.claim(shard)) claimed.push(shard);
  return { lost, claimed };
}

it('a lease changes hands at once when it is given back, and within 3 s when its leader dies', async () => {
  const first = new ShardLeases({ bucket, id: 'first', now });
  const second = new ShardLeases({ bucket, id: 'second', now });
  expect((await beat(first)).claimed).toEqual([0, 1]);
  expect((await beat(second)).claimed).toEqual([]);
  await first.release(1);
  expect((await beat(second)).claimed).toEqual([1]);

  // Renewed, it stays for ever.
  for (let i = 0; i < 20; i++) {
    clock += HEARTBEAT_MS;
    expect(await beat(first)).toEqual({ lost: [], claimed: [] });
    expect(await beat(second)).toEqual({ lost: [], claimed: [] });
  }
  // The first one dies right after a heartbeat that the second one has just missed.
  await first.beat();
  const diedAt = clock;
  while (!(await beat(second)).claimed.includes(0)) {
    expect(clock - diedAt).toBeLessThan(3_000);
    clock += HEARTBEAT_MS;
  }
  expect(clock - diedAt).toBeGreaterThan(1_000);
  // It was only paused: it hears so at its next heartbeat.
  expect((await beat(first)).lost).toEqual([0]);
  expect(first.holds(0)).toBe(false);
  // What it gives back is not its own any more.
  await first.release(0);
  expect(await beat(second)).toEqual({ lost: [], claimed: [] });

  await second.leave();
  expect((await beat(first)).claimed).toEqual([0, 1]);
});

it('of two that take a lease at once one has it', async () => {
  const all = Array.from({ length: 5 }, (_, i) => new ShardLeases({ bucket, id: `racer-${i}`, now }));
  await Promise.all(all.map((leases) => leases.look([7])));
  const taken = await Promise.all(all.map((leases) => leases.claim(7)));
  expect(taken.filter(Boolean)).toHaveLength(1);
});

it('after an outage of NATS the first that is answered leaves the others their shards, but not those of a dead one', async () => {
  const shards = [10, 11, 12, 13];
  const leaders = ['early', 'late', 'dead'].map((id) => new ShardLeases({ bucket, id, now }));
  const [early, late, dead] = leaders as [ShardLeases, ShardLeases, ShardLeases];
  for (const leases of leaders) await leases.look(shards);
  await early.claim(10);
  await late.claim(11);
  await dead.claim(12);
  await dead.claim(13);
  const nothing = { lost: [], claimed: [] };
  for (const leases of leaders) expect(await beat(leases, shards)).toEqual(nothing);

  // Nothing is answered for 6 s; a request of the late one was lost just before the end.
  clock += 6_000;
  for (let i = 0; i < 13; i++) {
    clock += HEARTBEAT_MS;
    expect(await beat(early, shards)).toEqual(nothing);
  }
  expect(await beat(late, shards)).toEqual(nothing);
  const claimed: number[] = [];
  for (let i = 0; i < 25 && claimed.length < 2; i++) {
    clock += HEARTBEAT_MS;
    for (const leases of [early, late]) {
      const moves = await beat(leases, shards);
      expect(moves.lost).toEqual([]);
      claimed.push(...moves.claimed);
    }
  }
  expect(claimed.sort()).toEqual([12, 13]);
  await early.leave();
  await late.leave();
});

it('a short outage in which its own request failed counts too', async () => {
  let isCut = false;
  const cut: Bucket = {
    ...bucket,
    manager: bucket.manager,
    stream: bucket.stream,
    put: (key, value) => (isCut ? Promise.reject(new Error('no answer')) : bucket.put(key, value)),
    get: (key) => bucket.get(key),
    create: (key, value) => bucket.create(key, value),
    update: (key, value, revision) => bucket.update(key, value, revision),
  };
  const other = new ShardLeases({ bucket, id: 'other', now });
  const leases = new ShardLeases({ bucket: cut, id: 'cut', now });
  await other.look([20]);
  await other.claim(20);
  expect(await beat(leases, [20])).toEqual({ lost: [], claimed: [] });
  isCut = true;
  clock += 1_000;
  await expect(leases.beat()).rejects.toThrow('no answer');
  isCut = false;
  clock += 700;
  expect(await beat(leases, [20])).toEqual({ lost: [], claimed: [] });
  clock += HEARTBEAT_MS;
  expect(await beat(leases, [20])).toEqual({ lost: [], claimed: [] });
  expect(await beat(other, [20])).toEqual({ lost: [], claimed: [] });
  await other.leave();
});

it('a renewal that took effect without an answer is no loss', async () => {
  const leases = new ShardLeases({ bucket, id: 'unanswered', now });
  await leases.look([30]);
  await leases.claim(30);
  // What such a renewal leaves behind: the value is written again, and its revision is not known.
  await bucket.put('leader.30', 'unanswered');
  expect(await leases.beat()).toEqual([]);
  await leases.release(30);
  expect((await bucket.get('leader.30'))?.operation).toBe('DEL');
  // Nor is a lease lost that was taken without an answer.
  await bucket.put('leader.30', 'unanswered');
  expect(await beat(leases, [30])).toEqual({ lost: [], claimed: [30] });
  await leases.leave();
});

it('one that fails takes nothing while another does not', async () => {
  const [failing, able] = [
    new ShardLeases({ bucket, id: 'failing', now }),
    new ShardLeases({ bucket, id: 'able', now }),
  ];
  await failing.beat({ isFailing: true });
  expect((await failing.look([40])).loaders).toEqual(['failing']);
  await able.beat();
  expect((await failing.look([40])).loaders).toEqual(['able']);
  expect((await able.look([40])).loaders).toEqual(['able']);
  await able.beat({ isFailing: true });
  expect((await able.look([40])).loaders.toSorted()).toEqual(['able', 'failing']);
  await failing.leave();
  await able.leave();
});
