import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shopifyCall, shopifyOrder, shopifyRefund } from '../api/sources/kinds/example-events.ts';
import { createApiKey } from '../ledger/access/api-keys.ts';
import { auditLedger } from '../ledger/audit/audit.ts';
import { vestDue } from '../ledger/books/commissions.ts';
import { addCaseOrders } from '../ledger/cases/case-orders.ts';
import { openCase } from '../ledger/cases/cases.ts';
import { recordConversion } from '../ledger/conversions/conversions.ts';
import { approvePayoutRun, listPayoutRuns } from '../ledger/payouts/approvals.ts';
import { setPayoutMethod } from '../ledger/payouts/methods.ts';
import { inTransaction } from '../ledger/postgres/db.ts';
import { updateProgram } from '../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from './support/attribution.ts';
import { waitFor } from './support/engines.ts';
import { createParties, creditOrder, type TestParties } from './support/ledger.ts';
import { createProcesses, createStops, type Processes, type Stops } from './support/money/kills.ts';

/** Processes that move money, killed −9 at the worst moments. */

const WORKER_KILLS = 3;
/** Several batches, each of clicks that are all different. */
const ORDERS = 4_000;

let world: AttributionFixture;
let processes: Processes;
let stops: Stops;

beforeAll(async () => {
  world = await startAttributionFixture();
  processes = createProcesses(world);
  stops = createStops(world.books.owner);
});
afterAll(async () => {
  await processes?.close();
  await world?.close();
});

async function expectBooksToHold() {
  expect((await auditLedger(world.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

test('a worker killed again and again decides every order once', async () => {
  const { ledger, clickIds } = world;
  const parties = await createParties(ledger);
  const clicks = await world.addClicks(
    Array.from({ length: ORDERS }, (_, i) => ({
      ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, i >> 8, i & 255]),
    })),
    parties,
  );
  await world.completeTo(Date.now());
  for (let from = 0; from < ORDERS; from += 500) {
    await Promise.all(
      clicks
        .slice(from, from + 500)
        .map((click) => world.order({ clickId: clickIds.encode(click) }, parties)),
    );
  }
  const decided = async () => {
    const [row] = await ledger<{ count: bigint }[]>`
      select count(*) from conversions where program_id = ${parties.programId} and decided_at is not null`;
    return Number(row?.count);
  };
  let kills = 0;
  for (let before = 0; before < ORDERS; before = await decided()) {
    const worker = await processes.start(['attribution']);
    // In the middle of the next batch, or a few milliseconds later.
    await waitFor(async () => (await decided()) > before || (await isWriting()), {
      deadlineMs: 30_000,
      what: 'a decision',
    });
    if (kills < WORKER_KILLS) {
      kills++;
      await worker.kill();
      // What it had sent is still carried out; its claims would lapse after a minute.
      await waitFor(async () => (await backends()) === 0n, {
        deadlineMs: 30_000,
        what: 'its sessions to end',
      });
      await world.books.owner`update conversions set claimed_until = null where claimed_until is not null`;
      continue;
    }
    await waitFor(async () => (await decided()) === ORDERS, {
      deadlineMs: 60_000,
      what: 'every order decided',
    });
    worker.child.kill('SIGTERM');
    await worker.exited;
  }
  expect(kills).toBe(WORKER_KILLS);
  const [sums] = await ledger<{ commissions: bigint; conversions: bigint; journals: bigint }[]>`
    select count(*) as commissions, count(distinct conversion_id) as conversions,
      (select count(*) from journals where program_id = ${parties.programId} and kind = 'earning') as journals
    from commissions where program_id = ${parties.programId}`;
  const [states] = await ledger<{ credited: bigint }[]>`
    select count(*) as credited from conversions where program_id = ${parties.programId} and affiliate_id is not null`;
  expect(sums).toEqual({
    commissions: 3n * (states?.credited ?? 0n),
    conversions: states?.credited,
    journals: states?.credited,
  });
  await expectBooksToHold();
});

/** Sessions of workers. */
async function backends(): Promise<bigint | undefined> {
  const [row] = await world.books.owner<{ count: bigint }[]>`
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'attribution'`;
  return row?.count;
}

/** Whether a worker's transaction has written something it has not committed yet. */
async function isWriting(): Promise<boolean> {
  const [row] = await world.books.owner<{ count: bigint }[]>`
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'attribution' and backend_xid is not null`;
  return (row?.count ?? 0n) > 0n;
}

/** Starts a payout run, and kills it before it commits such a row. */
async function killRunBefore(table: string, condition: string): Promise<void> {
  await stops.before(table, condition);
  const run = await processes.start(['payouts', 'run']);
  await stops.isStopped();
  await run.kill();
  await stops.goOn();
}

describe('a payout run killed', () => {
  test.each([
    ['before the commit of what has vested', 'commissions', `new.state = 'available'`],
    ['before the commit of what it has built', 'payouts', `new.state = 'created'`],
    ['before the commit that it will call the provider', 'payouts', `new.state = 'submitting'`],
    ['between the provider’s yes and ours', 'payouts', `new.state = 'submitted'`],
  ])('%s pays each affiliate once', async (_when, table, condition) => {
    const { ledger } = world;
    const { owner } = world.books;
    const parties = await createParties(ledger);
    for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await killRunBefore(table, condition);
    await owner`update payout_batches set claimed_until = '-infinity'`;
    for (let i = 0; i < 2; i++) expect(await (await processes.start(['payouts', 'run'])).exited).toBe(0);

    const payouts = await ledger<
      { affiliateId: number; providerKey: string; state: string; amountMinor: bigint }[]
    >`
      select affiliate_id, provider_key, state, amount_minor from payouts
      where program_id = ${parties.programId} order by affiliate_id`;
    expect(payouts.map(({ affiliateId, state, amountMinor }) => [affiliateId, state, amountMinor])).toEqual(
      parties.chain
        .map((id, i) => [id, 'submitted', [3_000n, 900n, 300n][i]] as const)
        .toSorted((a, b) => Number(a[0]) - Number(b[0])),
    );
    const folder = join(processes.home, 'payouts');
    const text = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('');
    for (const { providerKey } of payouts) expect(text.split(providerKey)).toHaveLength(2);
    await expectBooksToHold();
  });
});

test('a run killed before its hand-over does not pay an account that a thief has set meanwhile', async () => {
  const { ledger } = world;
  const { owner } = world.books;
  const parties = await createParties(ledger, { levelRatesBps: [] });
  const [affiliateId] = parties.chain;
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await killRunBefore('payouts', `new.state = 'submitting'`);
  await setPayoutMethod(ledger, {
    affiliateId,
    kind: 'bank',
    details: Buffer.from('the account of a thief'),
    accountHash: Buffer.alloc(32),
    hint: 'GB … 5432',
    changedBy: 'key:1',
  });
  await owner`update payout_batches set claimed_until = '-infinity'`;
  for (let i = 0; i < 2; i++) expect(await (await processes.start(['payouts', 'run'])).exited).toBe(0);
  const payouts = await ledger<{ state: string }[]>`
    select state from payouts where program_id = ${parties.programId}`;
  expect(payouts.map(({ state }) => state)).toEqual(['canceled']);
  const [balance] = await ledger<{ minor: bigint }[]>`
    select balance_minor as minor from accounts where affiliate_id = ${affiliateId} and kind = 'available'`;
  expect(balance?.minor).toBe(1_000n);
  await expectBooksToHold();
});

describe('a run that needs a second person, killed', () => {
  test.each([
    ['before the commit of what it has built', `new.state = 'awaiting_approval'`],
    ['before the commit that it will call the provider', `new.state = 'submitting'`],
    ['between the provider’s yes and ours', `new.state = 'submitted'`],
  ])(
    '%s, pays each affiliate once, and only after the approval',
    { timeout: 90_000 },
    async (_when, condition) => {
      const { ledger } = world;
      const { owner } = world.books;
      const parties = await createParties(ledger);
      const { programId } = parties;
      await updateProgram(ledger, { id: programId, changes: { payoutsNeedApproval: true } });
      for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
      const statesOf = async () =>
        (
          await ledger<{ state: string; amountMinor: bigint }[]>`
          select state, amount_minor from payouts where program_id = ${programId} order by amount_minor`
        ).map(({ state, amountMinor }) => [state, amountMinor]);
      const all = (state: string) => [
        [state, 300n],
        [state, 900n],
        [state, 3_000n],
      ];
      async function runKilled(): Promise<void> {
        await killRunBefore('payouts', `new.program_id = ${programId} and ${condition}`);
        await owner`update payout_batches set claimed_until = '-infinity'`;
      }
      const isBuilding = condition.includes('awaiting');
      if (isBuilding) await runKilled();
      for (let i = 0; i < 2; i++) expect(await (await processes.start(['payouts', 'run'])).exited).toBe(0);
      expect(await statesOf()).toEqual(all('awaiting_approval'));
      await expectBooksToHold();
      const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 10 });
      expect(rows).toMatchObject([{ startedBy: 'command line', payouts: 3 }]);
      const approval = { runId: rows[0]?.id ?? 0n, userId: 1, now: new Date() };
      expect(await inTransaction(ledger, (tx) => approvePayoutRun(tx, approval))).toMatchObject({
        outcome: 'done',
      });
      if (!isBuilding) await runKilled();
      for (let i = 0; i < 2; i++) expect(await (await processes.start(['payouts', 'run'])).exited).toBe(0);
      expect(await statesOf()).toEqual(all('submitted'));
      await expectBooksToHold();
    },
  );
});

test('a scheduled run whose process is killed is done by another process, once', async () => {
  const { ledger } = world;
  const { owner } = world.books;
  const parties = await createParties(ledger);
  for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await stops.before('payouts', `new.state = 'created'`);
  const first = await processes.start(['scheduler'], { PAYOUT_HOUR: '0' });
  await stops.isStopped();
  const second = await processes.start(['scheduler'], { PAYOUT_HOUR: '0' });
  await first.kill();
  await stops.goOn();
  // As if its lease had lapsed.
  await owner`update scheduled_tasks set due_at = clock_timestamp() where task = 'payouts'`;
  await waitFor(
    async () => {
      const done = await owner`select from scheduled_tasks where task = 'payouts' and done_at is not null`;
      return done.length > 0;
    },
    { deadlineMs: 60_000, what: 'the job to be done' },
  );
  second.child.kill('SIGTERM');
  await second.exited;
  const payouts = await ledger<{ affiliateId: number; state: string; amountMinor: bigint }[]>`
    select affiliate_id, state, amount_minor from payouts
    where program_id = ${parties.programId} order by amount_minor desc`;
  expect(payouts.map(({ affiliateId, state, amountMinor }) => [affiliateId, state, amountMinor])).toEqual([
    [parties.chain[0], 'submitted', 3_000n],
    [parties.chain[1], 'submitted', 900n],
    [parties.chain[2], 'submitted', 300n],
  ]);
  await expectBooksToHold();
});

describe('the API, killed while it', () => {
  /** Stays when the other one is killed. */
  let survivor: Awaited<ReturnType<Processes['startApi']>>;
  beforeAll(async () => {
    survivor = await processes.startApi();
  });
  afterAll(async () => await survivor?.kill());

  const refund = {
    table: 'commission_lines',
    condition: 'true',
    outcome: 'attributed' as const,
    request: (id: bigint): [string, object] => [
      '/v1/refunds',
      { conversion_id: `cnv_${id}`, refund_ref: 'r', amount: '100.00', currency: 'EUR' },
    ],
    statuses: [201, 200],
    ends: 'reversed',
    action: 'conversion.refund',
  };
  const review = (action: 'approve' | 'reject') => ({
    table: 'commissions',
    condition: action === 'approve' ? `new.state = 'pending'` : `new.state = 'rejected'`,
    outcome: 'review' as const,
    request: (id: bigint): [string, object] => [`/v1/conversions/cnv_${id}/${action}`, { note: 'seen' }],
    statuses: [200, 409],
    ends: action === 'approve' ? 'pending' : 'rejected',
    action: `conversion.${action}`,
  });

  test.each([
    ['refunds, before the commit', refund, false],
    ['refunds, after the commit and before the answer', refund, true],
    ['approves, before the commit', review('approve'), false],
    ['approves, after the commit and before the answer', review('approve'), true],
    ['rejects, before the commit', review('reject'), false],
    ['rejects, after the commit and before the answer', review('reject'), true],
  ])('%s, does it once', async (_when, work, atCommit) => {
    const { ledger } = world;
    const parties = await createParties(ledger);
    const { programId } = parties;
    const reason = work.outcome === 'review' ? ('instant_conversion' as const) : null;
    const id = await creditOrder(ledger, parties, { amountMinor: 10_000n, outcome: work.outcome, reason });
    const { key } = await createApiKey(ledger, { role: 'operator', name: 'test', programId });
    const [path, body] = work.request(id);
    const ask = async (url: string) =>
      await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const api = await processes.startApi();
    await stops.before(work.table, work.condition, atCommit);
    const answer = ask(api.url).then(
      ({ status }) => status,
      () => 'none',
    );
    const pid = await stops.isStopped();
    await api.kill();
    expect(await answer).toBe('none');
    await stops.goOn();
    await stops.hasEnded(pid);
    const [first, again] = work.statuses;
    expect((await ask(survivor.url)).status).toBe(atCommit ? again : first);
    expect((await ask(survivor.url)).status).toBe(again);
    const states = await ledger<{ state: string }[]>`
      select distinct state from commissions where conversion_id = ${id}`;
    expect(states.map(({ state }) => state)).toEqual([work.ends]);
    const logged = await ledger`
      select from audit_log where subject = ${`cnv_${id}`} and action = ${work.action}`;
    expect(logged).toHaveLength(1);
    await expectBooksToHold();
  });

  test.each([
    ['an order', 'before the commit', false],
    ['an order', 'after the commit and before the answer', true],
    ['a refund', 'before the commit', false],
    ['a refund', 'after the commit and before the answer', true],
  ] as const)(
    '%s of a source, %s, sent again is done once',
    { timeout: 60_000 },
    async (what, _when, atCommit) => {
      const { ledger } = world;
      const parties = await createParties(ledger);
      const { programId, chain } = parties;
      const { key } = await createApiKey(ledger, { role: 'advertiser', name: 'test', programId });
      const made = await fetch(`${survivor.url}/v1/sources`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ kind: 'shopify', secret: 'shh' }),
      });
      const { source } = (await made.json()) as { source: { url: string } };
      const orderId = String(4_500_000 + programId);
      const isRefund = what === 'a refund';
      if (isRefund) await creditOrder(ledger, parties, { amountMinor: 4_100n, orderId });
      const sent = isRefund
        ? shopifyCall('refunds/create', shopifyRefund(orderId, 1, '10.50'), 'shh')
        : shopifyCall('orders/paid', shopifyOrder(orderId), 'shh');
      const call = async (url: string) =>
        await fetch(`${url}${new URL(source.url).pathname}`, { method: 'POST', ...sent });
      const statusOf = async () => ((await (await call(survivor.url)).json()) as { status: string }).status;
      const api = await processes.startApi();
      await stops.before(isRefund ? 'refunds' : 'conversions', 'true', atCommit);
      const answer = call(api.url).then(
        ({ status }) => status,
        () => 'none',
      );
      const pid = await stops.isStopped();
      await api.kill();
      expect(await answer).toBe('none');
      await stops.goOn();
      await stops.hasEnded(pid);
      expect([await statusOf(), await statusOf()]).toEqual([
        atCommit ? 'duplicate' : 'accepted',
        'duplicate',
      ]);
      const [counted] = await ledger<{ orders: bigint; refunded: bigint; accepted: bigint }[]>`
      select
        (select count(*) from conversions where program_id = ${programId}) as orders,
        (select coalesce(sum(r.amount_minor), 0) from refunds r join conversions c on c.id = r.conversion_id
          where c.program_id = ${programId})::bigint as refunded,
        (select count(*) from postback_calls where program_id = ${programId} and outcome = 'accepted') as accepted`;
      expect(counted).toEqual({ orders: 1n, refunded: isRefund ? 1_050n : 0n, accepted: 1n });
      const [has] = await ledger<{ minor: bigint }[]>`
      select balance_minor as minor from accounts where affiliate_id = ${chain[0]} and kind = 'pending'`;
      expect(has?.minor).toBe(isRefund ? 305n : 0n);
      await expectBooksToHold();
    },
  );

  /**
   * What an operator does: where it stands still, and what the affiliate of level 1 has by it. Of an order of 100.00 the levels
   * earn 10.00, 3.00 and 1.00.
   */
  const acts = {
    'a bonus': {
      role: 'finance' as const,
      table: 'adjustments',
      condition: 'true',
      request: ({ chain }: TestParties): [string, object] => [
        `/v1/affiliates/aff_${chain[0]}/adjustments`,
        { kind: 'bonus', amount: '5.00', currency: 'EUR', note: 'x' },
      ],
      account: 'adjustments',
      minor: 500n,
    },
    'a merge': {
      role: 'operator' as const,
      table: 'affiliates',
      condition: 'new.merged_into is not null',
      request: ({ chain }: TestParties): [string, object] => [
        `/v1/affiliates/aff_${chain[2]}/merge`,
        { into_affiliate_id: `aff_${chain[0]}`, note: 'x' },
      ],
      account: 'adjustments',
      minor: 100n,
    },
    'a raise': {
      role: 'operator' as const,
      table: 'commission_lines',
      condition: 'true',
      request: (_: TestParties, id: bigint): [string, object] => [
        `/v1/conversions/cnv_${id}/change`,
        { amount: '150.00', currency: 'EUR' },
      ],
      account: 'pending',
      minor: 500n,
    },
    'a cancellation': {
      role: 'operator' as const,
      table: 'commission_lines',
      condition: 'true',
      request: (_: TestParties, id: bigint): [string, object] => [`/v1/conversions/cnv_${id}/cancel`, {}],
      account: 'available',
      minor: 0n,
    },
    'a credit by hand': {
      role: 'operator' as const,
      table: 'commissions',
      condition: 'true',
      request: ({ chain }: TestParties, _: bigint, open: bigint): [string, object] => [
        `/v1/conversions/cnv_${open}/attribute`,
        { affiliate_id: `aff_${chain[0]}`, note: 'x' },
      ],
      account: 'pending',
      minor: 1_000n,
    },
    'a decision of a case': {
      role: 'fraud' as const,
      table: 'case_notes',
      condition: 'true',
      request: async (parties: TestParties): Promise<[string, object]> => {
        const { programId } = parties;
        const held = { amountMinor: 10_000n, outcome: 'review', reason: 'instant_conversion' } as const;
        const good = await creditOrder(world.ledger, parties, held);
        const bad = await creditOrder(world.ledger, parties, held);
        const caseId = await inTransaction(world.ledger, async (tx) => {
          const id = await openCase(tx, { programId, title: 'x', actor: 'test' });
          await addCaseOrders(tx, { caseId: id, programId, conversionIds: [good, bad], actor: 'test' });
          return id;
        });
        const body = { note: 'x', approve: [`cnv_${good}`], reject: [`cnv_${bad}`] };
        return [`/v1/cases/cas_${caseId}/decide`, body];
      },
      account: 'pending',
      minor: 1_000n,
    },
  };

  test.each(
    Object.keys(acts).flatMap((name) => [
      [name as keyof typeof acts, 'before the commit', false] as const,
      [name as keyof typeof acts, 'after the commit and before the answer', true] as const,
    ]),
  )('writes %s, %s, does it once', async (name, _when, atCommit) => {
    const { ledger } = world;
    const { role, table, condition, request, account, minor } = acts[name];
    const parties = await createParties(ledger);
    const { programId, chain } = parties;
    const id = await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await vestDue(ledger, { now: new Date(Date.now() + 1_000), limit: 100, programId });
    const { conversion: open } = await recordConversion(ledger, {
      programId,
      orderId: 'open',
      amountMinor: 10_000n,
      currency: 'EUR',
      source: 'api',
    });
    const { key } = await createApiKey(ledger, { role, name: 'test', programId });
    const [path, body] = await request(parties, id, open.id);
    const attempt = randomUUID();
    const ask = async (url: string) =>
      await fetch(`${url}${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${key}`,
          'content-type': 'application/json',
          'idempotency-key': attempt,
        },
        body: JSON.stringify(body),
      });
    const api = await processes.startApi();
    await stops.before(table, condition, atCommit);
    const answer = ask(api.url).then(
      ({ status }) => status,
      () => 'none',
    );
    const pid = await stops.isStopped();
    await api.kill();
    expect(await answer).toBe('none');
    await stops.goOn();
    await stops.hasEnded(pid);
    const first = await ask(survivor.url);
    expect(first.status).toBeLessThan(300);
    const again = await ask(survivor.url);
    expect([again.status, await again.json()]).toEqual([first.status, await first.json()]);
    const [has] = await ledger<{ minor: bigint }[]>`
      select balance_minor as minor from accounts where affiliate_id = ${chain[0]} and kind = ${account}`;
    expect(has?.minor).toBe(minor);
    await expectBooksToHold();
  });
});
