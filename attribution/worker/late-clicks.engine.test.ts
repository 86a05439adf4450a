import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';

/** Each is two programs with the same clicks and orders; more by AFFLUX_TEST_DELAYS. */
const RUNS = Number(process.env.AFFLUX_TEST_DELAYS ?? 6);
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
const LIMIT_MS = 60_000 + RUNS * 2_000;
const SPAN_MS = 20 * MINUTE_MS;

let fixture: AttributionFixture;
/** The watermark only moves on, so each run is later than the one before. */
let nextStartMs = Date.now() - 20 * 60 * MINUTE_MS;
let sides = 0;
beforeAll(async () => {
  fixture = await startAttributionFixture();
});
afterAll(async () => await fixture?.close());

interface Visit {
  readonly atMs: number;
  readonly visitor: number;
  /** Level 1 or its parent, whose link it was. */
  readonly partner: 0 | 1;
}
interface Purchase {
  readonly atMs: number;
  readonly visitor: number;
  /** Whose click id the shop gives; null: none. */
  readonly visit: number | null;
  readonly customer: number;
}

const VISITS = 6;
const atMs = fc.integer({ min: 0, max: SPAN_MS });
const visitor = fc.integer({ min: 0, max: 2 });
const anyVisits = fc.array(fc.record({ atMs, visitor, partner: fc.constantFrom(0 as const, 1 as const) }), {
  minLength: VISITS,
  maxLength: VISITS,
});
const anyPurchases = fc.array(
  fc.record({
    atMs: fc.integer({ min: 0, max: 2 * SPAN_MS }),
    visitor,
    visit: fc.option(fc.integer({ min: 0, max: VISITS - 1 })),
    customer: fc.integer({ min: 0, max: 2 }),
  }),
  { minLength: 3, maxLength: 6 },
);

/** A program, its links, and the clicks and orders of a run as they are there. */
async function createSide(model: 'last_click' | 'first_click', startMs: number) {
  const side = ++sides;
  const { ledger } = fixture;
  const parties = await createParties(ledger, { attributionModel: model, recurringMonths: 2 });
  // Rules that count what was decided before depend on the order of decisions by their nature.
  const fraudRules = { repeat_orders: false, high_conversion_rate_from_ip: false } as const;
  await updateProgram(ledger, { id: parties.programId, changes: { fraudRules, fingerprintMatch: 'credit' } });
  const { programId, campaignId, chain } = parties;
  const other = await createLink(ledger, {
    campaignId,
    affiliateId: chain[1],
    landingUrl: 'https://shop.example/',
  });
  const addressOf = (who: number) => `10.${side >> 8}.${side & 255}.${who + 1}`;
  const fingerprintOf = (who: number) => BigInt(side * 10 + who + 1);
  const clickOf = ({ atMs: at, visitor: who, partner }: Visit, seq: number): Partial<ClickRecord> => ({
    ts: startMs + at,
    node: 20_000 + side,
    seq,
    ip: parseIp(addressOf(who)) ?? Buffer.alloc(16),
    fingerprint: fingerprintOf(who),
    affiliate_id: chain[partner],
    link_id: partner === 0 ? parties.linkId : other.id,
  });
  async function report(purchases: readonly Purchase[], visits: readonly Visit[]): Promise<void> {
    for (const [i, { atMs: at, visitor: who, visit, customer }] of purchases.entries()) {
      const click = visit === null ? undefined : visits[visit];
      await fixture.order(
        {
          orderId: String(i),
          occurredAt: new Date(startMs + at),
          customerId: `customer ${customer}`,
          ip: addressOf(who),
          fingerprint: fingerprintOf(who),
          ...(click &&
            visit !== null && {
              clickId: fixture.clickIds.encode({ ts: startMs + click.atMs, node: 20_000 + side, seq: visit }),
            }),
        },
        parties,
      );
    }
  }
  return { parties, programId, clickOf, report };
}

/** What was decided, in terms both programs share. */
async function decisionsOf({ programId, chain }: TestParties): Promise<unknown[]> {
  const rows = await fixture.ledger<{ affiliateId: number | null; commissions: { of: number }[] | null }[]>`
    select c.order_id, c.state, c.reason, c.affiliate_id, c.click_ts, c.click_seq, f.order_id as first_order,
      (select json_agg(json_build_object('of', m.affiliate_id, 'amount', m.amount_minor) order by level)
       from commissions m where m.conversion_id = c.id) as commissions
    from conversions c left join conversions f on f.id = c.recurring_of
    where c.program_id = ${programId} order by c.order_id`;
  const place = (id: number | null) => (id === null ? null : chain.indexOf(id));
  return rows.map(({ affiliateId, commissions, ...row }) => ({
    ...row,
    affiliate: place(affiliateId),
    commissions: commissions?.map((one) => ({ ...one, of: place(one.of) })) ?? null,
  }));
}

test('decisions do not depend on how late clicks are stored', { timeout: 2 * LIMIT_MS }, async () => {
  process.stdout.write(`AFFLUX_TEST_SEED=${SEED}\n`);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('last_click' as const, 'first_click' as const),
      anyVisits,
      anyPurchases,
      fc.shuffledSubarray([...Array(VISITS).keys()], { minLength: VISITS }),
      async (model, visits, purchases, arrival) => {
        const startMs = nextStartMs;
        nextStartMs += 2 * SPAN_MS + MINUTE_MS;
        const [late, prompt] = [await createSide(model, startMs), await createSide(model, startMs)];
        await late.report(purchases, visits);
        await fixture.addClicks(visits.map(prompt.clickOf), prompt.parties);
        const now = Date.now() + 1_000;
        for (let stored = 0; stored <= VISITS; stored += 2) {
          const missing = arrival.slice(stored).map((i) => visits[i]?.atMs ?? 0);
          await fixture.completeTo(startMs + Math.min(...missing, 2 * SPAN_MS + MINUTE_MS));
          await fixture.decideAll(new Date(now + stored * 2 * MINUTE_MS));
          for (const i of arrival.slice(stored, stored + 2)) {
            const visit = visits[i];
            if (visit) await fixture.addClicks([late.clickOf(visit, i)], late.parties);
          }
        }
        await prompt.report(purchases, visits);
        // An order that waits for another one is tried again a minute later at the most.
        for (let i = 0; i < 4; i++) await fixture.decideAll(new Date(now + (20 + 2 * i) * MINUTE_MS));
        expect(await decisionsOf(late.parties)).toEqual(await decisionsOf(prompt.parties));
      },
    ),
    {
      numRuns: RUNS,
      seed: SEED,

      interruptAfterTimeLimit: LIMIT_MS,
      markInterruptAsFailure: true,
    },
  );
});
