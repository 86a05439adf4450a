import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DAY_MS } from '../../core/time.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { decideConversion, startTestApi, type TestApi } from '../../test/support/api.ts';
import { nextRun } from './routes/upcoming-payouts.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => {
  await api?.stop();
});

const at = (text: string) => new Date(text);

test.each([
  ['2026-11-24T04:59:00Z', '2026-11-24T04:59:00Z', '2026-11-24T05:00:00Z'],
  ['2026-11-24T05:00:00Z', '2026-11-24T05:00:00Z', '2026-11-25T05:00:00Z'],
  ['2026-12-01T00:00:00Z', '2026-11-24T05:00:00Z', '2026-12-01T05:00:00Z'],
])('a payout not before %s is made in the run after %s that is at %s', (notBefore, now, run) => {
  expect(nextRun(at(notBefore), { now: at(now), payoutHour: 5 })).toEqual(at(run));
});

describe('an affiliate sees', () => {
  test('when its pending money becomes available, and how much a payout needs', async () => {
    const tenant = await api.tenant('upcoming');
    const { affiliateId, programId } = tenant;
    await setTerms(api.ledger, { programId, payoutMinMinor: 2_500n, payoutSchedule: 'daily' });
    const order = (orderId: string, outcome: 'attributed' | 'review') =>
      decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome });
    await order('in hold', 'attributed');
    await order('too', 'attributed');
    await order('reviewed', 'review');
    const confirmed = await order('confirmed', 'attributed');
    const { affiliate, operator } = tenant.keys;
    await api.call('POST', `/v1/conversions/cnv_${confirmed}/confirm`, { key: operator });
    const path = `/v1/affiliates/aff_${affiliateId}`;
    const { body } = await api.call('GET', `${path}/upcoming-payout`, { key: affiliate });
    const money = (amount: string) => ({ amount, currency: 'EUR' });
    expect(body).toMatchObject({
      schedule: 'daily',
      minimum: money('25.00'),
      payable: money('10.00'),
      becomes_available: [{ day: expect.stringMatching(/^\d{4}-\d\d-\d\d$/), amount: money('20.00') }],
      held: money('10.00'),
    });
    const inMs = Date.parse(String(body.next_run_at)) - Date.now();
    expect(inMs).toBeGreaterThan(0);
    expect(inMs).toBeLessThanOrEqual(DAY_MS);
    // The two kinds of pending money are all that there is.
    const balance = await api.call('GET', `${path}/balance`, { key: affiliate });
    expect(balance.body.pending).toEqual(money('30.00'));
    const other = `/v1/affiliates/aff_${tenant.otherAffiliateId}/upcoming-payout`;
    expect((await api.call('GET', other, { key: affiliate })).status).toBe(404);
  });

  test('under a weekly schedule the next week, once it was paid in this one', async () => {
    const tenant = await api.tenant('weekly');
    const { affiliateId, programId, keys } = tenant;
    await setTerms(api.ledger, { programId, payoutMinMinor: 0n, payoutSchedule: 'weekly' });
    const id = await decideConversion(api.ledger, {
      tenant,
      orderId: 'w',
      affiliateId,
      outcome: 'attributed',
    });
    await api.call('POST', `/v1/conversions/cnv_${id}/confirm`, { key: keys.operator });
    expect((await api.runPayouts(keys.finance)).status).toBe(200);
    const path = `/v1/affiliates/aff_${affiliateId}/upcoming-payout`;
    const { body } = await api.call('GET', path, { key: keys.affiliate });
    const next = new Date(String(body.next_run_at));
    expect([next.getUTCDay(), next.getUTCHours()]).toEqual([1, 5]);
    expect(next.getTime()).toBeGreaterThan(Date.now());
  });

  test('the order beside its commission, its payout and its sub ids, and none of the orders of recruits', async () => {
    const tenant = await api.tenant('beside');
    const { affiliateId, keys } = tenant;
    const subs = ['s1', '', '', '', 's5'];
    const options = { tenant, affiliateId, outcome: 'attributed', subs } as const;
    const id = await decideConversion(api.ledger, { ...options, orderId: 'shoes-7' });
    const list = async (path: string, key = keys.affiliate) =>
      (await api.call('GET', path, { key })).body.data as Record<string, unknown>[];
    expect(await list('/v1/conversions')).toMatchObject([
      { order_id: 'shoes-7', sub1: 's1', sub2: '', sub5: 's5', own_commission: { amount: '10.00' } },
    ]);
    expect((await list('/v1/conversions', keys.advertiser))[0]).toMatchObject({ own_commission: null });
    expect((await list('/v1/conversions', keys.advertiser))[0]).not.toHaveProperty('sub1');
    expect(await list('/v1/commissions')).toMatchObject([{ order_id: 'shoes-7' }]);
    await api.call('POST', `/v1/conversions/cnv_${id}/confirm`, { key: keys.operator });
    const { body } = await api.runPayouts(keys.finance);
    const [payout] = body.payouts as { id: string }[];
    expect(await list(`/v1/payouts/${payout?.id}/items`)).toMatchObject([
      { kind: 'commission', conversion_id: `cnv_${id}`, order_id: 'shoes-7' },
    ]);
    await api.ledger`update affiliates set parent_id = ${affiliateId} where id = ${tenant.otherAffiliateId}`;
    await setTerms(api.ledger, { programId: tenant.programId, levelRatesBps: [500] });
    await decideConversion(api.ledger, {
      ...options,
      orderId: 'of-recruit',
      affiliateId: tenant.otherAffiliateId,
    });
    expect((await list('/v1/commissions')).map(({ level, order_id }) => [level, order_id])).toEqual([
      [2, null],
      [1, 'shoes-7'],
    ]);
  });
});
