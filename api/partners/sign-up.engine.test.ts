import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DAY_MS } from '../../core/time.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { forgetApplications, MAX_PENDING } from '../../ledger/partners/applications.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { givePayoutMethod } from '../../test/support/ledger.ts';
import { createPortalUsers, PASSWORD, signedIn } from '../../test/support/users.ts';

/** Partners apply, confirm their address, are decided about, and sign in. */

let api: TestApi;
let shop: Tenant;
let other: Tenant;
let networks = 0;
let people = 0;

const ANSWERS = [
  { label: 'Your website or channel', answer: 'https://ann.example' },
  { label: 'How will you promote us?', answer: 'Reviews.\nAnd a newsletter.' },
];

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  other = await api.tenant('other');
  await settings(shop, { slug: 'shop', open: true });
});
afterAll(async () => {
  await api?.stop();
});

const settings = (tenant: Tenant, json: object) =>
  api.call('PATCH', `/v1/programs/prg_${tenant.programId}/sign-up`, { key: tenant.keys.operator, json });

/** Each from a wide network of its own, unless the test is about that. */
function apply(json: object, { slug = 'shop', ip = newNetwork() } = {}) {
  return api.call('POST', `/v1/sign-up/${slug}`, {
    json: { name: 'Ann', answers: ANSWERS, ...json },
    headers: { 'x-forwarded-for': ip },
  });
}

const newNetwork = () => `20.${++networks}.0.1`;
const newAddress = () => `ann${++people}@example.com`;
const confirm = (token: string) => api.call('POST', '/v1/applications/confirm', { json: { token } });
const mailsTo = async (address: string) => (await api.mails()).filter(({ to }) => to === address);
const pending = async (email: string, key = shop.keys.operator) => {
  const { body } = await api.call('GET', '/v1/applications?limit=1000', { key });
  return (body.data as { id: string; email: string; state: string }[]).filter((one) => one.email === email);
};

async function tokenTo(address: string): Promise<string> {
  const links = (await mailsTo(address)).map(({ text }) => /confirm\?token=(\S+)/.exec(text)?.[1]);
  return links.findLast((token) => token !== undefined) ?? '';
}

/** An applicant whose address is confirmed; the id of the application. */
async function applied(email = newAddress(), more: object = {}): Promise<string> {
  expect((await apply({ email, ...more })).status).toBe(202);
  expect((await confirm(await tokenTo(email))).body).toEqual({ program: 'shop' });
  const [application] = await pending(email);
  return application?.id ?? '';
}

const decide = (id: string, verb: string, json: object, key = shop.keys.operator) =>
  api.call('POST', `/v1/applications/${id}/${verb}`, { key, json });

test('from the form to the first sign-in of the partner', async () => {
  const email = newAddress();
  const page = await api.call('GET', '/v1/sign-up/shop');
  expect(page.body).toMatchObject({ program: 'shop', conditions: null });
  expect(
    (await apply({ email: ` ${email.toUpperCase()}`, name: 'Ann <b>B</b>', country: 'DE' })).status,
  ).toBe(202);
  // No operator sees it before its address has answered.
  expect(await pending(email)).toEqual([]);
  await confirm(await tokenTo(email));
  const [application] = await pending(email);
  expect(application).toMatchObject({
    state: 'pending',
    name: 'Ann <b>B</b>',
    country: 'DE',
    answers: ANSWERS,
    conditions_version: null,
  });
  const approved = await decide(application?.id ?? '', 'approve', { note: 'Welcome!' });
  expect(approved.status).toBe(201);
  expect(approved.body).toMatchObject({
    application: { state: 'approved', note: 'Welcome!' },
    affiliate: { status: 'active', email, ref_code: 'ann-b-b-b' },
  });
  // There is no mail server: the one who has approved sees the link, the log of changes does not.
  const link = String(approved.body.invitation_link);
  const [mail] = (await mailsTo(email)).filter(({ subject }) => subject === 'You are a partner of shop');
  expect(mail?.text).toContain('Welcome!');
  expect(mail?.text).toContain(link);
  const log = await api.call('GET', '/v1/audit-log?limit=4', { key: shop.keys.operator });
  expect(log.text).not.toContain('token=');
  const entries = log.body.data as { action: string; subject: string }[];
  expect(entries.map(({ action }) => action)).toEqual([
    'application.approve',
    'user.create',
    'affiliate.create',
    'application.confirm',
  ]);
  // Of the person only what is erased with it.
  expect(JSON.stringify(entries.filter(({ subject }) => subject.startsWith('app_')))).not.toContain('Ann');
  const set = { token: /token=(\S+)/.exec(link)?.[1], password: PASSWORD };
  expect((await api.call('POST', '/v1/password-resets/confirm', { json: set })).status).toBe(204);
  const browser = await createPortalUsers(api, shop.keys.operator).browser(email);
  expect((await browser.call('GET', '/v1/me')).body).toMatchObject({
    role: 'affiliate',
    affiliate_id: (approved.body.affiliate as { id: string }).id,
  });
});

describe('the page', () => {
  test('is off until it is switched on, and when the program is paused', async () => {
    const paused = await api.tenant('paused');
    expect((await settings(paused, { open: true })).body).toMatchObject({
      code: 'invalid_input',
      field: 'slug',
    });
    expect((await settings(paused, { slug: 'paused' })).status).toBe(200);
    expect((await apply({ email: newAddress() }, { slug: 'paused' })).status).toBe(404);
    await settings(paused, { open: true });
    expect((await api.call('GET', '/v1/sign-up/paused')).status).toBe(200);
    await api.call('PATCH', `/v1/programs/prg_${paused.programId}`, {
      key: paused.keys.operator,
      json: { status: 'paused' },
    });
    expect((await api.call('GET', '/v1/sign-up/paused')).status).toBe(404);
    expect((await settings(paused, { slug: 'shop' })).body).toMatchObject({ field: 'slug' });
  });

  test('asks what the operator sets, and names the question that is not answered right', async () => {
    const asking = await api.tenant('asking');
    const questions = [
      { label: 'Site', kind: 'short' },
      { label: 'Size', kind: 'choice', choices: ['small', 'large'], required: false },
    ];
    expect((await settings(asking, { slug: 'asking', open: true, questions })).status).toBe(200);
    const ask = async (answers: object[]) =>
      (await apply({ email: newAddress(), answers }, { slug: 'asking' })).body.field;
    expect(await ask([])).toBe('answers.0');
    expect(
      await ask([
        { label: 'Site', answer: 'a' },
        { label: 'Size', answer: 'huge' },
      ]),
    ).toBe('answers.1');
    expect(await ask([{ label: 'Site', answer: 'a\nb' }])).toBe('answers.0');
    expect(
      await ask([
        { label: 'Site', answer: 'a' },
        { label: 'Shoes', answer: '9' },
      ]),
    ).toBe('answers');
    expect(
      await ask([
        { label: 'Site', answer: 'a' },
        { label: 'Site', answer: 'b' },
      ]),
    ).toBe('answers.0');
    expect(await ask([{ label: 'Site', answer: 'a' }])).toBeUndefined();
    const twice = [questions[0], questions[0]];
    expect((await settings(asking, { questions: twice })).body.field).toBe('questions');
    const empty = [{ label: 'Size', kind: 'choice' }];
    expect((await settings(asking, { questions: empty })).body.field).toBe('questions.0.choices');
  });

  test('records which version of its own conditions was accepted', { tags: ['attack'] }, async () => {
    const [strict, lax] = [await api.tenant('strict'), await api.tenant('lax')];
    await settings(strict, { slug: 'strict', open: true, conditions: 'No brand bidding.\r\nNo spam.' });
    for (const conditions of ['One', 'Two', 'Three'])
      await settings(lax, { slug: 'lax', open: true, conditions });
    // The same text again is no new version.
    const { body } = await settings(lax, { conditions: 'Three' });
    expect(body.conditions).toEqual({ version: 3, text: 'Three' });
    const email = newAddress();
    const by = async (conditions_version: number | undefined, slug = 'strict') =>
      (await apply({ email, conditions_version }, { slug })).body.field;
    expect(await by(3)).toBe('conditions_version');
    expect(await by(undefined)).toBe('conditions_version');
    expect(await by(1, 'shop')).toBe('conditions_version');
    expect(await by(1)).toBeUndefined();
    await confirm(await tokenTo(email));
    await settings(strict, { conditions: 'No brand bidding at all.' });
    const [application] = await pending(email, strict.keys.operator);
    const shown = await api.call('GET', `/v1/applications/${application?.id}`, { key: strict.keys.operator });
    expect(shown.body).toMatchObject({
      conditions_version: 1,
      conditions: { version: 1, text: 'No brand bidding.\nNo spam.' },
    });
  });

  test('is changed by If-Match', async () => {
    const path = `/v1/programs/prg_${other.programId}/sign-up`;
    const key = other.keys.operator;
    const etag = (await api.call('GET', path, { key })).headers.get('etag') ?? '';
    const change = (slug: string) =>
      api.call('PATCH', path, { key, json: { slug }, headers: { 'if-match': etag } });
    expect((await change('other-one')).status).toBe(200);
    expect((await change('other-two')).status).toBe(412);
  });
});

describe('hostile applicants', { tags: ['attack'] }, () => {
  test('learn of no address whether it is known: the address does', async () => {
    const known = newAddress();
    await createPortalUsers(api, shop.keys.operator).create('finance', { email: known });
    const [a, b] = [await apply({ email: known }), await apply({ email: newAddress() })];
    expect([a.status, a.text]).toEqual([b.status, b.text]);
    const texts = (await mailsTo(known)).map(({ text }) => text);
    expect(texts.at(-1)).toContain('has an application or an account here already');
    expect(await pending(known)).toEqual([]);
    const waiting = newAddress();
    await applied(waiting);
    await apply({ email: waiting });
    expect((await mailsTo(waiting)).at(-1)?.text).toContain('nothing has changed');
  });

  /** Hours until the mails that are queued since are sent, in their order. */
  async function queuedSince<T>(act: () => Promise<T>): Promise<{ done: T; hours: number[] }> {
    const [last] = await api.ledger<[{ id: bigint }]>`select coalesce(max(id), 0) as id from mails`;
    const done = await act();
    const rows = await api.ledger<{ hours: number }[]>`
      select round(extract(epoch from due_at - clock_timestamp()) / 3600)::integer as hours from mails
      where id > ${last.id} order by id`;
    return { done, hours: rows.map(({ hours }) => hours) };
  }
  const statuses = async (forms: readonly (() => ReturnType<typeof apply>)[]) => {
    const all: number[] = [];
    for (const form of forms) all.push((await form()).status);
    return all;
  };

  test('send a third person two mails at once, then one in six hours, and none in words of their own', async () => {
    const name = 'Buy pills at https://spam.example now';
    // One mailbox, whatever the address.
    const forms = ['vic.tim', 'victim+a', 'v.i.c.t.i.m', 'VICTIM', 'victim+b+c', 'victim'].map(
      (mailbox, i) => () => apply({ email: `${mailbox}@${i % 2 ? 'gmail.com' : 'googlemail.com'}`, name }),
    );
    const { done, hours } = await queuedSince(() => statuses(forms));
    expect(done).toEqual(Array(6).fill(202));
    expect(hours).toEqual([0, 0, 6, 12, 18, 24]);
    expect(JSON.stringify(await api.mails())).not.toContain('spam.example');
  });

  test('lose no application of another: it waits for its mail, or is refused', async () => {
    const email = newAddress();
    const forms = Array.from({ length: 11 }, (_, i) => () => apply({ email, name: `Ann ${i}` }));
    const { done, hours } = await queuedSince(() => statuses(forms));
    expect(done).toEqual([...Array(10).fill(202), 429]);
    expect(hours).toHaveLength(10);
    const rows = await api.ledger<{ name: string; hours: number }[]>`
      select name, round(extract(epoch from expires_at - applied_at) / 3600)::integer as hours from applications
      where email = ${email} order by id`;
    // Each link is good for two days from its mail.
    expect(rows.map((row) => row.hours)).toEqual(hours.map((wait) => wait + 48));
    expect((await confirm(await tokenTo(email))).status).toBe(200);
    expect(await pending(email)).toMatchObject([{ name: 'Ann 1' }]);
    // Another program has places of its own.
    await settings(other, { slug: 'other', open: true });
    expect((await queuedSince(() => apply({ email }, { slug: 'other' }))).hours).toEqual([0]);
  });

  test('of one wide network leave places to the owner of an address', async () => {
    const email = newAddress();
    const forms = Array.from({ length: 5 }, (_, i) => () => apply({ email }, { ip: `30.1.${i}.1` }));
    expect(await statuses(forms)).toEqual([202, 202, 202, 429, 429]);
    expect((await apply({ email })).status).toBe(202);
  });

  test('are refused as often for an address that is known', async () => {
    const known = newAddress();
    await createPortalUsers(api, shop.keys.operator).create('finance', { email: known });
    const unknown = newAddress();
    const of = (email: string) =>
      queuedSince(() => statuses(Array.from({ length: 11 }, () => () => apply({ email }))));
    expect(await of(known)).toEqual(await of(unknown));
  });

  test('of one network are stopped, at all programs and addresses', async () => {
    await settings(other, { slug: 'other', open: true });
    const ip = '40.1.1.1';
    const forms = Array.from(
      { length: 12 },
      (_, i) => () => apply({ email: newAddress() }, { ip: `40.1.1.${i}`, slug: i % 2 ? 'other' : 'shop' }),
    );
    expect(await statuses(forms)).toEqual([...Array(10).fill(202), 429, 429]);
    const refused = await apply({ email: newAddress() }, { ip });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test.each([
    ['IPv4', (i: number) => `50.1.${i}.1`],
    ['IPv6', (i: number) => `2001:db8:7:${i}::1`],
  ])('of many networks of one party close no program (%s)', async (_family, networkOf) => {
    const target = await api.tenant(`flooded-${networks}`);
    const slug = `flooded-${networks}`;
    await settings(target, { slug, open: true });
    const forms = Array.from(
      { length: 62 },
      (_, i) => () => apply({ email: newAddress() }, { ip: networkOf(i), slug }),
    );
    expect(await statuses(forms)).toEqual([...Array(60).fill(202), 429, 429]);
    expect((await apply({ email: newAddress() }, { slug })).status).toBe(202);
  });

  test('fill no database: as many wait as people read, and a link stays valid', async () => {
    const full = await api.tenant('full');
    await settings(full, { slug: 'full', open: true });
    const email = newAddress();
    await apply({ email }, { slug: 'full' });
    const token = await tokenTo(email);
    await api.ledger`
      insert into applications (program_id, state, name, email, answers, expires_at, confirmed_at)
      select ${full.programId}, 'pending', 'x', n || '@spam.example', '[]', now(), now()
      from generate_series(1, ${MAX_PENDING}) n`;
    expect((await confirm(token)).body.code).toBe('limit_reached');
    await api.ledger`delete from applications where program_id = ${full.programId} and email = '1@spam.example'`;
    expect((await confirm(token)).status).toBe(200);
  });

  test('write nothing in the name of another: the owner of an address reads what it confirms', async () => {
    const strict = await api.tenant('shown');
    await settings(strict, { slug: 'shown', open: true, conditions: 'No spam.' });
    const email = newAddress();
    const form = { email, conditions_version: 1 };
    await apply({ ...form, name: 'Ann' }, { slug: 'shown' });
    const own = await tokenTo(email);
    await apply({ ...form, name: 'Eve', country: 'DE' }, { slug: 'shown' });
    const foreign = await tokenTo(email);
    const read = async (token: string) =>
      await api.call('POST', '/v1/applications/unconfirmed', { json: { token } });
    expect((await read(foreign)).body).toEqual({
      program: 'shown',
      name: 'Eve',
      email,
      country: 'DE',
      answers: ANSWERS,
      conditions: { version: 1, text: 'No spam.' },
    });
    expect((await read(own)).body).toMatchObject({ name: 'Ann', country: null });
    expect((await confirm(own)).status).toBe(200);
    expect(await pending(email, strict.keys.operator)).toMatchObject([{ name: 'Ann' }]);
    // An address has one that waits for a decision.
    expect((await confirm(foreign)).body).toMatchObject({ code: 'invalid_input', field: 'token' });
    for (const token of [own, 'x']) {
      expect((await read(token)).body).toMatchObject({ code: 'invalid_input', field: 'token' });
    }
  });

  test('use a token once, also when it is used twice at once, and not after its time', async () => {
    const email = newAddress();
    await apply({ email });
    const token = await tokenTo(email);
    const both = await Promise.all([confirm(token), confirm(token)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 422]);
    expect((await confirm(token)).status).toBe(422);
    expect(await pending(email)).toHaveLength(1);

    const late = newAddress();
    await api.ledger`
      insert into applications (program_id, name, email, answers, token_hash, expires_at)
      values (${shop.programId}, 'Ann', ${late}, '[]', sha256('late'), now())`;
    expect((await confirm('late')).status).toBe(422);
    expect((await api.call('POST', '/v1/applications/unconfirmed', { json: { token: 'late' } })).status).toBe(
      422,
    );
  });

  test.each([
    [{ email: 'no address' }, 'email'],
    [{ email: `${'İ'.repeat(130)}@x.co` }, 'email'],
    [{ email: 'ann@example.com\r\nBcc: eve@example.com' }, 'email'],
    [{ name: '\u202eevil' }, 'name'],
    [{ name: '' }, 'name'],
    [{ country: 'Germany' }, 'country'],
    [{ answers: [{ label: 'Your website or channel', answer: 'x'.repeat(301) }] }, 'answers.0'],
    [{ role: 'operator' }, 'role'],
  ])('are refused %j', async (given, field) => {
    const answer = await apply({ email: newAddress(), ...given });
    expect([answer.status, answer.body.field]).toEqual([422, field]);
  });

  test('of another program see and decide nothing', async () => {
    const id = await applied();
    const key = other.keys.operator;
    expect((await api.call('GET', `/v1/applications/${id}`, { key })).status).toBe(404);
    for (const verb of ['approve', 'reject']) {
      expect((await decide(id, verb, { note: 'x' }, key)).status).toBe(404);
    }
    for (const role of ['finance', 'fraud', 'affiliate', 'advertiser'] as const) {
      expect((await decide(id, 'approve', {}, shop.keys[role])).status).toBe(403);
    }
  });
});

describe('a decision', () => {
  test('to approve is in the audit log of the affiliate, with the note', async () => {
    const id = await applied();
    const { body } = await decide(id, 'approve', { note: 'A friend of Bea.' });
    const affiliate = body.affiliate as { id: string; ref_code: string };
    const key = shop.keys.operator;
    const log = await api.call('GET', `/v1/audit-log?subject=${affiliate.id}`, { key });
    expect(log.body.data).toMatchObject([
      { action: 'affiliate.create', after: { ref_code: affiliate.ref_code, status: 'active' } },
    ]);
    expect(log.text).toContain('A friend of Bea');
    // As a pseudonym, which ends with the affiliate.
    const [row] = await api.ledger<[{ after: string }]>`
      select after::text as after from audit_log where subject = ${affiliate.id}`;
    expect(row.after).toContain('note');
    expect(row.after).not.toContain('A friend of Bea');
  });

  test('is made of several at once, all or none', async () => {
    const [a, b, c] = [await applied(), await applied(), await applied()];
    const key = shop.keys.operator;
    const bulk = (verb: string, ids: string[], json: object = {}, by = key) =>
      api.call('POST', `/v1/applications/${verb}`, { key: by, json: { ids, ...json } });
    expect((await bulk('reject', [a, 'app_999999'], { note: 'No.' })).status).toBe(404);
    expect((await bulk('delete', [a, b], {}, other.keys.operator)).status).toBe(404);
    expect((await bulk('delete', [a, a])).body.field).toBe('ids');
    expect((await bulk('delete', [])).body.field).toBe('ids');
    const rejected = await bulk('reject', [b, a], { note: 'Spam.' });
    expect(rejected.body.data).toMatchObject([
      { id: a, state: 'rejected', note: 'Spam.' },
      { id: b, state: 'rejected' },
    ]);
    expect((await bulk('reject', [a], { note: 'x' })).body.code).toBe('wrong_state');
    expect((await bulk('delete', [a, b, c])).status).toBe(204);
    for (const id of [a, b, c]) {
      expect((await api.call('GET', `/v1/applications/${id}`, { key })).status).toBe(404);
    }
  });

  test('gives namesakes codes, and none of an erased affiliate', { tags: ['attack'] }, async () => {
    const codeOf = async (name: string) =>
      (
        (await decide(await applied(newAddress(), { name }), 'approve', {})).body.affiliate as {
          ref_code: string;
        }
      ).ref_code;
    expect([await codeOf('Zoe'), await codeOf('Zoe'), await codeOf('Zo')]).toEqual(['zoe', 'zoe-2', 'zo']);
    expect(await codeOf('Erased 12')).toBe('partner-erased-12');
    expect(await codeOf('Erased')).toBe('partner-erased');
    await api.ledger`
      insert into affiliates (program_id, ref_code, name, email)
      select ${shop.programId}, 'zoe-' || n, 'Zoe', n || '@zoe.example' from generate_series(3, 100) n`;
    expect(await codeOf('Zoe')).toMatch(/^zoe-[0-9a-f]{12}$/);
    const key = shop.keys.operator;
    const json = { ref_code: 'erased-12', name: 'Eve', email: newAddress() };
    expect((await api.call('POST', '/v1/affiliates', { key, json })).body.field).toBe('ref_code');
    const path = `/v1/affiliates/aff_${shop.affiliateId}`;
    const changed = await api.call('PATCH', path, { key, json: { ref_code: 'erased-12' } });
    expect(changed.body.field).toBe('ref_code');
  });

  test('is made once, also by two at once', async () => {
    const id = await applied();
    const answers = await Promise.all([
      decide(id, 'approve', {}),
      decide(id, 'reject', { note: 'No.' }),
      decide(id, 'approve', {}),
    ]);
    const statuses = answers.map(({ status }) => status).toSorted();
    expect([200, 201]).toContain(statuses[0]);
    expect(statuses.slice(1)).toEqual([409, 409]);
  });

  test('to reject is mailed with its note, and makes nothing', async () => {
    const email = newAddress();
    const id = await applied(email);
    expect((await decide(id, 'reject', { note: 'Your site\ndoes not open.' })).status).toBe(200);
    const mails = await mailsTo(email);
    expect(mails.at(-1)?.text).toContain('Your site\ndoes not open.');
    const [rows] = await api.ledger<[{ rows: number }]>`
      select count(*)::integer as rows from affiliates where email = ${email}`;
    expect(rows.rows).toBe(0);
    // Who was rejected may apply again.
    await apply({ email });
    expect(await tokenTo(email)).not.toBe('');
  });

  test('shows who may be the same person', async () => {
    const { ledger, secretBox } = api;
    const twin = await api.call('POST', '/v1/affiliates', {
      key: shop.keys.operator,
      json: { ref_code: 'twin', name: 'Twin', email: 'An.Na+x@googlemail.com', status: 'pending' },
    });
    const id = await applied('anna@gmail.com');
    const shown = await api.call('GET', `/v1/applications/${id}`, { key: shop.keys.operator });
    expect(shown.body.similar).toEqual([
      { affiliate_id: twin.body.id, name: 'Twin', status: 'pending', same: ['mailbox'] },
    ]);
    const twinId = Number(String(twin.body.id).slice('aff_'.length));
    await givePayoutMethod(ledger, twinId, undefined, secretBox);
    const alike = await api.call('GET', `/v1/affiliates/aff_${shop.affiliateId}/similar`, {
      key: shop.keys.operator,
    });
    const same = (alike.body.data as { affiliate_id: string; same: string[] }[]).map((one) => one.same);
    expect(same.every((by) => by.includes('payout_account'))).toBe(true);
  });

  test('names the address that is another user’s by then', async () => {
    const email = newAddress();
    const id = await applied(email);
    await createPortalUsers(api, other.keys.operator).create('finance', { email });
    expect((await decide(id, 'approve', {})).body).toMatchObject({ code: 'invalid_input', field: 'email' });
  });
});

describe('a partner of before who is approved', () => {
  const partner = async (json: object = {}) => {
    const email = newAddress();
    const body = { ref_code: email.split('@')[0], name: 'Bea', email, ...json };
    const made = await api.call('POST', '/v1/affiliates', { key: shop.keys.operator, json: body });
    return { email, path: `/v1/affiliates/${made.body.id}` };
  };

  test('gets a login, by the route of approval and by a change of the status', async () => {
    for (const approve of [
      (path: string) =>
        api.call('POST', `${path}/approve`, { key: shop.keys.operator, json: { note: 'Fine.' } }),
      (path: string) => api.call('PATCH', path, { key: shop.keys.operator, json: { status: 'active' } }),
    ]) {
      const { email, path } = await partner();
      const answer = await approve(path);
      expect([answer.status, answer.body.status]).toEqual([200, 'active']);
      expect((await mailsTo(email)).at(-1)?.text).toMatch(/set-password\?token=/);
    }
  });

  test('keeps the login that it has, and hears why it was suspended', async () => {
    const invited = await api.call('POST', '/v1/affiliates/invite', {
      key: shop.keys.operator,
      json: { ref_code: 'cy', name: 'Cy', email: newAddress(), status: 'active' },
    });
    const { id, email } = invited.body.affiliate as { id: string; email: string };
    const token = /token=(\S+)/.exec(String(invited.body.invitation_link))?.[1];
    const set = { token, password: PASSWORD };
    expect((await api.call('POST', '/v1/password-resets/confirm', { json: set })).status).toBe(204);
    const key = shop.keys.operator;
    const suspended = await api.call('POST', `/v1/affiliates/${id}/suspend`, {
      key,
      json: { note: 'Spam.' },
    });
    expect(suspended.body).toMatchObject({ status: 'suspended', status_note: 'Spam.' });
    expect((await mailsTo(email)).at(-1)?.text).toContain('Reason: Spam.');
    const approved = await api.call('POST', `/v1/affiliates/${id}/approve`, { key, json: { note: 'Fine.' } });
    expect(approved.body).toMatchObject({ status: 'active', invitation_link: null });
    expect((await mailsTo(email)).at(-1)?.text).not.toContain('token=');
  });

  test('gets none from a key that may make no users, nor one of another’s address', {
    tags: ['attack'],
  }, async () => {
    const { programId } = shop;
    const scopes = ['affiliates:write'];
    const { key } = await createApiKey(api.ledger, { role: 'operator', name: 'narrow', programId, scopes });
    const first = await partner();
    const approved = await api.call('POST', `${first.path}/approve`, { key, json: { note: 'x' } });
    expect(approved.body).toMatchObject({ status: 'active', invitation_link: null });
    expect((await mailsTo(first.email)).map(({ text }) => text).join()).not.toContain('token=');

    const taken = newAddress();
    await createPortalUsers(api, other.keys.operator).create('finance', { email: taken });
    const second = await partner({ email: taken });
    const json = { note: 'x' };
    const answer = await api.call('POST', `${second.path}/approve`, { key: shop.keys.operator, json });
    expect(answer.body).toMatchObject({ status: 'active', invitation_link: null });
    expect((await mailsTo(taken)).at(-1)?.text).not.toContain('token=');
  });
});

test('a link is shown to who may invite, and to no one once the account has a password', {
  tags: ['attack'],
}, async () => {
  const email = newAddress();
  const operator = await signedIn(api, { role: 'operator', programId: shop.programId });
  const json = { email, name: 'Fin', role: 'finance', program_id: `prg_${shop.programId}` };
  const made = await operator.call('POST', '/v1/users', { json });
  expect(made.body.invitation_link).toMatch(/set-password\?token=/);
  const again = `/v1/users/${made.body.id}/invite`;
  expect((await operator.call('POST', again)).body.invitation_link).toMatch(/token=/);
  // Nor to a key that may create no users, nor in a session whose password was given long ago.
  const { programId } = shop;
  const scopes = ['users:write'];
  const { key } = await createApiKey(api.ledger, { role: 'operator', name: 'narrow', programId, scopes });
  expect((await api.call('POST', again, { key })).body).toEqual({ invited: true, invitation_link: null });
  await api.ledger`update sessions set authenticated_at = now() - interval '1 hour' where user_id = ${operator.userId}`;
  expect((await operator.call('POST', again)).body.code).toBe('reauthentication_required');
  const token = /token=(\S+)/.exec(String(made.body.invitation_link))?.[1];
  await api.call('POST', '/v1/password-resets/confirm', { json: { token, password: PASSWORD } });
  expect((await operator.call('POST', again)).body).toEqual({ invited: true, invitation_link: null });
});

test('an applicant is forgotten, and one who was approved as an affiliate is', async () => {
  const [pendingId, approved] = [await applied(), await applied()];
  await decide(approved, 'approve', {});
  const forget = (id: string, key = shop.keys.operator) =>
    api.call('DELETE', `/v1/applications/${id}`, { key });
  expect((await forget(pendingId, other.keys.operator)).status).toBe(404);
  expect((await forget(pendingId)).status).toBe(204);
  expect((await forget(pendingId)).status).toBe(404);
  expect((await forget(approved)).body).toMatchObject({ code: 'wrong_state' });
  const log = await api.call('GET', `/v1/audit-log?subject=${pendingId}`, { key: shop.keys.operator });
  expect((log.body.data as { action: string }[]).map(({ action }) => action)).toEqual([
    'application.delete',
    'application.confirm',
  ]);
});

test('what was not confirmed is deleted after two days, what was rejected after half a year', async () => {
  const [unconfirmed, rejected, waiting] = [newAddress(), newAddress(), newAddress()];
  await apply({ email: unconfirmed });
  await decide(await applied(rejected), 'reject', { note: 'No.' });
  await applied(waiting);
  const left = async (days: number) => {
    await forgetApplications(api.ledger, { now: new Date(Date.now() + days * DAY_MS) });
    const rows = await api.ledger<{ email: string }[]>`
      select email from applications where email = any(${[unconfirmed, rejected, waiting]}) order by id`;
    return rows.map(({ email }) => email);
  };
  expect(await left(1)).toEqual([unconfirmed, rejected, waiting]);
  expect(await left(3)).toEqual([rejected, waiting]);
  expect(await left(179)).toEqual([rejected, waiting]);
  expect(await left(181)).toEqual([]);
});

describe('mails in the words of a program', () => {
  const path = () => `/v1/programs/prg_${shop.programId}/mail-templates`;
  const key = () => shop.keys.operator;

  test('are checked, previewed, sent, and back to the default', async () => {
    const json = { subject: 'Willkommen bei {program}', text: 'Hallo {name},\r\n\r\n{note}\n\n{link}' };
    const kind = `${path()}/partner_approved`;
    const wrong = { ...json, text: 'Hallo {vorname} {link}' };
    expect((await api.call('PUT', kind, { key: key(), json: wrong })).body).toMatchObject({
      field: 'text',
      detail: expect.stringContaining('{vorname} is unknown; this mail has {program} {name} {note} {link}'),
    });
    const preview = await api.call('POST', `${kind}/preview`, { key: key(), json });
    expect(preview.body).toEqual({
      subject: 'Willkommen bei shop',
      text: expect.stringMatching(/^Hallo Ann Example,\n\nWelcome!/),
    });
    expect((await api.call('PUT', kind, { key: key(), json })).body.is_own).toBe(true);
    await api.call('PATCH', `/v1/programs/prg_${shop.programId}`, {
      key: key(),
      json: { mail_sender_name: 'Shop partners' },
    });
    const email = newAddress();
    await decide(await applied(email), 'approve', {});
    const [mail] = (await mailsTo(email)).slice(-1);
    expect(mail).toMatchObject({ subject: 'Willkommen bei shop', senderName: 'Shop partners' });
    expect(mail?.text).toMatch(/^Hallo Ann,\n\nhttps:\S+token=\S+\n$/);
    expect((await api.call('DELETE', kind, { key: key() })).body.is_own).toBe(false);
    const { body } = await api.call('GET', path(), { key: key() });
    expect((body.data as { is_own: boolean }[]).some((one) => one.is_own)).toBe(false);
  });

  test('are of their program alone', { tags: ['attack'] }, async () => {
    const json = { subject: 'x', text: '{link}' };
    const own = `${path()}/partner_approved`;
    expect((await api.call('PUT', own, { key: other.keys.operator, json })).status).toBe(404);
    expect((await api.call('PUT', own, { key: shop.keys.finance, json })).status).toBe(403);
    expect((await api.call('PUT', `${path()}/nothing`, { key: key(), json })).body.field).toBe('kind');
  });
});
