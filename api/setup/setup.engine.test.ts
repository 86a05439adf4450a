import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { createUser } from '../../ledger/access/users.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { type Answer, startTestApi, type TestApi } from '../../test/support/api.ts';
import { setupToken } from './token.ts';

const PASSWORD = 'several uncommon words';

let api: TestApi;
let token: string;
beforeEach(async () => {
  api = await startTestApi();
  token = setupToken(api.secretBox, Date.now());
});
afterEach(() => api?.stop());

const everything = {
  operator: { email: 'olga@shop.example', name: 'Olga', password: PASSWORD },
  program: { name: 'Shop', currency: 'eur' },
  terms: { rate_bps: 1_250, hold_days: 14, cookie_days: 60, payout_min: '20.50' },
  campaign: { name: 'Everything', landing_url: 'https://shop.example/', allowed_hosts: ['*.shop.example'] },
  affiliate: { name: 'Ann', email: 'ann@blog.example' },
};

const setUp = (changes: object = {}): Promise<Answer> =>
  api.call('POST', '/v1/setup', { json: { token, ...everything, ...changes } });

async function users(): Promise<number> {
  const [row] = await api.ledger<[{ count: number }]>`select count(*)::integer as count from users`;
  return row.count;
}

describe('the first setup', () => {
  test('makes all of it, and the operator signs in', async () => {
    const { status, body, text } = await setUp();
    expect(status, text).toBe(201);
    expect(body).toMatchObject({
      program_id: 'prg_1',
      campaign_id: 'cmp_1',
      affiliate_id: 'aff_1',
      link_url: expect.stringMatching(/^https:\/\/go\.example\/c\/\w+$/),
    });
    const signIn = { email: everything.operator.email, password: PASSWORD };
    expect((await api.call('POST', '/v1/session', { json: signIn })).status).toBe(201);
    expect(
      await api.ledger`select rate_bps::float8 as rate_bps, hold_days, cookie_days, payout_min_minor from terms`,
    ).toEqual([{ rateBps: 1_250, holdDays: 14, cookieDays: 60, payoutMinMinor: 2_050n }]);
    const log = await api.ledger<
      { actor: string; action: string }[]
    >`select actor, action from audit_log order by id`;
    expect(log.slice(0, 2)).toEqual([
      { actor: 'user:1', action: 'user.create' },
      { actor: 'user:1', action: 'program.create' },
    ]);
  });

  test('is gone with the first operator, also for a valid token, and the page with it', async () => {
    const page = () => fetch(`${api.url}/portal/setup`);
    expect((await page()).status).toBe(200);
    expect((await fetch(`${api.url}/portal/`, { redirect: 'manual' })).headers.get('location')).toBe(
      '/portal/setup',
    );
    expect((await setUp()).status).toBe(201);
    expect((await setUp({ operator: { ...everything.operator, email: 'eve@x.example' } })).status).toBe(404);
    expect((await page()).status).toBe(404);
    expect((await fetch(`${api.url}/portal/`, { redirect: 'manual' })).status).toBe(200);
    // Also when the only operator was disabled.
    await api.ledger`update users set status = 'disabled'`;
    expect((await setUp({ operator: { ...everything.operator, email: 'eve@x.example' } })).status).toBe(404);
    expect(await users()).toBe(1);
  });

  test('of two browsers at once is done once', async () => {
    const emails = ['a@x.example', 'b@x.example', 'c@x.example', 'd@x.example'];
    const answers = await Promise.all(
      emails.map((email) => setUp({ operator: { ...everything.operator, email } })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 404, 404, 404]);
    expect(await users()).toBe(1);
    expect(await api.ledger`select from programs`).toHaveLength(1);
  });

  test('takes no token of another platform, another purpose or another day, and few guesses', async () => {
    const now = Date.now();
    const expired = setupToken(api.secretBox, now - 86_401_000);
    const [, , until, signature = ''] = token.split(/_(?=\d|[\w-]{43}$)|_/);
    const forged = [
      'x',
      expired,
      `afx_setup_${Number(until) + 1}_${signature}`,
      `afx_setup_${until}_${api.secretBox.sign('csrf', String(until))}`,
      `afx_setup_${until}_`,
      `${token}A`,
      token.toUpperCase(),
    ];
    for (const wrong of forged) {
      const { status, body } = await setUp({ token: wrong });
      expect([wrong, status, body.detail]).toEqual([wrong, 422, expect.stringMatching(/^token: /)]);
    }
    const more = await Promise.all(Array.from({ length: 60 }, () => setUp({ token: 'x' })));
    expect(more.filter(({ status }) => status === 429).length).toBeGreaterThan(10);
    expect(await users()).toBe(0);
    // Its holder is not kept out by guesses from elsewhere.
    const headers = { 'x-forwarded-for': '203.0.113.9' };
    const elsewhere = await api.call('POST', '/v1/setup', { json: { token, ...everything }, headers });
    expect(elsewhere.status).toBe(201);
  });

  test('names the field at fault, and has made nothing', async () => {
    const faults: readonly (readonly [field: string, changes: object])[] = [
      ['operator.email', { operator: { ...everything.operator, email: 'olga' } }],
      ['operator.password', { operator: { ...everything.operator, password: 'password123' } }],
      ['program.currency', { program: { name: 'Shop', currency: 'EUX' } }],
      ['terms.payout_min', { terms: { payout_min: '1,5' } }],
      ['terms.cookie_days', { terms: { cookie_days: 0 } }],
      ['campaign.landing_url', { campaign: { name: 'x', landing_url: 'javascript:alert(1)' } }],
      ['campaign.allowed_hosts.0', { campaign: { ...everything.campaign, allowed_hosts: ['a b'] } }],
      ['affiliate.email', { affiliate: { name: 'Ann', email: 'ann' } }],
    ];
    for (const [field, changes] of faults) {
      const { status, body } = await setUp(changes);
      expect([status, String(body.detail).split(':')[0]]).toEqual([422, field]);
      expect(await users()).toBe(0);
      expect(await api.ledger`select from audit_log`).toEqual([]);
    }
  });

  test('leaves no token in the log', async () => {
    await setUp({ token: `${token}x` });
    await fetch(`${api.url}/portal/setup?${token}`);
    await fetch(`${api.url}/v1/setup/${token}`);
    await setUp();
    const signature = token.slice(-20);
    expect(api.logLines.length).toBeGreaterThan(0);
    expect(api.logLines.filter((line) => line.includes(signature))).toEqual([]);
  });

  test('does not send partners of a platform without operators away', async () => {
    const { programId, affiliateId } = await api.tenant('shop');
    await createUser(api.ledger, {
      email: 'a@x.example',
      name: 'A',
      role: 'affiliate',
      programId,
      affiliateId,
    });
    expect((await fetch(`${api.url}/portal/`, { redirect: 'manual' })).status).toBe(200);
    expect((await fetch(`${api.url}/portal/setup`)).status).toBe(200);
  });
});

describe('the steps of a program', () => {
  const stepsOf = (key: string, id: string) => api.call('GET', `/v1/programs/${id}/setup`, { key });
  const missing = ({ body }: Answer) =>
    (body.steps as { name: string; done: boolean }[]).filter(({ done }) => !done).map(({ name }) => name);

  test('are listed in the order in which they are done, until nothing is missing', async () => {
    const { body: made } = await api.call('POST', '/v1/programs', {
      key: api.operatorKey,
      json: { name: 'Empty', currency: 'EUR', payout_method_hold_days: 0 },
    });
    const empty = await stepsOf(api.operatorKey, String(made.id));
    expect(empty.body.complete).toBe(false);
    expect(missing(empty)).toEqual([
      'terms',
      'campaign',
      'affiliate',
      'link',
      'shop_key',
      'first_call',
      'payout_hold',
      'mail',
    ]);
    const { programId, keys } = await api.tenant('Full');
    const full = await stepsOf(keys.operator, `prg_${programId}`);
    expect(missing(full)).toEqual(['first_call', 'mail']);
    const order = { order_id: '1', amount: '10.00', currency: 'EUR', click_id: 'x' };
    await api.call('GET', `/postback?${new URLSearchParams({ key: keys.advertiser, ...order })}`);
    const used = await stepsOf(keys.operator, `prg_${programId}`);
    expect([missing(used), used.body.complete]).toEqual([['mail'], true]);
  });

  test('are undone with what they hang on', async () => {
    const { programId, keys, affiliateId, campaignId } = await api.tenant('Full');
    await api.ledger`update affiliates set status = 'suspended' where program_id = ${programId}`;
    await api.ledger`update campaigns set status = 'paused' where id = ${campaignId}`;
    await updateProgram(api.ledger, { id: programId, changes: { payoutMethodHoldDays: 0 } });
    expect(missing(await stepsOf(keys.operator, `prg_${programId}`))).toEqual([
      'campaign',
      'affiliate',
      'link',
      'first_call',
      'payout_hold',
      'mail',
    ]);
    expect(affiliateId).toBeGreaterThan(0);
  });

  test('are for operators of the program, and for keys that read programs', async () => {
    const [one, other] = [await api.tenant('one'), await api.tenant('other')];
    const id = `prg_${one.programId}`;
    const status = async (key: string) => (await stepsOf(key, id)).status;
    expect(await status(one.keys.operator)).toBe(200);
    expect(await status(other.keys.operator)).toBe(404);
    for (const role of ['finance', 'fraud', 'affiliate', 'advertiser'] as const) {
      expect([role, await status(one.keys[role])]).toEqual([role, 403]);
    }
    const key = async (...scopes: string[]) =>
      (await createApiKey(api.ledger, { role: 'operator', name: 'x', programId: one.programId, scopes })).key;
    const reader = await key('programs:read');
    expect(await status(reader)).toBe(200);
    expect(await status(await key('users:read'))).toBe(403);
    const change = await api.call('POST', '/v1/programs', {
      key: reader,
      json: { name: 'x', currency: 'EUR' },
    });
    expect(change.status).toBe(403);
    expect((await stepsOf(api.operatorKey, 'prg_999')).status).toBe(404);
  });
});
