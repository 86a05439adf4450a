import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type Answer,
  type ApiCall,
  decideConversion,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';

/** Where money goes, who starts it and who approves it, by the API. */

const PASSWORD = 'nine grey herons over a pond';
const THIEF = { kind: 'bank', holder: 'Thief', iban: 'GB82WEST12345698765432' };
const OWN = { kind: 'bank', holder: 'Ann', iban: 'DE89370400440532013000' };

let api: TestApi;
let tenant: Tenant;
let affiliate: string;
let tenants = 0;
let orders = 0;

beforeAll(async () => {
  api = await startTestApi();
});
beforeEach(async () => {
  tenant = await api.tenant(`witnesses ${++tenants}`);
  affiliate = `/v1/affiliates/aff_${tenant.affiliateId}`;
  await api.ledger`delete from mails`;
});
afterAll(async () => await api?.stop());

type Caller = (method: string, path: string, json?: unknown) => Promise<Answer>;

const byKey =
  (role: keyof Tenant['keys']): Caller =>
  (method, path, json) =>
    api.call(method, path, { key: tenant.keys[role], ...(json !== undefined && { json }) });

let people = 0;

/** Invites a user of the tenant, who signs in as a browser does. */
async function signedIn(
  role: string,
  more: object = {},
): Promise<{ email: string; id: string; call: Caller }> {
  const email = `person-${++people}@example.com`;
  const invited = await byKey('operator')('POST', '/v1/users', { email, name: 'P', role, ...more });
  expect(invited.status).toBe(201);
  const invitation = (await api.mails()).findLast(({ to }) => to === email);
  const token = /token=(\S+)/.exec(invitation?.text ?? '')?.[1] ?? '';
  const json = { token, password: PASSWORD };
  expect((await api.call('POST', '/v1/password-resets/confirm', { json })).status).toBe(204);
  const session = await api.call('POST', '/v1/session', { json: { email, password: PASSWORD } });
  expect(session.status).toBe(201);
  const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? '';
  const headers = { cookie, 'x-csrf-token': String(session.body.csrf_token) };
  const call = (method: string, path: string, body?: unknown, more: ApiCall = {}) =>
    api.call(method, path, { headers, ...(body !== undefined && { json: body }), ...more });
  return { email, id: `user:${String(invited.body.id).slice('usr_'.length)}`, call };
}

/** 10.00 EUR earned by a conversion whose hold has ended. */
async function earn(): Promise<void> {
  const orderId = `order-${++orders}`;
  const { affiliateId } = tenant;
  const id = await decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome: 'attributed' });
  expect((await byKey('operator')('POST', `/v1/conversions/cnv_${id}/confirm`)).status).toBe(200);
}

/** As if the hold of everything that was changed had ended. */
async function endHolds(): Promise<void> {
  await api.ledger`update programs set payout_method_hold_days = 0 where id = ${tenant.programId}`;
  await byKey('affiliate')('PUT', `${affiliate}/payout-method`, { ...OWN, iban: 'NL91ABNA0417164300' });
  await byKey('affiliate')('PUT', `${affiliate}/payout-method`, OWN);
  await api.ledger`update programs set payout_method_hold_days = 3 where id = ${tenant.programId}`;
}

const previewOf = async (call: Caller) => (await call('GET', '/v1/payouts/preview')).body;

async function startRun(call: Caller): Promise<Answer> {
  return await call('POST', '/v1/payouts/run', { preview: (await previewOf(call)).preview });
}

describe('a thief with a key', { tags: ['attack'] }, () => {
  test('of an affiliate cannot lead the notice away: old and new address, users and program hear of each change', async () => {
    const operator = await signedIn('operator');
    const partner = await signedIn('affiliate', { affiliate_id: `aff_${tenant.affiliateId}` });
    await api.ledger`delete from mails`;
    const changed = await byKey('affiliate')('PATCH', `${affiliate}/profile`, {
      email: 'thief@evil.example',
    });
    expect(changed.status).toBe(200);
    const recipients = async () => (await api.mails()).map(({ to }) => to);
    const everybody = ['first@example.com', operator.email, partner.email, 'thief@evil.example'].toSorted();
    expect((await recipients()).toSorted()).toEqual(everybody);
    await api.ledger`delete from mails`;
    await byKey('affiliate')('PUT', `${affiliate}/payout-method`, THIEF);
    expect((await recipients()).toSorted()).toEqual(everybody.filter((to) => to !== 'first@example.com'));
    const [mail] = (await api.mails()).filter(({ to }) => to === partner.email);
    expect(mail?.text).toMatch(/changed to GB … 5432\. Payouts are on hold until 20/);
    await api.ledger`delete from mails`;
    await byKey('operator')('PATCH', affiliate, { email: 'third@example.com' });
    expect(await recipients()).toEqual(expect.arrayContaining(['thief@evil.example', 'third@example.com']));
  });

  test('of an operator sets a method, shortens the hold and runs at once: nothing leaves, and the owner sees why', async () => {
    await earn();
    await endHolds();
    const thief = byKey('operator');
    expect((await thief('PUT', `${affiliate}/payout-method`, THIEF)).status).toBe(200);
    const program = `/v1/programs/prg_${tenant.programId}`;
    for (const loosened of [{ payout_method_hold_days: 0 }, { payout_method_hold_days: 2 }]) {
      expect((await thief('PATCH', program, loosened)).status).toBe(403);
    }
    expect(
      (await thief('PATCH', program, { payout_method_hold_days: 5, payouts_need_approval: true })).status,
    ).toBe(200);
    expect((await thief('PATCH', program, { payouts_need_approval: false })).status).toBe(403);
    const preview = await previewOf(thief);
    expect(preview).toMatchObject({
      payouts: 0,
      needs_approval: true,
      left_out: [
        {
          reason: 'destination_on_hold',
          detail: expect.stringMatching(
            /^payouts on hold until .*, because the payout method was changed on /,
          ),
          held_until: expect.any(String),
        },
      ],
    });
    expect((await startRun(thief)).body).toMatchObject({ built: 0, submitted: 0 });
    const shown = await byKey('affiliate')('GET', `${affiliate}/payout-method`);
    expect(shown.body).toMatchObject({
      hint: 'GB … 5432',
      version: 4,
      blocked: 'destination_on_hold',
      hold: { until: expect.any(String), changed_at: expect.any(String) },
    });
  });

  test('runs payouts without their preview, with a forged one, an old one, or one that has changed', async () => {
    await earn();
    const run = (preview?: unknown) => byKey('operator')('POST', '/v1/payouts/run', { preview });
    const { preview } = await previewOf(byKey('operator'));
    const [, hash] = String(preview).split('.');
    expect((await run()).body.field).toBe('preview');
    expect((await run('x')).body.field).toBe('preview');
    // With a moment at which holds have ended.
    expect((await run(`${Date.now() + 5 * 86_400_000}.${hash}`)).body.field).toBe('preview');
    expect((await run(`${Date.now() - 2 * 3_600_000}.${hash}`)).body.code).toBe('preview_changed');
    await byKey('affiliate')('PUT', `${affiliate}/payout-method`, THIEF);
    const refused = await run(preview);
    expect([refused.status, refused.body.code]).toEqual([409, 'preview_changed']);
    expect((await byKey('finance')('GET', '/v1/payouts')).body.data).toEqual([]);
  });

  test('sets the method, runs, and sets it back: payout, statement and audit log say where it went and by whom', async () => {
    await earn();
    await endHolds();
    const run = await startRun(byKey('finance'));
    await byKey('affiliate')('PUT', `${affiliate}/payout-method`, THIEF);
    const destination = { kind: 'bank', hint: 'DE … 3000', method_version: 3 };
    expect(run.body.payouts).toMatchObject([{ destination }]);
    const [payout] = (await byKey('affiliate')('GET', '/v1/payouts')).body.data as object[];
    expect(payout).toMatchObject({ destination });
    const statement = await byKey('affiliate')('GET', `${affiliate}/statement`);
    expect((statement.body.data as { destination: string | null }[]).at(-1)?.destination).toBe('DE … 3000');
    const csv = await byKey('affiliate')('GET', `${affiliate}/statement?format=csv`);
    expect(csv.text).toMatch(/payout_build,,,pay_\d+,.*,EUR,"DE … 3000",0\.00,\r\n/);
    const log = await byKey('operator')('GET', '/v1/audit-log?action=payouts.run');
    expect(log.body.data).toMatchObject([
      {
        actor: expect.stringMatching(/^key:\d+$/),
        subject: expect.stringMatching(/^run_\d+$/),
        program_id: `prg_${tenant.programId}`,
        after: { confirmed: true, payouts: 1, preview: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
    expect(log.text).not.toMatch(/37040044|WEST1234/);
  });
});

describe('one person alone where two are asked for', { tags: ['attack'] }, () => {
  beforeEach(async () => {
    await earn();
    await endHolds();
    const changes = { payouts_need_approval: true };
    expect((await byKey('operator')('PATCH', `/v1/programs/prg_${tenant.programId}`, changes)).status).toBe(
      200,
    );
  });

  const waiting = async () => {
    const { body } = await byKey('finance')('GET', '/v1/payout-runs?state=awaiting_approval');
    return body.data as { id: string; started_by: string; payouts: number }[];
  };

  test('starts a run and cannot approve it, by session or key; somebody else can', async () => {
    const [starter, second] = [await signedIn('finance'), await signedIn('operator')];
    const started = await startRun(starter.call);
    expect(started.body).toMatchObject({ built: 1, awaiting_approval: 1, submitted: 0, payouts: [] });
    const [run] = await waiting();
    expect(run).toMatchObject({ started_by: starter.id, payouts: 1 });
    const path = `/v1/payout-runs/${run?.id}/approve`;
    for (const alone of [starter.call, byKey('operator'), byKey('finance')]) {
      const refused = await alone('POST', path);
      expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
    }
    expect((await byKey('finance')('GET', '/v1/payouts')).body.data).toMatchObject([
      { state: 'awaiting_approval' },
    ]);
    const approved = await second.call('POST', path);
    expect(approved.body).toMatchObject({
      run: { state: 'approved', decided_by: second.id },
      left_out: [],
      payouts: [{ state: 'submitted', destination: { hint: 'DE … 3000' } }],
    });
    expect((await second.call('POST', path)).body.code).toBe('wrong_state');
    expect(await waiting()).toEqual([]);
  });

  test('sets a method, and approves a run of somebody else: that payout is left out', async () => {
    const setter = await signedIn('operator');
    await api.ledger`update programs set payout_method_hold_days = 0 where id = ${tenant.programId}`;
    expect((await setter.call('PUT', `${affiliate}/payout-method`, THIEF)).status).toBe(200);
    await startRun(byKey('finance'));
    const [run] = await waiting();
    const approved = await setter.call('POST', `/v1/payout-runs/${run?.id}/approve`);
    expect(approved.body).toMatchObject({ left_out: [expect.stringMatching(/^pay_/)], payouts: [] });
    expect((await byKey('finance')('GET', `${affiliate}/balance`)).body).toMatchObject({
      available: { amount: '10.00' },
    });
  });

  test('a rejected run gives the money back, with the reason', async () => {
    await startRun(byKey('finance'));
    const [run] = await waiting();
    const reason = 'an unknown account';
    const rejected = await byKey('finance')('POST', `/v1/payout-runs/${run?.id}/reject`, { reason });
    expect(rejected.body).toMatchObject({ state: 'rejected', payouts: 0 });
    expect((await byKey('affiliate')('GET', '/v1/payouts')).body.data).toMatchObject([
      { state: 'canceled', failure: reason },
    ]);
  });
});

test('a cookie that was stolen later moves no money: each of these asks for the password again', {
  tags: ['attack'],
}, async () => {
  await earn();
  const operator = await signedIn('operator');
  const { preview } = await previewOf(operator.call);
  const runs = await api.ledger<{ id: bigint }[]>`
    insert into payout_runs (program_id, provider, state, started_by)
    values (${tenant.programId}, 'bank_csv', 'confirmed', 'test') returning id`;
  await api.ledger`
    update programs set payout_method_hold_days = 3, payouts_need_approval = true where id = ${tenant.programId}`;
  await api.ledger`update sessions set authenticated_at = now() - interval '11 minutes'`;
  const program = `/v1/programs/prg_${tenant.programId}`;
  const calls: [string, string, object?][] = [
    ['PUT', `${affiliate}/payout-method`, THIEF],
    ['PATCH', `${affiliate}/profile`, { email: 'thief@evil.example' }],
    ['PATCH', affiliate, { email: 'thief@evil.example' }],
    ['PATCH', program, { payout_method_hold_days: 0 }],
    ['PATCH', program, { payouts_need_approval: false }],
    ['POST', '/v1/payouts/run', { preview }],
    ['POST', `/v1/payout-runs/run_${runs[0]?.id}/approve`],
    ['POST', '/v1/payouts/pay_1/fail', { failure: 'pay it again' }],
    ['POST', '/v1/payouts/pay_1/return', { failure: 'pay it again' }],
  ];
  for (const [method, path, json] of calls) {
    const { status, body } = await operator.call(method, path, json);
    expect([method, path, status, body.code]).toEqual([method, path, 403, 'reauthentication_required']);
  }
  // What moves nothing is done as before.
  expect((await operator.call('PATCH', affiliate, { name: 'Ann' })).status).toBe(200);
  expect((await operator.call('PATCH', program, { payout_method_hold_days: 4 })).status).toBe(200);
});
