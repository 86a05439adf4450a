import { Secret, TOTP } from 'otpauth';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import {
  cookiesOf,
  createPortalUsers,
  PASSWORD,
  type PortalUsers,
  type SignedInBrowser,
} from '../../test/support/portal-users.ts';

let api: TestApi;
let mine: Tenant;
let users: PortalUsers;

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  users = createPortalUsers(api, mine.keys.operator);
});
afterAll(async () => {
  await api?.stop();
});

/** Networks that no other test uses: a /24 each. */
let networks = 0;
function network(): (host?: number) => Record<string, string> {
  const third = ++networks;
  return (host = 1) => ({ 'x-forwarded-for': `198.51.${third}.${host}` });
}

const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status);

function guesses(count: number, email: string, headers: (i: number) => Record<string, string>) {
  return Promise.all(
    Array.from({ length: count }, (_, i) => users.signIn(email, 'wrong', { headers: headers(i) })),
  );
}

/** The limits as they are when so long has passed. */
async function pass(seconds: number): Promise<void> {
  await api.ledger`update guess_limits set free_at = free_at - make_interval(secs => ${seconds})`;
}

describe('a stranger who guesses a password', () => {
  test('gets five guesses from a network, then one a minute, whether there is such a user or not', async () => {
    const email = await users.create('fraud');
    const [wrong, unknown] = [
      await users.signIn(email, 'wrong', { headers: network()() }),
      await users.signIn('nobody@example.com', 'wrong', { headers: network()() }),
    ];
    expect({ ...wrong.body, request_id: '' }).toEqual({ ...unknown.body, request_id: '' });
    expect(wrong.status).toBe(401);
    for (const address of [email, 'nobody@example.com']) {
      const from = network();
      const answers = await guesses(12, address, from);
      const locked = answers.filter(({ status }) => status === 429);
      expect([address, locked.length]).toEqual([address, 7]);
      const wait = Number(locked[0]?.headers.get('retry-after'));
      expect([wait > 30, wait <= 60]).toEqual([true, true]);
      await pass(60);
      expect(statuses(await guesses(3, address, from)).sort()).toEqual([401, 429, 429]);
    }
  });

  test('does not lock the owner out: not in a known browser, and elsewhere for less than a minute', async () => {
    const email = await users.create('fraud');
    const [stranger, office, hotel] = [network(), network(), network()];
    const known = await users.browser(email, { headers: office() });
    const device = { ...stranger(), cookie: known.cookie.replace(/.*(?=__Host-afflux_device)/, '') };
    expect(statuses(await guesses(8, email, stranger)).filter((status) => status === 429)).toHaveLength(3);
    // Even in the stranger's network; and from a network of its own without any cookie.
    expect((await users.signIn(email, PASSWORD, { headers: device })).status).toBe(201);
    expect((await users.signIn(email, PASSWORD, { headers: hotel() })).status).toBe(201);
    const here = await users.signIn(email, PASSWORD, { headers: stranger() });
    expect(here.status).toBe(429);
    expect(Number(here.headers.get('retry-after'))).toBeLessThanOrEqual(60);
  });

  test('from many networks gets fifty guesses at an account, then one in 30 seconds', async () => {
    const email = await users.create('fraud');
    const known = await users.browser(email, { headers: network()() });
    const from = Array.from({ length: 60 }, () => network());
    const answers = await guesses(60, email, (i) => from[i]?.() ?? {});
    expect(statuses(answers).filter((status) => status === 401)).toHaveLength(50);
    const owner = await users.signIn(email, PASSWORD, { headers: network()() });
    expect(owner.status).toBe(429);
    expect(Number(owner.headers.get('retry-after'))).toBeLessThanOrEqual(30);
    const { cookie } = known;
    expect((await users.signIn(email, PASSWORD, { headers: { ...network()(), cookie } })).status).toBe(201);
    // The mailed link makes a new browser a known one.
    await api.call('POST', '/v1/password-resets', { json: { email } });
    const json = { token: await users.lastToken(), password: PASSWORD };
    const set = await api.call('POST', '/v1/password-resets/confirm', { json });
    expect(set.status).toBe(204);
    const headers = { ...network()(), cookie: cookiesOf(set) };
    expect((await users.signIn(email, PASSWORD, { headers })).status).toBe(201);
  });

  test('at many accounts from one network gets fifty guesses, whatever host of the network is used', async () => {
    const from = network();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        users.signIn(`spray${i}@example.com`, 'wrong', { headers: from(i + 1) }),
      ),
    );
    expect(statuses(answers).filter((status) => status === 401)).toHaveLength(50);
    const other = await users.signIn('spray0@example.com', 'wrong', { headers: network()() });
    expect(other.status).toBe(401);
  });

  test('gains nothing by signing in to an own account between the guesses', async () => {
    const [own, target] = [await users.create('fraud'), await users.create('fraud')];
    const from = network();
    const before = await guesses(5, target, from);
    await users.browser(own, { headers: from() });
    expect(statuses([...before, ...(await guesses(1, target, from))])).toEqual([
      401, 401, 401, 401, 401, 429,
    ]);
  });

  test('cannot use a known browser of another user, nor make one up', async () => {
    const [own, target] = [await users.create('fraud'), await users.create('fraud')];
    const { cookie } = await users.browser(own, { headers: network()() });
    const [, id] =
      (await api.call('GET', `/v1/users?limit=1000`, { key: mine.keys.operator })).text.match(
        new RegExp(`"(usr_\\d+)","email":"${target}"`),
      ) ?? [];
    const made = cookie.replace(/device=usr_\d+/, `device=${id}`);
    for (const forged of [cookie, made]) {
      const headers = { ...network()(), cookie: forged };
      expect(statuses(await guesses(7, target, () => headers)).filter((s) => s === 429)).toHaveLength(2);
    }
  });

  test('does not lock a signed-in user out of the confirmation, nor does another session', async () => {
    const email = await users.create('fraud');
    const [own, elsewhere] = [await users.browser(email), await users.browser(email)];
    await guesses(60, email, network());
    const confirm = (browser: SignedInBrowser, password: string) =>
      browser.call('POST', '/v1/session/confirm', { json: { password } });
    const tried = await Promise.all(Array.from({ length: 12 }, () => confirm(elsewhere, 'wrong')));
    expect(statuses(tried).filter((status) => status === 429)).toHaveLength(2);
    expect((await confirm(elsewhere, PASSWORD)).status).toBe(429);
    expect((await confirm(own, PASSWORD)).status).toBe(204);
    const json = { current_password: PASSWORD, new_password: 'marmalade tractor violin' };
    expect((await own.call('POST', '/v1/session/password', { json })).status).toBe(204);
  });
});

describe('a stranger who floods a mailbox with reset mails', () => {
  test('causes one in a quarter of an hour, and is answered alike', async () => {
    const email = await users.create('fraud');
    const mailsTo = async () => (await api.mails()).filter(({ to }) => to === email).length;
    const before = await mailsTo();
    const reset = (address: string) => api.call('POST', '/v1/password-resets', { json: { email: address } });
    const answers = await Promise.all([
      ...Array.from({ length: 10 }, () => reset(email)),
      ...Array.from({ length: 10 }, () => reset('nobody@example.com')),
    ]);
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(await mailsTo()).toBe(before + 1);
    await pass(900);
    await reset(email.toUpperCase());
    expect(await mailsTo()).toBe(before + 2);
  });
});

describe('an attacker who tries the usual passwords', () => {
  test('finds none: easy ones are refused, also those made of the user’s and the program’s names', async () => {
    const email = await users.create('fraud');
    const own = await users.browser(email);
    const change = (text: string) =>
      own.call('POST', '/v1/session/password', {
        json: { current_password: PASSWORD, new_password: text },
      });
    for (const easy of ['password12', 'qwertyuiop', '1234567890', 'iloveyou1234', email, `${email}1!`]) {
      const { status, body } = await change(easy);
      expect([easy, status, body.field]).toEqual([easy, 422, 'new_password']);
      expect(body.detail).toContain('too easy to guess');
    }
    expect((await change('marmalade tractor violin')).status).toBe(204);
  });

  test('cannot have one set by the link of a mail, and an easy password of before still signs in', async () => {
    const email = await users.create('fraud');
    await api.call('POST', '/v1/password-resets', { json: { email } });
    const json = { token: await users.lastToken(), password: 'password12' };
    const refused = await api.call('POST', '/v1/password-resets/confirm', { json });
    expect([refused.status, refused.body.field]).toEqual([422, 'password']);
    const { hashPassword } = await import('./passwords.ts');
    await api.ledger`update users set password_hash = ${await hashPassword('password12')} where email = ${email}`;
    expect((await users.signIn(email, 'password12')).status).toBe(201);
  });
});

/**
 * Sets up a second factor. `codeOf` shows the code of a step, counted from the enrolment, which takes that of step 0: the
 * one of step 1 is right from then on for a minute.
 */
async function enrol(own: SignedInBrowser): Promise<{ codeOf: (step: number) => string; codes: string[] }> {
  const started = await own.call('POST', '/v1/session/second-factor');
  expect(started.status).toBe(201);
  const totp = new TOTP({ secret: Secret.fromBase32(String(started.body.secret)) });
  const enrolledAt = Date.now();
  const codeOf = (step: number) => totp.generate({ timestamp: enrolledAt + step * 30_000 });
  const json = { code: codeOf(0) };
  const confirmed = await own.call('POST', '/v1/session/second-factor/confirm', { json });
  expect([confirmed.status, confirmed.body.code]).toEqual([201, undefined]);
  return { codeOf, codes: confirmed.body.recovery_codes as string[] };
}

describe('an attacker who knows the password of a user with a second factor', () => {
  test('is not signed in without a code, and a code works once', async () => {
    const email = await users.create('finance');
    const { codeOf, codes } = await enrol(await users.browser(email));
    const without = await users.signIn(email, PASSWORD);
    expect([without.status, without.body.code]).toEqual([403, 'second_factor_required']);
    expect(without.headers.getSetCookie()).toEqual([]);
    for (const code of ['000000', 'abcdef', 'aaaa-aaaa-aaaa-aaaa', codeOf(0), codeOf(5)]) {
      const wrong = await users.signIn(email, PASSWORD, { code });
      expect([code, wrong.status, wrong.body.field]).toEqual([code, 422, 'code']);
    }
    const code = codeOf(1);
    const both = await Promise.all([1, 2].map(() => users.signIn(email, PASSWORD, { code })));
    expect(statuses(both).sort()).toEqual([201, 422]);
    // With a wrong password a right code is not even looked at.
    const [recovery = ''] = codes;
    expect((await users.signIn(email, 'wrong', { code: recovery })).status).toBe(401);
    expect((await users.signIn(email, PASSWORD, { code: recovery })).status).toBe(201);
  });

  test('gets ten guesses at the code, which do not keep the owner’s known browser out', async () => {
    const email = await users.create('finance');
    const own = await users.browser(email);
    const { codeOf } = await enrol(own);
    const tried = [];
    for (let i = 0; i < 12; i++) {
      tried.push(await users.signIn(email, PASSWORD, { code: '000000', headers: network()() }));
    }
    expect(statuses(tried)).toEqual([...Array.from({ length: 10 }, () => 422), 429, 429]);
    const headers = { cookie: own.cookie };
    expect((await users.signIn(email, PASSWORD, { code: codeOf(1), headers })).status).toBe(201);
  });

  test('finds recovery codes hashed, each good once, and the owner hears of its use', async () => {
    const email = await users.create('operator');
    const { codes } = await enrol(await users.browser(email));
    expect(new Set(codes).size).toBe(10);
    const [stored] = await api.ledger<{ text: string }[]>`
      select string_agg(r::text, ' ') || string_agg(f::text, ' ') as text from recovery_codes r, second_factors f`;
    for (const code of codes) expect(stored?.text).not.toContain(code.replaceAll('-', ''));
    const code = codes[3]?.toUpperCase() ?? '';
    const both = await Promise.all([1, 2].map(() => users.signIn(email, PASSWORD, { code })));
    expect(statuses(both).sort()).toEqual([201, 422]);
    expect((await api.mails()).at(-1)).toMatchObject({ to: email, subject: 'A recovery code was used' });
    const session = both.find(({ status }) => status === 201);
    expect(session?.body.second_factor).toMatchObject({ recovery_codes_left: 9 });
  });

  test('has to give a code to confirm a sign-in as well', async () => {
    const email = await users.create('operator');
    const own = await users.browser(email);
    const { codeOf } = await enrol(own);
    const confirm = (json: object) => own.call('POST', '/v1/session/confirm', { json });
    expect((await confirm({ password: PASSWORD })).body.code).toBe('second_factor_required');
    expect((await confirm({ password: PASSWORD, code: '000000' })).body.field).toBe('code');
    expect((await confirm({ password: PASSWORD, code: codeOf(1) })).status).toBe(204);
  });
});

describe('a stolen session', () => {
  const paths = [
    ['POST', '/v1/session/second-factor'],
    ['POST', '/v1/session/second-factor/recovery-codes'],
    ['DELETE', '/v1/session/second-factor'],
  ] as const;

  test('cannot set up, replace or remove the second factor without the password', async () => {
    const email = await users.create('operator');
    const own = await users.browser(email);
    await enrol(own);
    const id = await sessionId(own);
    await api.ledger`update sessions set authenticated_at = now() - interval '11 minutes' where id = ${id}`;
    for (const [method, path] of paths) {
      const { status, body } = await own.call(method, path);
      expect([path, status, body.code]).toEqual([path, 403, 'reauthentication_required']);
    }
  });

  test('of before the second factor ends with it, and its owner hears of every change', async () => {
    const email = await users.create('operator');
    const [own, elsewhere] = [await users.browser(email), await users.browser(email)];
    const { codes } = await enrol(own);
    expect((await elsewhere.call('GET', '/v1/me')).status).toBe(401);
    const again = await own.call('POST', '/v1/session/second-factor');
    expect([again.status, again.body.code]).toEqual([409, 'wrong_state']);
    const replaced = await own.call('POST', '/v1/session/second-factor/recovery-codes');
    expect(replaced.body.recovery_codes).toHaveLength(10);
    expect((await users.signIn(email, PASSWORD, { code: codes[0] ?? '' })).status).toBe(422);
    expect((await own.call('DELETE', '/v1/session/second-factor')).status).toBe(204);
    expect((await own.call('DELETE', '/v1/session/second-factor')).status).toBe(409);
    expect((await users.signIn(email, PASSWORD)).status).toBe(201);
    const subjects = (await api.mails()).filter(({ to }) => to === email).map(({ subject }) => subject);
    expect(subjects.slice(-3)).toEqual([
      'Your second factor is set up',
      'Your recovery codes were replaced',
      'Your second factor was removed',
    ]);
  });

  test('is seen in the list of its user, who ends one or all others, and no session of another user', async () => {
    const email = await users.create('operator');
    const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
    const own = await users.browser(email, {
      headers: { 'user-agent': agent, 'x-forwarded-for': '203.0.113.7' },
    });
    const [second, third] = [await users.browser(email), await users.browser(email)];
    const list = async () => (await own.call('GET', '/v1/sessions')).body.data as Record<string, unknown>[];
    const before = await list();
    expect(before.map(({ is_current }) => is_current)).toEqual([false, false, true]);
    expect(before.at(-1)).toMatchObject({ device: 'Firefox on Linux', address: '203.0.113.7' });
    const foreign = await users.browser(await users.create('operator'));
    const path = `/v1/sessions/ses_${await sessionId(second)}`;
    expect((await foreign.call('DELETE', path)).status).toBe(404);
    expect((await own.call('DELETE', path)).status).toBe(204);
    expect((await second.call('GET', '/v1/me')).status).toBe(401);
    expect((await third.call('GET', '/v1/me')).status).toBe(200);
    const others = await own.call('DELETE', '/v1/sessions');
    expect(others.body).toEqual({ ended: 1 });
    expect((await third.call('GET', '/v1/me')).status).toBe(401);
    expect((await foreign.call('GET', '/v1/me')).status).toBe(200);
    expect(await list()).toHaveLength(1);
  });
});

async function sessionId(browser: SignedInBrowser): Promise<bigint> {
  const { body } = await browser.call('GET', '/v1/sessions');
  const current = (body.data as { id: string; is_current: boolean }[]).find(({ is_current }) => is_current);
  return BigInt(current?.id.slice('ses_'.length) ?? 0);
}

describe('an operator or finance user without a second factor, where the program requires one', () => {
  test('can do nothing but set it up; other roles, other programs and keys go on', async () => {
    const strict = await api.tenant('strict');
    const there = createPortalUsers(api, strict.keys.operator);
    const program = `/v1/programs/prg_${strict.programId}`;
    const emails = {
      finance: await there.create('finance', { email: 'finance@strict.example' }),
      fraud: await there.create('fraud', { email: 'fraud@strict.example' }),
    };
    const [finance, fraud] = [await there.browser(emails.finance), await there.browser(emails.fraud)];
    expect((await finance.call('GET', program)).status).toBe(200);
    const json = { require_second_factor: true };
    const changed = await api.call('PATCH', program, { key: strict.keys.operator, json });
    expect(changed.body).toMatchObject(json);
    for (const path of [program, '/v1/payouts', '/v1/me']) {
      const { status, body } = await finance.call('GET', path);
      expect([path, status, body.code]).toEqual([path, 403, 'enrolment_required']);
    }
    expect((await fraud.call('GET', program)).status).toBe(200);
    expect((await api.call('GET', program, { key: strict.keys.finance })).status).toBe(200);
    const elsewhere = await users.browser(await users.create('finance', { email: 'finance@mine.example' }));
    expect((await elsewhere.call('GET', '/v1/me')).status).toBe(200);
    expect((await finance.call('GET', '/v1/session')).body.second_factor).toEqual({
      enrolled_at: null,
      recovery_codes_left: 0,
      required: true,
    });
    await enrol(finance);
    expect((await finance.call('GET', program)).status).toBe(200);
    expect((await finance.call('DELETE', '/v1/session/second-factor')).status).toBe(204);
    expect((await finance.call('GET', program)).body.code).toBe('enrolment_required');
  });
});
