import { afterAll, beforeAll, expect, test } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import type { ClickSource } from './click-source.ts';
import { MAX_PAGES, PAGE_SIZE } from './look.ts';
import { BATCH_SIZE, createAttributionWorker } from './worker.ts';

/** More orders that are due than one question to the ledger answers. */

const LIMIT_MS = 180_000;

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

/** Records orders with these click ids, the first one due first; ids follow each other. */
async function report(clickIds: readonly (string | null)[]): Promise<void> {
  const { programId } = fixture.parties;
  await fixture.ledger`
    insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, source, occurred_at, click_id,
      next_attempt_at)
    select ${programId}, 'EUR', 'queue ' || gen_random_uuid(), 10000, decode(repeat('ab', 32), 'hex'), 'api',
      clock_timestamp(), click_id, clock_timestamp() + make_interval(secs => i / 1e6)
    from unnest(${[...clickIds]}::text[]) with ordinality as r (click_id, i) order by i`;
}

/** A worker as its process runs it: again and again without a pause while batches are full. */
async function sweep(now: Date) {
  const decided: bigint[] = [];
  const lookedUp: number[] = [];
  let looks = 0;
  const clicks: ClickSource = {
    ...fixture.clicks,
    async completeToMs() {
      looks++;
      return await fixture.clicks.completeToMs();
    },
    async lookUp(identities) {
      lookedUp.push(identities.length);
      return await fixture.clicks.lookUp(identities);
    },
  };
  const worker = createAttributionWorker({
    ...{ ledger: fixture.ledger, clickIds: fixture.clickIds, clicks, log: quietLog },
    onDecided: ({ conversionId }) => decided.push(conversionId),
  });
  let batches = 0;
  for (let isFull = true; isFull; batches++) ({ isFull } = await worker.runBatch(now));
  return { decided, lookedUp, looks, batches, stats: worker.stats };
}

test('three times as many are all decided in one sweep, the longest waiting first', {
  timeout: LIMIT_MS,
}, async () => {
  const orders = 3 * PAGE_SIZE;
  const [click] = await fixture.addClicks([{}]);
  const clickId = fixture.clickIds.encode(click ?? { ts: 0, node: 0, seq: 0 });
  await report(Array.from({ length: orders }, (_, i) => (i % 1_000 === 0 ? clickId : null)));
  const { decided, lookedUp, looks, batches } = await sweep(new Date(Date.now() + 1_000));
  expect(decided).toHaveLength(orders);
  expect(decided).toEqual(decided.toSorted((a, b) => (a < b ? -1 : 1)));
  // The last one finds that nothing is left.
  expect(batches).toBe(orders / BATCH_SIZE + 1);
  expect(looks).toBe(orders / BATCH_SIZE);
  expect(Math.max(...lookedUp)).toBeLessThanOrEqual(BATCH_SIZE);
});

test('those whose click is not counted yet hold up none behind them, and are not written', {
  timeout: LIMIT_MS,
}, async () => {
  const ts = Date.now() + HOUR_MS;
  const early = PAGE_SIZE + 100;
  const ids = Array.from({ length: early }, (_, seq) => fixture.clickIds.encode({ ts, node: 60_000, seq }));
  await report([...ids, ...Array<null>(50).fill(null)]);
  const now = new Date(Date.now() + 1_000);
  const { decided, looks, batches, stats } = await sweep(now);
  expect(decided).toHaveLength(50);
  expect({ looks, batches, postponed: stats.postponed }).toEqual({ looks: 2, batches: 1, postponed: 0 });
  const [untouched] = await fixture.ledger<{ count: bigint }[]>`
    select count(*) from conversions where state = 'received' and attempts = 0 and claimed_until is null`;
  expect(Number(untouched?.count)).toBe(early);
});

test('a look is of so many pages at the most, and what lies behind is not held up for long', {
  timeout: LIMIT_MS,
}, async () => {
  const ts = Date.now() + HOUR_MS;
  const { ledger, parties } = fixture;
  const [before] = await ledger<{ count: bigint }[]>`
    select count(*) from conversions where state = 'received' and program_id = ${parties.programId}`;
  const more = MAX_PAGES * PAGE_SIZE - Number(before?.count);
  await report([
    ...Array.from({ length: more }, (_, seq) => fixture.clickIds.encode({ ts, node: 60_001, seq })),
    null,
  ]);
  const first = await sweep(new Date(Date.now() + 1_000));
  expect({ looks: first.looks, decided: first.decided.length }).toEqual({ looks: MAX_PAGES, decided: 0 });
  // When the clicks are counted, the queue moves.
  await fixture.completeTo(ts + 1);
  const second = await sweep(new Date(Date.now() + 1_000));
  expect(second.decided).toHaveLength(MAX_PAGES * PAGE_SIZE + 1);
});
