import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import {
  createPortalUsers,
  PASSWORD,
  type PortalUsers,
  type SignedInBrowser,
} from '../../test/support/portal-users.ts';

let api: TestApi;
let mine: Tenant;
let users: PortalUsers;
const NEW_PASSWORD = 'marmalade tractor violin';

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  users = createPortalUsers(api, mine.keys.operator);
});
afterAll(async () => {
  await api?.stop();
});

describe('a session', () => {
  test('is a cookie that scripts and other sites cannot use', async () => {
    const email = await users.create('fraud');
    const answer = await users.signIn(email.toUpperCase(), PASSWORD);
    expect(answer.headers.getSetCookie()).toEqual([
      expect.stringMatching(
        /^__Host-afflux_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=604800; Secure$/,
      ),
      expect.stringMatching(
        /^__Host-afflux_device=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=15552000; Secure$/,
      ),
    ]);
    expect(answer.text).not.toMatch(/argon2|hash/);
    const own = await users.browser(email);
    expect((await own.call('GET', '/v1/me')).body).toMatchObject({ key_id: null, role: 'fraud' });
    expect((await own.call('GET', '/v1/session')).body.csrf_token).toBe(own.csrf);
    const token = /session=([\w-]{43})/.exec(own.cookie)?.[1] ?? '';
    const [stored] = await api.ledger<
      { text: string }[]
    >`select string_agg(s::text, ' ') as text from sessions s`;
    for (const form of [token, Buffer.from(token).toString('hex')]) expect(stored?.text).not.toContain(form);
  });

  test('may do what its role may, and changes nothing without the token of the session', async () => {
    const own = await users.browser(await users.create('operator'));
    const json = { name: 'by user' };
    for (const csrf of ['', 'x', (await users.browser(await users.create('operator'))).csrf]) {
      const refused = await own.call('POST', '/v1/campaigns', { json, headers: { 'x-csrf-token': csrf } });
      expect([refused.status, refused.body.code]).toEqual([403, 'csrf_token_missing']);
    }
    const made = await own.call('POST', '/v1/campaigns', { json });
    expect(made.body).toMatchObject({ program_id: `prg_${mine.programId}` });
    const { body } = await api.call('GET', `/v1/audit-log?subject=${made.body.id}`, { key: api.operatorKey });
    expect((body.data as { actor: string }[])[0]?.actor).toMatch(/^user:\d+$/);
    const { body: list } = await own.call('GET', '/v1/users');
    expect(
      (list.data as { program_id: string }[]).every((row) => row.program_id === `prg_${mine.programId}`),
    ).toBe(true);
  });

  test('of an affiliate is that affiliate’s, and what it orders itself gives it away', async () => {
    const more = { affiliate_id: `aff_${mine.affiliateId}` };
    const own = await users.browser(await users.create('affiliate', more));
    expect((await own.call('GET', '/v1/me')).body).toMatchObject(more);
    expect((await own.call('GET', `/v1/affiliates/aff_${mine.otherAffiliateId}`)).status).toBe(404);
    const [seen] = await api.ledger`select affiliate_id from affiliate_sessions`;
    expect(seen?.affiliateId).toBe(mine.affiliateId);
  });

  test('ends when it is signed out, idle, expired, or its user is disabled', async () => {
    const alive = async (own: SignedInBrowser) => (await own.call('GET', '/v1/me')).status === 200;
    const email = await users.create('fraud');
    const signedOut = await users.browser(email);
    expect((await signedOut.call('DELETE', '/v1/session')).headers.get('set-cookie')).toMatch(/Max-Age=0/);
    const idle = await users.browser(email);
    await api.ledger`update sessions set last_seen_at = now() - interval '13 hours'`;
    const disabled = await users.browser(email);
    const { body } = await disabled.call('GET', '/v1/me');
    expect(await alive(disabled)).toBe(true);
    const patch = { key: mine.keys.operator, json: { status: 'disabled' } };
    expect((await api.call('PATCH', `/v1/users/${body.user_id}`, patch)).status).toBe(200);
    for (const own of [signedOut, idle, disabled]) expect(await alive(own)).toBe(false);
    expect((await users.signIn(email, PASSWORD)).status).toBe(401);
  });
});

describe('a stolen session that makes itself a key', () => {
  async function aged(email: string): Promise<SignedInBrowser> {
    const own = await users.browser(email);
    await api.ledger`update sessions set authenticated_at = now() - interval '11 minutes'`;
    return own;
  }
  const json = { role: 'operator', name: 'key' };

  test('is asked for the password once its sign-in is 10 minutes old', async () => {
    const own = await aged(await users.create('operator'));
    const refused = await own.call('POST', '/v1/api-keys', { json });
    expect([refused.status, refused.body.code]).toEqual([403, 'reauthentication_required']);
    expect((await own.call('GET', '/v1/users')).status).toBe(200);
    const wrong = await own.call('POST', '/v1/session/confirm', { json: { password: 'wrong' } });
    expect([wrong.status, wrong.body.field]).toEqual([422, 'password']);
    expect((await own.call('POST', '/v1/api-keys', { json })).status).toBe(403);
    const right = await own.call('POST', '/v1/session/confirm', { json: { password: PASSWORD } });
    expect(right.status).toBe(204);
    expect((await own.call('POST', '/v1/api-keys', { json })).status).toBe(201);
  });

  test('is not helped by the confirmation of another session, and an API key is not asked', async () => {
    const email = await users.create('operator');
    const [own, elsewhere] = [await users.browser(email), await aged(email)];
    await own.call('POST', '/v1/session/confirm', { json: { password: PASSWORD } });
    expect((await own.call('POST', '/v1/api-keys', { json })).status).toBe(201);
    expect((await elsewhere.call('POST', '/v1/api-keys', { json })).status).toBe(403);
    const byKey = await api.call('POST', '/v1/api-keys', { key: mine.keys.operator, json });
    expect(byKey.status).toBe(201);
    const noSession = await api.call('POST', '/v1/session/confirm', {
      key: mine.keys.operator,
      json: { password: PASSWORD },
    });
    expect([noSession.status, noSession.body.code]).toEqual([403, 'forbidden']);
  });
});

describe('a password', () => {
  test('is reset by a link that is good once, and ends every session', async () => {
    const email = await users.create('fraud');
    const own = await users.browser(email);
    const request = (address: string) =>
      api.call('POST', '/v1/password-resets', { json: { email: address } });
    const mailsBefore = (await api.mails()).length;
    const [known, unknown] = [await request(email), await request('nobody@example.com')];
    expect([known.status, known.text]).toEqual([unknown.status, unknown.text]);
    expect(await api.mails()).toHaveLength(mailsBefore + 1);
    const token = await users.lastToken();
    const confirm = (json: object) => api.call('POST', '/v1/password-resets/confirm', { json });
    expect((await confirm({ token, password: 'short' })).body.field).toBe('password');
    for (const bad of [
      `${token}x`,
      token.replace('usr_', 'usr_1'),
      'nonsense',
      token.replace(/\.\d+\./, '.9999999999.'),
    ]) {
      expect((await confirm({ token: bad, password: NEW_PASSWORD })).body.field).toBe('token');
    }
    const twice = await Promise.all([1, 2].map(() => confirm({ token, password: NEW_PASSWORD })));
    expect(twice.map(({ status }) => status).sort()).toEqual([204, 422]);
    expect((await own.call('GET', '/v1/me')).status).toBe(401);
    expect((await users.signIn(email, NEW_PASSWORD)).status).toBe(201);
  });

  test('is changed by a user who knows the current one; other sessions end', async () => {
    const email = await users.create('fraud');
    const [own, elsewhere] = [await users.browser(email), await users.browser(email)];
    const change = (current: string) =>
      own.call('POST', '/v1/session/password', {
        json: { current_password: current, new_password: NEW_PASSWORD },
      });
    expect((await change('wrong')).body.field).toBe('current_password');
    expect((await change(PASSWORD)).status).toBe(204);
    expect((await own.call('GET', '/v1/me')).status).toBe(200);
    expect((await elsewhere.call('GET', '/v1/me')).status).toBe(401);
  });

  test('is never shown, logged or stored', async () => {
    const email = await users.create('fraud');
    await users.browser(email);
    expect(api.logLines.join('')).not.toContain(PASSWORD);
    const [row] = await api.ledger`select password_hash from users where email = ${email}`;
    expect(row?.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });
});

test('users are made within one’s own program only', async () => {
  const foreign = await api.tenant('foreign');
  const make = (json: object) => api.call('POST', '/v1/users', { key: mine.keys.operator, json });
  const base = { email: 'x@example.com', name: 'X' };
  expect((await make({ ...base, role: 'operator', program_id: `prg_${foreign.programId}` })).status).toBe(
    403,
  );
  const affiliate = { ...base, role: 'affiliate', affiliate_id: `aff_${foreign.affiliateId}` };
  expect((await make(affiliate)).body.field).toBe('affiliate_id');
  expect((await make({ ...base, role: 'affiliate' })).body.field).toBe('role');
  const operator = await make({ ...base, role: 'operator' });
  expect(operator.body.program_id).toBe(`prg_${mine.programId}`);
  expect((await make({ ...base, role: 'operator' })).body.field).toBe('email');
  const path = `/v1/users/${operator.body.id}`;
  expect((await api.call('GET', path, { key: foreign.keys.operator })).status).toBe(404);
});
