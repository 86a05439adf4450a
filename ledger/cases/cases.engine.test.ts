import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../core/errors.ts';
import {
  createParties,
  creditOrder,
  decisionFor,
  freshLedger,
  recordDecision,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { auditLedger } from '../audit/audit.ts';
import { eraseAffiliate, eraseCustomer, findCustomer } from '../audit/erase.ts';
import { vestDue } from '../books/commissions.ts';
import { readTimeline } from '../books/timeline.ts';
import { getConversion, recordConversion, recordConversions } from '../conversions/conversions.ts';
import { emailHash } from '../conversions/emails.ts';
import { recordDecisions } from '../decisions/decisions.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { approveConversion, rejectConversion } from '../decisions/reviews.ts';
import { type Database, inTransaction } from '../postgres/db.ts';
import {
  addCaseOrders,
  listCaseOrders,
  MAX_CASE_ORDERS,
  relatedOrders,
  removeCaseOrder,
  sharedInCase,
} from './case-orders.ts';
import { addCaseNote, getCase, listCaseNotes, openCase, setCaseState } from './cases.ts';
import { type CaseOutcome, decideCase } from './decide-case.ts';
import { eraseCases, type Subject } from './subjects.ts';

let db: TestLedger;
let ledger: Database;
beforeAll(async () => {
  db = await freshLedger({ max: 8 });
  ledger = db.ledger;
});
afterAll(async () => await db?.close());

const actor = 'test';
/** Of a click that is none. */
const BY_HAND = { node: null, seq: null, ip: null, linkId: null };

async function reviewed(
  parties: TestParties,
  of: Partial<Parameters<typeof creditOrder>[2]> = {},
): Promise<bigint> {
  return await creditOrder(ledger, parties, {
    amountMinor: 10_000n,
    outcome: 'review',
    reason: 'instant_conversion',
    ...of,
  });
}

async function caseOf({ programId }: TestParties, conversionIds: readonly bigint[]): Promise<number> {
  return await inTransaction(ledger, async (tx) => {
    const caseId = await openCase(tx, { programId, title: 'One visitor', actor });
    await addCaseOrders(tx, { caseId, programId, conversionIds, actor });
    return caseId;
  });
}

async function decide(caseId: number, how: { approve?: bigint[]; reject?: bigint[] }): Promise<CaseOutcome> {
  const { approve = [], reject = [] } = how;
  return await inTransaction(ledger, (tx) =>
    decideCase(tx, { caseId, reviewer: 'ann', note: 'one person', approve, reject }),
  );
}

const states = async (ids: readonly bigint[]) =>
  await Promise.all(ids.map(async (id) => (await getConversion(ledger, id))?.state));

async function pendingOf({ chain }: TestParties): Promise<bigint | undefined> {
  const [has] = await ledger<{ minor: bigint }[]>`
    select balance_minor as minor from accounts where affiliate_id = ${chain[0]} and kind = 'pending'`;
  return has?.minor;
}

async function expectBooksToHold(): Promise<void> {
  expect((await auditLedger(ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

/** A later order of the subscription that `first` began, which waits for it. */
async function renewal(parties: TestParties, first: bigint): Promise<bigint> {
  const { conversion } = await recordConversion(ledger, {
    programId: parties.programId,
    orderId: randomUUID(),
    amountMinor: 10_000n,
    currency: 'EUR',
    source: 'api',
  });
  const decision = decisionFor(parties, conversion.id, {
    outcome: 'review',
    reason: 'first_order_in_review',
  });
  await inTransaction(ledger, (tx) =>
    recordDecision(tx, { ...decision, recurringOf: first, firstInReview: true }),
  );
  return conversion.id;
}

describe('a decision of a case', () => {
  test('decides each order as its own review does, and its timeline names the case', async () => {
    const parties = await createParties(ledger);
    const [good, bad, alone] = [await reviewed(parties), await reviewed(parties), await reviewed(parties)];
    const caseId = await caseOf(parties, [good, bad]);
    expect(await decide(caseId, { approve: [good], reject: [bad] })).toEqual({
      outcome: 'done',
      approved: [good],
      rejected: [bad],
      skipped: [],
    });
    await inTransaction(ledger, (tx) =>
      rejectConversion(tx, { conversionId: alone, reviewer: 'ann', note: 'one person' }),
    );
    expect(await states([good, bad, alone])).toEqual(['attributed', 'rejected', 'rejected']);
    expect(await pendingOf(parties)).toBe(1_000n);
    const reviews = await Promise.all(
      [good, bad].map(async (id) => (await readTimeline(ledger, id)).find(({ kind }) => kind === 'reviewed')),
    );
    expect(reviews.map((event) => event?.note)).toEqual([
      `approved in case cas_${caseId}: one person`,
      `rejected in case cas_${caseId}: one person`,
    ]);
    const journals = await ledger<{ conversionId: bigint; kind: string; sum: bigint }[]>`
      select conversion_id, kind, count(*) as sum from journals j join entries e on e.journal_id = j.id
      where conversion_id in (${bad}, ${alone}) group by 1, 2 order by 1, 2`;
    const of = (id: bigint) =>
      journals.filter((row) => row.conversionId === id).map(({ kind, sum }) => [kind, sum]);
    expect(of(bad)).toEqual(of(alone));
    expect(await getCase(ledger, caseId)).toMatchObject({ state: 'decided', orders: 2, inReview: 0 });
    expect((await listCaseOrders(ledger, caseId)).map(({ decidedAs }) => decidedAs)).toEqual([
      'approved',
      'rejected',
    ]);
    expect(await listCaseNotes(ledger, { caseId, limit: 10 })).toMatchObject([
      { act: 'decision', author: 'ann', text: 'one person', approved: 1, rejected: 1 },
    ]);
    await expectBooksToHold();
  });

  test('skips what was decided or refunded meanwhile, and stays open while an order is in review', async () => {
    const parties = await createParties(ledger);
    const ids = [
      await reviewed(parties),
      await reviewed(parties),
      await reviewed(parties, { orderId: 'back' }),
    ];
    const credited = await creditOrder(ledger, parties, { amountMinor: 5_000n });
    const left = await reviewed(parties);
    const [first = 0n, second = 0n, refunded = 0n] = ids;
    const caseId = await caseOf(parties, [...ids, credited, left]);
    await inTransaction(ledger, async (tx) => {
      await approveConversion(tx, { conversionId: second, reviewer: 'bob', note: '' });
      const { programId } = parties;
      await recordRefund(tx, { programId, orderId: 'back', refundRef: 'r', actor });
    });
    expect(await decide(caseId, { reject: [...ids, credited] })).toEqual({
      outcome: 'done',
      approved: [],
      rejected: [first],
      skipped: [
        { conversionId: second, state: 'attributed' },
        { conversionId: refunded, state: 'refunded' },
        { conversionId: credited, state: 'attributed' },
      ],
    });
    expect(await getCase(ledger, caseId)).toMatchObject({ state: 'open', orders: 5, inReview: 1 });
    expect(await decide(caseId, { reject: ids })).toEqual({ outcome: 'nothing_in_review' });
    expect(await decide(caseId, { approve: [left] })).toMatchObject({ outcome: 'done', approved: [left] });
    expect(await decide(caseId, { approve: [left] })).toEqual({ outcome: 'wrong_state', state: 'decided' });
    await expectBooksToHold();
  });

  test('later orders of a subscription follow their first, unless the case decides them otherwise', async () => {
    const parties = await createParties(ledger);
    const first = await reviewed(parties);
    const [asked, follows, outside] = [
      await renewal(parties, first),
      await renewal(parties, first),
      await renewal(parties, first),
    ];
    const caseId = await caseOf(parties, [first, asked, follows]);
    expect(await decide(caseId, { reject: [first], approve: [asked] })).toEqual({
      outcome: 'done',
      approved: [asked],
      rejected: [first, follows],
      skipped: [],
    });
    expect(await states([first, asked, follows, outside])).toEqual([
      'rejected',
      'attributed',
      'rejected',
      'rejected',
    ]);
    expect(await getCase(ledger, caseId)).toMatchObject({ state: 'decided' });
    await expectBooksToHold();
  });

  test('names what is not its own, and decides nothing then', async () => {
    const parties = await createParties(ledger);
    const [own, other] = [await reviewed(parties), await reviewed(parties)];
    const caseId = await caseOf(parties, [own]);
    await expect(decide(caseId, { approve: [own, other] })).rejects.toThrow(
      new InputError('approve', `cnv_${other} is not an order of this case`),
    );
    await expect(decide(caseId, { approve: [own], reject: [own] })).rejects.toThrow('also to be approved');
    expect(await states([own])).toEqual(['review']);
    expect(await decide(2_000_000_000, { approve: [own] })).toEqual({ outcome: 'not_found' });
  });
});

describe('at the same time', () => {
  test('two people decide a case once', async () => {
    const parties = await createParties(ledger);
    const ids = await Promise.all([1, 2, 3, 4].map(() => reviewed(parties)));
    const caseId = await caseOf(parties, ids);
    const outcomes = await Promise.all([decide(caseId, { approve: ids }), decide(caseId, { reject: ids })]);
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['done', 'wrong_state']);
    expect(new Set(await states(ids)).size).toBe(1);
    expect(await listCaseNotes(ledger, { caseId, limit: 10 })).toHaveLength(1);
    await expectBooksToHold();
  });

  test('cases, single reviews, decisions under tiers and vesting end without a deadlock', async () => {
    const tiers = [{ fromMinor: 1_000_000n, rateBps: 2_000 }];
    const before = await deadlocks();
    for (let round = 0; round < 2; round++) {
      const parties = await createParties(ledger, { tiers });
      const [affiliateId, parentId] = parties.chain;
      const report = async () =>
        (
          await recordConversion(ledger, {
            programId: parties.programId,
            orderId: randomUUID(),
            amountMinor: 10_000n,
            currency: 'EUR',
            source: 'api',
          })
        ).conversion.id;
      // Two affiliates in turn, so that the orders of a case touch volumes and accounts in no order.
      const credit = (id: bigint, i: number, outcome: 'review' | 'attributed') => {
        const reason = outcome === 'review' ? 'instant_conversion' : null;
        const decision = decisionFor(parties, id, { outcome, reason });
        const of = { ...BY_HAND, affiliateId: i % 2 === round % 2 ? affiliateId : parentId };
        return { ...decision, click: decision.click && { ...decision.click, ...of } };
      };
      const ids: bigint[] = [];
      for (let i = 0; i < 40; i++) ids.push(await report());
      await inTransaction(ledger, (tx) =>
        recordDecisions(
          tx,
          ids.map((id, i) => credit(id, i, 'review')),
        ),
      );
      const one = ids.filter((_, i) => i % 3 !== 0);
      const two = ids.filter((_, i) => i % 3 === 0);
      const cases = [await caseOf(parties, one), await caseOf(parties, two)] as const;
      const alone = ids.toReversed().filter((_, i) => i % 4 === 0);
      const later: bigint[][] = [];
      for (let i = 0; i < 6; i++) later.push([await report(), await report()]);
      const halves = (of: bigint[]) => ({
        reject: of.filter((_, i) => i % 4 < 2),
        approve: of.filter((_, i) => i % 4 >= 2),
      });
      await Promise.all([
        decide(cases[0], halves(one)),
        decide(cases[1], halves(two)),
        ...alone.map((conversionId) =>
          inTransaction(ledger, (tx) => rejectConversion(tx, { conversionId, reviewer: 'bob', note: '' })),
        ),
        ...later.map((pair) =>
          inTransaction(ledger, (tx) =>
            recordDecisions(
              tx,
              pair.map((id, i) => credit(id, i, 'attributed')),
            ),
          ),
        ),
        ...[1, 2, 3, 4].map(() => vestDue(ledger, { now: new Date(), limit: 100, ...parties })),
      ]);
      expect((await states(ids)).filter((state) => state === 'review')).toEqual([]);
      const [wrong] = await ledger<{ times: bigint }[]>`
        select count(*) as times from audit_log where subject = any(${ids.map((id) => `cnv_${id}`)}::text[])
          and action in ('conversion.approve', 'conversion.reject')`;
      expect(wrong?.times).toBe(BigInt(ids.length));
    }
    expect(await deadlocks()).toBe(before);
    await expectBooksToHold();
  });

  async function deadlocks(): Promise<bigint> {
    const [row] = await ledger<{ deadlocks: bigint }[]>`
      select deadlocks from pg_stat_database where datname = current_database()`;
    return row?.deadlocks ?? -1n;
  }
});

test('as many orders as a case holds are decided in one act', async () => {
  const parties = await createParties(ledger);
  const { programId } = parties;
  const order = { programId, amountMinor: 10_000n, currency: 'EUR', source: 'api' } as const;
  const ids = await inTransaction(ledger, async (tx) => {
    const orders = Array.from({ length: MAX_CASE_ORDERS }, () => ({ ...order, orderId: randomUUID() }));
    const recorded = (await recordConversions(tx, orders)).flatMap((one) =>
      one instanceof InputError ? [] : [one.conversion.id],
    );
    const held = { outcome: 'review', reason: 'instant_conversion' } as const;
    await recordDecisions(
      tx,
      recorded.map((id) => decisionFor(parties, id, held)),
    );
    return recorded.toSorted((a, b) => (a < b ? -1 : 1));
  });
  const caseId = await caseOf(parties, ids);
  const extra = await reviewed(parties);
  await expect(
    inTransaction(ledger, async (tx) => {
      await addCaseOrders(tx, { caseId, programId, conversionIds: [extra], actor });
    }),
  ).rejects.toThrow('a case holds 500 orders at the most');
  const began = performance.now();
  const half = ids.length / 2;
  const outcome = await decide(caseId, { approve: ids.slice(0, half), reject: ids.slice(half) });
  const took = performance.now() - began;
  process.stdout.write(`${MAX_CASE_ORDERS} orders decided in ${Math.round(took)} ms\n`);
  expect(outcome).toMatchObject({ outcome: 'done', skipped: [] });
  // With the one that did not fit, which is still held.
  expect(await pendingOf(parties)).toBe(BigInt(half + 1) * 1_000n);
  await expectBooksToHold();
});

describe('the orders of a case', () => {
  test('are of its program, and in one open case', async () => {
    const [parties, foreign] = [await createParties(ledger), await createParties(ledger)];
    const [own, theirs] = [await reviewed(parties), await reviewed(foreign)];
    const caseId = await caseOf(parties, [own]);
    await expect(caseOf(parties, [theirs])).rejects.toThrow(`no order cnv_${theirs} in the program`);
    await expect(caseOf(parties, [own])).rejects.toThrow(`cnv_${own} is in the open case cas_${caseId}`);
    await inTransaction(ledger, (tx) => setCaseState(tx, caseId, 'closed'));
    const next = await caseOf(parties, [own]);
    expect(next).toBeGreaterThan(caseId);
    await expect(inTransaction(ledger, (tx) => setCaseState(tx, caseId, 'open'))).rejects.toThrow(
      'in another open case',
    );
    const rivals = await Promise.allSettled([1, 2].map(async () => await caseOf(foreign, [theirs])));
    expect(rivals.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  test('share addresses, networks and accounts, by which others are found', async () => {
    const [parties, foreign] = [await createParties(ledger), await createParties(ledger)];
    const here = await reviewed(parties, { clickIp: '198.51.100.7' });
    const same = await reviewed(parties, { clickIp: '198.51.100.7' });
    const near = await reviewed(parties, { clickIp: '198.51.100.99' });
    const far = await reviewed(parties, { clickIp: '192.0.2.1' });
    await reviewed(foreign, { clickIp: '198.51.100.7' });
    const caseId = await caseOf(parties, [here, same, near]);
    expect(
      (await sharedInCase(ledger, caseId))
        .map(({ kind, value, orders }) => [kind, value, orders])
        .slice(0, 3),
    ).toEqual([
      ['ip', '198.51.100.7', 2],
      ['subnet', '198.51.100.0/24', 3],
      ['affiliate', `aff_${parties.chain[0]}`, 3],
    ]);
    await inTransaction(ledger, (tx) => setCaseState(tx, caseId, 'closed'));
    const related = async (kinds: Parameters<typeof relatedOrders>[1]['kinds'], conversionId = here) =>
      (
        await relatedOrders(ledger, { programId: parties.programId, conversionId, kinds, limit: 10 })
      ).orders.map(({ conversionId: id }) => id);
    expect(await related(['ip'])).toEqual([here, same]);
    expect(await related(['ip', 'subnet'])).toEqual([here, same, near]);
    expect(await related(['payout_account'])).toEqual([here, same, near, far]);
    expect(await related(['ip'], far)).toEqual([far]);
    await caseOf(parties, [same]);
    expect(await related(['ip'])).toEqual([here]);
  });

  test('share a network alone where addresses are shortened, and nothing where they are not known', async () => {
    const parties = await createParties(ledger);
    const at = async (clickIp: string) => await reviewed(parties, { clickIp });
    const related = async (conversionId: bigint, kind: 'ip' | 'subnet') =>
      (
        await relatedOrders(ledger, {
          ...{ programId: parties.programId, conversionId, kinds: [kind], limit: 10 },
        })
      ).orders.map(({ conversionId: id, shared }) => [id, shared]);
    for (const shortened of ['198.51.100.0', '2001:db8:1::']) {
      const [one, other] = [await at(shortened), await at(shortened)];
      expect(await related(one, 'ip')).toEqual([[one, []]]);
      expect(await related(one, 'subnet')).toEqual([
        [one, ['subnet']],
        [other, ['subnet']],
      ]);
    }
    const [unknown, alike] = [await at('::'), await at('::')];
    for (const kind of ['ip', 'subnet'] as const)
      expect(await related(unknown, kind)).toEqual([[unknown, []]]);
    const caseId = await caseOf(parties, [unknown, alike]);
    const kinds = (await sharedInCase(ledger, caseId)).map(({ kind }) => kind);
    expect(kinds).toEqual(['affiliate', 'payout_account']);
    const v6 = await at('2001:db8:1::7');
    expect(await related(v6, 'ip')).toEqual([[v6, ['ip']]]);
  });

  test('that share something begin with the order itself, and are cut where they are too many', async () => {
    const parties = await createParties(ledger);
    const [first, second] = [await reviewed(parties), await reviewed(parties)];
    const last = await reviewed(parties);
    const of = { programId: parties.programId, conversionId: last, kinds: ['ip'] } as const;
    const ids = async (more: { limit: number; except?: bigint[] }) => {
      const { orders, hasMore } = await relatedOrders(ledger, { ...of, ...more });
      return [orders.map(({ conversionId }) => conversionId), hasMore];
    };
    expect(await ids({ limit: 2 })).toEqual([[last, first], true]);
    expect(await ids({ limit: 3 })).toEqual([[last, first, second], false]);
    expect(await ids({ limit: 2, except: [first] })).toEqual([[last, second], false]);
  });

  test('are taken out, and put in again, unless the case has decided them', async () => {
    const parties = await createParties(ledger);
    const [good, bad] = [await reviewed(parties), await reviewed(parties)];
    const caseId = await caseOf(parties, [good, bad]);
    const remove = async (conversionId: bigint) =>
      await inTransaction(ledger, (tx) => removeCaseOrder(tx, { caseId, conversionId }));
    const add = async (...conversionIds: bigint[]) =>
      await inTransaction(ledger, (tx) =>
        addCaseOrders(tx, { caseId, programId: parties.programId, conversionIds, actor }),
      );
    await decide(caseId, { reject: [bad] });
    expect(await remove(bad)).toBe('decided');
    expect([await remove(good), await remove(good)]).toEqual(['removed', 'not_found']);
    expect(await getCase(ledger, caseId)).toMatchObject({ orders: 1, inReview: 0 });
    expect((await listCaseOrders(ledger, caseId)).map(({ conversionId }) => conversionId)).toEqual([bad]);
    await expect(decide(caseId, { approve: [good] })).rejects.toThrow('not an order of this case');
    const elsewhere = await caseOf(parties, [good]);
    await expect(add(good)).rejects.toThrow(`in the open case cas_${elsewhere}`);
    await inTransaction(ledger, (tx) => setCaseState(tx, elsewhere, 'closed'));
    expect([await add(good, bad), await add(good)]).toEqual([1, 0]);
    expect(await getCase(ledger, caseId)).toMatchObject({ orders: 2, inReview: 1 });
  });
});

describe('what a case began with', () => {
  const subjectOf = async (kind: Subject['kind'], value: string) => {
    const { programId } = await createParties(ledger);
    const id = await inTransaction(ledger, (tx) =>
      openCase(tx, { programId, title: 'One visitor', subject: { kind, value }, actor }),
    );
    return (await getCase(ledger, id))?.subject?.value;
  };

  test.each([
    ['ip', '2001:DB8:0::7', '2001:db8::7'],
    ['subnet', '198.51.100.7/24', '198.51.100.0/24'],
    ['subnet', '2001:db8:1:2::9/64', '2001:db8:1:2::/64'],
    ['asn', '680', 'AS680'],
    ['fingerprint', '18446744073709551615', '18446744073709551615'],
    ['affiliate', 'aff_1', 'aff_1'],
    ['customer', 'cus-1', 'cus-1'],
    ['customer', ' Ann@Example.com', `sha256:${emailHash('ann@example.com')}`],
  ] as const)('is kept in its one way of writing: %s %s', async (kind, value, stored) => {
    expect(await subjectOf(kind, value)).toBe(stored);
  });

  test.each([
    ['ip', '203.0.113.0/24'],
    ['subnet', '203.0.113.7'],
    ['subnet', '203.0.113.0/16'],
    ['asn', 'Deutsche Telekom'],
    ['fingerprint', '18446744073709551616'],
    ['affiliate', 'lnk_1'],
    ['link', 'spring'],
    ['account', 'DE89370400440532013000'],
  ] as const)('is refused where it is no %s: %s', async (kind, value) => {
    await expect(subjectOf(kind, value)).rejects.toMatchObject({ field: 'subject' });
  });
});

describe('erasing', () => {
  /** An order in review by this customer. */
  async function orderOf(
    parties: TestParties,
    of: { customerId?: string; email?: string; ip?: string },
  ): Promise<bigint> {
    const { customerId, email, ip } = of;
    const { conversion } = await recordConversion(ledger, {
      programId: parties.programId,
      orderId: randomUUID(),
      amountMinor: 10_000n,
      currency: 'EUR',
      source: 'api',
      customerId,
      customerEmailHash: email && emailHash(email),
      ip,
    });
    await inTransaction(ledger, (tx) =>
      recordDecision(
        tx,
        decisionFor(parties, conversion.id, { outcome: 'review', reason: 'instant_conversion' }),
      ),
    );
    return conversion.id;
  }

  async function begun({ programId }: TestParties, subject: Subject): Promise<number> {
    return await inTransaction(ledger, async (tx) => {
      const caseId = await openCase(tx, { programId, title: 'Ann Smith', subject, actor });
      await addCaseNote(tx, { caseId, act: 'note', author: actor, text: 'Ann Smith again' });
      return caseId;
    });
  }

  const textsOf = async (caseIds: readonly number[]) =>
    await Promise.all(
      caseIds.map(async (caseId) => {
        const found = await getCase(ledger, caseId);
        const notes = await listCaseNotes(ledger, { caseId, limit: 10 });
        return [found?.title, found?.subject ?? null, ...notes.map(({ text }) => text)];
      }),
    );
  const FORGOTTEN = ['erased', null, 'erased'];

  async function erase({ programId }: TestParties, named: string): Promise<void> {
    const customer = await findCustomer(ledger, { programId, named });
    await inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor }));
  }

  test('a customer forgets the cases of its orders, also where they were taken out, and of itself', async () => {
    const [parties, foreign] = [await createParties(ledger), await createParties(ledger)];
    const own = { customerId: 'ann-7', email: 'ann@example.com', ip: '192.0.2.77' };
    const [held, taken] = [await orderOf(parties, own), await orderOf(parties, own)];
    const holding = await caseOf(parties, [held]);
    const held2 = await caseOf(parties, [taken]);
    for (const caseId of [holding, held2])
      await inTransaction(ledger, (tx) =>
        addCaseNote(tx, { caseId, act: 'note', author: actor, text: 'Ann Smith' }),
      );
    await inTransaction(ledger, (tx) => removeCaseOrder(tx, { caseId: held2, conversionId: taken }));
    const gone = [
      await begun(parties, { kind: 'customer', value: 'ann-7' }),
      await begun(parties, { kind: 'customer', value: 'ann@example.com' }),
      await begun(parties, { kind: 'ip', value: '192.0.2.77' }),
    ];
    const kept = [
      await begun(parties, { kind: 'customer', value: 'bob-8' }),
      await begun(foreign, { kind: 'customer', value: 'ann-7' }),
    ];
    await erase(parties, 'ann-7');
    expect(await textsOf([holding, held2, ...gone])).toEqual(Array.from({ length: 5 }, () => FORGOTTEN));
    expect(await textsOf(kept)).toMatchObject([
      ['Ann Smith', { value: 'bob-8' }, 'Ann Smith again'],
      ['Ann Smith', { value: 'ann-7' }, 'Ann Smith again'],
    ]);
  });

  test('a customer without orders forgets the cases of it', async () => {
    const parties = await createParties(ledger);
    const caseId = await begun(parties, { kind: 'customer', value: 'nobody@example.com' });
    await erase(parties, 'nobody@example.com');
    expect(await textsOf([caseId])).toEqual([FORGOTTEN]);
  });

  test('an address forgets the cases of it in every program', async () => {
    const [here, there] = [await createParties(ledger), await createParties(ledger)];
    const gone = await Promise.all(
      [here, there].map((parties) => begun(parties, { kind: 'ip', value: '2001:db8::77' })),
    );
    const kept = await begun(here, { kind: 'ip', value: '2001:db8::78' });
    const subjects = [{ kind: 'ip', value: '2001:DB8:0::77' }] as const;
    await inTransaction(ledger, (tx) => eraseCases(tx, { programId: null, conversionIds: [], subjects }));
    expect(await textsOf(gone)).toEqual([FORGOTTEN, FORGOTTEN]);
    expect(await textsOf([kept])).toMatchObject([
      ['Ann Smith', { value: '2001:db8::78' }, 'Ann Smith again'],
    ]);
  });

  test('an affiliate forgets the cases of itself, its account and its links', async () => {
    const parties = await createParties(ledger);
    const [, , grandparent] = parties.chain;
    const subjects = [
      { kind: 'affiliate', value: `aff_${grandparent}` },
      { kind: 'account', value: `aff_${grandparent}` },
    ] as const;
    const gone = await Promise.all(subjects.map((subject) => begun(parties, subject)));
    const kept = await begun(parties, { kind: 'link', value: `lnk_${parties.linkId}` });
    const { programId } = parties;
    await ledger`update affiliates set status = 'terminated' where id = ${grandparent}`;
    const fault = await inTransaction(ledger, (tx) =>
      eraseAffiliate(tx, { programId, affiliateId: grandparent }),
    );
    expect(fault).toBeUndefined();
    expect(await textsOf(gone)).toEqual([FORGOTTEN, FORGOTTEN]);
    expect(await textsOf([kept])).toMatchObject([
      ['Ann Smith', { value: `lnk_${parties.linkId}` }, 'Ann Smith again'],
    ]);
  });

  test('leaves nothing of why a case was decided with the orders of others', async () => {
    const parties = await createParties(ledger);
    const [ann, bob] = [
      await orderOf(parties, { customerId: 'ann-9' }),
      await orderOf(parties, { customerId: 'bob-9' }),
    ];
    const caseId = await caseOf(parties, [ann, bob]);
    await decide(caseId, { reject: [bob] });
    await inTransaction(ledger, (tx) =>
      decideCase(tx, { caseId, reviewer: 'ann', note: 'Ann Smith, Main St 1', approve: [], reject: [ann] }),
    );
    const said = async (id: bigint) =>
      (await readTimeline(ledger, id)).find(({ kind }) => kind === 'reviewed')?.note;
    expect([await said(ann), await said(bob)]).toEqual([
      `rejected in case cas_${caseId}: Ann Smith, Main St 1`,
      `rejected in case cas_${caseId}: one person`,
    ]);
    await erase(parties, 'ann-9');
    expect(await said(ann)).toBe(`rejected in case cas_${caseId}: erased`);
    const [log] = await ledger<{ text: string }[]>`
      select jsonb_agg(after)::text as text from audit_log where subject in (${`cnv_${ann}`}, ${`cnv_${bob}`})`;
    expect(log?.text).not.toMatch(/Main St|one person/);
  });

  test('waits for a decision of the case, and it for that, without a deadlock', async () => {
    const parties = await createParties(ledger);
    const { programId } = parties;
    for (let round = 0; round < 5; round++) {
      const customerId = `round-${round}`;
      const ids = [await orderOf(parties, { customerId }), await orderOf(parties, { customerId })];
      const caseId = await caseOf(parties, ids);
      const customer = await findCustomer(ledger, { programId, named: customerId });
      const [decided] = await Promise.all([
        decide(caseId, { reject: ids }),
        inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor })),
      ]);
      expect(decided).toMatchObject({ outcome: 'done', rejected: ids });
    }
    const [row] = await ledger<{ deadlocks: bigint }[]>`
      select deadlocks from pg_stat_database where datname = current_database()`;
    expect(row?.deadlocks).toBe(0n);
  });
});
