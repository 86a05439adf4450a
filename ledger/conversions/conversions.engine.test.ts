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
import { type Database, inTransaction } from '../postgres/db.ts';
import { claimConversions, dueConversions, postponeConversions } from './conversion-claims.ts';
import { getConversion, listConversions, recordConversion } from './conversions.ts';
import { countEarlier } from './decision-facts.ts';
import type { ReportedConversion } from './reported-conversion.ts';

let db: TestLedger;
let ledger: Database;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 20 });
  ledger = db.ledger;
  parties = await createParties(ledger);
});
afterAll(async () => await db.close());

function order(given: Partial<ReportedConversion> & { orderId: string }): ReportedConversion {
  return { programId: parties.programId, amountMinor: 5_000n, currency: 'EUR', source: 'postback', ...given };
}

describe('an order', () => {
  test('reported 50 times at once is recorded once', async () => {
    const reports = await Promise.all(
      Array.from({ length: 50 }, () => recordConversion(ledger, order({ orderId: 'fifty', clickId: 'c' }))),
    );
    expect(reports.map(({ outcome }) => outcome).toSorted()).toEqual([
      'accepted',
      ...Array<string>(49).fill('duplicate'),
    ]);
    expect(new Set(reports.map(({ conversion }) => conversion.id)).size).toBe(1);
  });

  test('reported with 50 different payloads keeps one of them, and names what differs', async () => {
    const reports = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        recordConversion(ledger, order({ orderId: 'contradiction', amountMinor: 1_000n + BigInt(i) })),
      ),
    );
    const conflicts = reports.filter((report) => report.outcome === 'conflict');
    expect(conflicts).toHaveLength(49);
    expect(new Set(conflicts.map(({ differing }) => differing.join())).size).toBe(1);
    expect(conflicts[0]?.differing).toEqual(['amount']);
    expect(new Set(reports.map(({ conversion }) => conversion.amountMinor)).size).toBe(1);
  });

  test('is the same when only the way of the report differs', async () => {
    await recordConversion(ledger, order({ orderId: 'retry', ip: '198.51.100.1' }));
    const again = await recordConversion(
      ledger,
      order({ orderId: 'retry', source: 'api', ip: '198.51.100.2' }),
    );
    expect(again.outcome).toBe('duplicate');
    const other = await recordConversion(ledger, order({ orderId: 'retry', occurredAt: new Date(0) }));
    expect(other).toMatchObject({ outcome: 'conflict', differing: ['occurred_at'] });
  });

  test('keeps every field as it was reported', async () => {
    const reported = order({
      orderId: 'all fields ✓',
      amountMinor: 1_000_000_000_000n,
      occurredAt: new Date('2026-11-01T10:00:00.123Z'),
      clickId: 'abc',
      customerId: 'c-1',
      customerEmailHash: 'ab'.repeat(32),
      ip: '2001:db8::1',
      userAgent: 'Mozilla/5.0',
      fingerprint: 0xffff_ffff_ffff_fffen,
    });
    const { conversion } = await recordConversion(ledger, reported);
    expect(conversion).toMatchObject({ ...reported, state: 'received', status: 'pending' });
    expect(await getConversion(ledger, conversion.id)).toEqual(conversion);
  });

  test.each([
    ['order_id', { orderId: '' }],
    ['order_id', { orderId: 'x'.repeat(201) }],
    ['order_id', { orderId: 'a\u0000b' }],
    ['amount', { amountMinor: -1n }],
    ['amount', { amountMinor: 1_000_000_000_001n }],
    ['currency', { currency: 'USD' }],
    ['click_id', { clickId: 'a\r\nb' }],
    ['customer_email_hash', { customerEmailHash: 'someone@example.com' }],
    ['ip', { ip: '300.1.1.1' }],
    ['ip', { ip: '10.0.0.0/8' }],
    ['occurred_at', { occurredAt: new Date(Date.now() + 48 * 3_600_000) }],
    ['occurred_at', { occurredAt: new Date(Number.NaN) }],
  ])('with a wrong %s is refused and changes nothing (%#)', async (field, given) => {
    const count = async () => (await ledger<[{ count: bigint }]>`select count(*) from conversions`)[0].count;
    const before = await count();
    await expect(recordConversion(ledger, order({ orderId: 'bad', ...given }))).rejects.toEqual(
      expect.objectContaining({ constructor: InputError, field }),
    );
    expect(await count()).toBe(before);
  });
});

describe('claims', () => {
  /** Looks at the queue, and takes what is due. */
  async function claimDue(options: { limit: number; now: Date }) {
    const due = await dueConversions(ledger, options);
    return await claimConversions(ledger, { ...options, ids: due.map(({ id }) => id) });
  }

  test('of several workers never meet, and lapse after a minute', async () => {
    const other = await createParties(ledger);
    for (let i = 0; i < 12; i++) {
      await recordConversion(ledger, order({ orderId: `claim-${i}`, programId: other.programId }));
    }
    const now = new Date(Date.now() + 1_000);
    const mine = (claimed: { programId: number }[]) => claimed.filter((c) => c.programId === other.programId);
    const claims = await Promise.all(Array.from({ length: 4 }, () => claimDue({ limit: 100, now })));
    const ids = claims.flatMap((claimed) => claimed.map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(claims.flatMap(mine)).toHaveLength(12);
    expect(claims.flatMap(mine)[0]).toMatchObject({
      fingerprintMatch: 'review',
      fraudRules: {},
      rulesVersion: 1,
    });
    expect(await claimDue({ limit: 100, now })).toEqual([]);
    const later = new Date(now.getTime() + 61_000);
    expect(mine(await claimDue({ limit: 100, now: later }))).toHaveLength(12);
  });

  test('put off come back at their time', async () => {
    const { conversion } = await recordConversion(ledger, order({ orderId: 'later' }));
    const nextAttemptAt = new Date(Date.now() + 3_600_000);
    await postponeConversions(ledger, [{ conversion, nextAttemptAt }]);
    const claimed = async (offsetMs: number) => {
      const now = new Date(nextAttemptAt.getTime() + offsetMs);
      return (await claimDue({ limit: 1_000, now })).find(({ id }) => id === conversion.id);
    };
    expect(await claimed(-1_000)).toBeUndefined();
    expect(await claimed(0)).toMatchObject({ state: 'awaiting_click', attempts: 1 });
  });
});

describe('decisions', () => {
  test('without a click are kept with their reason; a late click reopens them once', async () => {
    const { conversion } = await recordConversion(ledger, order({ orderId: 'unknown click' }));
    const decide = (outcome: 'unattributed' | 'attributed') =>
      inTransaction(ledger, (tx) =>
        recordDecision(tx, {
          ...decisionFor(parties, conversion.id, {
            outcome,
            reason: outcome === 'unattributed' ? 'click_not_found' : null,
          }),
          ...(outcome === 'unattributed' && { click: undefined, termsId: null }),
        }),
      );
    expect(await decide('unattributed')).toEqual({ outcome: 'recorded', commissions: [] });
    expect(await decide('unattributed')).toEqual({ outcome: 'already_decided', state: 'unattributed' });
    expect(await getConversion(ledger, conversion.id)).toMatchObject({
      status: 'rejected',
      reason: 'click_not_found',
      evidence: { test: true },
    });
    expect((await decide('attributed')).outcome).toBe('recorded');
    expect(await decide('attributed')).toEqual({ outcome: 'already_decided', state: 'attributed' });
  });

  test('about a click of another program credit no affiliate', async () => {
    const other = await createParties(ledger);
    const { conversion } = await recordConversion(ledger, order({ orderId: 'foreign click' }));
    const decision = decisionFor(other, conversion.id, {
      outcome: 'unattributed',
      reason: 'click_of_other_program',
    });
    await inTransaction(ledger, (tx) => recordDecision(tx, { ...decision, termsId: null }));
    expect(await getConversion(ledger, conversion.id)).toMatchObject({
      affiliateId: null,
      linkId: null,
      clickNode: 1,
    });
  });

  test('of 40 at once count each other: a limit of 10 lets 10 pass', async () => {
    const own = await createParties(ledger);
    const clickIp = '192.0.2.40';
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const { conversion } = await recordConversion(
          ledger,
          order({ orderId: `ip-${i}`, programId: own.programId }),
        );
        await inTransaction(ledger, async (tx) => {
          const { programId } = own;
          const { id: conversionId, receivedAt } = conversion;
          const question = {
            conversionId,
            programId,
            receivedAt,
            ip: clickIp,
            customerId: null,
            couponId: null,
            paymentAccountHash: null,
          };
          const [before] = await countEarlier(tx, [question]);
          const decision =
            (before?.fromIp ?? 0) < 10
              ? ({ outcome: 'attributed', reason: null, clickIp } as const)
              : ({ outcome: 'review', reason: 'high_conversion_rate_from_ip', clickIp } as const);
          await recordDecision(tx, decisionFor(own, conversion.id, decision));
        });
      }),
    );
    const inState = async (state: 'attributed' | 'review') =>
      (await listConversions(ledger, { programId: own.programId, state, limit: 100 })).rows.length;
    expect([await inState('attributed'), await inState('review')]).toEqual([10, 30]);
  });

  test('are listed by the word the outside sees', async () => {
    const own = await createParties(ledger, { holdDays: 30 });
    const id = await creditOrder(ledger, own, { amountMinor: 10_000n });
    const listed = async (status: 'pending' | 'confirmed') =>
      (await listConversions(ledger, { programId: own.programId, status, limit: 10 })).rows.map(
        (row) => row.id,
      );
    expect([await listed('pending'), await listed('confirmed')]).toEqual([[id], []]);
  });
});
