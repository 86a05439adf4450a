import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  type ApiCall,
  startTestApi,
  type Tenant,
  type TestApi,
} from '../../test/support/api.ts';

let api: TestApi;
let mine: Tenant;
const PASSWORD = 'correct horse battery';

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
});
afterAll(async () => {
  await api?.stop();
});

/** Calls as a browser does: with the cookie it was given. */
interface Browser {
  readonly cookie: string;
  readonly csrf: string;
  call(method: string, path: string, call?: ApiCall): Promise<Answer>;
}

function signIn(email: string, password: string, headers: Record<string, string> = {}): Promise<Answer> {
  return api.call('POST', '/v1/session', { json: { email, password }, headers });
}

async function browser(email: string, password = PASSWORD): Promise<Browser> {
  const answer = await signIn(email, password);
  expect(answer.status).toBe(201);
  const cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? '';
  const csrf = String(answer.body.csrf_token);
  return {
    cookie,
    csrf,
    call: (method, path, call = {}) =>
      api.call(method, path, { ...call, headers: { cookie, 'x-csrf-token': csrf, ...call.headers } }),
  };
}

async function lastToken(): Promise<string> {
  return /token=(\S+)/.exec((await api.mails()).at(-1)?.text ?? '')?.[1] ?? '';
}

let users = 0;
async function user(role: string, more: object = {}): Promise<string> {
  const email = `user${++users}@example.com`;
  const json = { email, name: 'U', role, ...more };
  const created = await api.call('POST', '/v1/users', { key: mine.keys.operator, json });
  expect([created.status, created.body.invited]).toEqual([201, true]);
  const set = { token: await lastToken(), password: PASSWORD };
  expect((await api.call('POST', '/v1/password-resets/confirm', { json: set })).status).toBe(204);
  return email;
}

describe('a session', () => {
  test('is a cookie that scripts and other sites cannot use', async () => {
    const email = await user('fraud');
    const answer = await signIn(email.toUpperCase(), PASSWORD);
    expect(answer.headers.get('set-cookie')).toMatch(
      /^__Host-afflux_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=604800; Secure$/,
    );
    expect(answer.text).not.toMatch(/argon2|hash/);
    const own = await browser(email);
    expect((await own.call('GET', '/v1/me')).body).toMatchObject({ key_id: null, role: 'fraud' });
    expect((await own.call('GET', '/v1/session')).body.csrf_token).toBe(own.csrf);
    const { token_hash } = (await api.ledger`select token_hash from sessions limit 1`)[0] as never;
    expect(String(token_hash)).not.toContain(own.cookie.split('=')[1]);
  });

  test('may do what its role may, and changes nothing without the token of the session', async () => {
    const own = await browser(await user('operator'));
    const json = { name: 'by user' };
    for (const csrf of ['', 'x', (await browser(await user('operator'))).csrf]) {
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
    const own = await browser(await user('affiliate', more));
    expect((await own.call('GET', '/v1/me')).body).toMatchObject(more);
    expect((await own.call('GET', `/v1/affiliates/aff_${mine.otherAffiliateId}`)).status).toBe(404);
    const [seen] = await api.ledger`select affiliate_id from affiliate_sessions`;
    expect(seen?.affiliateId).toBe(mine.affiliateId);
  });

  test('ends when it is signed out, idle, expired, or its user is disabled', async () => {
    const alive = async (own: Browser) => (await own.call('GET', '/v1/me')).status === 200;
    const email = await user('fraud');
    const signedOut = await browser(email);
    expect((await signedOut.call('DELETE', '/v1/session')).headers.get('set-cookie')).toMatch(/Max-Age=0/);
    const idle = await browser(email);
    await api.ledger`update sessions set last_seen_at = now() - interval '13 hours'`;
    const disabled = await browser(email);
    const { body } = await disabled.call('GET', '/v1/me');
    expect(await alive(disabled)).toBe(true);
    const patch = { key: mine.keys.operator, json: { status: 'disabled' } };
    expect((await api.call('PATCH', `/v1/users/${body.user_id}`, patch)).status).toBe(200);
    for (const own of [signedOut, idle, disabled]) expect(await alive(own)).toBe(false);
    expect((await signIn(email, PASSWORD)).status).toBe(401);
  });
});

describe('a password', () => {
  test('that is wrong is answered as an unknown address is, and locks for longer and longer', async () => {
    const email = await user('fraud');
    const [wrong, unknown] = [await signIn(email, 'wrong'), await signIn('nobody@example.com', 'wrong')];
    expect({ ...wrong.body, request_id: '' }).toEqual({ ...unknown.body, request_id: '' });
    expect(wrong.status).toBe(401);
    for (const address of [email, 'nobody@example.com']) {
      const answers = await Promise.all(Array.from({ length: 12 }, () => signIn(address, 'wrong')));
      const locked = answers.filter(({ status }) => status === 429);
      expect([address, locked.length]).toEqual([address, 8]);
      expect(Number(locked[0]?.headers.get('retry-after'))).toBeGreaterThan(20);
    }
    expect((await signIn(email, PASSWORD)).status).toBe(429);
    await api.ledger`update login_failures set locked_until = now()`;
    expect((await signIn(email, 'wrong')).status).toBe(401);
    const again = await signIn(email, PASSWORD);
    expect(again.status).toBe(429);
    expect(Number(again.headers.get('retry-after'))).toBeGreaterThan(50);
    await api.ledger`update login_failures set locked_until = now()`;
    expect((await signIn(email, PASSWORD)).status).toBe(201);
    expect((await signIn(email, 'wrong')).status).toBe(401);
  });

  test('is reset by a link that is good once, and ends every session', async () => {
    const email = await user('fraud');
    const own = await browser(email);
    const request = (address: string) =>
      api.call('POST', '/v1/password-resets', { json: { email: address } });
    const mailsBefore = (await api.mails()).length;
    const [known, unknown] = [await request(email), await request('nobody@example.com')];
    expect([known.status, known.text]).toEqual([unknown.status, unknown.text]);
    expect(await api.mails()).toHaveLength(mailsBefore + 1);
    const token = await lastToken();
    const confirm = (json: object) => api.call('POST', '/v1/password-resets/confirm', { json });
    expect((await confirm({ token, password: 'short' })).body.field).toBe('password');
    for (const bad of [
      `${token}x`,
      token.replace('usr_', 'usr_1'),
      'nonsense',
      token.replace(/\.\d+\./, '.9999999999.'),
    ]) {
      expect((await confirm({ token: bad, password: 'another password' })).body.field).toBe('token');
    }
    const twice = await Promise.all([1, 2].map(() => confirm({ token, password: 'another password' })));
    expect(twice.map(({ status }) => status).sort()).toEqual([204, 422]);
    expect((await own.call('GET', '/v1/me')).status).toBe(401);
    expect((await signIn(email, 'another password')).status).toBe(201);
  });

  test('is changed by a user who knows the current one; other sessions end', async () => {
    const email = await user('fraud');
    const [own, elsewhere] = [await browser(email), await browser(email)];
    const change = (current: string) =>
      own.call('POST', '/v1/session/password', {
        json: { current_password: current, new_password: 'another password' },
      });
    expect((await change('wrong')).body.field).toBe('current_password');
    expect((await change(PASSWORD)).status).toBe(204);
    expect((await own.call('GET', '/v1/me')).status).toBe(200);
    expect((await elsewhere.call('GET', '/v1/me')).status).toBe(401);
  });

  test('is never shown, logged or stored', async () => {
    const email = await user('fraud');
    await browser(email);
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
