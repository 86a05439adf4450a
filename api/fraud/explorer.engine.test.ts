import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { emailHash } from '../../ledger/conversions/emails.ts';
import { hashAccount } from '../../ledger/payouts/methods.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { mirrorBatch } from '../../scheduler/mirror.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../../warehouse/loader/inserter.ts';

let api: TestApi;
let mine: Tenant;
let foreign: Tenant;

const IP = '198.51.100.7';
const EMAIL = 'Eve@Example.com';
const NOW = Date.now();
const bytes = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);
const FINGERPRINT = 2n ** 64n - 5n;

/** Two clicks of the address in my program, three in the other; an order each of the same person. */
beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  foreign = await api.tenant('foreign');
  const clicksOf = (tenant: Tenant, count: number, more: Partial<ClickRecord> = {}) =>
    Array.from(
      { length: count },
      (_, i): Partial<ClickRecord> => ({
        ts: NOW - i * 1_000,
        ip: bytes(IP),
        fingerprint: FINGERPRINT,
        user_agent: `agent of ${tenant.programId}`,
        program_id: tenant.programId,
        campaign_id: tenant.campaignId,
        affiliate_id: tenant.affiliateId,
        link_id: tenant.linkId,
        flags: 0,
        ...more,
      }),
    );
  const given = [
    ...clicksOf(mine, 2),
    ...clicksOf(foreign, 3),
    ...clicksOf(foreign, 1, { ip: bytes('203.0.113.9'), fingerprint: 99n }),
    ...clicksOf(mine, 1, { ip: bytes('192.0.2.0'), fingerprint: 0n, flags: 1 << 10 }),
  ];
  await api.warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(given.map((one, seq) => clickRecord({ node: 4, seq, ...one })))],
    settings: { async_insert: 0 },
  });
  for (const tenant of [mine, foreign]) {
    await recordConversion(api.ledger, {
      programId: tenant.programId,
      orderId: `order of ${tenant.programId}`,
      amountMinor: 4_200n,
      currency: 'EUR',
      source: 'api',
      occurredAt: new Date(NOW),
      customerEmailHash: emailHash(EMAIL),
      ip: IP,
      fingerprint: FINGERPRINT,
    });
    await decideConversion(api.ledger, {
      tenant,
      orderId: `credited of ${tenant.programId}`,
      affiliateId: tenant.affiliateId,
      outcome: 'attributed',
    });
  }
  // One account behind an affiliate of each program.
  await api.ledger`
    update payout_methods set account_hash = ${hashAccount('DE89 3704')}
    where affiliate_id in (${mine.affiliateId}, ${foreign.affiliateId})`;
  while ((await mirrorBatch(api)) > 0);
});
afterAll(() => api?.stop());

const get = async (path: string, key: string) => {
  const { status, body, text } = await api.call('GET', path, { key });
  return { status, body, text };
};
const path = (key: string, value: string, rest = '') =>
  `/v1/explorer/${key}/${encodeURIComponent(value)}${rest}`;

describe('the explorer', () => {
  test('leads from an address to clicks, people, orders and money of every program', async () => {
    const { status, body } = await get(path('ip', IP), api.operatorKey);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      key: 'ip',
      value: IP,
      days: 90,
      clicks: { total: 5, by_flag_group: { ok: 5 } },
      sampled_clicks: 5,
      orders: {
        total: 2,
        is_partial: false,
        by_state: [{ state: 'received', orders: 2, amount: { amount: '84.00', currency: 'EUR' } }],
      },
    });
    const related = body.related as { key: string; value: string; count: number }[];
    expect(related).toContainEqual(
      expect.objectContaining({ key: 'subnet', value: '198.51.100.0/24', count: 5 }),
    );
    expect(related).toContainEqual(
      expect.objectContaining({ key: 'affiliate', value: `aff_${foreign.affiliateId}`, count: 3 }),
    );
    expect(related).toContainEqual(
      expect.objectContaining({ key: 'customer', value: `sha256:${emailHash(EMAIL)}`, count: 2 }),
    );
    expect(related).toContainEqual(
      expect.objectContaining({ key: 'account', value: `aff_${mine.affiliateId}`, count: 2 }),
    );
    expect(related).not.toContainEqual(expect.objectContaining({ key: 'ip', value: IP }));
  });

  test('every value leads on', async () => {
    const clicks = await get(path('ip', IP, '/clicks'), api.operatorKey);
    const [click] = clicks.body.data as Record<string, string>[];
    for (const key of ['ip', 'subnet', 'fingerprint', 'affiliate', 'link']) {
      const next = await get(path(key, String(click?.[key])), api.operatorKey);
      expect([key, next.status]).toEqual([key, 200]);
      expect([key, (next.body.clicks as { total: number }).total >= 2]).toEqual([key, true]);
    }
    const orders = await get(path('ip', IP, '/orders'), api.operatorKey);
    const [order] = orders.body.data as { customers: string[] }[];
    const customer = await get(path('customer', String(order?.customers?.[0])), api.operatorKey);
    expect(customer.body.orders).toMatchObject({ total: 2 });
    const account = await get(path('account', `aff_${mine.affiliateId}`), api.operatorKey);
    expect(account.body).toMatchObject({ clicks: { total: 7 }, orders: { total: 2 } });
  });

  test('pages clicks and orders, and shows a visitor who opted out as a network', async () => {
    const found: string[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await get(path('ip', IP, `/clicks?limit=2${cursor}`), api.operatorKey);
      found.push(...(body.data as { click_id: string }[]).map(({ click_id }) => click_id));
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(new Set(found).size).toBe(5);
    expect(found).toHaveLength(5);
    const out = await get(path('subnet', '192.0.2.0/24', '/clicks'), api.operatorKey);
    expect(out.body.data).toMatchObject([
      { ip: null, subnet: '192.0.2.0/24', fingerprint: null, flags: ['opted_out'] },
    ]);
    // All that is known of the address is its network.
    const cut = await get(path('ip', '192.0.2.0'), api.operatorKey);
    expect(cut.body).toMatchObject({ key: 'subnet', value: '192.0.2.0/24', clicks: { total: 1 } });
    const orders = await get(path('ip', IP, '/orders?limit=1'), api.operatorKey);
    const next = await get(
      path('ip', IP, `/orders?limit=1&cursor=${orders.body.next_cursor}`),
      api.operatorKey,
    );
    const [first, second] = [orders, next].map(
      ({ body }) => (body.data as { order_id: string }[])[0]?.order_id,
    );
    expect([first, second]).toEqual([`order of ${foreign.programId}`, `order of ${mine.programId}`]);
    expect(next.body.next_cursor).toBe(null);
  });

  test('gives no one of one program anything of another', async () => {
    const others = [
      `aff_${foreign.affiliateId}"`,
      `lnk_${foreign.linkId}"`,
      `cmp_${foreign.campaignId}"`,
      `prg_${foreign.programId}"`,
      `of ${foreign.programId}`,
    ];
    const subjects: [string, string][] = [
      ['ip', IP],
      ['subnet', '198.51.100.0/24'],
      ['fingerprint', String(FINGERPRINT)],
      ['customer', `sha256:${emailHash(EMAIL)}`],
      ['affiliate', `aff_${mine.affiliateId}`],
      ['account', `aff_${mine.affiliateId}`],
      ['link', `lnk_${mine.linkId}`],
    ];
    for (const [key, value] of subjects) {
      for (const rest of ['', '/clicks', '/orders', '/timeline']) {
        const answer = await get(path(key, value, rest), mine.keys.fraud);
        expect([key, rest, answer.status]).toEqual([key, rest, 200]);
        expect([key, rest, others.filter((text) => answer.text.includes(text))]).toEqual([key, rest, []]);
      }
      const { body } = await get(path(key, value), mine.keys.fraud);
      const { clicks, orders } = body as { clicks: { total: number }; orders: { total: number } };
      const isParty = ['affiliate', 'account', 'link'].includes(key);
      // The credited order has no link, and the customer's has no click.
      const expected = [key === 'customer' ? 0 : isParty ? 3 : 2, key === 'link' ? 0 : 1];
      expect([key, clicks.total, orders.total]).toEqual([key, ...expected]);
      // No one of the program shares it.
      expect([key, (body.related as { key: string }[]).filter((one) => one.key === 'account')]).toEqual([
        key,
        [],
      ]);
    }
    const tsuccessors = await get(path('ip', '203.0.113.9'), mine.keys.fraud);
    expect(tsuccessors.body).toMatchObject({
      clicks: { total: 0, first_seen: null },
      orders: { total: 0 },
      related: [],
    });
    for (const [key, value] of [
      ['affiliate', `aff_${foreign.affiliateId}`],
      ['account', `aff_${foreign.affiliateId}`],
      ['link', `lnk_${foreign.linkId}`],
    ] as const) {
      expect((await get(path(key, value), mine.keys.fraud)).status).toBe(404);
    }
    const asked = await get(path('ip', IP, `?program_id=prg_${foreign.programId}`), mine.keys.fraud);
    expect(asked.status).toBe(403);
    const narrowed = await get(path('ip', IP, `?program_id=prg_${foreign.programId}`), api.operatorKey);
    expect(narrowed.body).toMatchObject({ clicks: { total: 3 }, orders: { total: 1 } });
  });

  test('is for the operator and the fraud team', async () => {
    for (const role of ['affiliate', 'advertiser', 'finance'] as const) {
      expect((await get(path('ip', IP), mine.keys[role])).status).toBe(403);
      expect((await get('/v1/velocity', mine.keys[role])).status).toBe(403);
    }
  });

  test.each([
    ['ip', 'nonsense'],
    ['subnet', '198.51.100.0/25'],
    ['ip', '::'],
    ['subnet', '::/64'],
    ['asn', 'AS0'],
    ['fingerprint', '-1'],
    ['affiliate', 'lnk_1'],
    ['customer', EMAIL],
    ['customer', 'x'.repeat(201)],
  ])('refuses %s %s by name', async (key, value) => {
    const answer = await get(path(key, value), api.operatorKey);
    expect([answer.status, answer.body.field]).toEqual([422, 'value']);
    expect(answer.text).not.toContain(EMAIL);
  });

  test('knows a customer by the shop’s id, however long, by the e-mail address and by an order', async () => {
    const long = '顧'.repeat(200);
    const mail = 'bob@shop';
    for (const [customerId, orderId] of [
      [long, 'AS1001'],
      [mail, '12345@shop'],
    ] as const) {
      await recordConversion(api.ledger, {
        programId: mine.programId,
        orderId,
        amountMinor: 100n,
        currency: 'EUR',
        source: 'api',
        customerId,
        customerEmailHash: emailHash(mail),
      });
    }
    while ((await mirrorBatch(api)) > 0);
    const ofLong = await get(path('customer', long), mine.keys.fraud);
    expect(ofLong.body).toMatchObject({ value: long, orders: { total: 1 } });
    const hash = `sha256:${emailHash(mail)}`;
    expect(ofLong.body.related).toContainEqual(expect.objectContaining({ key: 'customer', value: hash }));
    const both = await get(path('customer', hash), mine.keys.fraud);
    expect(both.body).toMatchObject({ orders: { total: 2 } });
    // An id that may be an address is in no URL: its order stands for it.
    const named = (both.body.related as { value: string }[]).find(({ value }) => value.startsWith('cnv_'));
    const ofMail = await get(path('customer', String(named?.value)), mine.keys.fraud);
    expect(ofMail.body).toMatchObject({ value: named?.value, orders: { total: 2 } });
    expect((await get(path('customer', String(named?.value)), foreign.keys.fraud)).status).toBe(404);
    const orders = await get(path('customer', String(named?.value), '/orders'), mine.keys.fraud);
    expect(orders.body.data).toMatchObject([
      { customers: [named?.value, hash] },
      { customers: [long, hash] },
    ]);
  });

  test('pages all orders of a customer', async () => {
    const marks = { programId: foreign.programId, customerId: 'regular' };
    for (let i = 0; i < 205; i++) {
      await recordConversion(api.ledger, {
        ...marks,
        orderId: `regular ${i}`,
        amountMinor: 100n,
        currency: 'EUR',
        source: 'api',
      });
    }
    while ((await mirrorBatch(api)) > 0);
    const { body } = await get(path('customer', 'regular'), api.operatorKey);
    expect(body.orders).toMatchObject({
      total: 205,
      is_partial: false,
      by_state: [{ orders: 205, amount: { amount: '205.00' } }],
    });
    let count = 0;
    for (let cursor = ''; ; ) {
      const page = await get(path('customer', 'regular', `/orders?limit=100${cursor}`), api.operatorKey);
      count += (page.body.data as unknown[]).length;
      if (page.body.next_cursor === null) break;
      cursor = `&cursor=${page.body.next_cursor}`;
    }
    expect(count).toBe(205);
  });

  test('leaves out where an affiliate was before these days', async () => {
    await api.ledger`
      insert into affiliate_sessions (program_id, affiliate_id, ip, fingerprint, seen_at) values
        (${mine.programId}, ${mine.affiliateId}, '198.18.0.9', 77, now() - interval '91 days'),
        (${mine.programId}, ${mine.affiliateId}, '198.18.0.10', 78, now() - interval '89 days')`;
    const { body } = await get(path('affiliate', `aff_${mine.affiliateId}`), api.operatorKey);
    const own = (body.related as { value: string; seen_in: string }[]).filter(
      ({ seen_in }) => seen_in === 'own_sessions',
    );
    expect(own.map(({ value }) => value)).toEqual(['198.18.0.10', '78']);
  });

  test('finds the clicks of an affiliate whose links went to the one it was merged into', async () => {
    const tenant = await api.tenant('merged');
    const { programId, affiliateId: old } = tenant;
    await api.warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [
        encodeClicks([
          clickRecord({
            node: 5,
            ts: NOW,
            program_id: programId,
            campaign_id: tenant.campaignId,
            affiliate_id: old,
            link_id: tenant.linkId,
            flags: 0,
          }),
        ]),
      ],
      settings: { async_insert: 0 },
    });
    const successor = await createAffiliate(api.ledger, {
      programId,
      refCode: 'successor',
      name: 'Successor',
      email: 'successor@example.com',
      status: 'active',
    });
    const merged = await api.call('POST', `/v1/affiliates/aff_${old}/merge`, {
      key: tenant.keys.operator,
      json: { into_affiliate_id: `aff_${successor.id}`, note: 'one person' },
    });
    expect(merged.status).toBe(200);
    const { body } = await get(path('affiliate', `aff_${old}`), api.operatorKey);
    expect(body).toMatchObject({ clicks: { total: 1 }, sampled_clicks: 1 });
  });

  test('counts 100 affiliates of an account, the one that is asked for among them, and says so', async () => {
    const shared = await api.tenant('shared');
    const added = await api.ledger<{ id: number }[]>`
      insert into affiliates (program_id, name, ref_code, email)
      select ${shared.programId}, 'holder ' || n, 'holder' || n, 'holder' || n || '@example.com' from generate_series(1, 101) n
      returning id`;
    const ids = added.map(({ id }) => id);
    await api.ledger`
      insert into payout_methods (affiliate_id, kind, details, hint, account_hash)
      select f.id, m.kind, m.details, m.hint, ${hashAccount('GB29 NWBK')} from payout_methods m, affiliates f
      where m.affiliate_id = ${shared.affiliateId} and f.id = any(${ids}::integer[])`;
    const last = await get(path('account', `aff_${ids.at(-1)}`), shared.keys.fraud);
    expect(last.body).toMatchObject({
      value: `aff_${ids.at(-1)}`,
      account: { affiliates: 100, is_partial: true },
    });
    const other = await get(path('account', `aff_${mine.affiliateId}`), api.operatorKey);
    expect(other.body.account).toEqual({ affiliates: 2, is_partial: false });
    expect((await get(path('ip', IP), api.operatorKey)).body.account).toBe(null);
  });

  test('says up to when orders are counted', async () => {
    const at = new Date(Date.now() - 60_000);
    const [change] = await api.ledger<{ id: bigint }[]>`
      insert into outbox (conversion_id, created_at)
      select min(id), ${at} from conversions returning id`;
    const answers = ['', '/orders', '/timeline'].map((rest) => path('ip', IP, rest));
    for (const asked of [...answers, '/v1/velocity', `/v1/velocity/ip/${IP}`]) {
      const { body } = await get(asked, api.operatorKey);
      expect([asked, body.orders_complete_to]).toEqual([asked, at.toISOString()]);
    }
    await api.ledger`delete from outbox where id = ${change?.id ?? 0n}`;
    const { body } = await get(path('ip', IP), api.operatorKey);
    expect(Date.parse(String(body.orders_complete_to))).toBeGreaterThan(at.getTime());
  });

  test('refuses a cursor and a zone that are none', async () => {
    for (const [rest, field] of [
      ['/clicks?cursor=x', 'cursor'],
      ['/orders?cursor=x', 'cursor'],
      ['/timeline?time_zone=Mars', 'time_zone'],
    ] as const) {
      const answer = await get(path('ip', IP, rest), api.operatorKey);
      expect([rest, answer.status, answer.body.field]).toEqual([rest, 422, field]);
    }
  });

  test('knows what a typed text names, within the caller’s program', async () => {
    const found = async (text: string, key = api.operatorKey) => {
      const { body } = await api.call('POST', '/v1/explorer/look-up', { key, json: { text } });
      return (body.data as { key: string; value: string }[]).map((one) => `${one.key} ${one.value}`);
    };
    expect(await found(IP)).toEqual([`ip ${IP}`, 'subnet 198.51.100.0/24']);
    expect(await found('198.51.100.0/24')).toEqual(['subnet 198.51.100.0/24']);
    expect(await found('192.0.2.0')).toEqual(['subnet 192.0.2.0/24']);
    expect(await found('2001:db8:1::')).toEqual(['subnet 2001:db8:1::/48']);
    expect(await found('2001:db8:1::/64')).toEqual(['subnet 2001:db8:1::/64']);
    expect(await found('::')).toEqual([]);
    expect(await found('as680')).toEqual(['asn AS680']);
    expect(await found(String(FINGERPRINT))).toEqual([`fingerprint ${FINGERPRINT}`]);
    expect(await found(` ${EMAIL} `)).toEqual([`customer sha256:${emailHash(EMAIL)}`]);
    expect(await found(mine.linkCode)).toEqual([`link lnk_${mine.linkId}`]);
    expect(await found('AS1001')).toEqual(
      expect.arrayContaining(['asn AS1001', `customer ${'顧'.repeat(200)}`]),
    );
    const ofOrder = await found('12345@shop');
    expect(ofOrder).toContain(`customer sha256:${emailHash('bob@shop')}`);
    expect(await found('bob@shop')).toContain(ofOrder.find((one) => one.startsWith('customer cnv_')));
    const ofPartner = await found('holder7@example.com');
    expect(ofPartner.map((one) => one.split(' ')[0])).toEqual(['customer', 'affiliate']);
    expect(await found(foreign.linkCode, mine.keys.fraud)).toEqual([]);
    expect(await found(`order of ${mine.programId}`)).toContain(`ip ${IP}`);
    expect(await found(`order of ${foreign.programId}`, mine.keys.fraud)).toEqual([]);
    const { body } = await get(path('ip', IP, '/clicks'), api.operatorKey);
    const clicks = body.data as { click_id: string; program_id: string; affiliate: string }[];
    const tsuccessors = clicks.find(({ program_id }) => program_id === `prg_${foreign.programId}`);
    expect(await found(String(tsuccessors?.click_id))).toContain(`affiliate aff_${foreign.affiliateId}`);
    expect(await found(String(tsuccessors?.click_id), mine.keys.fraud)).toEqual([]);
  });
});

describe('velocity', () => {
  test('finds who has few clicks and many orders, of every program or of one', async () => {
    const list = async (query: string, key: string) => (await get(`/v1/velocity?${query}`, key)).body.data;
    expect(await list('sort=orders&search=198.51.', api.operatorKey)).toMatchObject([
      { value: IP, clicks: 5, orders: 2 },
    ]);
    expect(await list('sort=orders&orders=0&search=198.51.', mine.keys.fraud)).toMatchObject([
      { value: IP, clicks: 2, orders: 1, campaigns: 1, ratio: 0.5 },
    ]);
    const affiliates = await list('key=affiliate', mine.keys.fraud);
    expect(affiliates).toMatchObject([
      { value: `aff_${mine.affiliateId}`, name: expect.any(String), clicks: 3 },
    ]);
    const nets = (await list('key=subnet&clicks=0', mine.keys.fraud)) as { value: string }[];
    expect(nets.map(({ value }) => value)).toEqual(['198.51.100.0/24', '192.0.2.0/24']);
    const query = '/v1/velocity?key=subnet&limit=1&clicks=0';
    const first = await get(query, mine.keys.fraud);
    const next = await get(`${query}&cursor=${first.body.next_cursor}`, mine.keys.fraud);
    expect(next.body).toMatchObject({ data: [{ value: '192.0.2.0/24', clicks: 1 }], next_cursor: null });
    const bad = await get('/v1/velocity?cursor=x', mine.keys.fraud);
    expect([bad.status, bad.body.field]).toEqual([422, 'cursor']);
    for (const at of [1e15, Number.MAX_SAFE_INTEGER, -1, Date.now() - 90_000_000]) {
      const cursor = Buffer.from(JSON.stringify([at, 1, '198.51.100.7'])).toString('base64url');
      const forged = await get(`/v1/velocity?cursor=${cursor}`, mine.keys.fraud);
      expect([at, forged.status, forged.body.field]).toEqual([at, 422, 'cursor']);
    }
  });

  test('of one address, in the caller’s program', async () => {
    const all = await get(`/v1/velocity/ip/${IP}`, api.operatorKey);
    expect(all.body).toMatchObject({
      clicks: { h24: 5 },
      conversions: { h24: 2 },
      campaigns: 2,
      user_agents: 2,
    });
    const own = await get(`/v1/velocity/ip/${IP}`, mine.keys.fraud);
    expect(own.body).toMatchObject({
      clicks: { h24: 2 },
      conversions: { h24: 1 },
      campaigns: 1,
      user_agents: 1,
    });
    const bad = await get('/v1/velocity/ip/nonsense', mine.keys.fraud);
    expect([bad.status, bad.body.field]).toEqual([422, 'value']);
  });
});
