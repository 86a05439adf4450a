import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import {
  clicksStream,
  clicksSubject,
  firstShards,
  listClickShards,
  MAX_CLICK_SHARDS,
  readClicksStream,
  shardOfCampaign,
} from './shards.ts';
import { connectNats, ensureStreams } from './stream.ts';

let nats: TestNats;
let nc: NatsConnection;

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: 'test' });
});
afterAll(async () => {
  await nc.close();
  await nats.stop();
});

it('sends a campaign where ClickHouse computes it, and campaigns evenly', async () => {
  const warehouse = await freshWarehouse();
  const ids = [...Array.from({ length: 2_000 }, (_, id) => id), 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
  for (const count of [1, 4, MAX_CLICK_SHARDS]) {
    const { rows } = await warehouse.query<{ shard: number }>(
      `SELECT murmurHash3_32(toUInt32(arrayJoin([${ids.join(',')}]))) % ${count} AS shard`,
    );
    const shards = ids.map((id) => shardOfCampaign(id, count));
    expect(shards).toEqual(rows.map(({ shard }) => shard));
    for (const shard of firstShards(count)) {
      const share = shards.filter((one) => one === shard).length / ids.length;
      expect(share * count).toBeGreaterThan(0.7);
      expect(share * count).toBeLessThan(1.3);
    }
  }
  await warehouse.drop();
});

it('goes on with the stream from before there were shards, and keeps its batches', async () => {
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: clicksStream(0), subjects: ['afflux.clicks.*'] });
  await manager.jetstream().publish(clicksSubject(0), 'a batch');
  const before = await readClicksStream(manager, 0);
  await Promise.all([
    ensureStreams(nc, { shards: firstShards(3) }),
    ensureStreams(nc, { shards: firstShards(3) }),
    ensureStreams(nc),
  ]);
  expect(await listClickShards(manager)).toEqual([0, 1, 2]);
  expect(await readClicksStream(manager, 0)).toEqual(before);
  for (const shard of firstShards(3)) {
    const { stream } = await manager.jetstream().publish(clicksSubject(shard), 'a batch');
    expect(stream).toBe(clicksStream(shard));
  }
  // Fewer shards remove none: its batches may still be on their way.
  await ensureStreams(nc, { shards: firstShards(1) });
  expect(await listClickShards(manager)).toEqual([0, 1, 2]);
});

it('names the setting when NATS has no room for the limit of a new stream', async () => {
  const manager = await jetstreamManager(nc);
  // Most of the 256 GiB that the server may store.
  const { config } = await manager.streams.add({ name: 'OTHER', subjects: ['other'], max_bytes: 240e9 });
  await expect(ensureStreams(nc, { shards: [0, 7] })).rejects.toMatchObject({
    code: 'nats_failed',
    message: expect.stringMatching(/no room for CLICKS.*max_file_store/s),
  });
  await manager.streams.delete(config.name);
});
