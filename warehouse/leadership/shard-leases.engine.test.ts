import type { KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectNats, LEADERS_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { HEARTBEAT_MS, LEADERS_TTL_MS, ShardLeases } from './shard-leases.ts';
import { movesOf } from './shares.ts';

let nats: TestNats;
let nc: NatsConnection;
let bucket: KV;
let clock = 0;
const now = () => clock;

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test' });
  bucket = await openBucket(nc, LEADERS_BUCKET, { ttlMs: LEADERS_TTL_MS });
});
afterAll(async () => {
  await nc.close();
  await nats.stop();
});

/** One heartbeat of a loader, as a process makes it. */
async function beat(leases: ShardLeases): Promise<{ lost: number[]; claimed: number[] }> {
  const lost = await leases.beat();
  const { claim } = movesOf(leases.id, await leases.look([0, 1]));
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
