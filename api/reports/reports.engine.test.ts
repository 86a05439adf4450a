import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';

let api: TestApi;
let mine: Tenant;
let foreign: Tenant;

const DAY = 'from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z';

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  foreign = await api.tenant('foreign');
  // 12 clicks of the first affiliate, one of them a robot's; 5 of the other; 3 of another program.
  const clicks = (count: number, affiliateId: number, tenant: Tenant, firstSeq: number) =>
    Array.from({ length: count }, (_, i) =>
      clickRecord({
        seq: firstSeq + i,
        flags: firstSeq + i === 0 ? 1 : 0,
        program_id: tenant.programId,
        campaign_id: tenant.campaignId,
        affiliate_id: affiliateId,
        link_id: tenant.linkId,
      }),
    );
  const records = [
    ...clicks(12, mine.affiliateId, mine, 0),
    ...clicks(5, mine.otherAffiliateId, mine, 12),
    ...clicks(3, foreign.affiliateId, foreign, 17),
  ];
  await api.warehouse.insertBytes({
    sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
    data: [encodeClicks(records)],
    settings: {},
  });
});
afterAll(async () => {
  await api?.stop();
});

function report(query: string, key = mine.keys.operator): Promise<Answer> {
  return api.call('GET', `/v1/reports?${query}`, { key });
}

test('a report says up to when it is complete, and that nothing is known before the first load', async () => {
  expect((await report(DAY)).body.complete_to).toBeNull();
  await api.warehouse.insertRows('watermarks', [
    {
      shard: 0,
      complete_to: '2026-11-22 12:00:01.500',
      stream_seq: 1,
      updated_at: '2026-11-22 12:00:02.000',
    },
  ]);
  const { status, body } = await report(`${DAY}&group_by=day,campaign`);
  expect(status).toBe(200);
  expect(body).toEqual({
    from: '2026-11-22T00:00:00.000Z',
    to: '2026-11-23T00:00:00.000Z',
    complete_to: '2026-11-22T12:00:01.500Z',
    table: 'campaigns_daily',
    truncated: false,
    next_cursor: null,
    rows: [
      {
        day: '2026-11-22',
        campaign_id: `cmp_${mine.campaignId}`,
        clicks: 17,
        valid_clicks: 16,
        unique_ips: 16,
        unique_visitors: 16,
      },
    ],
  });
});

test('an affiliate sees its own clicks, an operator those of its program, the platform’s people all', async () => {
  const total = async (key: string) => {
    const { body } = await report(`${DAY}&group_by=affiliate`, key);
    return (body.rows as { affiliate_id: string; clicks: number }[]).map((row) => [
      row.affiliate_id,
      row.clicks,
    ]);
  };
  const own = [`aff_${mine.affiliateId}`, 12];
  const other = [`aff_${mine.otherAffiliateId}`, 5];
  expect(await total(mine.keys.affiliate)).toEqual([own]);
  expect(await total(mine.keys.operator)).toEqual([own, other]);
  expect(await total(api.operatorKey)).toEqual([own, other, [`aff_${foreign.affiliateId}`, 3]]);
  const elsewhere = await report(`${DAY}&campaign_id=cmp_${foreign.campaignId}&group_by=link`);
  expect(elsewhere.body.rows).toEqual([]);
});

test('an affiliate does not see what its parents earn by its orders', async () => {
  const about = (metric: string) => `${DAY}&metrics=clicks,${metric}`;
  for (const metric of ['commission_minor', 'epc_minor']) {
    const own = await report(about(metric), mine.keys.affiliate);
    expect([own.status, own.body.field]).toEqual([422, 'metrics']);
    const job = await api.call('POST', `/v1/report-jobs?${about(metric)}`, { key: mine.keys.affiliate });
    expect([job.status, job.body.field]).toEqual([422, 'metrics']);
    expect((await report(about(metric))).status).toBe(200);
  }
  expect((await report(about('revenue_minor'), mine.keys.affiliate)).status).toBe(200);
});

test('the range is half open, and a cut answer says so', async () => {
  const before = await report('from=2026-11-22T11:00:00Z&to=2026-11-22T12:00:00Z&group_by=hour');
  expect(before.body.rows).toEqual([]);
  const hour = await report('from=2026-11-22T13:00:00%2B01:00&to=2026-11-22T13:00:00Z&group_by=hour');
  expect(hour.body).toMatchObject({ truncated: false, rows: [{ hour: '2026-11-22T12:00:00Z', clicks: 17 }] });
  const cut = await report(`${DAY}&group_by=affiliate,device&limit=1`);
  expect(cut.body).toMatchObject({ truncated: true, rows: [{ affiliate_id: `aff_${mine.affiliateId}` }] });
});

test('filters, totals, comparison and other formats', async () => {
  const { body } = await report(
    `${DAY}&group_by=device,os&device=mobile&metrics=clicks&order_by=-clicks&totals=true&compare=true`,
  );
  expect(body).toMatchObject({
    table: 'clicks',
    rows: [{ device: 'mobile', os: 'Linux', clicks: 5 }],
    totals: { clicks: 5 },
    previous: { from: '2026-11-21T00:00:00.000Z', to: '2026-11-22T00:00:00.000Z', totals: { clicks: 0 } },
  });
  const csv = await report(`${DAY}&group_by=affiliate&metrics=clicks&format=csv`, mine.keys.affiliate);
  expect(csv.text).toBe(`"affiliate_id","clicks"\n"aff_${mine.affiliateId}",12\n`);
});

test.each([
  ['to=2026-11-23T00:00:00Z', 'from'],
  ['from=2026-11-22T00:00:00Z', 'to'],
  ['from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z', 'from'],
  ['from=2000-01-01T00:00:00Z&to=2026-11-22T00:00:00Z', 'to'],
  ['from=yesterday&to=2026-11-22T00:00:00Z', 'from'],
  [`${DAY}&group_by=day,customer`, 'group_by'],
  [`${DAY}&group_by=day;DROP TABLE clicks`, 'group_by'],
  [`${DAY}&metrics=clicks,1`, 'metrics'],
  [`${DAY}&time_zone=Mars`, 'time_zone'],
  [`${DAY}&order_by=link`, 'order_by'],
  [`${DAY}&group_by=os&metrics=conversions`, 'metrics'],
  [`${DAY}&limit=5001`, 'limit'],
  [`${DAY}&limit=0`, 'limit'],
  [`${DAY}&affiliate=aff_1`, 'affiliate'],
  [`${DAY}&campaign_id=1`, 'campaign_id'],
])('%s is refused', async (query, field) => {
  const answer = await report(query);
  expect([answer.status, answer.body.field]).toEqual([422, field]);
});
