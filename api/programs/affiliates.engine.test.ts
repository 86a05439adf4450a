import { generateKeyPairSync, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';
import { signDailyCounts } from '../../warehouse/audit/signed-counts.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';

let api: TestApi;
let mine: Tenant;
let affiliate: string;

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  affiliate = `/v1/affiliates/aff_${mine.affiliateId}`;
});
afterAll(async () => {
  await api?.stop();
});

const as = (role: keyof Tenant['keys'], json?: unknown) => ({
  key: mine.keys[role],
  ...(json !== undefined && { json }),
});

describe('links', () => {
  const link = (code: string, more: object = {}) => ({
    campaign_id: `cmp_${mine.campaignId}`,
    landing_url: 'https://shop.example/?c={click_id}',
    code,
    ...more,
  });

  test('are made a thousand at once, or none and the field at fault', async () => {
    const links = Array.from({ length: 1_000 }, (_, i) => link(`bulk-${i}`));
    const made = await api.call('POST', '/v1/links/batch', as('affiliate', { links }));
    expect([made.status, (made.body.links as object[]).length]).toEqual([201, 1_000]);
    const faulty = [link('new-1'), link('bulk-7'), link('new-2')];
    const refused = await api.call('POST', '/v1/links/batch', as('affiliate', { links: faulty }));
    expect([refused.status, refused.body.field]).toEqual([422, 'links.1.code']);
    const free = await api.call('POST', '/v1/links/batch', as('affiliate', { links: [link('new-1')] }));
    expect(free.status).toBe(201);
    const macro = [link('new-3', { landing_url: 'https://shop.example/?c={nothing}' })];
    const bad = await api.call('POST', '/v1/links/batch', as('affiliate', { links: macro }));
    expect(bad.body.field).toBe('links.0.landing_url');
  });

  test('are made of templates, and shown as QR codes', async () => {
    const json = {
      campaign_id: `cmp_${mine.campaignId}`,
      name: 'Summer',
      landing_url: 'https://shop.example/s',
    };
    const template = await api.call('POST', '/v1/link-templates', as('operator', json));
    expect(template.status).toBe(201);
    expect((await api.call('POST', '/v1/link-templates', as('operator', json))).body.field).toBe('name');
    const listed = await api.call('GET', '/v1/link-templates', as('affiliate'));
    expect(listed.body.data).toEqual([template.body]);
    const qr = await api.call('GET', `/v1/links/lnk_${mine.linkId}/qr.svg`, as('affiliate'));
    expect([qr.status, qr.headers.get('content-type')]).toEqual([200, 'image/svg+xml']);
    expect(qr.text).toMatch(/^<svg/);
    expect((await api.call('DELETE', `/v1/link-templates/${template.body.id}`, as('operator'))).status).toBe(
      204,
    );
  });
});

describe('an affiliate', () => {
  test('is invited, sets a password, and is approved, suspended and terminated with a reason', async () => {
    const json = { ref_code: 'new', name: 'New', email: 'new@example.com' };
    const invited = await api.call('POST', '/v1/affiliates/invite', as('operator', json));
    expect(invited.status).toBe(201);
    const { affiliate: made } = invited.body as { affiliate: { id: string; status: string } };
    expect(made.status).toBe('pending');
    const token = /token=(\S+)/.exec((await api.mails()).at(-1)?.text ?? '')?.[1];
    const password = 'correct horse battery';
    const set = await api.call('POST', '/v1/password-resets/confirm', { json: { token, password } });
    expect(set.status).toBe(204);
    const signedIn = await api.call('POST', '/v1/session', { json: { email: json.email, password } });
    expect(signedIn.body.user).toMatchObject({ role: 'affiliate', affiliate_id: made.id });
    for (const [word, status] of [
      ['approve', 'active'],
      ['suspend', 'suspended'],
      ['terminate', 'terminated'],
    ]) {
      const moved = await api.call(
        'POST',
        `/v1/affiliates/${made.id}/${word}`,
        as('operator', { note: 'because' }),
      );
      expect(moved.body.status).toBe(status);
      expect((await api.mails()).at(-1)).toMatchObject({
        to: json.email,
        subject: expect.stringContaining(status ?? ''),
        text: expect.stringContaining('because'),
      });
    }
    const log = await api.call(
      'GET',
      `/v1/audit-log?subject=${made.id}&action=affiliate.suspend`,
      as('fraud'),
    );
    expect(log.body.data).toMatchObject([{ before: { status: 'active' }, after: { note: 'because' } }]);
  });

  test('takes the transitions of the database and no other: 409, without mail and audit entry', async () => {
    const verbs = { approve: 'active', suspend: 'suspended', terminate: 'terminated' } as const;
    const allowed: string[] = [];
    for (const status of ['pending', 'active', 'suspended', 'terminated']) {
      for (const [verb, to] of Object.entries(verbs)) {
        const json = {
          ref_code: `${status}-${verb}`,
          name: 'N',
          email: `${status}-${verb}@example.com`,
          status,
        };
        const { body } = await api.call('POST', '/v1/affiliates', as('operator', json));
        const path = `/v1/affiliates/${body.id}`;
        const mailsBefore = (await api.mails()).length;
        const moved = await api.call('POST', `${path}/${verb}`, as('operator', { note: 'n' }));
        const patched = await api.call('PATCH', path, as('operator', { status: to, name: 'M' }));
        const log = `/v1/audit-log?subject=${body.id}&action=affiliate.${verb}`;
        const entries = (await api.call('GET', log, as('fraud'))).body.data as object[];
        if (moved.status === 200) {
          allowed.push(`${verb} ${status}`);
          // It has that status now, and a PATCH that repeats it changes the rest.
          expect([patched.status, patched.body.name]).toEqual([200, 'M']);
          expect([entries.length, (await api.mails()).length - mailsBefore]).toEqual([1, 1]);
        } else {
          expect([moved.status, moved.body.code]).toEqual([409, 'wrong_state']);
          expect(patched.status).toBe(status === to ? 200 : 409);
          expect([entries.length, (await api.mails()).length - mailsBefore]).toEqual([0, 0]);
        }
      }
    }
    expect(allowed).toEqual([
      'approve pending',
      'suspend pending',
      'terminate pending',
      'suspend active',
      'terminate active',
      'approve suspended',
      'terminate suspended',
    ]);
  });

  test('keeps its profile and nothing else of itself', async () => {
    const changed = await api.call('PATCH', `${affiliate}/profile`, as('affiliate', { name: 'Ann' }));
    expect(changed.body.name).toBe('Ann');
    for (const json of [
      { status: 'active' },
      { parent_id: null },
      { program_id: 'prg_1' },
      { ref_code: 'x' },
    ]) {
      expect((await api.call('PATCH', `${affiliate}/profile`, as('affiliate', json))).status).toBe(422);
    }
  });

  test('has a payout method that is stored encrypted and shown as a hint, and hears of its change', async () => {
    const iban = 'de89 3704 0044 0532 0130 00';
    const put = await api.call(
      'PUT',
      `${affiliate}/payout-method`,
      as('affiliate', { kind: 'bank', holder: 'Ann', iban }),
    );
    expect(put.body).toMatchObject({ kind: 'bank', hint: 'DE … 3000' });
    expect((await api.mails()).at(-1)?.text).toContain('DE … 3000');
    const [row] = await api.ledger<{ details: Buffer }[]>`
      select details from payout_methods where affiliate_id = ${mine.affiliateId}`;
    expect(row?.details.toString('latin1')).not.toMatch(/3704|Ann/);
    expect(JSON.parse(api.secretBox.decrypt('payout method', row?.details ?? Buffer.alloc(0)))).toEqual({
      kind: 'bank',
      holder: 'Ann',
      iban: 'DE89370400440532013000',
    });
    for (const json of [
      { kind: 'bank', holder: 'Ann', iban: 'DE89370400440532013001' },
      { kind: 'paypal', email: 'x' },
      // A spreadsheet would run it, and with an apostrophe it would be another address.
      { kind: 'paypal', email: '-ann@example.com' },
      { kind: 'bank', holder: '=Ann', iban },
      { kind: 'stripe', account: 'x' },
      { kind: 'cash' },
    ]) {
      expect((await api.call('PUT', `${affiliate}/payout-method`, as('affiliate', json))).status).toBe(422);
    }
    const log = await api.call('GET', `/v1/audit-log?action=payout_method.set`, as('operator'));
    expect(log.text).not.toMatch(/37040044/);
  });

  test('can add its statement up: the opening, every line, the closing', async () => {
    const from = new Date(Date.now() - 60_000).toISOString();
    const conversion = await decideConversion(api.ledger, {
      tenant: mine,
      orderId: 'stated',
      affiliateId: mine.affiliateId,
      outcome: 'attributed',
    });
    await api.call('POST', `/v1/conversions/cnv_${conversion}/confirm`, as('operator'));
    // Its payout method was set a moment ago, and is on hold.
    await api.ledger`update programs set payout_method_hold_days = 0 where id = ${mine.programId}`;
    const json = { kind: 'bank', holder: 'Ann', iban: 'GB29 NWBK 6016 1331 9268 19' };
    await api.call('PUT', `${affiliate}/payout-method`, as('affiliate', json));
    const run = await api.runPayouts(mine.keys.finance);
    const [payout] = run.body.payouts as { id: string }[];
    await api.call('POST', `/v1/payouts/${payout?.id}/mark-paid`, as('finance'));
    const to = new Date(Date.now() + 60_000).toISOString();
    const path = `${affiliate}/statement?from=${from}&to=${to}`;
    const { body } = await api.call('GET', path, as('affiliate'));
    const lines = body.data as Record<string, { amount: string }>[];
    expect(lines.map(({ kind }) => kind)).toEqual(['earning', 'vesting', 'payout_build', 'payout_paid']);
    for (const place of ['pending', 'available', 'in_transit', 'paid', 'debt']) {
      const sum = lines.reduce((total, line) => total + Number(line[place]?.amount), 0);
      const { opening, closing } = body as Record<string, Record<string, { amount: string }>>;
      expect(Number(opening?.[place]?.amount) + sum).toBeCloseTo(Number(closing?.[place]?.amount));
    }
    expect(body.closing).toMatchObject({ paid: { amount: '10.00' }, pending: { amount: '0.00' } });
    const first = await api.call('GET', `${path}&limit=1`, as('affiliate'));
    const second = await api.call('GET', `${path}&limit=1&cursor=${first.body.next_cursor}`, as('affiliate'));
    expect([first.body.data, second.body.data]).toEqual([lines.slice(0, 1), lines.slice(1, 2)]);
    const items = await api.call('GET', `/v1/payouts/${payout?.id}/items`, as('affiliate'));
    expect(items.body.data).toMatchObject([{ kind: 'commission', amount: { amount: '10.00' } }]);
    await api.ledger`update conversions set evidence = null where id = ${conversion}`;
    const explained = await api.call('GET', `/v1/conversions/cnv_${conversion}/explanation`, as('fraud'));
    expect(explained.text).toContain('order stated of 100.00 EUR');
    const tree = await api.call('GET', `${affiliate}/tree`, as('finance'));
    expect(tree.body.data).toMatchObject([{ depth: 0, earned: { amount: '10.00' } }]);
  });

  test('can check the counts that are signed for it', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    await signDailyCounts(api.warehouse, { key: privateKey, now: Date.now() });
    await api.warehouse.insertRows('signed_counts', [
      {
        day: '2026-11-01',
        affiliate_id: mine.affiliateId,
        clicks: '7',
        valid_clicks: '5',
        signed_at: timeText(0),
        signature: 'x',
      },
    ]);
    const path = `${affiliate}/daily-counts?from=2026-11-01T00:00:00Z&to=2026-11-30T00:00:00Z`;
    const { body } = await api.call('GET', path, as('affiliate'));
    const [count] = body.data as { statement: string; signature: string }[];
    expect(count).toMatchObject({ clicks: '7', valid_clicks: '5' });
    expect(count?.statement).toBe(`afflux-daily-count 2026-11-01 ${mine.affiliateId} 7 5`);
    expect(verify(null, Buffer.from(count?.statement ?? ''), publicKey, Buffer.from('x', 'base64'))).toBe(
      false,
    );
  });
});

describe('an import', () => {
  async function run(kind: string, csv: string, dryRun: boolean) {
    const started = await api.call('POST', `/v1/imports?kind=${kind}&dry_run=${dryRun}`, {
      key: mine.keys.operator,
      raw: csv,
      headers: { 'content-type': 'text/csv' },
    });
    expect(started.status).toBe(202);
    return await waitFor(
      async () => {
        const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, as('operator'));
        return body.state === 'running' ? undefined : body;
      },
      { deadlineMs: 20_000, what: 'the import' },
    );
  }

  test('tells every refused row, and a dry run changes nothing', async () => {
    const csv =
      '\ufeffref_code,name,email,parent_ref_code\nimp-1,"Doe, Jane",j@example.com,\nimp-2,,x@example.com,\nimp-3,K,k@example.com,imp-1\nimp-1,L,l@example.com,\nimp-4,M,m@example.com,missing\n';
    const expected = {
      taken: 2,
      refused: 3,
      refused_rows: [
        { line: 3, field: 'name', message: 'is required' },
        { line: 5, field: 'ref_code', message: 'is taken by another affiliate of the program' },
        { line: 6, field: 'parent_ref_code', message: 'there is no such affiliate' },
      ],
      noticed_rows: [],
    };
    const count = async () =>
      (await api.ledger<{ n: bigint }[]>`select count(*) as n from affiliates where ref_code like 'imp-%'`)[0]
        ?.n;
    expect((await run('affiliates', csv, true)).result).toEqual({ ...expected, dry_run: true });
    expect(await count()).toBe(0n);
    expect((await run('affiliates', csv, false)).result).toEqual({ ...expected, dry_run: false });
    expect(await count()).toBe(2n);
  });

  test('takes links and past orders', async () => {
    const links = `affiliate_ref_code,campaign_id,landing_url,code\nfirst,cmp_${mine.campaignId},https://shop.example/a,imp-a\nfirst,cmp_${mine.campaignId},nonsense,imp-b\n`;
    expect((await run('links', links, false)).result).toMatchObject({ taken: 1, refused: 1 });
    const orders =
      'order_id,amount,currency,occurred_at\nold-1,12.30,EUR,2025-01-01T00:00:00Z\nold-1,12.30,EUR,2025-01-01T00:00:00Z\nold-2,x,EUR,\n';
    const job = await run('conversions', orders, false);
    expect(job).toMatchObject({ state: 'done', rows_done: '3', result: { taken: 1, refused: 2 } });
  });

  test('credits past orders to their links by the terms of their time', async () => {
    const rows = [
      `past-1,200.00,EUR,2025-01-01T00:00:00Z,${mine.linkCode},`,
      'past-2,1.00,EUR,2025-01-01T00:00:00Z,no-such-link,',
      `past-3,1.00,EUR,2025-01-01T00:00:00Z,${mine.linkCode},a-click-id`,
      'past-4,1.00,EUR,2025-01-01T00:00:00Z,,',
      `past-5,200.00,EUR,2025-01-01T00:00:00Z,${mine.linkCode},,true`,
      `past-6,200.00,EUR,2025-01-01T00:00:00Z,${mine.linkCode},,yes`,
      'past-7,200.00,EUR,2025-01-01T00:00:00Z,,,true',
    ].map((row) => (row.split(',').length === 7 ? row : `${row},`));
    const header = 'order_id,amount,currency,occurred_at,link_code,click_id,commission_paid';
    const csv = `${header}\n${rows.join('\n')}\n`;
    const { result } = (await run('conversions', csv, false)) as { result: Record<string, unknown> };
    expect(result).toMatchObject({
      taken: 3,
      refused_rows: [
        { line: 3, field: 'link_code', message: 'there is no such link' },
        { line: 4, field: 'link_code', message: 'stands instead of click_id' },
        { line: 7, field: 'commission_paid', message: 'must be true or false' },
        { line: 8, field: 'commission_paid', message: 'needs a link_code' },
      ],
    });
    const { body } = await api.call('GET', '/v1/conversions?order_id=past-1', as('operator'));
    const [conversion] = body.data as { id: string }[];
    expect(conversion).toMatchObject({
      state: 'attributed',
      source: 'import',
      affiliate_id: `aff_${mine.affiliateId}`,
      occurred_at: '2025-01-01T00:00:00.000Z',
    });
    const earned = await api.call('GET', `/v1/commissions?conversion_id=${conversion?.id}`, as('operator'));
    expect(earned.body.data).toMatchObject([{ level: 1, amount: { amount: '20.00' }, state: 'pending' }]);
    const why = await api.call('GET', `/v1/conversions/${conversion?.id}/explanation`, as('operator'));
    expect(why.text).toMatch(/imported as credited on link lnk_\d+, by key:\d+/);
    const paid = await api.call('GET', '/v1/conversions?order_id=past-5', as('operator'));
    expect(paid.body.data).toMatchObject([{ state: 'attributed', status: 'paid' }]);
    const [{ id: paidId }] = paid.body.data as [{ id: string }];
    const before = await api.call('GET', `/v1/commissions?conversion_id=${paidId}`, as('operator'));
    expect(before.body.data).toMatchObject([
      { level: 1, amount: { amount: '20.00' }, state: 'paid', paid_outside: true },
    ]);
    const plain = await api.call('GET', '/v1/conversions?order_id=past-4', as('operator'));
    expect(plain.body.data).toMatchObject([{ state: 'received' }]);
  });

  test.each([
    ['', 'body'],
    ['a,b\n"x', 'body'],
    ['a,b\n', 'body'],
    ['a,a\n1,2\n', 'body'],
  ])('refuses what is no CSV: %j', async (raw, field) => {
    const answer = await api.call('POST', '/v1/imports?kind=links', {
      key: mine.keys.operator,
      raw,
      headers: { 'content-type': 'text/csv' },
    });
    expect([answer.status, answer.body.field]).toEqual([422, field]);
  });
});
