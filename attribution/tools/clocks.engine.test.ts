import type { NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newLease, writeLease } from '../../core/clicks/lease.ts';
import { connectNats, LEASES_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { createParties, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { clockWarnings } from './clocks.ts';

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let nats: TestNats;
let nc: NatsConnection;
beforeAll(async () => {
  [books, warehouse, nats] = await Promise.all([freshLedger({ max: 2 }), freshWarehouse(), startTestNats()]);
  nc = await connectNats({ url: nats.url, name: 'test' });
});
afterAll(async () => {
  await nc?.close();
  await nats?.stop();
  await books?.close();
  await warehouse?.drop();
});

const warnings = () => clockWarnings({ nc, warehouse, ledger: books.ledger });

test('clocks of collectors and shops that are off by more than a second are reported, the others are not', async () => {
  const leases = await openBucket(nc, LEASES_BUCKET);
  await writeLease(leases, newLease(1, Date.now()));
  await writeLease(leases, { ...newLease(3, Date.now() + 9_000), state: 'closed' });
  const { programId } = await createParties(books.ledger);
  const order = async (id: string, seconds: { occurred: number; click?: number }) => {
    const { occurred, click = null } = seconds;
    await books.owner`
      insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, source, occurred_at, received_at,
        click_ts)
      values (${programId}, 'EUR', ${id}, 100, ${Buffer.alloc(32)}, 'api',
        date_trunc('minute', now()) + ${occurred} * interval '1 second', date_trunc('minute', now()),
        date_trunc('minute', now()) + ${click}::integer * interval '1 second')`;
  };
  await order('on time', { occurred: 0 });
  await order('late', { occurred: -7_200 });
  await order('cut to the minute', { occurred: -60, click: -20 });
  expect(await warnings()).toEqual([]);

  await writeLease(leases, newLease(2, Date.now() - 3_400));
  await order('of the future', { occurred: 2 });
  await order('before its click', { occurred: -61, click: -30 });
  expect(await warnings()).toEqual([
    expect.stringMatching(/^the clock of the collector with node 2 is 3\.[45] s behind$/),
    `the clock of the shop of prg_${programId} (2 orders of the last 24 hours) is 31.0 s behind`,
  ]);
});
