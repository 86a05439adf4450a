import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { freePort } from '../engines/engine.ts';
import { createApiKey } from '../ledger/access/api-keys.ts';
import { auditLedger } from '../ledger/audit/audit.ts';
import { vestDue } from '../ledger/books/commissions.ts';
import { recordConversion } from '../ledger/conversions/conversions.ts';
import { approvePayoutRun, listPayoutRuns } from '../ledger/payouts/approvals.ts';
import { setPayoutMethod } from '../ledger/payouts/methods.ts';
import { inTransaction } from '../ledger/postgres/db.ts';
import { updateProgram } from '../ledger/programs/programs.ts';
import { type AttributionFixture, startAttributionFixture } from './support/attribution.ts';
import { waitFor } from './support/engines.ts';
import { createParties, creditOrder, TEST_DATA_KEY, type TestParties } from './support/ledger.ts';

/** Processes that move money, killed −9 at the worst moments. */

const WORKER_KILLS = 3;
/** Several batches, each of clicks that are all different. */
const ORDERS = 4_000;
/** The holder of this advisory lock stops the process under test where a trigger takes it. */
const STOP_LOCK = 4_711;

let world: AttributionFixture;
let home: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  world = await startAttributionFixture();
  home = mkdtempSync(join(tmpdir(), 'afflux-kill-'));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await world?.close();
  rmSync(home, { recursive: true, force: true });
});

/** Starts `afflux …` on the world's stores. */
async function start(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ child: ChildProcess; exited: Promise<number | null> }> {
  const child = fork(fromProject('dist/bin/afflux.js'), args, {
    env: {
      ...process.env,
      AFFLUX_HOME: home,
      DATABASE_URL: world.books.appUrl,
      CLICKHOUSE_URL: world.warehouse.url,
      CLICK_KEYS: world.clickKey.toString('hex'),
      DATA_KEYS: TEST_DATA_KEY.toString('hex'),
      LOG_LEVEL: 'error',
      ATTRIBUTION_PORT: String(await freePort()),
      SCHEDULER_PORT: String(await freePort()),
      // Runs are started by the test.
      PAYOUT_HOUR: 'off',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  children.add(child);
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, exited };
}

async function expectBooksToHold() {
  expect((await auditLedger(world.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

test('a worker killed again and again decides every order once', { timeout: 120_000 }, async () => {
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
    const { child, exited } = await start(['attribution']);
    // In the middle of the next batch, or a few milliseconds later.
    await waitFor(async () => (await decided()) > before || (await isWriting()), {
      deadlineMs: 30_000,
      what: 'a decision',
    });
    if (kills < WORKER_KILLS) {
      kills++;
      child.kill('SIGKILL');
      await exited;
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
    child.kill('SIGTERM');
    await exited;
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

/**
 * Stops every process where it writes such a row, before it commits, until {@link goOn}. `atCommit`: once PostgreSQL has
 * received the commit, which it then carries out without the process.
 */
async function stopBefore(table: string, condition: string, atCommit = false): Promise<void> {
  const { owner } = world.books;
  await owner.unsafe(`
    create function stop_here() returns trigger language plpgsql as $$
    begin
      if ${condition} then perform pg_advisory_xact_lock(${STOP_LOCK}); end if;
      return null;
    end $$;
    create ${atCommit ? 'constraint' : ''} trigger stop_here after insert or update on ${table}
    ${atCommit ? 'deferrable initially deferred' : ''} for each row execute function stop_here()`);
  await owner`select pg_advisory_lock(${STOP_LOCK})`;
}

/** Returns the session that stands still, by its process in PostgreSQL. */
async function isStopped(): Promise<number> {
  let pid: number | undefined;
  await waitFor(
    async () => {
      const [row] = await world.ledger<{ pid: number }[]>`
        select pid from pg_locks where locktype = 'advisory' and objid = ${STOP_LOCK} and not granted
          and database = (select oid from pg_database where datname = current_database())`;
      pid = row?.pid;
      return pid !== undefined;
    },
    { deadlineMs: 30_000, what: 'the run to stop' },
  );
  return pid ?? 0;
}

async function goOn(table: string): Promise<void> {
  const { owner } = world.books;
  await owner`select pg_advisory_unlock(${STOP_LOCK})`;
  await owner.unsafe(`drop trigger stop_here on ${table}; drop function stop_here`);
}

describe('a payout run killed', () => {
  test.each([
    ['before the commit of what has vested', 'commissions', `new.state = 'available'`],
    ['before the commit of what it has built', 'payouts', `new.state = 'created'`],
    ['before the commit that it will call the provider', 'payouts', `new.state = 'submitting'`],
    ['between the provider’s yes and ours', 'payouts', `new.state = 'submitted'`],
  ])('%s pays each affiliate once', { timeout: 60_000 }, async (_when, table, condition) => {
    const { ledger } = world;
    const { owner } = world.books;
    const parties = await createParties(ledger);
    for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
    await stopBefore(table, condition);
    const { child, exited } = await start(['payouts', 'run']);
    await isStopped();
    child.kill('SIGKILL');
    await exited;
    await goOn(table);
    await owner`update payout_batches set claimed_until = '-infinity'`;
    for (let i = 0; i < 2; i++) expect(await (await start(['payouts', 'run'])).exited).toBe(0);

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
    const folder = join(home, 'payouts');
    const text = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('');
    for (const { providerKey } of payouts) expect(text.split(providerKey)).toHaveLength(2);
    await expectBooksToHold();
  });
});

test('a run killed before its hand-over does not pay an account that a thief has set meanwhile', {
  timeout: 60_000,
}, async () => {
  const { ledger } = world;
  const { owner } = world.books;
  const parties = await createParties(ledger, { levelRatesBps: [] });
  const [affiliateId] = parties.chain;
  await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await stopBefore('payouts', `new.state = 'submitting'`);
  const { child, exited } = await start(['payouts', 'run']);
  await isStopped();
  child.kill('SIGKILL');
  await exited;
  await goOn('payouts');
  await setPayoutMethod(ledger, {
    affiliateId,
    kind: 'bank',
    details: Buffer.from('the account of a thief'),
    accountHash: Buffer.alloc(32),
    hint: 'GB … 5432',
    changedBy: 'key:1',
  });
  await owner`update payout_batches set claimed_until = '-infinity'`;
  for (let i = 0; i < 2; i++) expect(await (await start(['payouts', 'run'])).exited).toBe(0);
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
        await stopBefore('payouts', `new.program_id = ${programId} and ${condition}`);
        const { child, exited } = await start(['payouts', 'run']);
        await isStopped();
        child.kill('SIGKILL');
        await exited;
        await goOn('payouts');
        await owner`update payout_batches set claimed_until = '-infinity'`;
      }
      const isBuilding = condition.includes('awaiting');
      if (isBuilding) await runKilled();
      for (let i = 0; i < 2; i++) expect(await (await start(['payouts', 'run'])).exited).toBe(0);
      expect(await statesOf()).toEqual(all('awaiting_approval'));
      await expectBooksToHold();
      const { rows } = await listPayoutRuns(ledger, { programId, state: 'awaiting_approval', limit: 10 });
      expect(rows).toMatchObject([{ startedBy: 'command line', payouts: 3 }]);
      const approval = { runId: rows[0]?.id ?? 0n, userId: 1, now: new Date() };
      expect(await inTransaction(ledger, (tx) => approvePayoutRun(tx, approval))).toMatchObject({
        outcome: 'done',
      });
      if (!isBuilding) await runKilled();
      for (let i = 0; i < 2; i++) expect(await (await start(['payouts', 'run'])).exited).toBe(0);
      expect(await statesOf()).toEqual(all('submitted'));
      await expectBooksToHold();
    },
  );
});

test('a scheduled run whose process is killed is done by another process, once', {
  timeout: 90_000,
}, async () => {
  const { ledger } = world;
  const { owner } = world.books;
  const parties = await createParties(ledger);
  for (let i = 0; i < 3; i++) await creditOrder(ledger, parties, { amountMinor: 10_000n });
  await stopBefore('payouts', `new.state = 'created'`);
  const first = await start(['scheduler'], { PAYOUT_HOUR: '0' });
  await isStopped();
  const second = await start(['scheduler'], { PAYOUT_HOUR: '0' });
  first.child.kill('SIGKILL');
  await first.exited;
  await goOn('payouts');
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
  async function startApi(): Promise<{ url: string; kill: () => Promise<void> }> {
    const port = await freePort();
    const { child, exited } = await start(['api'], { API_PORT: String(port) });
    const url = `http://127.0.0.1:${port}`;
    await waitFor(
      async () =>
        await fetch(`${url}/healthz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      { deadlineMs: 30_000, what: 'the API to listen' },
    );
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await exited;
    };
    return { url, kill };
  }

  /** Stays when the other one is killed. */
  let survivor: Awaited<ReturnType<typeof startApi>>;
  beforeAll(async () => {
    survivor = await startApi();
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
  ])('%s, does it once', { timeout: 60_000 }, async (_when, work, atCommit) => {
    const { ledger } = world;
    const { owner } = world.books;
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
    const api = await startApi();
    await stopBefore(work.table, work.condition, atCommit);
    const answer = ask(api.url).then(
      ({ status }) => status,
      () => 'none',
    );
    const pid = await isStopped();
    await api.kill();
    expect(await answer).toBe('none');
    await goOn(work.table);
    await waitFor(async () => (await owner`select from pg_stat_activity where pid = ${pid}`).length === 0, {
      deadlineMs: 30_000,
      what: 'its session to end',
    });
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
  };

  test.each(
    Object.keys(acts).flatMap((name) => [
      [name as keyof typeof acts, 'before the commit', false] as const,
      [name as keyof typeof acts, 'after the commit and before the answer', true] as const,
    ]),
  )('writes %s, %s, does it once', { timeout: 60_000 }, async (name, _when, atCommit) => {
    const { ledger } = world;
    const { owner } = world.books;
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
    const [path, body] = request(parties, id, open.id);
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
    const api = await startApi();
    await stopBefore(table, condition, atCommit);
    const answer = ask(api.url).then(
      ({ status }) => status,
      () => 'none',
    );
    const pid = await isStopped();
    await api.kill();
    expect(await answer).toBe('none');
    await goOn(table);
    await waitFor(async () => (await owner`select from pg_stat_activity where pid = ${pid}`).length === 0, {
      deadlineMs: 30_000,
      what: 'its session to end',
    });
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
