import { afterAll, beforeAll, expect, test } from 'vitest';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../test/support/api.ts';

let api: TestApi;
let tenant: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('earnings');
});
afterAll(async () => {
  await api?.stop();
});

const DAY_MS = 86_400_000;
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
    days: [{ day: today, conversions: 2, earned: eur('13.00'), from_recruits: eur('3.00') }],
  });
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
