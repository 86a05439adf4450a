import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { eraseCustomer, findCustomer } from '../../ledger/audit/erase.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { setPartnerReason } from '../../ledger/partners/partner-reasons.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { signedIn } from '../../test/support/users.ts';

/** What a program says to a partner about an order, and the questions about it. */

let api: TestApi;
let shop: Tenant;
let other: Tenant;
let orders = 0;

beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  other = await api.tenant('other');
  await signedIn(api, { role: 'operator', programId: shop.programId });
});
afterAll(async () => {
  await api?.stop();
});
beforeEach(async () => {
  await api.ledger`delete from mails`;
  await api.ledger`delete from guess_limits`;
});

async function order(outcome: 'attributed' | 'review', tenant = shop) {
  const orderId = `order-${++orders}`;
  const { affiliateId } = tenant;
  const id = await decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome });
  return { orderId, id, path: `/v1/conversions/cnv_${id}` };
}

const post = (path: string, json: object, key = shop.keys.operator) => api.call('POST', path, { key, json });
const reasonOf = async (path: string) =>
  (await api.call('GET', path, { key: shop.keys.affiliate })).body.partner_reason;
const mailsTo = async (address: string) => (await api.mails()).filter(({ to }) => to === address);
const PARTNER = 'first@example.com';

describe('the reason of an order', () => {
  test('that a reviewer rejects reaches its partner, in the portal’s API and by mail', async () => {
    const { path, orderId } = await order('review');
    const partner_reason = { code: 'against_conditions', text: 'Bidding on our name.\nSee § 3.' };
    const rejected = await post(`${path}/reject`, { note: 'for us', partner_reason }, shop.keys.fraud);
    expect(rejected.body).toMatchObject({ state: 'rejected' });
    expect(await reasonOf(path)).toEqual({ ...partner_reason, at: expect.any(String) });
    const list = await api.call('GET', `/v1/conversions?order_id=${orderId}`, { key: shop.keys.affiliate });
    expect((list.body.data as { partner_reason: object }[])[0]?.partner_reason).toMatchObject(partner_reason);
    const [mail] = await mailsTo(PARTNER);
    expect(mail?.subject).toBe(`Order ${orderId} at shop`);
    expect(mail?.text).toContain(
      'against our conditions of participation.\n\nBidding on our name.\nSee § 3.',
    );
    expect(mail?.text).not.toContain('for us');
    const log = await api.call('GET', '/v1/audit-log?limit=10', { key: shop.keys.operator });
    expect(log.text).toContain('conversion.partner_reason');
    expect(log.text).not.toContain('Bidding');
  });

  test('counts for the state in which it was said', async () => {
    const { path } = await order('review');
    const key = shop.keys.fraud;
    const said = await api.call('PUT', `${path}/partner-reason`, { key, json: { code: 'being_checked' } });
    expect(said.body).toMatchObject({ code: 'being_checked', text: null });
    expect(await reasonOf(path)).toMatchObject({ code: 'being_checked' });
    await post(`${path}/approve`, { note: 'fine' });
    expect(await reasonOf(path)).toBeNull();
  });

  const change = (path: string, amount: string) => post(`${path}/change`, { amount, currency: 'EUR' });
  test.each([
    ['was cancelled', (path: string) => post(`${path}/cancel`, {})],
    ['was lowered', (path: string) => change(path, '70')],
    [
      'lost a refund',
      async (path: string) => {
        const conversion_id = path.split('/').at(-1);
        return await post('/v1/refunds', {
          conversion_id,
          refund_ref: 'later',
          amount: '1',
          currency: 'EUR',
        });
      },
    ],
  ])('says nothing of an order that %s since', async (_what, act) => {
    const { path } = await order('attributed');
    await post(`${path}/change`, { amount: '80', currency: 'EUR', partner_reason: { code: 'returned' } });
    expect(await reasonOf(path)).toMatchObject({ code: 'returned' });
    expect((await act(path)).status).toBeLessThan(300);
    expect(await reasonOf(path)).toBeNull();
  });

  test('of a cancellation says nothing of the next one', async () => {
    const { path } = await order('attributed');
    await post(`${path}/cancel`, { partner_reason: { code: 'not_paid' } });
    await post(`${path}/restore`, {});
    expect(await reasonOf(path)).toBeNull();
    await post(`${path}/cancel`, {});
    expect(await reasonOf(path)).toBeNull();
  });

  test('is not read by another affiliate to whom the order is credited since', {
    tags: ['attack'],
  }, async () => {
    const { path, id } = await order('review');
    const json = { code: 'other', text: 'You bid on our name.' };
    await api.call('PUT', `${path}/partner-reason`, { key: shop.keys.fraud, json });
    expect(await reasonOf(path)).toMatchObject({ code: 'other' });
    await api.ledger`update conversions set affiliate_id = ${shop.otherAffiliateId} where id = ${id}`;
    expect((await api.call('GET', path, { key: shop.keys.operator })).body.partner_reason).toBeNull();
  });

  test('comes from those alone who may say one without a report', { tags: ['attack'] }, async () => {
    const { path, id } = await order('attributed');
    const partner_reason = { code: 'other', text: 'Pay me.' };
    const refund = { conversion_id: `cnv_${id}`, refund_ref: 'r', partner_reason };
    const scopes = ['shops:write'];
    const { programId } = shop;
    const { key: narrow } = await createApiKey(api.ledger, {
      role: 'operator',
      name: 'narrow',
      programId,
      scopes,
    });
    for (const answer of [
      await post(`${path}/cancel`, { partner_reason }, shop.keys.advertiser),
      await post(`${path}/change`, { amount: '1', currency: 'EUR', partner_reason }, shop.keys.advertiser),
      await post('/v1/refunds', refund, shop.keys.advertiser),
      await post('/v1/refunds', refund, shop.keys.finance),
      await post('/v1/refunds', refund, narrow),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([403, 'forbidden']);
    }
    const { body } = await api.call('GET', path, { key: shop.keys.operator });
    expect(body).toMatchObject({ state: 'attributed', partner_reason: null, cancelled_at: null });
    expect(await mailsTo(PARTNER)).toEqual([]);
  });

  test('is not said when the report changed nothing', async () => {
    const { path, id } = await order('attributed');
    await post(`${path}/cancel`, {});
    const partner_reason = { code: 'own_order' };
    expect((await post(`${path}/cancel`, { partner_reason })).body.status).toBe('duplicate');
    const refund = { conversion_id: `cnv_${id}`, refund_ref: 'r', partner_reason };
    await post(`${path}/restore`, {});
    await post('/v1/refunds', { ...refund, partner_reason: undefined });
    expect((await post('/v1/refunds', refund)).body.status).toBe('duplicate');
    expect(await reasonOf(path)).toBeNull();
    expect(await mailsTo(PARTNER)).toEqual([]);
  });

  test('floods no partner: five of an order, then one an hour', { tags: ['attack'] }, async () => {
    const { path } = await order('review');
    const say = async (i: number) => {
      const json = { code: 'other', text: `${i}` };
      return (await api.call('PUT', `${path}/partner-reason`, { key: shop.keys.fraud, json })).status;
    };
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push(await say(i));
    expect(statuses).toEqual([...Array(5).fill(200), 429, 429]);
    expect(await reasonOf(path)).toMatchObject({ text: '4' });
    expect(await mailsTo(PARTNER)).toHaveLength(5);
  });

  test('refuses no refund, cancellation or review for the number of its mails: what they say is shown, and not mailed', async () => {
    for (const outcome of ['attributed', 'review'] as const) {
      const { path, id } = await order(outcome);
      for (let i = 0; i < 6; i++) {
        const json = { code: 'other', text: `${outcome} ${i}` };
        await api.call('PUT', `${path}/partner-reason`, { key: shop.keys.fraud, json });
      }
      await api.ledger`delete from mails`;
      const partner_reason = { code: 'returned' };
      const amount = { amount: '1', currency: 'EUR' };
      const reports =
        outcome === 'review'
          ? [() => post(`${path}/reject`, { note: 'x', partner_reason })]
          : [
              () =>
                post('/v1/refunds', {
                  conversion_id: `cnv_${id}`,
                  refund_ref: 'r',
                  ...amount,
                  partner_reason,
                }),
              () => post(`${path}/change`, { ...amount, partner_reason }),
              () => post(`${path}/cancel`, { partner_reason }),
            ];
      for (const report of reports) {
        const { status, text } = await report();
        expect(status, text).toBeLessThan(300);
        expect(await reasonOf(path)).toMatchObject({ code: 'returned' });
      }
      expect(await mailsTo(PARTNER)).toEqual([]);
    }
  });

  test('is written by indexes, however many orders there are', async () => {
    const { id: conversionId, path } = await order('review');
    await Promise.all(Array.from({ length: 30 }, () => order('attributed')));
    await post(`${path}/reject`, { note: 'x' });
    await inTransaction(api.ledger, async (tx) => {
      // Of so few rows a scan is cheaper, unless it is ruled out.
      await tx`set local enable_seqscan = off`;
      const rowsRead = async () => {
        const [row] = await tx<[{ read: number }]>`
          select (seq_tup_read + idx_tup_fetch)::integer as read from pg_stat_xact_user_tables
          where relname = 'conversions'`;
        return row.read;
      };
      const before = await rowsRead();
      await setPartnerReason(tx, { conversionId, code: 'own_order', text: null });
      const read = (await rowsRead()) - before;
      expect(read).toBeGreaterThan(0);
      expect(read).toBeLessThan(10);
    });
  });

  test.each([
    ['a cancellation', 'cancel', {}],
    ['a lower amount', 'change', { amount: '60', currency: 'EUR' }],
  ])('comes with %s', async (_what, verb, json) => {
    for (const headers of [{}, { 'idempotency-key': `${verb}-${orders}` }]) {
      const { path } = await order('attributed');
      const body = { ...json, partner_reason: { code: 'returned' } };
      const call = { key: shop.keys.operator, json: body, headers };
      expect((await api.call('POST', `${path}/${verb}`, call)).status).toBe(200);
      expect(await reasonOf(path)).toMatchObject({ code: 'returned' });
    }
    expect((await mailsTo(PARTNER)).map(({ text }) => text.includes('returned the goods'))).toEqual([
      true,
      true,
    ]);
  });

  test('comes with a refund, once', async () => {
    const { path, id } = await order('attributed');
    const json = { conversion_id: `cnv_${id}`, refund_ref: 'r', partner_reason: { code: 'returned' } };
    expect((await post('/v1/refunds', json)).status).toBe(201);
    expect(await reasonOf(path)).toMatchObject({ code: 'returned' });
    expect((await post('/v1/refunds', json)).status).toBe(200);
    expect(await mailsTo(PARTNER)).toHaveLength(1);
  });

  test('is of the later orders of the subscription that are rejected with it', async () => {
    const [first, renewal] = [await order('review'), await order('review')];
    await api.ledger`update conversions set recurring_of = ${first.id} where id = ${renewal.id}`;
    await post(`${first.path}/reject`, { note: 'x', partner_reason: { code: 'own_order' } });
    expect(await reasonOf(renewal.path)).toMatchObject({ code: 'own_order' });
  });

  test.each([
    [{ code: 'other' }, 'text'],
    [{ code: 'rejected' }, 'code'],
    [{ code: 'returned', text: '' }, 'text'],
    [{ code: 'returned', text: 'x'.repeat(2_001) }, 'text'],
    [{ code: 'returned', text: '\u0000' }, 'text'],
  ])('is refused %j, and nothing is done', async (reason, field) => {
    const { path } = await order('review');
    const answer = await post(`${path}/reject`, { note: 'x', partner_reason: reason });
    expect([answer.status, answer.body.field]).toEqual([422, `partner_reason.${field}`]);
    expect((await api.call('GET', path, { key: shop.keys.operator })).body.state).toBe('review');
  });
});

describe('a question about an order', () => {
  const open = async (key = shop.keys.operator) =>
    (await api.call('GET', '/v1/order-questions?limit=1000', { key })).body.data as {
      conversion_id: string;
      text: string;
    }[];

  test('is answered; both sides see it and get mail', async () => {
    const { path, orderId, id } = await order('review');
    const text = '<b>Why?</b>\nIt was a friend.';
    const asked = await post(`${path}/messages`, { text }, shop.keys.affiliate);
    expect([asked.status, asked.body]).toMatchObject([201, { author: 'affiliate', is_open: true, text }]);
    expect(await open()).toMatchObject([
      { conversion_id: `cnv_${id}`, order_id: orderId, affiliate_name: 'shop', text },
    ]);
    const [toOperator] = (await api.mails()).filter(({ subject }) => subject.startsWith('A question'));
    expect(toOperator?.text).toContain(`shop asks about order ${orderId} of shop:\n\n${text}`);
    const answered = await post(`${path}/messages`, { text: 'We look at it.' }, shop.keys.fraud);
    expect(answered.body).toMatchObject({ author: 'program', is_open: false });
    expect(await open()).toEqual([]);
    const [mail] = await mailsTo(PARTNER);
    expect(mail?.text).toContain('We look at it.');
    expect(mail?.text).toContain(`/portal/conversions?order=cnv_${id}`);
    for (const key of [shop.keys.affiliate, shop.keys.operator]) {
      const { body } = await api.call('GET', `${path}/messages`, { key });
      expect((body.data as { author: string; text: string }[]).map((one) => [one.author, one.text])).toEqual([
        ['affiliate', text],
        ['program', 'We look at it.'],
      ]);
    }
    const log = await api.call('GET', '/v1/audit-log?limit=10', { key: shop.keys.operator });
    expect(log.text).toContain('order.ask');
    expect(log.text).not.toContain('a friend');
  });

  test('is asked of an own order alone', { tags: ['attack'] }, async () => {
    const mine = await order('attributed');
    const theirs = await order('attributed', other);
    const text = 'x';
    for (const key of [shop.keys.affiliate, shop.keys.operator, shop.keys.fraud]) {
      expect((await post(`${theirs.path}/messages`, { text }, key)).status).toBe(404);
      expect((await api.call('GET', `${theirs.path}/messages`, { key })).status).toBe(404);
    }
    for (const role of ['finance', 'advertiser'] as const) {
      expect((await post(`${mine.path}/messages`, { text }, shop.keys[role])).status).toBe(403);
    }
    expect((await post(`${theirs.path}/messages`, { text }, other.keys.affiliate)).status).toBe(201);
    expect(await open()).toEqual([]);
    expect(await open(other.keys.operator)).toHaveLength(1);
    const asPartner = await api.call('PUT', `${mine.path}/partner-reason`, {
      key: shop.keys.affiliate,
      json: { code: 'returned' },
    });
    expect(asPartner.status).toBe(403);
  });

  test('floods no operator: ten at once, then one in ten minutes', { tags: ['attack'] }, async () => {
    const { path } = await order('attributed');
    const answers = await Promise.all(
      Array.from({ length: 15 }, (_, i) => post(`${path}/messages`, { text: `${i}` }, shop.keys.affiliate)),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([
      ...Array(10).fill(201),
      ...Array(5).fill(429),
    ]);
    // One mail leads to all of them.
    expect(await questionMails()).toBe(1);
    await post(`${path}/messages`, { text: 'To all of them.' });
    expect(await open()).toEqual([]);
  });

  const questionMails = async () =>
    (await api.mails()).filter(({ subject }) => subject.startsWith('A question')).length;
  const ask = async (path: string) => {
    await api.ledger`delete from guess_limits where free_at > now() + interval '1 minute'`;
    return await post(`${path}/messages`, { text: 'Why?' }, shop.keys.affiliate);
  };

  test('is one of twenty open ones at the most, until they are closed without an answer', {
    tags: ['attack'],
  }, async () => {
    const asked = await Promise.all(Array.from({ length: 21 }, () => order('attributed')));
    const answers: string[] = [];
    for (const { path } of asked) {
      const { status, body } = await ask(path);
      answers.push(status === 201 ? 'asked' : String(body.code));
    }
    expect(answers).toEqual([...Array(20).fill('asked'), 'limit_reached']);
    for (const { path } of asked) {
      const closed = await post(`${path}/messages/close`, {}, shop.keys.fraud);
      expect([closed.status, closed.body]).toEqual([200, { closed: path === asked.at(-1)?.path ? 0 : 1 }]);
    }
    expect(await open()).toEqual([]);
    expect((await ask(asked[20]?.path ?? '')).status).toBe(201);
    const log = await api.call('GET', `/v1/audit-log?subject=${asked[0]?.path.split('/').at(-1)}`, {
      key: shop.keys.operator,
    });
    expect(log.text).toContain('order.close_questions');
    await post(`${asked[20]?.path}/messages/close`, {});
  });

  test('can be answered and closed, however many an affiliate has asked', { tags: ['attack'] }, async () => {
    const { path, id } = await order('attributed');
    await api.ledger`
      insert into order_messages (program_id, affiliate_id, conversion_id, author, actor, text, is_open)
      select ${shop.programId}, ${shop.affiliateId}, ${id}, 'affiliate', 'x', 'x', n = 1 from generate_series(1, 100) n`;
    expect((await ask(path)).body.code).toBe('limit_reached');
    expect((await post(`${path}/messages`, { text: 'Enough.' })).status).toBe(201);
    const { body } = await api.call('GET', `${path}/messages`, { key: shop.keys.affiliate });
    expect((body.data as { text: string }[]).at(-1)?.text).toBe('Enough.');
    expect(await open()).toEqual([]);
    for (const key of [shop.keys.affiliate, shop.keys.advertiser, shop.keys.finance]) {
      expect((await post(`${path}/messages/close`, {}, key)).status).toBe(403);
    }
    expect((await post(`${path}/messages/close`, {}, other.keys.operator)).status).toBe(404);
  });

  test('of an order of no partner is refused', async () => {
    const { conversion } = await recordConversion(api.ledger, {
      programId: shop.programId,
      orderId: 'of-no-partner',
      amountMinor: 100n,
      currency: 'EUR',
      source: 'api',
    });
    const { status, body } = await post(`/v1/conversions/cnv_${conversion.id}/messages`, { text: 'x' });
    expect([status, body.code]).toEqual([409, 'wrong_state']);
  });
});

describe('erasure', () => {
  const texts = async (id: bigint) => {
    const [row] = await api.ledger<[{ texts: string }]>`
      select coalesce((select string_agg(text, ' ') from order_messages where conversion_id = ${id}), '') || ' '
        || coalesce((select text from partner_reasons where conversion_id = ${id}), '') as texts`;
    return row.texts.trim();
  };

  async function talkedAbout(affiliateId: number) {
    const orderId = `order-${++orders}`;
    const id = await decideConversion(api.ledger, { tenant: shop, orderId, affiliateId, outcome: 'review' });
    const path = `/v1/conversions/cnv_${id}`;
    const partner = await signedIn(api, { role: 'affiliate', programId: shop.programId, affiliateId });
    await partner.call('POST', `${path}/messages`, { json: { text: 'I am Ann.' } });
    await post(`${path}/reject`, { note: 'x', partner_reason: { code: 'other', text: 'Ann knows.' } });
    expect(await texts(id)).toBe('I am Ann. Ann knows.');
    return id;
  }

  test('of an affiliate erases what was written about its orders, and of its application', async () => {
    const affiliateId = shop.otherAffiliateId;
    const id = await talkedAbout(affiliateId);
    await api.ledger`
      insert into applications (program_id, state, name, email, answers, expires_at, confirmed_at, decided_at, affiliate_id)
      values (${shop.programId}, 'approved', 'Ann', 'ann@example.com', '[]', now(), now(), now(), ${affiliateId})`;
    // By its address, and by that of its user: rejected before, and not confirmed.
    const known = await api.ledger<{ email: string }[]>`
      select lower(email) as email from affiliates where id = ${affiliateId}
      union select email from users where affiliate_id = ${affiliateId}`;
    expect(known.length).toBeGreaterThan(1);
    for (const { email } of known) {
      await api.ledger`
        insert into applications (program_id, state, name, email, answers, expires_at, confirmed_at, decided_at)
        values (${shop.programId}, 'rejected', 'Ann', ${email}, '[]', now(), now(), now())`;
      await api.ledger`
        insert into applications (program_id, name, email, answers, expires_at, token_hash)
        values (${shop.programId}, 'Ann', ${email}, '[]', now(), sha256(${email}::bytea))`;
    }
    const elsewhere = await api.ledger<{ id: number }[]>`
      insert into applications (program_id, state, name, email, answers, expires_at, confirmed_at)
      values (${other.programId}, 'pending', 'Ann', ${known[0]?.email ?? ''}, '[]', now(), now()) returning id`;
    expect(elsewhere).toHaveLength(1);
    const path = `/v1/affiliates/aff_${affiliateId}`;
    await post(`${path}/terminate`, { note: 'Ann leaves.' });
    // Not what is due in the next month: no statement is missing.
    await api.ledger`select erase_affiliate(${affiliateId})`;
    expect(await texts(id)).toBe('erased');
    const { body } = await api.call('GET', path, { key: shop.keys.operator });
    expect(body).toMatchObject({ name: 'erased', status_note: null });
    const [rows] = await api.ledger<[{ rows: number }]>`
      select count(*)::integer as rows from applications where program_id = ${shop.programId}`;
    expect(rows.rows).toBe(0);
    const [theirs] = await api.ledger<[{ rows: number }]>`
      select count(*)::integer as rows from applications where program_id = ${other.programId}`;
    expect(theirs.rows).toBe(1);
    const log = await api.call('GET', `/v1/audit-log?subject=aff_${affiliateId}`, {
      key: shop.keys.operator,
    });
    expect(log.text).not.toContain('Ann leaves');
    expect((await post(`/v1/conversions/cnv_${id}/messages`, { text: 'x' })).status).toBe(409);
  });

  test('of a customer erases what was written about the orders', async () => {
    const id = await talkedAbout(shop.affiliateId);
    const customer = await findCustomer(api.ledger, { programId: shop.programId, named: 'customer-7' });
    await inTransaction(api.ledger, (tx) => eraseCustomer(tx, { customer, actor: 'test' }));
    expect(await texts(id)).toBe('erased');
  });
});
