import { afterAll, beforeAll, expect, test } from 'vitest';
import { HOUR_MS } from '../../../core/time.ts';
import { addPastOrders, freshLedger, whileOrdersAreLocked } from '../../../test/support/ledger.ts';
import { createClickTimes } from './click-times.ts';

const NOW = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;

let books: Awaited<ReturnType<typeof freshLedger>>;

/** An order each minute of the last two hours, some minutes after its click. */
const addOrders = (campaignId: number, name: string) =>
  addPastOrders(books, { campaignId, name, nowMs: NOW, orders: 120, everyMinutes: 1, clickMinutes: 1 });

beforeAll(async () => {
  books = await freshLedger({ max: 2 });
  await addOrders(1, 'a');
});
afterAll(async () => {
  await books.close();
});

const own = (given: object = {}) => ({
  ...{ affiliateIds: [1], campaignId: 1, until: new Date(NOW), isSettled: true },
  ...given,
});
const usual = (given: object = {}) => ({ programId: 1, until: new Date(NOW), isSettled: true, ...given });

test('what was read is answered from memory, each question by its own; another one is read', async () => {
  const fresh = createClickTimes();
  const one = await fresh.own(books.ledger, [own()]);
  const two = await fresh.own(books.ledger, [own({ affiliateIds: [2] })]);
  const earlier = await fresh.own(books.ledger, [own({ until: new Date(NOW - HOUR_MS) })]);
  const both = await fresh.own(books.ledger, [own({ affiliateIds: [1, 2] })]);
  const all = await fresh.usual(books.ledger, [usual()]);
  expect([one, two, earlier, both].map(([times]) => times?.orders)).toEqual([40, 40, 20, 50]);
  expect(new Set([one, two, earlier, both].map(([times]) => times?.seconds)).size).toBe(4);
  expect(all[0]?.map(({ orders }) => orders)).toEqual([40, 40, 40]);
  const times = createClickTimes();
  await times.own(books.ledger, [own({ affiliateIds: [2] }), own()]);
  await times.usual(books.ledger, [usual()]);
  await whileOrdersAreLocked(books, async () => {
    expect(await times.own(books.ledger, [own(), own({ affiliateIds: [2] })])).toEqual([...one, ...two]);
    expect(await times.usual(books.ledger, [usual()])).toEqual(all);
    // Not kept, and not read in its time: the others are answered.
    const unread = own({ until: new Date(NOW - HOUR_MS) });
    expect(await times.own(books.ledger, [unread, own()])).toEqual([undefined, ...one]);
  });
  // What could not be read is read with the next question.
  expect(await times.own(books.ledger, [own({ until: new Date(NOW - HOUR_MS) })])).toEqual(earlier);
});

test('nothing is kept while older orders are undecided', async () => {
  const times = createClickTimes();
  const of = { campaignId: 2, isSettled: false };
  const none = { orders: 0, seconds: 0, squares: 0 };
  expect(await times.own(books.ledger, [own(of)])).toEqual([none]);
  const before = await times.usual(books.ledger, [usual({ isSettled: false })]);
  await addOrders(2, 'b');
  expect(await times.own(books.ledger, [own({ ...of, isSettled: true })])).not.toEqual([none]);
  expect(await times.usual(books.ledger, [usual()])).not.toEqual(before);
});
