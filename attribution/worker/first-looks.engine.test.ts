import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { OperatingError } from '../../core/errors.ts';
import { HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { CLAIM_MS } from '../../ledger/conversions/conversion-claims.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { waitFor } from '../../test/support/engines.ts';
import type { ClickSource } from './click-source.ts';
import { RENEW_MS } from './worker.ts';

/** When orders are taken, and for how long: with a warehouse that is slow, unavailable or behind, and clocks that differ. */

let fixture: AttributionFixture;
let startMs: number;
beforeEach(async () => {
  fixture = await startAttributionFixture();
  startMs = Date.now();
  await fixture.completeTo(startMs);
});
afterEach(async () => {
  vi.useRealTimers();
  await fixture?.close();
});

/** Orders of a test are due from the first minute on, however long a busy machine takes to record them. */
const at = (seconds: number): Date => new Date(startMs + seconds * 1_000);

/** An order whose click is made at a time that the watermark has not passed; `store` makes both known. */
async function earlyOrder(clickMs = startMs + HOUR_MS) {
  const click = { ts: clickMs, node: 60_000, seq: 1 };
  const orderId = await fixture.order({
    clickId: fixture.clickIds.encode(click),
    occurredAt: new Date(clickMs + MINUTE_MS),
  });
  return {
    orderId,
    async store(): Promise<void> {
      await fixture.addClicks([click]);
      await fixture.completeTo(clickMs + 1);
    },
  };
}

/** What a claim or a postponement would change. */
async function rowOf(orderId: string) {
  const [row] = await fixture.ledger<
    {
      version: string;
      state: string;
      attempts: number;
      nextAttemptAt: Date | null;
      claimedUntil: Date | null;
    }[]
  >`
    select xmin::text as version, state, attempts, next_attempt_at, claimed_until
    from conversions where order_id = ${orderId}`;
  if (!row) throw new Error(`order ${orderId} was recorded`);
  return row;
}

/** Waits until an order is claimed up to a time; readings of the monotonic clock have fractions, which are lost. */
async function claimedUntil(orderId: string, endMs: number): Promise<void> {
  const isClaimed = async () => Math.abs(((await rowOf(orderId)).claimedUntil?.getTime() ?? 0) - endMs) <= 1;
  await waitFor(isClaimed, { deadlineMs: 10_000, what: `a claim to ${new Date(endMs).toISOString()}` });
}

function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A source whose look-up of clicks begins and then waits. */
function heldSource(over: Partial<ClickSource> = {}) {
  const [begun, released] = [gate(), gate()];
  const source: ClickSource = {
    ...fixture.clicks,
    async lookUp(identities) {
      begun.open();
      await released.opened;
      return await fixture.clicks.lookUp(identities);
    },
    ...over,
  };
  return { source, begun: begun.opened, release: released.open };
}

const gone = () => Promise.reject(new OperatingError('clickhouse_unreachable', 'ClickHouse is gone'));

async function commissionsOf(orderIds: readonly string[]): Promise<number> {
  const [row] = await fixture.ledger<{ count: bigint }[]>`
    select count(*) from commissions m join conversions c on c.id = m.conversion_id
    where c.order_id = any(${[...orderIds]}::text[])`;
  return Number(row?.count);
}

test('an order that comes after the look is left as it is', async () => {
  let late: Awaited<ReturnType<typeof earlyOrder>> | undefined;
  const completeToMs = async () => {
    const complete = await fixture.clicks.completeToMs();
    late = await earlyOrder();
    return complete;
  };
  const due = await fixture.order({});
  await fixture.worker({ ...fixture.clicks, completeToMs }).runBatch(at(60));
  expect((await fixture.find(due)).state).toBe('unattributed');
  expect(await rowOf(late?.orderId ?? '')).toMatchObject({
    state: 'received',
    attempts: 0,
    claimedUntil: null,
  });
});

describe('a claim', () => {
  test('begins when it is made, and is renewed while a store is slow', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const [click] = await fixture.addClicks([{}]);
    const orderId = await fixture.order({ clickId: fixture.clickIds.encode(click ?? never()) });
    const held = heldSource({
      async completeToMs() {
        vi.advanceTimersByTime(45_000);
        return await fixture.clicks.completeToMs();
      },
    });
    const first = fixture.worker(held.source).runBatch(at(60));
    await held.begun;
    const other = fixture.worker();
    let endMs = at(60).getTime() + 45_000 + CLAIM_MS;
    await claimedUntil(orderId, endMs);
    for (let renewal = 0; renewal < 4; renewal++) {
      expect((await other.runBatch(new Date(endMs - 10))).claimed).toBe(0);
      vi.advanceTimersByTime(RENEW_MS);
      endMs += RENEW_MS;
      await claimedUntil(orderId, endMs);
    }
    held.release();
    expect((await first).claimed).toBe(1);
    expect(await rowOf(orderId)).toMatchObject({ state: 'attributed', claimedUntil: null });
  });

  test('that has lapsed pays nothing twice', async () => {
    const clicks = await fixture.addClicks(Array.from({ length: 5 }, () => ({})));
    const orderIds = await Promise.all(
      clicks.map((click) => fixture.order({ clickId: fixture.clickIds.encode(click) })),
    );
    const held = heldSource();
    const [stalled, other] = [fixture.worker(held.source), fixture.worker()];
    const first = stalled.runBatch(at(60));
    await held.begun;
    // As of a process that was stopped for a minute.
    expect((await other.runBatch(at(61 + CLAIM_MS / 1_000))).claimed).toBe(clicks.length);
    expect(other.stats.decided.attributed).toBe(clicks.length);
    held.release();
    expect((await first).claimed).toBe(clicks.length);
    expect(stalled.stats).toMatchObject({ decided: { attributed: 0 }, failed: 0, postponed: 0 });
    expect(await commissionsOf(orderIds)).toBe(3 * clicks.length);
    expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('that has lapsed puts nothing off that another worker has decided', async () => {
    const { orderId } = await earlyOrder();
    const held = heldSource();
    const stalled = fixture.worker(held.source);
    await stalled.runBatch(at(60));
    const first = stalled.runBatch(at(80));
    await held.begun;
    await fixture.completeTo(startMs + 2 * HOUR_MS);
    const other = fixture.worker();
    await other.runBatch(at(81 + CLAIM_MS / 1_000));
    const decided = await rowOf(orderId);
    expect(decided).toMatchObject({ state: 'unattributed', attempts: 0 });
    held.release();
    await first;
    expect(stalled.stats.postponed).toBe(1);
    expect(await rowOf(orderId)).toEqual(decided);
  });
});

describe('the time without ClickHouse', () => {
  test('is no look: a new order is left as it is, and then looked at as new', async () => {
    const order = await earlyOrder();
    const before = await rowOf(order.orderId);
    const source = { ...fixture.clicks, completeToMs: gone as ClickSource['completeToMs'] };
    const worker = fixture.worker(source);
    for (const seconds of [60, 120, 3_600]) {
      await expect(worker.runBatch(at(seconds))).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    }
    // It is back; the loader is still behind.
    source.completeToMs = fixture.clicks.completeToMs;
    for (const seconds of [3_601, 3_610, 3_615]) {
      expect((await worker.runBatch(at(seconds))).claimed).toBe(0);
    }
    expect(await rowOf(order.orderId)).toEqual(before);
    await order.store();
    await worker.runBatch(at(3_615.25));
    expect(await rowOf(order.orderId)).toMatchObject({ state: 'attributed', attempts: 0 });
  });

  test('lengthens no wait: an order whose click is still missing is tried again seconds later', async () => {
    const { orderId } = await earlyOrder();
    const source = { ...fixture.clicks, completeToMs: gone as ClickSource['completeToMs'] };
    const worker = fixture.worker(source);
    await expect(worker.runBatch(at(3_600))).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    source.completeToMs = fixture.clicks.completeToMs;
    await worker.runBatch(at(3_601));
    expect((await worker.runBatch(at(3_620))).claimed).toBe(1);
    const { state, attempts, nextAttemptAt } = await rowOf(orderId);
    expect({ state, attempts }).toEqual({ state: 'awaiting_click', attempts: 1 });
    const waitMs = (nextAttemptAt?.getTime() ?? 0) - at(3_620).getTime();
    expect(waitMs).toBeGreaterThan(4_000);
    expect(waitMs).toBeLessThan(10_000);
  });

  test('that begins within a batch gives its orders back, behind what is due', async () => {
    const [click] = await fixture.addClicks([{}]);
    const clickId = fixture.clickIds.encode(click ?? never());
    const orderId = await fixture.order({ clickId });
    const source = { ...fixture.clicks, lookUp: gone as ClickSource['lookUp'] };
    const worker = fixture.worker(source);
    await expect(worker.runBatch(at(60))).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    const row = await rowOf(orderId);
    expect(row).toMatchObject({ state: 'received', attempts: 0, claimedUntil: null });
    expect(row.nextAttemptAt?.getTime()).toBeGreaterThanOrEqual(at(60).getTime());
    expect(worker.stats.postponed).toBe(0);
    source.lookUp = fixture.clicks.lookUp;
    await worker.runBatch(at(70));
    expect((await rowOf(orderId)).state).toBe('attributed');
  });

  test('is not taken for traffic that cannot be read in its time', async () => {
    const [click] = await fixture.addClicks([{}]);
    const orderId = await fixture.order({ clickId: fixture.clickIds.encode(click ?? never()) });
    const source = { ...fixture.clicks, traffic: gone as ClickSource['traffic'] };
    const worker = fixture.worker(source);
    await expect(worker.runBatch(at(60))).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    expect(await rowOf(orderId)).toMatchObject({ state: 'received', attempts: 0, claimedUntil: null });
  });
});

describe.each([-5, 5])('a worker whose clock is %i s off', (offSeconds) => {
  test('decides the same as others, at most so much later', async () => {
    const stored = await fixture.addClicks([{}, {}]);
    const visitor = { ip: '203.0.113.90', fingerprint: 4_242n };
    const [known, lost] = await Promise.all([
      fixture.order({ clickId: fixture.clickIds.encode(stored[0] ?? never()) }),
      fixture.order({ clickId: fixture.clickIds.encode({ ts: startMs - 1_000, node: 60_001, seq: 1 }) }),
    ]);
    const early = await earlyOrder(startMs + 2_000);
    // The time of the order is what its visitor's clicks must be complete to: PostgreSQL's clock against the watermark's.
    const byVisitor = await fixture.order({ ...visitor, occurredAt: new Date(startMs + 3_000) });
    const worker = fixture.worker();
    const begunMs = Date.now();
    const run = async (seconds: number) =>
      await worker.runBatch(new Date(begunMs + (seconds + offSeconds) * 1_000));
    for (let seconds = 0; seconds <= 6; seconds++) await run(seconds);
    expect(await rowOf(known)).toMatchObject({ state: 'attributed' });
    expect(await rowOf(lost)).toMatchObject({ state: 'unattributed' });
    expect(await rowOf(early.orderId)).toMatchObject({ state: 'received', attempts: 0 });
    expect((await rowOf(byVisitor)).state).toMatch(/^(received|awaiting_click)$/);
    await early.store();
    await fixture.completeTo(startMs + HOUR_MS);
    for (let seconds = 7; seconds <= 20; seconds++) await run(seconds);
    expect(await rowOf(early.orderId)).toMatchObject({ state: 'attributed', attempts: 0 });
    expect(await rowOf(byVisitor)).toMatchObject({ state: 'unattributed' });
  });

  test('takes nothing that another one is at work on', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const [click] = await fixture.addClicks([{}]);
    const orderId = await fixture.order({ clickId: fixture.clickIds.encode(click ?? never()) });
    const held = heldSource();
    const first = fixture.worker(held.source).runBatch(at(60));
    await held.begun;
    const other = fixture.worker();
    let nowMs = at(60).getTime();
    for (let renewal = 0; renewal < 4; renewal++) {
      vi.advanceTimersByTime(RENEW_MS);
      nowMs += RENEW_MS;
      await claimedUntil(orderId, nowMs + CLAIM_MS);
      expect((await other.runBatch(new Date(nowMs + offSeconds * 1_000))).claimed).toBe(0);
    }
    held.release();
    await first;
    expect(await commissionsOf([orderId])).toBe(3);
  });
});

function never(): never {
  throw new Error('a click was stored');
}
