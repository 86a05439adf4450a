import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NatsWith, startNatsWith } from '../../test/support/servers/nats.ts';
import { listLeases, openLease, readLease } from './lease.ts';
import { connectNats, LEASES_BUCKET, openBucket } from './stream.ts';

let server: NatsWith;

beforeAll(async () => {
  // Any replica answers direct reads, and runs consumers, from what it has so far.
  const permissions = { publish: { deny: ['$JS.API.DIRECT.>', '$JS.API.CONSUMER.>'] } };
  server = await startNatsWith({ authorization: { users: [{ user: 'u', password: 'p', permissions }] } });
});
afterAll(() => server.stop());

test('leases are read from the leader of their stream alone', async () => {
  const nc = await connectNats({ url: `nats://u:p@127.0.0.1:${server.port}`, name: 'test' });
  try {
    const bucket = await openBucket(nc, LEASES_BUCKET);
    expect(await listLeases(bucket)).toEqual([]);
    const opened = [await openLease(bucket, 1_000), await openLease(bucket, 2_000)];
    const leases = opened.map(({ lease }) => lease);
    expect(leases.map(({ node }) => node)).toEqual([0, 1]);
    expect(await readLease(bucket, 1)).toEqual(leases[1]);
    expect(await listLeases(bucket)).toEqual(leases);
  } finally {
    await nc.close();
  }
});
