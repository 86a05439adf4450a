import { headers as createHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  connectNats,
  DEAD_LETTERS_STREAM,
  DEAD_LETTERS_SUBJECT,
  ensureStreams,
} from '../../core/clicks/stream.ts';
import { buildPayouts } from '../../ledger/payouts/build.ts';
import { BANK_LIMITS } from '../../ledger/payouts/providers/bank-csv.ts';
import { submitPayouts } from '../../ledger/payouts/submit.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import {
  type Answer,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';
import { startTestNats, type TestNats, waitFor } from '../../test/support/engines.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';
import {
  type DeadLetter,
  getDeadLetter,
  readDeadLetters,
  summaryOf,
} from '../../warehouse/loader/dead-letters.ts';

/** What operators do all day: paying, looking into things, proving. */

let api: TestApi;
let nats: TestNats;
let tenant: Tenant;
let tenants = 0;
let orders = 0;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
});
beforeEach(async () => {
  tenant = await api.tenant(`operations ${++tenants}`);
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

function get(path: string, key = tenant.keys.operator): Promise<Answer> {
  return api.call('GET', path, { key });
}

function post(path: string, json?: unknown, key = tenant.keys.operator): Promise<Answer> {
  return api.call('POST', path, { key, ...(json !== undefined && { json }) });
}

/** 10.00 EUR earned by a conversion whose hold has ended. */
async function earn(affiliateId = tenant.affiliateId, evidence?: object): Promise<bigint> {
  const orderId = `order-${++orders}`;
  const decision = { tenant, orderId, affiliateId, outcome: 'attributed' as const };
  const id = await decideConversion(api.ledger, { ...decision, ...(evidence && { evidence }) });
  expect((await post(`/v1/conversions/cnv_${id}/confirm`)).status).toBe(200);
  return id;
}

interface PayoutBody {
  readonly id: string;
  readonly affiliate_id: string;
  readonly state: string;
}

async function run(): Promise<readonly PayoutBody[]> {
  const answer = await api.runPayouts(tenant.keys.finance);
  expect(answer.status).toBe(200);
  return answer.body.payouts as PayoutBody[];
}

async function providerKey(payoutId: string): Promise<string> {
  const id = payoutId.slice('pay_'.length);
  const [row] = await api.ledger<
    { providerKey: string }[]
  >`select provider_key from payouts where id = ${id}`;
  return row?.providerKey ?? '';
}

describe('a preview of payouts', () => {
  test('says whom a run would pay, and why the others get nothing', async () => {
    const { programId } = tenant;
    const make = async (refCode: string, status: 'active' | 'pending' = 'active') =>
      (
        await createAffiliate(api.ledger, {
          programId,
          refCode,
          name: refCode,
          email: 'a@example.com',
          status,
        })
      ).id;
    const [suspended, small, waiting] = [await make('suspended'), await make('small'), await make('waiting')];
    await setTerms(api.ledger, { programId, affiliateId: small, payoutMinMinor: 100_00n });
    await earn();
    await earn(suspended);
    await earn(small);
    await decideConversion(api.ledger, {
      tenant,
      orderId: 'held',
      affiliateId: waiting,
      outcome: 'attributed',
    });
    const suspend = await post(`/v1/affiliates/aff_${suspended}/suspend`, { note: 'a look first' });
    expect(suspend.status).toBe(200);

    const { body } = await get('/v1/payouts/preview', tenant.keys.finance);
    expect(body).toMatchObject({
      payouts: 1,
      total: { amount: '10.00', currency: 'EUR' },
      would_pay: [{ affiliate_id: `aff_${tenant.affiliateId}`, amount: { amount: '10.00' } }],
      left_out_total: 3,
    });
    const reasons = (body.left_out as { affiliate_id: string; reason: string; detail: string }[]).map(
      ({ affiliate_id, reason, detail }) => [affiliate_id, reason, detail],
    );
    expect(reasons).toEqual([
      [`aff_${suspended}`, 'not_active', 'the affiliate is suspended'],
      [`aff_${small}`, 'below_minimum', '10.00 EUR is below the minimum of 100.00 EUR'],
      [`aff_${waiting}`, 'in_hold', 'all its money is in the hold'],
    ]);
    // It said what happens, and kept nothing.
    expect((await get('/v1/payouts')).body.data).toEqual([]);
    expect((await run()).map(({ affiliate_id }) => affiliate_id)).toEqual([`aff_${tenant.affiliateId}`]);
    await earn();
    const after = await get('/v1/payouts/preview', tenant.keys.finance);
    expect(after.body).toMatchObject({ payouts: 0, left_out: [{ reason: 'payout_under_way' }, {}, {}, {}] });
  });
});

describe('payouts', () => {
  test('are run once for one Idempotency-Key', async () => {
    await earn();
    const key = tenant.keys.finance;
    const headers = { 'idempotency-key': `run-${tenants}` };
    const { preview } = (await get('/v1/payouts/preview', key)).body;
    const once = () => api.call('POST', '/v1/payouts/run', { key, json: { preview }, headers });
    const first = await once();
    expect([first.status, first.body.built]).toEqual([200, 1]);
    await earn(tenant.otherAffiliateId);
    expect((await once()).text).toBe(first.text);
    expect(await run()).toHaveLength(1);
    expect((await api.runPayouts(key, headers)).body.code).toBe('idempotency_key_reused');
  });

  test('are canceled before they are handed over, and returned after they are paid', async () => {
    await earn();
    await buildPayouts(api.ledger, {
      actor: 'test',
      now: new Date(),
      provider: { name: 'bank_csv', limits: BANK_LIMITS },
      programId: tenant.programId,
    });
    const [created] = (await get('/v1/payouts')).body.data as PayoutBody[];
    const canceled = await post(`/v1/payouts/${created?.id}/cancel`);
    expect([canceled.status, canceled.body.state]).toEqual([200, 'canceled']);
    const [paid] = await run();
    expect((await post(`/v1/payouts/${paid?.id}/cancel`)).body).toMatchObject({
      code: 'wrong_state',
      state: 'submitted',
    });
    await post(`/v1/payouts/${paid?.id}/mark-paid`);
    const returned = await post(`/v1/payouts/${paid?.id}/return`, {
      failure: 'sent twice',
      account_refused: false,
    });
    expect(returned.body).toMatchObject({ state: 'returned', failure: 'sent twice' });
    expect(await run()).toHaveLength(1);
  });

  test('are settled by the file that the bank gives back, as a trial first, and once', async () => {
    await earn();
    await earn(tenant.otherAffiliateId);
    const [first, second] = await run();
    const foreign = await api.tenant(`foreign ${++tenants}`);
    const lines = [
      'Payment Key;Status;Amount;Currency;Reason'.replaceAll(';', ','),
      `${await providerKey(first?.id ?? '')},Completed,10.00,EUR,`,
      `${await providerKey(second?.id ?? '')},DENIED,10.00,EUR,no such account`,
      'pay-unknown,paid,,,',
      `${await providerKey(first?.id ?? '')},on hold,,,`,
      ',paid,,,',
      `${await providerKey(first?.id ?? '')},sent by pigeon,,,`,
      `${await providerKey(first?.id ?? '')},paid,11.00,EUR,`,
    ];
    const upload = async (dryRun: boolean, key = tenant.keys.finance, raw = lines.join('\n')) => {
      const headers = { 'content-type': 'text/csv' };
      const answer = await api.call('POST', `/v1/payouts/results?dry_run=${dryRun}`, { key, raw, headers });
      expect([answer.status, answer.text]).toEqual([200, expect.any(String)]);
      const rows = answer.body.rows as { outcome: string; state: string | null; line: number }[];
      return rows.map(({ line, outcome, state }) => `${line} ${outcome} ${state}`);
    };
    const states = async () =>
      ((await get('/v1/payouts')).body.data as PayoutBody[]).map(({ state }) => state);
    const expected = [
      '2 recorded paid',
      '3 recorded failed',
      '4 not_found null',
      '5 open null',
      '6 refused null',
      '7 refused null',
    ];
    expect(await upload(true)).toEqual([...expected, '8 amount_differs paid']);
    expect(await states()).toEqual(['submitted', 'submitted']);
    expect(await upload(true, foreign.keys.finance, lines.slice(0, 2).join('\n'))).toEqual([
      '2 not_found null',
    ]);
    expect(await upload(false)).toEqual([...expected, '8 amount_differs paid']);
    expect((await states()).toSorted()).toEqual(['failed', 'paid']);
    expect((await upload(false)).slice(0, 2)).toEqual(['2 repeated paid', '3 repeated failed']);
    expect((await get(`/v1/payouts/${second?.id}`)).body).toMatchObject({
      failure: 'failed, as the result file says',
      provider_failure: 'no such account',
    });
    const audit = await get(`/v1/audit-log?subject=${first?.id}&action=payout.paid`);
    expect(audit.body.data).toMatchObject([{ actor: expect.stringMatching(/^key:/) }]);
    const headers = { 'content-type': 'text/csv' };
    const nothing = await api.call('POST', '/v1/payouts/results', {
      key: tenant.keys.finance,
      raw: 'a,b\n1,2',
      headers,
    });
    expect([nothing.status, nothing.body.field]).toEqual([422, 'body']);
  });

  test('a dry run of a file promises what the run does, also where it contradicts itself', async () => {
    await earn();
    await earn(tenant.otherAffiliateId);
    const payouts = await run();
    const keys = await Promise.all(payouts.map(({ id }) => providerKey(id ?? '')));
    const raw = [
      'sep=;',
      'Payment Key;Status;Amount;Currency',
      `${keys[0]};paid;10,00;eur`,
      '',
      `${keys[1]};paid;-10.00;EUR`,
      `${keys[0]};failed;10.0000;EUR`,
      `${keys[0]};paid`,
      `${keys[0]};paid;1.234,56;EUR`,
    ].join('\r\n');
    const upload = async (dryRun: boolean) => {
      const headers = { 'content-type': 'text/csv' };
      const key = tenant.keys.finance;
      const { body } = await api.call('POST', `/v1/payouts/results?dry_run=${dryRun}`, { key, raw, headers });
      return { recorded: body.recorded, rows: body.rows as { line: number; outcome: string }[] };
    };
    const promised = await upload(true);
    expect(promised.rows.map(({ line, outcome }) => `${line} ${outcome}`)).toEqual([
      '3 recorded',
      '5 recorded',
      '6 contradicts',
      '7 refused',
      '8 refused',
    ]);
    expect(await upload(false)).toEqual(promised);
  });

  test('with unknown outcome are reconciled', async () => {
    await earn();
    const { programId } = tenant;
    const lost = {
      name: 'bank_csv',
      limits: BANK_LIMITS,
      submit: () => Promise.reject(new Error('no answer')),
    };
    await buildPayouts(api.ledger, { actor: 'test', now: new Date(), provider: lost, programId });
    await submitPayouts(api.ledger, { now: new Date(), provider: lost, programId });
    const [payout] = (await get('/v1/payouts?state=unknown')).body.data as PayoutBody[];
    const asked = await post('/v1/payouts/reconcile', {}, tenant.keys.finance);
    expect(asked.body).toEqual({ asked: 1, resubmitted: 1, unknown: 0 });
    expect((await get(`/v1/payouts/${payout?.id}`)).body.state).toBe('submitted');
  });
});

describe('an explanation', () => {
  test('has the rules and everything that happened, in order, to the payout', async () => {
    const click = {
      at: new Date(Date.now() - 60_000).toISOString(),
      affiliateId: tenant.affiliateId,
      campaignId: tenant.campaignId,
      linkId: tenant.linkId,
      ip: '192.0.2.1',
      flags: 0,
    };
    const evidence = {
      schema: 2,
      rulesVersion: 1,
      programRulesVersion: 1,
      model: 'last_click',
      source: 'click_id',
      completeTo: new Date().toISOString(),
      gaveUp: false,
      candidates: [
        { ...click, identity: '1:1:1', lost: null },
        { ...click, identity: '1:1:0', lost: 'earlier_click' },
      ],
      window: null,
      termsId: null,
      rules: [
        {
          rule: 'instant_conversion',
          version: 1,
          effect: 'review',
          fired: false,
          observed: 60,
          threshold: 30,
          windowSeconds: null,
        },
      ],
    };
    const id = await earn(tenant.affiliateId, evidence);
    const [payout] = await run();
    await post(`/v1/payouts/${payout?.id}/mark-paid`);
    const { body } = await get(`/v1/conversions/cnv_${id}/explanation`, tenant.keys.fraud);
    expect(body.rules).toMatchObject([{ rule: 'instant_conversion', observed: 60, threshold: 30 }]);
    const timeline = body.timeline as { kind: string; text: string; seconds: number | null }[];
    expect(timeline.map(({ kind }) => kind)).toEqual([
      'click',
      'click',
      'order',
      'received',
      'decided',
      'earned',
      'available',
      'reviewed',
      'payout_created',
      'payout_submitted',
      'payout_ended',
    ]);
    expect(timeline[1]?.text).toMatch(/^Click on link lnk_\d+: a later click counts/);
    expect(timeline.at(-1)?.text).toBe(`Payout ${payout?.id} is paid.`);
    expect(timeline[0]?.seconds).toBeNull();
  });

  test('of evidence whose shape is not known says so', async () => {
    const id = await earn();
    const { status, text } = await get(`/v1/conversions/cnv_${id}/explanation`);
    expect(status).toBe(200);
    expect(text).toContain('This version does not know the shape of its evidence');
  });
});

test('conversions are found by any of their facts, by the roles that see these', async () => {
  const id = await earn();
  await earn();
  const [{ orderId }] = (await api.ledger`select order_id from conversions where id = ${id}`) as unknown as [
    { orderId: string },
  ];
  const found = async (query: string, key = tenant.keys.operator) => {
    const { status, body } = await get(`/v1/conversions?${query}`, key);
    return status === 200 ? (body.data as { id: string }[]).map((row) => row.id) : status;
  };
  expect(await found(`order_id=${orderId}`)).toEqual([`cnv_${id}`]);
  expect(await found(`order_id=${orderId}`, tenant.keys.affiliate)).toEqual([`cnv_${id}`]);
  expect(await found('customer_id=customer-7')).toHaveLength(2);
  expect(await found('customer_id=customer-8')).toEqual([]);
  expect(await found(`campaign_id=cmp_${tenant.campaignId}&reason=no_click`)).toEqual([]);
  expect(await found('customer_id=customer-7', tenant.keys.affiliate)).toBe(403);
  expect(await found('reason=bot_click', tenant.keys.advertiser)).toBe(403);
  const soon = new Date(Date.now() + 60_000).toISOString();
  expect(await found(`from=${soon}`)).toEqual([]);
  expect(await found(`to=${soon}`)).toHaveLength(2);
});

test('an affiliate sees whom it recruited, and what it earns by them', async () => {
  const { programId, affiliateId } = tenant;
  const make = async (refCode: string, parentId: number) =>
    (
      await createAffiliate(api.ledger, {
        programId,
        refCode,
        name: refCode,
        email: 'a@example.com',
        status: 'active',
        parentId,
      })
    ).id;
  const child = await make('child', affiliateId);
  const grandchild = await make('grandchild', child);
  await decideConversion(api.ledger, {
    tenant,
    orderId: 'of-child',
    affiliateId: child,
    outcome: 'attributed',
  });
  const path = `/v1/affiliates/aff_${affiliateId}/sub-affiliates`;
  const { body } = await get(path, tenant.keys.affiliate);
  expect(body.levels).toMatchObject([
    { level: 2, members: 1, conversions_attributed: 1, earned: { amount: '3.00', currency: 'EUR' } },
    { level: 3, members: 1, conversions_attributed: 0, earned: { amount: '0.00' } },
  ]);
  expect((body.data as { id: string }[]).map(({ id }) => id)).toEqual([`aff_${child}`, `aff_${grandchild}`]);
  const other = `/v1/affiliates/aff_${tenant.otherAffiliateId}/sub-affiliates`;
  expect((await get(other, tenant.keys.affiliate)).status).toBe(404);
});

test('a statement of a month comes as JSON and as CSV with the same sums', async () => {
  await earn();
  const path = `/v1/affiliates/aff_${tenant.affiliateId}/statement`;
  const month = new Date().toISOString().slice(0, 7);
  const { body } = await get(`${path}?month=${month}`, tenant.keys.affiliate);
  expect(body).toMatchObject({
    from: `${month}-01T00:00:00.000Z`,
    closing: { available: { amount: '10.00' } },
  });
  const csv = await api.call('GET', path, { key: tenant.keys.affiliate, headers: { accept: 'text/csv' } });
  expect(csv.headers.get('content-disposition')).toContain('.csv"');
  const rows = csv.text
    .trimEnd()
    .split('\r\n')
    .map((line) => line.split(','));
  expect(rows.map(([, kind]) => kind)).toEqual(['kind', 'opening', 'earning', 'vesting', 'closing']);
  expect(rows.at(-1)?.slice(5)).toEqual(['0.00', '10.00', '0.00', '0.00', '0.00', 'EUR', '', '0.00', '']);
  expect((await get(`${path}?month=2026-13`)).body.field).toBe('month');
  expect((await get(`${path}?from=2026-11-01T00:00:00Z`)).body.field).toBe('to');
});

test('dead letters are listed, shown, and put back', async () => {
  const key = api.operatorKey;
  const nc = await connectNats({ url: nats.url, name: 'test' });
  const manager = await ensureStreams(nc);
  const setAside = async (bytes: number) => {
    const headers = createHeaders();
    const written = { Reason: 'unknown_version', Detail: 'version 99', Shard: '0', 'Stream-Seq': '7' };
    for (const [name, value] of Object.entries(written)) headers.set(`Afflux-${name}`, value);
    headers.set('Afflux-Original-Bytes', String(bytes));
    headers.set('Afflux-Original-Other', 'x');
    const { seq } = await manager.jetstream().publish(DEAD_LETTERS_SUBJECT, 'no click', { headers });
    return `dlt_${seq}`;
  };
  const [whole, cut] = [await setAside(8), await setAside(9)];
  const ids = async (query = '') => (await get(`/v1/dead-letters${query}`, key)).body;
  const first = await ids('?limit=1');
  expect(first.data).toMatchObject([{ id: whole, reason: 'unknown_version', whole: true, stream_seq: 7 }]);
  expect((await ids(`?cursor=${first.next_cursor}`)).data).toMatchObject([{ id: cut, whole: false }]);
  const shown = await get(`/v1/dead-letters/${whole}`, key);
  expect(shown.body).toMatchObject({
    headers: [{ name: 'Other', value: 'x' }],
    beginning: Buffer.from('no click').toString('hex'),
  });
  expect((await post(`/v1/dead-letters/${cut}/replay`, undefined, key)).body.code).toBe('wrong_state');
  const replayed = await post(`/v1/dead-letters/${whole}/replay`, undefined, key);
  expect([replayed.status, replayed.body]).toEqual([200, { id: whole, stream_seq: 1 }]);
  expect((await post(`/v1/dead-letters/${whole}/replay`, undefined, key)).status).toBe(404);
  expect((await get(`/v1/dead-letters/${whole}`, key)).status).toBe(404);
  const audit = await get(`/v1/audit-log?subject=${whole}`, key);
  expect(audit.body.data).toMatchObject([{ action: 'dead_letter.replay', after: { stream_seq: 1 } }]);
  expect((await get('/v1/dead-letters')).status).toBe(403);
  const back = await manager.streams.getMessage('CLICKS', { seq: 1 });
  expect([back?.string(), back?.header.get('Other')]).toEqual(['no click', 'x']);
  await nc.close();
});

test('a list of dead letters holds no payloads, and a fault of NATS is no gap of it', async () => {
  const nc = await connectNats({ url: nats.url, name: 'test' });
  const manager = await ensureStreams(nc);
  const last = async () => (await manager.jetstream().publish(DEAD_LETTERS_SUBJECT, 'payload')).seq;
  const [gone, first, second] = [await last(), await last(), await last()];
  await manager.streams.deleteMessage(DEAD_LETTERS_STREAM, gone);
  const letters = readDeadLetters(manager, { after: gone - 1 });
  const { value } = await letters.next();
  expect(value).toMatchObject({ id: first });
  expect(Object.keys(summaryOf(value as DeadLetter))).not.toContain('data');
  await expect(getDeadLetter(manager, gone)).rejects.toMatchObject({ code: 'no_dead_letter' });
  await expect(getDeadLetter(manager, 0)).rejects.toMatchObject({ code: 'no_dead_letter' });
  await nc.close();
  await expect(letters.next()).rejects.toThrow();
  await expect(getDeadLetter(manager, second)).rejects.not.toMatchObject({ code: 'no_dead_letter' });
});

test('freshness is sent at once, and again when it advances', async () => {
  const path = '/v1/freshness';
  expect((await get(path, tenant.keys.affiliate)).body.complete_to).toBeNull();
  const stream = await fetch(`${api.url}/v1/freshness/stream`, {
    headers: { authorization: `Bearer ${tenant.keys.affiliate}` },
  });
  expect(stream.headers.get('content-type')).toBe('text/event-stream');
  const at = Date.UTC(2026, 10, 22, 12);
  let text = '';
  for await (const chunk of stream.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text === '' || text.includes('2026-11-22')) break;
    await api.warehouse.insertRows('watermarks', [
      { shard: 0, complete_to: timeText(at), stream_seq: 1, updated_at: timeText(at) },
    ]);
  }
  const events = text.split('\n\n').filter((event) => event !== '');
  expect(events[0]).toContain('"complete_to":null');
  expect(events[1]).toMatch(/^event: freshness\ndata: \{"complete_to":"2026-11-22T12:00:00\.000Z"/);
  expect((await get(path)).body.complete_to).toBe('2026-11-22T12:00:00.000Z');
});

test('the five promises are proved when somebody asks, one proof at a time', async () => {
  const key = api.operatorKey;
  const never = await get('/v1/audit', key);
  expect(never.body.ok).not.toBe(true);
  const [one, two] = await Promise.all([
    post('/v1/audit', undefined, key),
    post('/v1/audit', undefined, key),
  ]);
  expect([one.status, two.status, one.body.id]).toEqual([202, 202, two.body.id]);
  await waitFor(async () => (await get(`/v1/jobs/${one.body.id}`, key)).body.state === 'done', {
    deadlineMs: 20_000,
    what: 'the proof',
  });
  const { body } = await get('/v1/audit', key);
  const promises = body.promises as {
    promise: string;
    audited_at: string;
    checks: { name: string; ok: boolean }[];
  }[];
  expect(promises.map(({ promise }) => promise)).toEqual([
    'clicks_kept',
    'clicks_once',
    'books',
    'decisions',
    'freshness',
  ]);
  for (const { promise, audited_at, checks } of promises) {
    expect([promise, Date.parse(audited_at) > Date.now() - 60_000]).toEqual([promise, true]);
    expect(checks.length).toBeGreaterThan(0);
  }
  // Nothing mirrors the conversions of this test: that is what it finds, and nothing else of the books.
  expect(promises[2]?.checks.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual([
    'mirror of conversions',
  ]);
  expect((await get('/v1/audit')).status).toBe(403);
});

test('operations that need NATS report that it is unavailable, and all others work', async () => {
  await nats.kill();
  const answers = await Promise.all([
    get('/v1/dead-letters', api.operatorKey),
    post('/v1/audit', undefined, api.operatorKey),
  ]);
  expect(answers.map(({ status, body }) => [status, body.code, body.detail])).toEqual(
    answers.map(() => [503, 'unavailable', expect.stringMatching(/^NATS does not answer; try again/)]),
  );
  expect((await get('/v1/audit', api.operatorKey)).status).toBe(200);
  await nats.restart();
  await waitFor(async () => (await get('/v1/dead-letters', api.operatorKey)).status === 200, {
    deadlineMs: 10_000,
    what: 'NATS to be back',
  });
});
