import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { mergeAffiliates } from '../../ledger/payouts/merges.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { createCoupon } from '../../ledger/programs/coupons.ts';
import { FRAUD_RULE_NAMES, isWatching, thresholdOf } from '../../ledger/programs/fraud-rules.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { explainConversion } from '../tools/explain.ts';
import { replay } from '../tools/replay.ts';
import { settledBefore } from './history.ts';

/** Rules that compare an order with those before it, by what both stores say. */

/** Sets of orders in one run, each decided in two ways; more by AFFLUX_TEST_HISTORIES. */
const RUNS = Math.ceil(Number(process.env.AFFLUX_TEST_HISTORIES ?? 300) / 150);
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
const LIMIT_MS = 90_000 + RUNS * 10_000;

/** Orders of all stories come from few addresses and customers. */
const OTHERS_OFF = {
  ...{ high_conversion_rate_from_ip: false, click_velocity_ip: false, click_velocity_subnet: false },
  ...{
    instant_conversion: false,
    repeat_orders: false,
    coupon_without_click: false,
    fast_conversions: false,
  },
} as const;

/** When fresh orders are received: not in the first hours of a day, which have no orders before them. */
const RECEIVED_MS = ((now) => (now % DAY_MS > 4 * HOUR_MS ? now - HOUR_MS : now - 5 * HOUR_MS))(Date.now());
const SETTLED_MS = settledBefore(new Date(RECEIVED_MS)).getTime();
/** When the orders of the surge are received: settled before the hour of the clicks of fresh orders. */
const SURGE_MS = Math.floor((RECEIVED_MS - 600_000) / HOUR_MS) * HOUR_MS - 20 * MINUTE_MS;
/** The rules hold orders by what is suggested, and a customer is shared from the first order on. */
const HOLDING = {
  ...Object.fromEntries(
    FRAUD_RULE_NAMES.filter((name) => isWatching({}, name)).map((name) => [name, thresholdOf({}, name)]),
  ),
  shared_payout_account: 0,
};
const DAYS = 16;
const SURGE = 10;
const CUSTOMER = 'shared';

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

interface Kind {
  /** By a click of the affiliate, else by the coupon of its parent. */
  readonly byClick: boolean;
  readonly customerId: string | undefined;
  readonly paymentAccountHash: string | undefined;
}

/** Records orders, received at these times. */
async function report(
  parties: TestParties,
  orders: readonly (Partial<Kind> & {
    orderId: string;
    receivedMs: number;
    secondsBefore?: number;
    affiliateId?: number;
    source?: 'import';
  })[],
): Promise<void> {
  const byClicks = orders.filter(({ byClick = true }) => byClick);
  const clicks = await fixture.addClicks(
    byClicks.map(({ receivedMs, secondsBefore = 600, affiliateId }) => ({
      ts: receivedMs - secondsBefore * 1_000,
      ...(affiliateId && { affiliate_id: affiliateId }),
    })),
    parties,
  );
  await Promise.all(
    orders.map(async (order) => {
      const { orderId, byClick = true, receivedMs, customerId, paymentAccountHash, source } = order;
      const click = clicks[byClicks.indexOf(order)];
      const found = byClick ? { clickId: click && fixture.clickIds.encode(click) } : { coupons: ['PARENT'] };
      const paid = {
        ...(customerId && { customerId }),
        ...(paymentAccountHash && { paymentAccountHash }),
        ...(source && { source }),
      };
      await fixture.order({ orderId, occurredAt: new Date(receivedMs), ...found, ...paid }, parties);
    }),
  );
  await fixture.books.owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`
      update conversions c set received_at = r.at
      from json_to_recordset(${tx.json(
        orders.map(({ orderId, receivedMs }) => ({ orderId, at: new Date(receivedMs).toISOString() })),
      )}::json) as r ("orderId" text, at timestamptz)
      where c.program_id = ${parties.programId} and c.order_id = r."orderId"`;
  });
}

/**
 * An affiliate and its parent, who are paid to one account: an order a day of each, always ten minutes after the click,
 * then ten of each in an hour; most of the affiliate's clicks are made by pages, and no other affiliate of the campaign sells.
 */
async function createWorld(): Promise<TestParties> {
  const parties = await createParties(fixture.ledger);
  const [affiliateId, parentId] = parties.chain;
  const { programId, campaignId } = parties;
  await updateProgram(fixture.ledger, {
    id: programId,
    changes: { fraudRules: { ...OTHERS_OFF, ...HOLDING } },
  });
  await createCoupon(fixture.ledger, { programId, affiliateId: parentId, campaignId, code: 'PARENT' });
  await fixture.books.owner`
    update payout_methods set account_hash = (select account_hash from payout_methods where affiliate_id = ${parentId})
    where affiliate_id = ${affiliateId}`;
  const hourMs = SETTLED_MS - 3 * HOUR_MS;
  const clicks = (count: number, of: object) => Array.from({ length: count }, () => ({ ts: hourMs, ...of }));
  await fixture.addClicks(
    [
      ...clicks(40, { flags: ClickFlag.forced }),
      ...clicks(20, {}),
      ...[parentId, 1_000_000, 1_000_001].flatMap((affiliate_id) => clicks(400, { affiliate_id })),
    ],
    parties,
  );
  const today = SURGE_MS;
  const past = Array.from({ length: DAYS }, (_, i) => SETTLED_MS - (DAYS - i) * DAY_MS - HOUR_MS);
  const surge = Array.from({ length: SURGE }, () => today);
  await report(parties, [
    ...[...past, ...surge].map((receivedMs, i) => ({
      ...{ orderId: `click ${i}`, receivedMs, secondsBefore: receivedMs === today ? 3 * 3_600 : 600 },
    })),
    ...[...past, ...surge].map((receivedMs, i) => ({
      ...{ orderId: `coupon ${i}`, receivedMs, byClick: false, customerId: i === 0 ? undefined : `${i}` },
    })),
    { orderId: 'shared', receivedMs: today, byClick: false, customerId: CUSTOMER },
  ]);
  await fixture.decideAll();
  return parties;
}

/** Decides orders at these moments, those of one moment together. */
async function decide(
  parties: TestParties,
  kinds: readonly Kind[],
  { moments, workers }: { moments: readonly number[]; workers: number },
): Promise<{ reasons: string[]; accounts: number }> {
  await report(
    parties,
    kinds.map((kind, i) => ({ ...kind, orderId: `fresh ${i}`, receivedMs: RECEIVED_MS + i })),
  );
  const startMs = Date.now();
  for (const [i, moment] of moments.entries()) {
    await fixture.books.owner`
      update conversions set next_attempt_at = ${new Date(startMs + moment * 10)}
      where program_id = ${parties.programId} and order_id = ${`fresh ${i}`}`;
  }
  for (const moment of new Set(moments.toSorted((a, b) => a - b))) {
    const now = new Date(startMs + moment * 10);
    await Promise.all(Array.from({ length: workers }, () => fixture.worker().runBatch(now)));
  }
  await fixture.decideAll(new Date(startMs + 60_000));
  let accounts = 0;
  const reasons: string[] = [];
  for (const [i] of kinds.entries()) {
    const fired = await firedOf(parties, `fresh ${i}`);
    // Which order is the one too many depends on which was decided last; how many there are does not.
    accounts += Number(fired.includes('repeat_payment_account'));
    reasons.push(fired.filter((rule) => rule !== 'repeat_payment_account').join(' '));
  }
  return { reasons, accounts };
}

async function firedOf(parties: TestParties, orderId: string): Promise<string[]> {
  const { evidence } = await fixture.find(orderId, parties);
  return parseEvidence(evidence)?.rules.flatMap(({ rule, fired }) => (fired ? [rule] : [])) ?? ['undecided'];
}

const kind = (given: Partial<Kind> = {}): Kind => ({
  ...{ byClick: true, customerId: undefined, paymentAccountHash: undefined },
  ...given,
});

test('each finds what the affiliate, its coupon and its campaign are like, says so, and is replayed', {
  timeout: LIMIT_MS,
}, async () => {
  const parties = await createWorld();
  // Nothing is compared with orders that may not be decided yet, and nothing was unusual before.
  expect(await firedOf(parties, `click ${DAYS - 1}`)).not.toContain('anomaly');
  const account = 'ab'.repeat(32);
  const kinds = [
    kind({ customerId: CUSTOMER }),
    kind({ byClick: false }),
    ...Array.from({ length: 6 }, (_, i) => kind({ customerId: `p${i}`, paymentAccountHash: account })),
  ];
  await decide(parties, kinds, { moments: kinds.map(() => 0), workers: 1 });
  const byAffiliate = ['forced_clicks_share', 'conversion_rate', 'anomaly'];
  expect(await firedOf(parties, 'fresh 0')).toEqual(['shared_payout_account', ...byAffiliate]);
  expect(await firedOf(parties, 'fresh 1')).toEqual(['leaked_coupon', 'anomaly']);
  const paid = await Promise.all(kinds.slice(2).map((_, i) => firedOf(parties, `fresh ${i + 2}`)));
  // Five are allowed.
  expect(paid.toSorted((one, other) => one.length - other.length)).toEqual([
    ...Array.from({ length: 5 }, () => byAffiliate),
    ['repeat_payment_account', ...byAffiliate],
  ]);

  const conversion = await fixture.find('fresh 0', parties);
  expect(conversion).toMatchObject({ state: 'review', reason: 'shared_payout_account' });
  const text = explainConversion({ conversion, commissions: [], terms: undefined }).join('\n');
  expect(text).toContain(`compared with orders received before ${new Date(SETTLED_MS).toISOString()}.`);
  expect(text).toContain(
    '1 other affiliate is paid to the same account, and the customer has 1 order with them.',
  );
  expect(text).toMatch(
    /The affiliate has 11 orders with this one, counted up to .* UTC, after 1 a day in the 16 days before/,
  );
  expect(text).toMatch(
    /Of the affiliate’s \d+ clicks in the campaign in the day before, 40 were made by pages/,
  );
  expect(text).toMatch(/of the median of 3 others 0 of 400: at least \d+(\.\d)? times that rate/);
  const range = { from: new Date(Date.now() - 60 * DAY_MS), to: new Date(Date.now() + DAY_MS) };
  const replayed = await replay({ ...fixture, ...range, programId: parties.programId });
  expect(replayed).toMatchObject({ conversions: 2 * (DAYS + SURGE) + 1 + kinds.length, differences: [] });
});

test('times that differ by a few percent of their mean are too regular, and those of people are not', {
  timeout: LIMIT_MS,
}, async () => {
  for (const [seconds, fires] of [
    [(i: number) => 600 + (i % 5) * 10, true],
    [(i: number) => 60 + ((i * 7_919) % 1_800), false],
  ] as const) {
    const parties = await createParties(fixture.ledger);
    const changes = { fraudRules: { ...OTHERS_OFF, ...HOLDING } };
    await updateProgram(fixture.ledger, { id: parties.programId, changes });
    const before = Array.from({ length: 25 }, (_, i) => ({
      ...{ orderId: `before ${i}`, receivedMs: SETTLED_MS - DAY_MS - i * 1_000, secondsBefore: seconds(i) },
    }));
    const others = Array.from({ length: 25 }, (_, i) => ({
      ...{
        orderId: `other ${i}`,
        receivedMs: SETTLED_MS - DAY_MS - i * 1_000,
        affiliateId: parties.chain[1],
      },
      secondsBefore: 30 + ((i * 7_919) % 2_400),
    }));
    await report(parties, [...before, ...others]);
    await fixture.decideAll();
    await decide(parties, [kind()], { moments: [0], workers: 1 });
    expect((await firedOf(parties, 'fresh 0')).includes('regular_click_to_order')).toBe(fires);
  }
});

test('a merge brings the orders and clicks of the merged affiliate along', {
  timeout: LIMIT_MS,
}, async () => {
  const parties = await createParties(fixture.ledger);
  const [affiliateId, , intoAffiliateId] = parties.chain;
  const { programId } = parties;
  await updateProgram(fixture.ledger, {
    ...{ id: programId, changes: { fraudRules: { ...OTHERS_OFF, ...HOLDING } } },
  });
  const days = Array.from({ length: 20 }, (_, day) => SETTLED_MS - (day + 1) * DAY_MS);
  await report(parties, [
    ...days.flatMap((receivedMs, day) =>
      Array.from({ length: 10 }, (_, i) => ({
        ...{ orderId: `merged ${day} ${i}`, receivedMs: receivedMs + i, secondsBefore: 60 + 90 * i },
      })),
    ),
    ...days.map((receivedMs, day) => ({
      ...{ orderId: `own ${day}`, receivedMs, affiliateId: intoAffiliateId },
    })),
  ]);
  await fixture.decideAll();
  await inTransaction(fixture.ledger, (tx) =>
    mergeAffiliates(tx, { programId, affiliateId, intoAffiliateId, note: 'one person', actor: 'test' }),
  );
  await report(
    parties,
    Array.from({ length: 10 }, (_, i) => ({
      ...{ orderId: `today ${i}`, receivedMs: SURGE_MS, secondsBefore: 60 + 90 * i },
    })),
  );
  await fixture.decideAll();
  await report(parties, [{ orderId: 'fresh', receivedMs: RECEIVED_MS }]);
  await fixture.decideAll();
  const { evidence } = await fixture.find('fresh', parties);
  const rules = parseEvidence(evidence)?.rules ?? [];
  expect(rules.find(({ rule }) => rule === 'anomaly')).toMatchObject({
    ...{ fired: false, figures: { orders: 11, mean: 11, days: 20 } },
  });
});

test('an order that is compared with undecided ones waits for them, or says so', {
  timeout: LIMIT_MS,
}, async () => {
  const parties = await createParties(fixture.ledger);
  const changes = { fraudRules: { ...OTHERS_OFF, ...HOLDING } };
  await updateProgram(fixture.ledger, { id: parties.programId, changes });
  const now = Date.now();
  const orders = [
    { orderId: 'old', receivedMs: now - 40 * MINUTE_MS },
    { orderId: 'late', receivedMs: now - 18 * MINUTE_MS },
    { orderId: 'recent', receivedMs: now - MINUTE_MS },
  ];
  await report(parties, orders);
  await fixture.worker().runBatch(new Date());
  // After a stop all three are due at once: the third one waits for the first.
  expect(await fixture.find('recent', parties)).toMatchObject({ state: 'awaiting_click' });
  const completeness = async (orderId: string) =>
    parseEvidence((await fixture.find(orderId, parties)).evidence)?.history?.complete;
  const settled = settledBefore(new Date(now - 18 * MINUTE_MS)).getTime();
  expect(await completeness('late')).toBe(now - 40 * MINUTE_MS >= settled);
  await fixture.decideAll(new Date(now + MINUTE_MS));
  expect(await completeness('recent')).toBe(true);
});

test('orders of the past that are imported are not of today', { timeout: LIMIT_MS }, async () => {
  const parties = await createParties(fixture.ledger);
  const changes = { fraudRules: { ...OTHERS_OFF, ...HOLDING } };
  await updateProgram(fixture.ledger, { id: parties.programId, changes });
  const paymentAccountHash = 'ef'.repeat(32);
  const orders = Array.from({ length: 8 }, (_, i) => ({
    ...{ orderId: `import ${i}`, receivedMs: RECEIVED_MS + i, paymentAccountHash, source: 'import' as const },
  }));
  await report(parties, [...orders, { orderId: 'fresh', receivedMs: RECEIVED_MS + 10, paymentAccountHash }]);
  await fixture.decideAll();
  for (const { orderId } of orders) expect(await firedOf(parties, orderId)).toEqual([]);
  const { evidence } = await fixture.find('fresh', parties);
  expect(parseEvidence(evidence)?.rules.find(({ rule }) => rule === 'repeat_payment_account')).toMatchObject({
    observed: 1,
  });
});

test('what they find does not depend on the batches that orders fall into', {
  timeout: 2 * LIMIT_MS,
}, async () => {
  const anyKind = fc
    .tuple(
      fc.boolean(),
      fc.constantFrom(undefined, CUSTOMER, 'other'),
      fc.constantFrom(undefined, 'cd', 'ef'),
    )
    .map(([byClick, customerId, account]) =>
      kind({ byClick, customerId, paymentAccountHash: account?.repeat(32) }),
    );
  const anyStory = fc.integer({ min: 3, max: 14 }).chain((count) =>
    fc.record({
      kinds: fc.array(anyKind, { minLength: count, maxLength: count }),
      moments: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: count, maxLength: count }),
      workers: fc.constantFrom(1, 3),
    }),
  );
  await fc.assert(
    fc.asyncProperty(anyStory, async ({ kinds, moments, workers }) => {
      const oneByOne = await decide(await createWorld(), kinds, {
        moments: moments.map((_, i) => i),
        workers: 1,
      });
      const batches = await decide(await createWorld(), kinds, { moments, workers });
      expect(oneByOne.reasons.filter((fired) => /undecided/.test(fired))).toEqual([]);
      expect(batches).toEqual(oneByOne);
    }),
    { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: true },
  );
});
