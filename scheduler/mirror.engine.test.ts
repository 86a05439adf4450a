import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordConversion } from '../ledger/conversions/conversions.ts';
import { recordRefund } from '../ledger/decisions/refunds.ts';
import { inTransaction } from '../ledger/postgres/db.ts';
import { conversionSums, outboxLag } from '../ledger/postgres/outbox.ts';
import { createCoupon, withdrawCoupon } from '../ledger/programs/coupons.ts';
import { FROM_THE_BEGINNING } from '../ledger/programs/names.ts';
import {
  createParties,
  creditOrder,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
} from '../test/support/ledger.ts';
import { freshWarehouse } from '../test/support/warehouse.ts';
import { mirrorSums } from '../warehouse/mirror/mirror.ts';
import { mirrorBatch } from './mirror.ts';
import { mirrorNameChanges } from './names.ts';

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let parties: TestParties;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 8 }), freshWarehouse()]);
  parties = await createParties(books.ledger);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

const text = (value: unknown): string =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}` : v));

async function drain(): Promise<void> {
  const { ledger } = books;
  while ((await mirrorBatch({ ledger, warehouse })) > 0);
}

test('the mirror equals the books, also when two write changes to it while they happen', async () => {
  const { ledger } = books;
  let changing = true;
  const mirrors = [0, 1].map(async () => {
    while (changing) await mirrorBatch({ ledger, warehouse });
  });
  const orders = Array.from({ length: 20 }, async (_, i) => {
    const outcome = i % 5 === 0 ? 'review' : 'attributed';
    const reason = i % 5 === 0 ? 'instant_conversion' : null;
    const orderId = randomUUID();
    await creditOrder(ledger, parties, { orderId, amountMinor: 10_000n, outcome, reason });
    for (let part = 0; part < i % 4; part++) {
      const refund = { programId: parties.programId, orderId, refundRef: randomUUID(), amountMinor: 1_000n };
      await inTransaction(ledger, (tx) => recordRefund(tx, { ...refund, actor: 'test' }));
    }
  });
  await Promise.all(orders);
  changing = false;
  await Promise.all(mirrors);
  await drain();
  expect(await outboxLag(ledger)).toEqual({ waiting: 0, oldestAt: null });
  const sums = await conversionSums(ledger);
  expect(sums.map(({ state }) => state)).toEqual(['attributed', 'partially_refunded', 'review']);
  expect(text(await mirrorSums(warehouse))).toBe(text(sums));
});

test('a change stays in the outbox until the mirror has it', async () => {
  const { ledger } = books;
  await creditOrder(ledger, parties, { amountMinor: 500n });
  const unavailable = {
    ...warehouse,
    insertRows: () => Promise.reject(new Error('unavailable')),
  };
  await expect(mirrorBatch({ ledger, warehouse: unavailable })).rejects.toThrow('unavailable');
  expect((await outboxLag(ledger)).waiting).toBeGreaterThan(0);
  await drain();
  expect(text(await mirrorSums(warehouse))).toBe(text(await conversionSums(ledger)));
});

test('a change that is rolled back leaves nothing, and the application cannot edit the outbox', async () => {
  const { ledger } = books;
  await drain();
  await ledger
    .begin(async (tx) => {
      await tx`update conversions set state = 'refunded', refunded_minor = amount_minor where state = 'attributed'`;
      throw new Error('rolled back');
    })
    .catch(() => undefined);
  expect((await outboxLag(ledger)).waiting).toBe(0);
  await expect(ledger`update outbox set conversion_id = 1`).rejects.toThrow('permission denied');
});

test('names follow the ledger, also those of a transaction that was open at the last look', async () => {
  const { ledger, owner } = books;
  const shown = async (kind: string) =>
    (
      await warehouse.query<{ name: string }>(
        'SELECT name FROM names FINAL WHERE kind = {kind:String} ORDER BY id',
        { kind },
      )
    ).rows.map(({ name }) => name);
  let since = await mirrorNameChanges({ ledger, warehouse, since: FROM_THE_BEGINNING });
  expect(await shown('program')).toEqual(['Shop']);
  expect(await shown('affiliate')).toEqual(['grandparent', 'parent', 'affiliate']);
  const [link] = await ledger<{ code: string }[]>`select code from links`;
  expect(await shown('link')).toEqual([link?.code]);
  await owner.begin(async (tx) => {
    await tx`update campaigns set name = 'Autumn'`;
    // A later transaction that ends earlier.
    await ledger`update programs set name = 'Store'`;
    since = await mirrorNameChanges({ ledger, warehouse, since });
    expect(await shown('program')).toEqual(['Store']);
    expect(await shown('campaign')).toEqual(['Spring']);
  });
  since = await mirrorNameChanges({ ledger, warehouse, since });
  expect(await shown('campaign')).toEqual(['Autumn']);
});

test('an order has the sub ids of its click in the warehouse', async () => {
  const { ledger } = books;
  const { programId } = parties;
  const order = { programId, orderId: 'subs', amountMinor: 1_000n, currency: 'EUR', source: 'api' } as const;
  const { conversion } = await recordConversion(ledger, order);
  const { click, ...decision } = decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null });
  if (!click) throw new Error('a decision of tests has a click');
  const subs = ['one', 'twö', '', '', '5'];
  await inTransaction(ledger, (tx) => recordDecision(tx, { ...decision, click: { ...click, subs } }));
  await drain();
  const { rows } = await warehouse.query(
    `SELECT sub1, sub2, sub3, sub4, sub5 FROM conversions FINAL WHERE conversion_id = ${conversion.id}`,
  );
  expect(rows).toEqual([{ sub1: 'one', sub2: 'twö', sub3: '', sub4: '', sub5: '5' }]);
});

test('an order that a coupon credits has no link, and took no time from a click', async () => {
  const { ledger } = books;
  const { programId, chain } = parties;
  const first = await createCoupon(ledger, { programId, affiliateId: chain[1], code: 'Mirror' });
  await withdrawCoupon(ledger, { id: first.id, now: new Date() });
  // Made again for another affiliate: it is the same code.
  const { id: couponId } = await createCoupon(ledger, { programId, affiliateId: chain[0], code: 'MIRROR' });
  const order = {
    programId,
    orderId: 'by-coupon',
    amountMinor: 1_000n,
    currency: 'EUR',
    source: 'api',
  } as const;
  const { conversion } = await recordConversion(ledger, order);
  const { click, ...decision } = decisionFor(parties, conversion.id, { outcome: 'attributed', reason: null });
  if (!click) throw new Error('a decision of tests has a click');
  const withoutClick = { ...click, node: null, seq: null, ip: null, linkId: null };
  await inTransaction(ledger, (tx) => recordDecision(tx, { ...decision, click: withoutClick, couponId }));
  await drain();
  const { rows } = await warehouse.query(
    `SELECT affiliate_id, link_id, click_ts, coupon FROM conversions FINAL WHERE conversion_id = ${conversion.id}`,
  );
  expect(rows).toEqual([{ affiliate_id: chain[0], link_id: 0, click_ts: null, coupon: 'Mirror' }]);
});
