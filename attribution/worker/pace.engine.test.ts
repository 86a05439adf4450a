import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { createParties, type TestParties } from '../../test/support/ledger.ts';

/** Sets of orders in one run, each decided in several ways; more by AFFLUX_TEST_HISTORIES. */
const RUNS = Math.ceil(Number(process.env.AFFLUX_TEST_HISTORIES ?? 300) / 100);
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
/** Shrinking a counterexample can take long: the smallest one by then is reported. */
const LIMIT_MS = 30_000 + RUNS * 10_000;
/** Clicks of all stories come from one address. */
const RULES = {
  high_conversion_rate_from_ip: false,
  click_velocity_ip: false,
  click_velocity_subnet: false,
  fast_conversions: 50,
};
const FIRST_MS = Date.now() - 3_600_000;

let fixture: AttributionFixture;
beforeAll(async () => {
  fixture = await startAttributionFixture();
  await fixture.completeTo(Date.now());
});
afterAll(async () => await fixture?.close());

interface Story {
  /** Seconds from the click to each order, in the sequence of their reports. */
  readonly seconds: readonly number[];
  /** When each order is due: those of one moment are a batch, whatever their sequence. */
  readonly moments: readonly number[];
  /** Workers that decide at the same time. */
  readonly workers: number;
}

const FAST_S = 60;
const SLOW_S = 600;
/** As many as say something of a pace, more of them fast than the rule allows by one. */
const FIRST_ORDERS = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 || i === 1 ? FAST_S : SLOW_S));

/** Then as many fast as slow ones: each moves the share across what the rule allows. */
const anyStory: fc.Arbitrary<Story> = fc.integer({ min: 5, max: 25 }).chain((more) => {
  const each = <T>(length: number, value: fc.Arbitrary<T>) =>
    fc.array(value, { minLength: length, maxLength: length });
  return fc.record({
    seconds: each(more, fc.constantFrom(FAST_S, SLOW_S)).map((later) => [...FIRST_ORDERS, FAST_S, ...later]),
    moments: each(FIRST_ORDERS.length + 1 + more, fc.integer({ min: 0, max: 4 })),
    workers: fc.constantFrom(1, 3),
  });
});

async function report(seconds: readonly number[]): Promise<TestParties> {
  const parties = await createParties(fixture.ledger);
  await updateProgram(fixture.ledger, { id: parties.programId, changes: { fraudRules: RULES } });
  const clicks = await fixture.addClicks(
    seconds.map((_, i) => ({ ts: FIRST_MS + i * 1_000 })),
    parties,
  );
  for (const [i, click] of clicks.entries()) {
    const occurredAt = new Date(click.ts + (seconds[i] ?? 0) * 1_000);
    const order = { orderId: String(i), clickId: fixture.clickIds.encode(click), occurredAt };
    await fixture.order(order, parties);
  }
  return parties;
}

/** Decides what is due at each moment, and then what has waited. */
async function decide(parties: TestParties, { moments, workers }: Omit<Story, 'seconds'>): Promise<void> {
  const startMs = Date.now();
  for (const [i, moment] of moments.entries()) {
    await fixture.books.owner`
      update conversions set next_attempt_at = ${new Date(startMs + moment * 10)}
      where program_id = ${parties.programId} and order_id = ${String(i)}`;
  }
  const due = [...new Set(moments)].sort((a, b) => a - b).map((moment) => startMs + moment * 10);
  const later = Array.from({ length: 12 }, (_, i) => startMs + 1_000 * (i + 1));
  for (const at of [...due, ...later]) {
    await Promise.all(Array.from({ length: workers }, () => fixture.worker().runBatch(new Date(at))));
  }
}

async function reasonsOf(parties: TestParties): Promise<string[]> {
  const rows = await fixture.ledger<{ state: string; reason: string | null }[]>`
    select state, reason from conversions where program_id = ${parties.programId} order by id`;
  return rows.map(({ state, reason }) => reason ?? state);
}

test('what is found of an affiliate’s pace does not depend on the batches that orders fall into', {
  timeout: 2 * LIMIT_MS,
}, async () => {
  let reviewed = 0;
  await fc.assert(
    fc.asyncProperty(anyStory, async (story) => {
      // One after the other: a worker decides what is due of any program.
      const oneByOne = await report(story.seconds);
      await decide(oneByOne, { moments: story.moments.map((_, i) => i), workers: 1 });
      const batches = await report(story.seconds);
      await decide(batches, story);
      const reasons = await reasonsOf(oneByOne);
      expect(reasons.filter((reason) => !/^(attributed|fast_conversions)$/.test(reason))).toEqual([]);
      expect(await reasonsOf(batches)).toEqual(reasons);
      reviewed += reasons.filter((reason) => reason === 'fast_conversions').length;
    }),
    { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: LIMIT_MS, markInterruptAsFailure: true },
  );
  expect(reviewed).toBeGreaterThan(0);
});
