import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { noteAffiliateSession } from '../../ledger/conversions/decision-facts.ts';
import { setPayoutMethod } from '../../ledger/payouts/methods.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';
import { type Evidence, parseEvidence } from '../decide/evidence.ts';

/** Batches in one run, each decided twice; more by AFFLUX_TEST_HISTORIES. */
const RUNS = Math.ceil(Number(process.env.AFFLUX_TEST_HISTORIES ?? 300) / 50);
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
const LIMIT_MS = 60_000 + RUNS * 10_000;
const CLICKS = 6;
const VISITORS = 3;
const AFFILIATES = 3;

let fixture: AttributionFixture;
/** Clicks are of the future, because terms begin when they are made; each run is after the one before. */
let nextStartMs = 0;
let sides = 0;
beforeAll(async () => {
  fixture = await startAttributionFixture();
});
afterAll(async () => await fixture?.close());

/** A click id that leads to a stored click, to one that never existed, to one not stored yet, or to nothing. */
type GivenClick = number | 'missing' | 'late' | 'damaged' | 'none';

interface Order {
  readonly click: GivenClick;
  /** Whose address and fingerprint the shop gives; null: neither. */
  readonly visitor: number | null;
  readonly customer: number | null;
  /** The affiliate whose payout account the order was paid from. */
  readonly paidFrom: number | null;
}

interface Click {
  readonly affiliate: number;
  readonly visitor: number;
}

const place = fc.integer({ min: 0, max: AFFILIATES - 1 });
const visitor = fc.integer({ min: 0, max: VISITORS - 1 });
const anyClicks = fc.array(fc.record<Click>({ affiliate: place, visitor }), {
  minLength: CLICKS,
  maxLength: CLICKS,
});
const anyOrders = fc.array(
  fc.record<Order>({
    click: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 0, max: CLICKS - 1 }) },
      { weight: 3, arbitrary: fc.constantFrom<GivenClick>('missing', 'late', 'damaged', 'none') },
    ),
    visitor: fc.option(visitor),
    customer: fc.option(fc.integer({ min: 0, max: 1 })),
    paidFrom: fc.option(place),
  }),
  { minLength: 3, maxLength: 10 },
);

/** A program whose affiliates differ in everything that a decision reads, and the clicks of a run. */
async function createSide(startMs: number, run: number, clicks: readonly Click[]) {
  const node = 30_000 + ++sides;
  const { ledger } = fixture;
  const parties = await createParties(ledger, { recurringMonths: 2, attributionModel: 'first_click' });
  const { programId, campaignId, chain } = parties;
  // Rules that count what was decided before depend on the order of decisions by their nature.
  const fraudRules = {
    repeat_orders: false,
    repeat_payment_account: false,
    high_conversion_rate_from_ip: false,
    click_velocity_ip: 4,
  } as const;
  await updateProgram(ledger, { id: programId, changes: { fraudRules, fingerprintMatch: 'credit' } });
  for (const [i, affiliateId] of chain.entries()) {
    const attributionModel = i === 0 ? 'last_click' : 'first_click';
    await setTerms(ledger, {
      programId,
      affiliateId,
      attributionModel,
      rateBps: 1_000 * (i + 1),
      cookieDays: 10 + i,
      recurringMonths: i,
    });
    await setPayoutMethod(ledger, {
      affiliateId,
      kind: 'bank',
      details: Buffer.from('encrypted'),
      accountHash: accountOf(i),
      hint: '…',
      changedBy: 'test',
    });
  }
  const links = await Promise.all(
    chain.map((affiliateId) =>
      createLink(ledger, { campaignId, affiliateId, landingUrl: 'https://shop.example/' }),
    ),
  );
  const addressOf = (who: number) => `10.${run}.${who}.1`;
  const fingerprintOf = (who: number) => BigInt(node * 10 + who);
  // The last visitor is the second affiliate itself.
  await noteAffiliateSession(ledger, {
    programId,
    affiliateId: chain[1],
    ip: addressOf(VISITORS - 1),
    fingerprint: fingerprintOf(VISITORS - 1),
    now: new Date(),
  });

  const identityOf = (seq: number): ClickIdentity => ({ ts: startMs + seq * 1_000, node, seq });
  const clickOf = (seq: number, { affiliate, visitor: who }: Click): Partial<ClickRecord> => ({
    ...identityOf(seq),
    ip: parseIp(addressOf(who)) ?? Buffer.alloc(16),
    fingerprint: fingerprintOf(who),
    affiliate_id: chain[affiliate] ?? 0,
    link_id: links[affiliate]?.id ?? 0,
  });
  // Each visitor has another number of clicks in the hour before.
  const earlier = Array.from({ length: VISITORS }, (_, who) => Array<number>(2 * who).fill(who)).flat();
  await fixture.addClicks(
    [
      ...clicks.map((click, seq) => clickOf(seq, click)),
      ...earlier.map((who, i) => ({
        ...clickOf(CLICKS + i, { affiliate: 0, visitor: who }),
        ts: startMs - 2 * MINUTE_MS,
      })),
    ],
    parties,
  );

  function clickIdOf(click: GivenClick, i: number): string | undefined {
    if (click === 'none') return undefined;
    if (click === 'damaged') return 'damaged';
    if (click === 'late') return fixture.clickIds.encode({ ts: startMs + 20 * MINUTE_MS, node, seq: i });
    return fixture.clickIds.encode(
      click === 'missing' ? { ts: startMs, node, seq: 1_000 + i } : identityOf(click),
    );
  }
  async function report(i: number, order: Order): Promise<void> {
    await fixture.order(
      {
        orderId: String(i),
        amountMinor: BigInt(10_000 * (i + 1)),
        clickId: clickIdOf(order.click, i),
        // Slower than what the pace of an affiliate is about, and one after the other.
        occurredAt: new Date(startMs + 10 * MINUTE_MS + i * 1_000),
        ...(order.visitor !== null && {
          ip: addressOf(order.visitor),
          fingerprint: fingerprintOf(order.visitor),
        }),
        ...(order.customer !== null && { customerId: `customer ${order.customer}` }),
        ...(order.paidFrom !== null && { paymentAccountHash: accountOf(order.paidFrom).toString('hex') }),
      },
      parties,
    );
  }
  return { parties, report };
}

function accountOf(affiliate: number): Buffer {
  return Buffer.alloc(32, affiliate + 1);
}

/** Decisions with their evidence and commissions, in terms that both sides share. */
async function decisionsOf({ programId, chain }: TestParties): Promise<unknown[]> {
  const rows = await fixture.ledger<
    {
      evidence: unknown;
      affiliateId: number | null;
      termsOf: number | null;
      commissions: { of: number }[] | null;
    }[]
  >`
    select c.order_id, c.state, c.reason, c.affiliate_id, c.click_ts, c.click_seq, c.evidence, f.order_id as first_order,
      t.affiliate_id as terms_of,
      (select json_agg(json_build_object('of', m.affiliate_id, 'amount', m.amount_minor) order by level)
       from commissions m where m.conversion_id = c.id) as commissions
    from conversions c left join conversions f on f.id = c.recurring_of left join terms t on t.id = c.terms_id
    where c.program_id = ${programId} order by c.id`;
  const placeOf = (id: number | null) => (id === null ? null : chain.indexOf(id));
  return rows.map(({ affiliateId, termsOf, commissions, evidence, ...row }) => ({
    ...row,
    affiliate: placeOf(affiliateId),
    termsOf: placeOf(termsOf),
    commissions: commissions?.map((one) => ({ ...one, of: placeOf(one.of) })) ?? null,
    evidence: comparable(parseEvidence(evidence), chain),
  }));
}

/** Evidence without ids; the times of clicks name them. Both sides report at different times, maybe of two quarters of an hour. */
function comparable(evidence: Evidence | undefined, chain: TestParties['chain']): unknown {
  if (!evidence) return undefined;
  const { candidates, termsId: _, firstOrder, history, ...rest } = evidence;
  return {
    ...rest,
    history: history && { ...history, until: undefined },
    hasFirstOrder: firstOrder !== null,
    candidates: candidates.map(({ at, affiliateId, ip, flags, lost }) => ({
      at,
      affiliate: chain.indexOf(affiliateId),
      ip,
      flags,
      lost,
    })),
  };
}

test('a batch decides each order as it would be decided alone', { timeout: 2 * LIMIT_MS }, async () => {
  process.stdout.write(`AFFLUX_TEST_SEED=${SEED}\n`);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(anyClicks, anyOrders, async (clicks, orders) => {
      run++;
      const startMs = Math.max(nextStartMs, Date.now() + 10 * MINUTE_MS);
      nextStartMs = startMs + 25 * MINUTE_MS;
      const alone = await createSide(startMs, run, clicks);
      const together = await createSide(startMs, run, clicks);
      await fixture.completeTo(startMs + 15 * MINUTE_MS);
      for (const [i, order] of orders.entries()) {
        await alone.report(i, order);
        await fixture.worker().runBatch(new Date(Date.now() + 1_000));
      }
      // The undecided ones of the other side are due as well: a larger batch.
      for (const [i, order] of orders.entries()) await together.report(i, order);
      const now = Date.now() + 1_000;
      const { claimed } = await fixture.worker().runBatch(new Date(now));
      // A new order whose click cannot be there yet is not taken.
      expect(claimed).toBeGreaterThanOrEqual(orders.filter(({ click }) => click !== 'late').length);
      // Later orders of a customer wait for the earlier ones.
      for (let i = 1; i <= orders.length; i++) await fixture.decideAll(new Date(now + i * 2 * MINUTE_MS));
      expect(await decisionsOf(together.parties)).toEqual(await decisionsOf(alone.parties));
    }),
    { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: true },
  );
});
