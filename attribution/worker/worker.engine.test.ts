import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { OperatingError } from '../../core/errors.ts';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { listCommissions } from '../../ledger/books/commissions.ts';
import { noteAffiliateSession } from '../../ledger/conversions/decision-facts.ts';
import { approveConversion, rejectConversion } from '../../ledger/decisions/reviews.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { getProgram, updateProgram } from '../../ledger/programs/programs.ts';
import { getTerms, type NewTerms, setTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, decisionFor, recordDecision, type TestParties } from '../../test/support/ledger.ts';
import { parseEvidence } from '../decide/evidence.ts';
import { explainConversion } from '../tools/explain.ts';
import { moneyDifference, replay } from '../tools/replay.ts';
import type { ClickSource } from './click-source.ts';

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

const ip = (text: string) => parseIp(text) ?? Buffer.alloc(16);
const idOf = (click: ClickIdentity | undefined) =>
  fixture.clickIds.encode(click ?? { ts: 0, node: 0, seq: 0 });

async function program(terms: Partial<NewTerms> = {}): Promise<TestParties> {
  return await createParties(fixture.ledger, terms);
}

/** The click that won, as the evidence has it. */
async function winner(orderId: string, parties?: TestParties) {
  const evidence = parseEvidence((await fixture.find(orderId, parties)).evidence);
  return { source: evidence?.source, ...evidence?.candidates.find(({ lost }) => lost === null) };
}

describe('a batch', () => {
  test('decides every order with its click, and credits three levels each', async () => {
    const clicks = await fixture.addClicks(
      Array.from({ length: 30 }, (_, i) => ({ ip: ip(`198.51.100.${i}`) })),
    );
    const orders = await Promise.all(clicks.map((click) => fixture.order({ clickId: idOf(click) })));
    await fixture.decideAll();
    for (const orderId of orders) {
      const conversion = await fixture.find(orderId);
      expect(conversion).toMatchObject({ state: 'attributed', affiliateId: fixture.parties.chain[0] });
      const { rows } = await listCommissions(fixture.ledger, { conversionId: conversion.id, limit: 10 });
      expect(rows.map(({ amountMinor }) => amountMinor).toSorted()).toEqual([100n, 1_000n, 300n].toSorted());
    }
    expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('is not held up by one order that cannot be written', async () => {
    const clicks = await fixture.addClicks([{}, {}, {}]);
    const [first, broken, last] = await Promise.all(
      clicks.map((click) => fixture.order({ clickId: idOf(click) })),
    );
    // A constraint no decision of this order can satisfy.
    await fixture.books.owner.unsafe(
      `alter table conversions add constraint broken check (order_id <> '${broken}' or state in ('received', 'awaiting_click'))`,
    );
    try {
      const worker = fixture.worker();
      await worker.runBatch(new Date(Date.now() + 1_000));
      expect(worker.stats).toMatchObject({ failed: 1, decided: { attributed: 2 } });
      expect((await fixture.find(first ?? '')).state).toBe('attributed');
      expect((await fixture.find(last ?? '')).state).toBe('attributed');
      expect(await fixture.find(broken ?? '')).toMatchObject({ state: 'awaiting_click', attempts: 1 });
    } finally {
      await fixture.books.owner`alter table conversions drop constraint broken`;
    }
    await fixture.decideAll(new Date(Date.now() + HOUR_MS));
    expect((await fixture.find(broken ?? '')).state).toBe('attributed');
  });

  test('of 40 orders from one address lets the limit pass, also by four workers at once', async () => {
    const parties = await program();
    const clicks = await fixture.addClicks(
      Array.from({ length: 40 }, () => ({ ip: ip('192.0.2.40') })),
      parties,
    );
    await Promise.all(clicks.map((click) => fixture.order({ clickId: idOf(click) }, parties)));
    const now = new Date(Date.now() + 1_000);
    await Promise.all(Array.from({ length: 4 }, () => fixture.worker().runBatch(now)));
    await fixture.decideAll();
    const states = await fixture.ledger<{ state: string; count: bigint }[]>`
      select state, count(*) from conversions where program_id = ${parties.programId} group by state order by state`;
    expect(states.map(({ state, count }) => [state, count])).toEqual([
      ['attributed', 10n],
      ['review', 30n],
    ]);
  });
});

test('an order has the sub ids of its click, as text that the books can hold; later ones of the customer have them too', async () => {
  const parties = await program({ recurringMonths: 12 });
  const subs = { sub1: 'tracker click 7', sub2: 'a\0b\r\nX: y', sub3: `${'é'.repeat(1_999)}😀` };
  const [click] = await fixture.addClicks([subs], parties);
  const customer = { customerId: 'subscriber' };
  const first = await fixture.order({ clickId: idOf(click), ...customer }, parties);
  await fixture.decideAll();
  const later = await fixture.order(customer, parties);
  await fixture.decideAll();
  const kept = ['tracker click 7', 'a\ufffdb\r\nX: y', `${'é'.repeat(1_999)}\ufffd`, '', ''];
  expect((await fixture.find(first, parties)).clickSubs).toEqual(kept);
  expect(await fixture.find(later, parties)).toMatchObject({ state: 'attributed', clickSubs: kept });
  const none = await fixture.order({}, parties);
  await fixture.decideAll();
  expect(await fixture.find(none, parties)).toMatchObject({ state: 'unattributed', clickSubs: null });
});

test('an affiliate takes no orders of others by a visitor who opted out: without a fingerprint there is no first click', {
  tags: ['attack'],
}, async () => {
  const parties = await program({ attributionModel: 'first_click' });
  const optedOut = { ip: ip('198.51.103.0'), fingerprint: 0n };
  await fixture.addClicks(
    [{ ...optedOut, affiliate_id: parties.chain[1], ts: Date.now() - HOUR_MS }],
    parties,
  );
  const [own] = await fixture.addClicks([optedOut], parties);
  const orderId = await fixture.order({ clickId: idOf(own) }, parties);
  await fixture.decideAll();
  expect(await fixture.find(orderId, parties)).toMatchObject({
    state: 'attributed',
    affiliateId: parties.chain[0],
  });
});

describe('an order whose click is not stored yet', () => {
  test('waits while the warehouse is behind, and is credited when the click arrives', async () => {
    const ts = Date.now() + 3 * HOUR_MS;
    const missing = { ts, node: 60_000, seq: 1 };
    const orderId = await fixture.order({
      clickId: idOf(missing),
      occurredAt: new Date(ts + HOUR_MS),
    });
    const worker = fixture.worker();
    await worker.runBatch(new Date(Date.now() + 1_000));
    expect(await fixture.find(orderId)).toMatchObject({ state: 'received', attempts: 0 });
    await fixture.addClicks([{ ...missing, ip: ip('198.51.100.77') }]);
    // Stored, but others before it may not be.
    await worker.runBatch(new Date(Date.now() + HOUR_MS));
    expect(await fixture.find(orderId)).toMatchObject({ state: 'awaiting_click', attempts: 1 });
    await fixture.completeTo(ts + 1);
    await fixture.decideAll(new Date(Date.now() + 2 * HOUR_MS));
    expect((await fixture.find(orderId)).state).toBe('attributed');
  });

  test('is not written while it is new, and decided with the first look after its click is counted', async () => {
    const ts = Date.now() + 6 * HOUR_MS;
    const missing = { ts, node: 60_000, seq: 4 };
    const orderId = await fixture.order({ clickId: idOf(missing), occurredAt: new Date(ts + HOUR_MS) });
    const versionOf = async () =>
      await fixture.ledger`select xmin::text as version from conversions where order_id = ${orderId}`;
    const before = await versionOf();
    const worker = fixture.worker();
    const atMs = Date.now();
    // Another order that is due holds up neither, and is not held up.
    const other = await fixture.order({});
    await worker.runBatch(new Date(atMs + 1_000));
    expect((await fixture.find(other)).state).toBe('unattributed');
    for (const seconds of [2, 3, 4]) {
      expect((await worker.runBatch(new Date(atMs + seconds * 1_000))).claimed).toBe(0);
    }
    expect(await versionOf()).toEqual(before);
    await fixture.addClicks([{ ...missing, ip: ip('198.51.100.79') }]);
    await fixture.completeTo(ts + 1);
    await worker.runBatch(new Date(atMs + 4_250));
    expect(await fixture.find(orderId)).toMatchObject({ state: 'attributed', attempts: 0 });
  });

  test('is given up in the end, and opened again by the click when it does arrive', async () => {
    const ts = Date.now() + 10 * HOUR_MS;
    const missing = { ts, node: 60_000, seq: 2 };
    const orderId = await fixture.order({ clickId: idOf(missing), occurredAt: new Date(ts + HOUR_MS) });
    const givenUp = new Date(Date.now() + 73 * HOUR_MS);
    await fixture.decideAll(givenUp);
    expect(await fixture.find(orderId)).toMatchObject({ state: 'unattributed', reason: 'click_not_found' });
    expect(parseEvidence((await fixture.find(orderId)).evidence)?.gaveUp).toBe(true);
    await fixture.decideAll(new Date(givenUp.getTime() + 2 * HOUR_MS));
    expect(await fixture.find(orderId)).toMatchObject({ state: 'unattributed', attempts: 1 });
    await fixture.addClicks([{ ...missing, ip: ip('198.51.100.78') }]);
    await fixture.decideAll(new Date(givenUp.getTime() + 4 * HOUR_MS));
    expect((await fixture.find(orderId)).state).toBe('attributed');
    const { rows } = await listCommissions(fixture.ledger, {
      conversionId: (await fixture.find(orderId)).id,
      limit: 10,
    });
    expect(rows).toHaveLength(3);
  });

  test('is not looked for for ever', async () => {
    const ts = Date.now() - HOUR_MS;
    const orderId = await fixture.order({ clickId: idOf({ ts, node: 60_000, seq: 3 }) });
    await fixture.decideAll();
    expect((await fixture.find(orderId)).state).toBe('unattributed');
    await fixture.decideAll(new Date(Date.now() + 31 * DAY_MS));
    const [row] = await fixture.ledger<{ nextAttemptAt: Date | null }[]>`
      select next_attempt_at from conversions where order_id = ${orderId}`;
    expect(row?.nextAttemptAt).toBeNull();
  });

  test('waits also while the warehouse refuses the question', async () => {
    const [click] = await fixture.addClicks([{}]);
    const orderId = await fixture.order({ clickId: idOf(click) });
    const unavailable: ClickSource = {
      ...fixture.clicks,
      lookUp: () => Promise.reject(new OperatingError('clickhouse_refused', 'too many queries')),
    };
    const worker = fixture.worker(unavailable);
    await worker.runBatch(new Date(Date.now() + 1_000));
    expect(await fixture.find(orderId)).toMatchObject({ state: 'awaiting_click', attempts: 1 });
    await fixture.decideAll(new Date(Date.now() + HOUR_MS));
    expect((await fixture.find(orderId)).state).toBe('attributed');
  });
});

describe('without a click id', () => {
  const visitor = { ip: ip('203.0.113.90'), fingerprint: 4_242n };
  const customer = { ip: '203.0.113.91', fingerprint: 4_242n };

  test('the fingerprint within its network finds the one affiliate it can be, for a reviewer', async () => {
    const parties = await program();
    await fixture.addClicks([visitor, { ...visitor, ts: Date.now() - 60_000 * 5 }], parties);
    await fixture.addClicks([{ ...visitor, ip: ip('203.0.114.90') }], parties);
    const occurredAt = new Date(Date.now() - 1_000);
    const orderId = await fixture.order({ ...customer, occurredAt }, parties);
    await fixture.completeTo(Date.now());
    await fixture.decideAll();
    expect(await fixture.find(orderId, parties)).toMatchObject({
      state: 'review',
      reason: 'fingerprint_match',
    });
    expect(await winner(orderId, parties)).toMatchObject({
      source: 'fingerprint',
      affiliateId: parties.chain[0],
    });
    await updateProgram(fixture.ledger, { id: parties.programId, changes: { fingerprintMatch: 'credit' } });
    const credited = await fixture.order({ ...customer, occurredAt }, parties);
    await fixture.decideAll();
    expect((await fixture.find(credited, parties)).state).toBe('attributed');
  });

  test('later orders of a customer are credited by the first one', async () => {
    const parties = await program({ recurringMonths: 3 });
    const [click] = await fixture.addClicks([{ ip: ip('198.51.100.99') }], parties);
    const first = await fixture.order({ clickId: idOf(click), customerId: 'sub-1' }, parties);
    await fixture.decideAll();
    const renewal = await fixture.order({ customerId: 'sub-1' }, parties);
    const stranger = await fixture.order({ customerId: 'sub-2' }, parties);
    await fixture.decideAll();
    const { id } = await fixture.find(first, parties);
    expect(await fixture.find(renewal, parties)).toMatchObject({ state: 'attributed', recurringOf: id });
    expect((await fixture.find(stranger, parties)).state).toBe('unattributed');
  });
});

test('an order from where the affiliate itself works is its own', async () => {
  const { programId, chain } = fixture.parties;
  const session = { ip: '198.51.100.200', fingerprint: 0xffff_ffff_ffff_ffffn };
  await noteAffiliateSession(fixture.ledger, {
    programId,
    affiliateId: chain[0],
    ...session,
    now: new Date(),
  });
  const [click] = await fixture.addClicks([{}]);
  const orderId = await fixture.order({ clickId: idOf(click), ...session });
  await fixture.decideAll();
  expect(await fixture.find(orderId)).toMatchObject({ state: 'rejected', reason: 'self_referral' });
});

test('an order of another affiliate that would earn by it is rejected, while that one is active and its level has a rate', async () => {
  const parties = await program({ levelRatesBps: [300, 0] });
  const { chain } = parties;
  const buyer = async (customerId: string) => {
    const [click] = await fixture.addClicks([{ ip: ip('198.51.104.1') }], parties);
    const orderId = await fixture.order({ clickId: idOf(click), customerId }, parties);
    await fixture.decideAll();
    return await fixture.find(orderId, parties);
  };
  for (const [i, reference] of ['own', 'parent', 'grandparent'].entries()) {
    await fixture.ledger`update affiliates set customer_ref = ${reference} where id = ${chain[i] ?? 0}`;
  }
  const selfReferral = { state: 'rejected', reason: 'self_referral' };
  expect(await buyer('Own ')).toMatchObject(selfReferral);
  const byParent = await buyer('PARENT');
  expect(byParent).toMatchObject(selfReferral);
  expect(parseEvidence(byParent.evidence)?.rules[0]).toMatchObject({ observed: 'customer_id, level 2' });
  expect(await buyer('grandparent')).toMatchObject({ state: 'attributed' });
  await fixture.ledger`update affiliates set status = 'suspended' where id = ${chain[1]}`;
  expect(await buyer('parent')).toMatchObject({ state: 'attributed' });
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  expect((await replay({ ...fixture, ...range, programId: parties.programId })).differences).toEqual([]);
});

test('clicks in the hour before are counted by address and network, in whole minutes', async () => {
  const parties = await program();
  const minute = Math.floor((Date.now() - 600_000) / 60_000) * 60_000;
  const near = Array.from({ length: 61 }, (_, i) => ({ ts: minute - 1 - i, ip: ip('198.18.7.200') }));
  const clicks = await fixture.addClicks(
    [...near, { ts: minute, ip: ip('198.18.7.200') }, { ts: minute, ip: ip('198.18.7.201') }],
    parties,
  );
  const [fast, calm] = await Promise.all(
    clicks.slice(-2).map((click) => fixture.order({ clickId: idOf(click) }, parties)),
  );
  await fixture.decideAll();
  expect(await fixture.find(fast ?? '', parties)).toMatchObject({
    state: 'review',
    reason: 'click_velocity_ip',
  });
  expect((await fixture.find(calm ?? '', parties)).state).toBe('attributed');
  const rules = parseEvidence((await fixture.find(calm ?? '', parties)).evidence)?.rules;
  expect(rules?.find(({ rule }) => rule === 'click_velocity_subnet')).toMatchObject({
    observed: 61,
    fired: false,
  });
});

test('later orders wait for the review of the first one, and share its end', async () => {
  const parties = await program({ recurringMonths: 3, levelRatesBps: [] });
  await updateProgram(fixture.ledger, {
    id: parties.programId,
    changes: { fraudRules: { repeat_orders: 2 } },
  });
  const clicks = await fixture.addClicks(
    [2, 3].map((i) => ({ ip: ip(`198.51.103.${i}`), ts: Date.now() - 20_000 })),
    parties,
  );
  await fixture.completeTo(Date.now());
  const resultOf = async (orderId: string) => {
    const { id, state, reason, recurringOf } = await fixture.find(orderId, parties);
    const { rows } = await listCommissions(fixture.ledger, { conversionId: id, limit: 10 });
    return { id, recurringOf, state, reason, commissions: rows.map((commission) => commission.state) };
  };
  const subscribe = async (customerId: string, click: ClickIdentity | undefined) => {
    const orders: string[] = [];
    for (const clickId of [idOf(click), undefined, undefined]) {
      orders.push(await fixture.order({ clickId, customerId }, parties));
      await fixture.decideAll();
    }
    return orders;
  };
  const ends = { approve: approveConversion, reject: rejectConversion };
  const end = async (how: keyof typeof ends, conversionId: bigint) =>
    await inTransaction(fixture.ledger, (tx) => ends[how](tx, { conversionId, reviewer: 'ann', note: how }));

  const [first = '', second = '', third = ''] = await subscribe('good', clicks[0]);
  const good = await resultOf(first);
  expect(good).toMatchObject({ state: 'review', reason: 'instant_conversion' });
  const waiting = {
    state: 'review',
    reason: 'first_order_in_review',
    recurringOf: good.id,
    commissions: ['held'],
  };
  expect(await resultOf(second)).toMatchObject(waiting);
  const suspicious = { ...waiting, reason: 'repeat_orders' };
  expect(await resultOf(third)).toMatchObject(suspicious);
  await end('approve', good.id);
  expect(await resultOf(second)).toMatchObject({ ...waiting, state: 'attributed', commissions: ['pending'] });
  expect(await resultOf(third)).toMatchObject(suspicious);

  const bad = await subscribe('bad', clicks[1]);
  const badId = (await resultOf(bad[0] ?? '')).id;
  await end('reject', badId);
  for (const orderId of bad) {
    expect(await resultOf(orderId)).toMatchObject({
      reason: 'rejected_by_reviewer',
      commissions: ['rejected'],
    });
  }
  // A later order that was being decided when the first was reviewed is decided again, and nothing is written.
  for (const [recurringOf, firstInReview] of [
    [good.id, true],
    [badId, true],
    [badId, false],
  ] as const) {
    const late = await fixture.find(await fixture.order({}, parties), parties);
    const decision = {
      ...decisionFor(parties, late.id, { outcome: 'attributed', reason: null }),
      recurringOf,
      firstInReview,
    };
    expect(await inTransaction(fixture.ledger, (tx) => recordDecision(tx, decision))).toEqual({
      outcome: 'outdated',
    });
  }
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  const again = await replay({ ...fixture, ...range, programId: parties.programId });
  expect(again).toMatchObject({ conversions: 6, differences: [] });
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('a later order whose first one is reviewed while it is decided is decided with the next batch', async () => {
  const parties = await program({ recurringMonths: 3 });
  const customerId = 'reviewed meanwhile';
  const [click] = await fixture.addClicks([{ ip: ip('198.51.105.1'), ts: Date.now() - 5_000 }], parties);
  const first = await fixture.order({ clickId: idOf(click), customerId }, parties);
  await fixture.completeTo(Date.now());
  await fixture.decideAll();
  const { id: conversionId, state } = await fixture.find(first, parties);
  expect(state).toBe('review');
  const later = await fixture.order({ customerId, ip: '203.0.113.70', fingerprint: 77n }, parties);
  const sameVisitor: ClickSource['sameVisitor'] = async (requests) => {
    await inTransaction(fixture.ledger, (tx) =>
      approveConversion(tx, { conversionId, reviewer: 'ann', note: 'known' }),
    );
    return await fixture.clicks.sameVisitor(requests);
  };
  await fixture.worker({ ...fixture.clicks, sameVisitor }).runBatch(new Date(Date.now() + 1_000));
  expect(await fixture.find(later, parties)).toMatchObject({ state: 'received', attempts: 0 });
  await fixture.worker().runBatch(new Date(Date.now() + 2_000));
  expect(await fixture.find(later, parties)).toMatchObject({
    state: 'attributed',
    recurringOf: conversionId,
  });
});

describe('afterwards', () => {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + DAY_MS) };
  const again = (model?: 'first_click') => replay({ ...fixture, ...range, model });

  test('the same rules give the same decisions, whatever has changed since', async () => {
    const parties = await program({ tiers: [{ fromMinor: 15_000n, rateBps: 2_000 }] });
    const clicks = await fixture.addClicks(
      Array.from({ length: 4 }, (_, i) => ({ ip: ip(`198.51.101.${i}`), ts: Date.now() - 20_000 })),
      parties,
    );
    const orders: string[] = [];
    for (const click of clicks) orders.push(await fixture.order({ clickId: idOf(click) }, parties));
    await fixture.completeTo(Date.now());
    await fixture.decideAll();
    const [first] = orders;
    // What comes later must not reach back: thresholds, terms, a reviewer, a parent that leaves.
    const { id } = await fixture.find(first ?? '', parties);
    await inTransaction(fixture.ledger, (tx) =>
      approveConversion(tx, { conversionId: id, reviewer: 'test', note: 'fine' }),
    );
    await updateProgram(fixture.ledger, {
      id: parties.programId,
      changes: { fraudRules: { instant_conversion: false }, fingerprintMatch: 'off' },
    });
    await setTerms(fixture.ledger, { programId: parties.programId, rateBps: 100 });
    await fixture.ledger`update affiliates set status = 'suspended' where id = ${parties.chain[1]}`;
    const before = await fixture.ledger`select count(*) from entries`;
    const result = await again();
    expect(result.differences).toEqual([]);
    expect(result.conversions).toBeGreaterThan(80);
    expect(await fixture.ledger`select count(*) from entries`).toEqual(before);
    expect((await getProgram(fixture.ledger, parties.programId))?.rulesVersion).toBe(2);
  });

  test('another model is shown by its difference in money', async () => {
    const parties = await program();
    const rival = await createParties(fixture.ledger);
    const visitor = { ip: ip('198.51.102.1'), fingerprint: 99n };
    // The first click was the parent's, the last one the affiliate's.
    await fixture.addClicks(
      [{ ...visitor, affiliate_id: parties.chain[1], ts: Date.now() - HOUR_MS }],
      parties,
    );
    await fixture.addClicks([{ ...visitor, ts: Date.now() - 2 * HOUR_MS }], rival);
    const [last] = await fixture.addClicks([visitor], parties);
    const orderId = await fixture.order({ clickId: idOf(last) }, parties);
    await fixture.decideAll();
    const { id } = await fixture.find(orderId, parties);
    const differences = (await again('first_click')).differences.filter(
      ({ conversionId }) => conversionId === id,
    );
    expect(differences).toHaveLength(1);
    expect(
      moneyDifference(differences)
        .toSorted((a, b) => b.affiliateId - a.affiliateId)
        .map(({ affiliateId, amountMinor }) => [affiliateId, amountMinor]),
    ).toEqual([
      [parties.chain[0], -1_000n],
      [parties.chain[1], 700n],
      [parties.chain[2], 200n],
    ]);
  });

  test('a decision is explained in sentences', async () => {
    const [click] = await fixture.addClicks([{ ip: ip('198.51.100.150') }]);
    const conversion = await fixture.find(await fixture.order({ clickId: idOf(click) }));
    const tell = async (id: bigint) => {
      const now = await fixture.find(conversion.orderId);
      const { rows } = await listCommissions(fixture.ledger, { conversionId: id, limit: 10 });
      const [terms] = now.termsId === null ? [] : await getTerms(fixture.ledger, [now.termsId]);
      return explainConversion({ conversion: now, commissions: rows, terms }).join('\n');
    };
    expect(await tell(conversion.id)).toContain('It has not been decided yet.');
    await fixture.decideAll();
    const text = await tell(conversion.id);
    expect(text).toMatch(/is order .* of 100.00 EUR.*: attributed\./);
    expect(text).toMatch(/The shop reported its click id\.\nClick \d+:\d+:0 .*198\.51\.100\.150.* won/);
    expect(text).toMatch(/Rule instant_conversion did not fire; observed [\d.]+, threshold 30\./);
    expect(text).toMatch(/Commission com_\d+: level 1, affiliate aff_\d+, 10.00 EUR, by terms/);
  });
});
