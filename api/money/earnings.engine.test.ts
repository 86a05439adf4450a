import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { DAY_MS } from '../../core/time.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { mirrorBatch } from '../../scheduler/mirror.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';

let api: TestApi;
let tenant: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('earnings');
});
afterAll(async () => {
  await api?.stop();
});

const eur = (amount: string) => ({ amount, currency: 'EUR' });

test('an affiliate sees what it earned by day, and how much through whom it recruited; a review earns nothing yet', async () => {
  const { affiliateId, otherAffiliateId, keys } = tenant;
  await api.ledger`update affiliates set parent_id = ${affiliateId} where id = ${otherAffiliateId}`;
  const decide = (affiliate: number, orderId: string, outcome: 'attributed' | 'review') =>
    decideConversion(api.ledger, { tenant, orderId, affiliateId: affiliate, outcome });
  await decide(affiliateId, 'own', 'attributed');
  await decide(otherAffiliateId, 'recruit', 'attributed');
  await decide(affiliateId, 'held', 'review');

  const range = `from=${new Date(Date.now() - DAY_MS).toISOString()}&to=${new Date(Date.now() + 60_000).toISOString()}`;
  const path = `/v1/affiliates/aff_${affiliateId}`;
  const { body } = await api.call('GET', `${path}/earnings?${range}&time_zone=Pacific/Kiritimati`, {
    key: keys.affiliate,
  });
  const today = new Intl.DateTimeFormat('en-CA', { timeZone: 'Pacific/Kiritimati' }).format(new Date());
  expect(body).toMatchObject({
    total: eur('13.00'),
    before: eur('0.00'),
    days: [{ day: today, conversions_attributed: 2, earned: eur('13.00'), from_recruits: eur('3.00') }],
  });
});

test('reports tell an affiliate what each of its links earned it: its own entries, and nothing of who is above or below', async () => {
  const { ledger, warehouse } = api;
  const tree = await api.tenant('tree');
  const { affiliateId: parent, otherAffiliateId: child, programId, campaignId } = tree;
  await ledger`update affiliates set parent_id = ${parent} where id = ${child}`;
  const decide = (affiliateId: number, orderId: string, outcome: 'attributed' | 'review' = 'attributed') =>
    decideConversion(ledger, { tenant: tree, orderId, affiliateId, outcome });
  await decide(parent, 'whole');
  await decide(parent, 'refunded');
  await decide(parent, 'held', 'review');
  await decide(child, 'of the recruit');
  const refund = { programId, orderId: 'refunded', refundRef: 'r', amountMinor: 2_500n, actor: 'test' };
  await inTransaction(ledger, (tx) => recordRefund(tx, refund));
  while ((await mirrorBatch({ ledger, warehouse })) > 0);

  const entries = await ledger<{ linkId: number; minor: number }[]>`
    select c.link_id, sum(e.amount_minor)::integer as minor
    from entries e join accounts a on a.id = e.account_id
      join commissions m on m.id = e.commission_id join conversions c on c.id = m.conversion_id
    where a.affiliate_id = ${parent} and c.affiliate_id = ${parent} and m.state <> 'held'
    group by 1 order by 1`;
  expect(entries.map(({ minor }) => minor)).toEqual([1_000, 750]);
  // Five valid clicks on the first of its links.
  const clicks = Array.from({ length: 5 }, (_, seq) =>
    clickRecord({
      seq,
      flags: 0,
      ts: Date.now() - 1_000,
      program_id: programId,
      campaign_id: campaignId,
      affiliate_id: parent,
      link_id: entries[0]?.linkId ?? 0,
    }),
  );
  await warehouse.insertBytes({
    sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
    data: [encodeClicks(clicks)],
    settings: {},
  });

  const range = `from=${new Date(Date.now() - DAY_MS).toISOString()}&to=${new Date(Date.now() + 60_000).toISOString()}`;
  const metrics = 'own_commission_minor,own_epc_minor';
  const { body } = await api.call('GET', `/v1/reports?${range}&group_by=link&metrics=${metrics}`, {
    key: tree.keys.affiliate,
  });
  const rows = body.rows as Record<string, string | number>[];
  expect(rows.filter((row) => row.own_commission_minor !== 0)).toEqual(
    entries.map(({ linkId, minor }, i) => ({
      link_id: `lnk_${linkId}`,
      own_commission_minor: minor,
      own_epc_minor: i === 0 ? minor / 5 : null,
    })),
  );
  const whole = await api.call(
    'GET',
    `/v1/reports?${range}&group_by=affiliate&metrics=commission_minor,${metrics}`,
    {
      key: tree.keys.operator,
    },
  );
  expect(whole.body.rows).toMatchObject([
    { affiliate_id: `aff_${parent}`, commission_minor: 1_750, own_commission_minor: 1_750 },
    { affiliate_id: `aff_${child}`, commission_minor: 1_300, own_commission_minor: 1_000 },
  ]);
  const earnings = await api.call('GET', `/v1/affiliates/aff_${parent}/earnings?${range}`, {
    key: tree.keys.affiliate,
  });
  expect(earnings.body).toMatchObject({ total: eur('20.50'), days: [{ from_recruits: eur('3.00') }] });
});

test('another affiliate’s earnings do not exist for it; bad ranges and zones are named', async () => {
  const { affiliateId, otherAffiliateId, keys } = tenant;
  const ask = (id: number, query: string) =>
    api.call('GET', `/v1/affiliates/aff_${id}/earnings?${query}`, { key: keys.affiliate });
  const good = 'from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z';
  const foreign = await ask(otherAffiliateId, good);
  expect(foreign.status).toBe(404);
  const fields: unknown[] = [];
  for (const query of [
    `${good}&time_zone=Mars/Base`,
    'from=2026-02-01T00:00:00Z&to=2026-02-01T00:00:00Z',
    'from=2024-01-01T00:00:00Z&to=2026-02-01T00:00:00Z',
  ]) {
    const { status, body } = await ask(affiliateId, query);
    fields.push([status, body.field]);
  }
  expect(fields).toEqual([
    [422, 'time_zone'],
    [422, 'from'],
    [422, 'to'],
  ]);
});
