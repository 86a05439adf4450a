import { afterAll, beforeAll, expect, test } from 'vitest';
import { HOUR_MS, MINUTE_MS } from '../../../core/time.ts';
import { addPastOrders, freshLedger, whileOrdersAreLocked } from '../../../test/support/ledger.ts';
import type { Won } from '../../decide/choose.ts';
import { gatherHistories } from '../history.ts';
import { createCampaignSales, type SalesQuestion } from './campaign-sales.ts';
import { createClickTimes } from './click-times.ts';
import { createOrderCounts } from './order-counts.ts';

const NOW = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
const AFFILIATES = 3;
const CAMPAIGN = 1;

let books: Awaited<ReturnType<typeof freshLedger>>;

/** An order every quarter of an hour of the last two days, by a click of up to five hours before. */
const addOrders = (campaignId: number, name: string) =>
  addPastOrders(books, { campaignId, name, nowMs: NOW, orders: 192, everyMinutes: 15, clickMinutes: 7 });

beforeAll(async () => {
  books = await freshLedger({ max: 2 });
  await addOrders(CAMPAIGN, 'a');
});
afterAll(async () => {
  await books.close();
});

const ask = (hoursAgo: number, given: Partial<SalesQuestion> = {}): SalesQuestion => ({
  campaignId: CAMPAIGN,
  hour: NOW - hoursAgo * HOUR_MS,
  isSettled: true,
  ...given,
});

test('kept hours are answered as when they are read, and nothing is read for them', async () => {
  const hours = Array.from({ length: 24 }, (_, i) => i);
  const fresh = await Promise.all(
    hours.map(async (hoursAgo) => (await createCampaignSales().read(books.ledger, [ask(hoursAgo)]))[0]),
  );
  expect(new Set(fresh.map((sold) => JSON.stringify([...(sold ?? [])]))).size).toBeGreaterThan(3);
  const sales = createCampaignSales();
  await sales.read(books.ledger, [ask(23), ask(0)]);
  await whileOrdersAreLocked(books, async () => {
    expect(
      await sales.read(
        books.ledger,
        hours.map((hoursAgo) => ask(hoursAgo)),
      ),
    ).toEqual(fresh);
    // Not kept, and not read in its time.
    expect(await sales.read(books.ledger, [ask(0), ask(30), ask(0, { campaignId: 2 })])).toEqual([
      fresh[0],
      undefined,
      undefined,
    ]);
  });
  expect(await sales.read(books.ledger, [ask(30), ask(0)])).toEqual([expect.any(Map), fresh[0]]);
  await whileOrdersAreLocked(books, async () =>
    expect(await sales.read(books.ledger, [ask(25), ask(0)])).not.toContain(undefined),
  );
});

test('nothing is kept while older orders are undecided', async () => {
  const sales = createCampaignSales();
  const of = { campaignId: 3, isSettled: false };
  expect(await sales.read(books.ledger, [ask(0, of)])).toEqual([new Map()]);
  await addOrders(3, 'b');
  const [sold] = await sales.read(books.ledger, [ask(0, { ...of, isSettled: true })]);
  expect(sold?.size).toBe(AFFILIATES);
});

test('an order counts for clicks of an hour that began when it was 15 minutes old', async () => {
  const sales = createCampaignSales();
  const [sold] = await sales.read(books.ledger, [ask(0)]);
  const [expected] = await books.owner<{ clicks: number }[]>`
    select count(*)::integer as clicks from conversions
    where campaign_id = ${CAMPAIGN}::integer and click_ts >= ${new Date(NOW - 24 * HOUR_MS)} and click_ts < ${new Date(NOW)}
      and received_at < ${new Date(NOW - 15 * MINUTE_MS)}`;
  expect([...(sold?.values() ?? [])].reduce((a, b) => a + b, 0)).toBe(expected?.clicks);
});

test('an order that was tried often is not taken for decided: what says that it is complete has it', async () => {
  await addOrders(4, 'c');
  const asOwner = async (use: (tx: typeof books.owner) => PromiseLike<unknown>) =>
    await books.owner.begin(async (tx) => {
      await tx`set local session_replication_role = replica`;
      await use(tx as never);
    });
  const receivedAt = new Date(NOW - 2 * HOUR_MS);
  await asOwner(
    (tx) => tx`
      insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, state, source, occurred_at,
        received_at, attempts, next_attempt_at)
      values (1, 'EUR', 'waiting', 100, decode(repeat('ab', 32), 'hex'), 'awaiting_click', 'postback', ${receivedAt},
        ${receivedAt}, 10, ${receivedAt})`,
  );
  const traffic = async (questions: readonly object[]) =>
    questions.map(() => ({ clicks: 100, forced: 0, byAffiliate: new Map() }));
  const fresh = () =>
    ({
      ...{ sql: books.ledger, clicks: { traffic } },
      ...{ counts: createOrderCounts(), sales: createCampaignSales(), times: createClickTimes() },
    }) as never;
  const won = {
    conversion: {
      ...{ id: 1n, programId: 1, customerId: null, clickId: 'x', source: 'api', fraudRules: {} },
      receivedAt: new Date(NOW + MINUTE_MS),
    },
    winner: { source: 'click_id', click: { ts: NOW, affiliateId: 1, campaignId: 4 } },
  } as unknown as Won;
  const gather = async (sources: never) => (await gatherHistories(sources, [won], () => 0)).get(1n);
  const worker = fresh();
  const before = await gather(worker);
  expect(before?.basis).toMatchObject({ complete: false, unread: [] });
  await asOwner(
    (tx) => tx`
      update conversions set state = 'attributed', decided_at = now(), next_attempt_at = null, campaign_id = 4, affiliate_id = 1,
        link_id = 1, terms_id = 1, click_ts = ${receivedAt}, click_node = 1, click_seq = 1000, click_ip = '1.2.3.4'
      where order_id = 'waiting'`,
  );
  const after = await gather(worker);
  expect(after?.basis).toMatchObject({ complete: true, unread: [] });
  expect(after?.sales?.own.orders).toBe((before?.sales?.own.orders ?? 0) + 1);
  expect(after).toEqual(await gather(fresh()));
});
