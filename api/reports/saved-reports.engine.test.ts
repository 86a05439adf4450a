import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { rangeAt, type Schedule, slotsOf } from '../../ledger/integrations/saved-reports.ts';
import { connectOwner, type Database } from '../../ledger/postgres/db.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { type SignedIn, signedIn } from '../../test/support/users.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../../warehouse/loader/inserter.ts';
import { fanOut } from '../webhooks/webhook-worker.ts';
import { runScheduledReports } from './scheduled-reports.ts';

let api: TestApi;
let owner: Database;
let tenant: Tenant;
let operator: SignedIn;
let partner: SignedIn;

const WEEK = {
  query: { group_by: 'day', metrics: 'clicks' },
  range: 'last_7_days',
  time_zone: 'Asia/Kolkata',
};
const DAILY = { every: 'day', day: null, hour: 5 };

beforeAll(async () => {
  api = await startTestApi();
  owner = await connectOwner({ url: api.stores.books.url, name: 'test-owner' });
  tenant = await api.tenant('mine');
  const { programId, affiliateId, otherAffiliateId } = tenant;
  operator = await signedIn(api, { role: 'operator', programId });
  partner = await signedIn(api, { role: 'affiliate', programId, affiliateId });
  const clicks = Array.from({ length: 30 }, (_, seq) =>
    clickRecord({
      seq,
      ts: Date.now() - 24 * HOUR_MS,
      flags: 0,
      program_id: programId,
      campaign_id: tenant.campaignId,
      affiliate_id: seq < 10 ? affiliateId : otherAffiliateId,
    }),
  );
  await api.warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
});
afterAll(async () => {
  await owner?.end({ timeoutMs: 1_000 });
  await api?.stop();
});
beforeEach(async () => {
  await owner`delete from saved_reports`;
  await owner`delete from mails`;
});

async function save(by: SignedIn, body: object): Promise<Answer['body']> {
  const answer = await by.call('POST', '/v1/saved-reports', { json: { name: 'Week', ...WEEK, ...body } });
  expect([answer.status, answer.text]).toEqual([201, expect.anything()]);
  return answer.body;
}

/** The schedulers' work at a time; figures are complete until then. */
async function run(now: Date, completeTo = now): Promise<{ begun: number; ended: number; waiting: number }> {
  await api.warehouse.command('TRUNCATE TABLE watermarks');
  await api.warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(completeTo.getTime()) }]);
  const { ledger, warehouse, secretBox, reportsFolder: folder } = api;
  const log = api.app.log as never;
  return await runScheduledReports(
    { ledger, warehouse, secretBox, log, folder, portalUrl: 'https://portal.example' },
    now,
  );
}

async function dueOf(report: Answer['body']): Promise<Date> {
  return new Date(Number(Date.parse(String(report.next_run_at))) + 60_000);
}

async function shown(by: SignedIn, { id }: Answer['body']) {
  return (await by.call('GET', `/v1/saved-reports/${id}`)).body as Record<string, unknown> & {
    last_run: Record<string, unknown> | null;
  };
}

const linkOf = (text: string): string => /https:\/\/portal\.example(\S+)/.exec(text)?.[1] ?? '';

describe('times', () => {
  const at = async (timeZone: string, schedule: Schedule, now: string) => {
    const { last, next } = await slotsOf(api.ledger, { schedule, timeZone, now: new Date(now) });
    return [last.toISOString(), next.toISOString()];
  };
  test.each([
    // The clocks leave 02:00 out on 29 March, and show it twice on 25 October.
    [
      'Europe/Berlin',
      { every: 'day', onDay: null, atHour: 2 },
      '2026-03-29T00:30:00Z',
      '2026-03-28T01:00',
      '2026-03-29T01:00',
    ],
    [
      'Europe/Berlin',
      { every: 'day', onDay: null, atHour: 2 },
      '2026-03-29T01:30:00Z',
      '2026-03-29T01:00',
      '2026-03-30T00:00',
    ],
    [
      'Europe/Berlin',
      { every: 'day', onDay: null, atHour: 2 },
      '2026-10-25T00:30:00Z',
      '2026-10-24T00:00',
      '2026-10-25T01:00',
    ],
    [
      'Europe/Berlin',
      { every: 'day', onDay: null, atHour: 2 },
      '2026-10-25T01:30:00Z',
      '2026-10-25T01:00',
      '2026-10-26T01:00',
    ],
    [
      'Asia/Kathmandu',
      { every: 'day', onDay: null, atHour: 0 },
      '2026-06-01T18:15:00Z',
      '2026-06-01T18:15',
      '2026-06-02T18:15',
    ],
    [
      'Australia/Lord_Howe',
      { every: 'week', onDay: 1, atHour: 8 },
      '2026-10-04T00:00:00Z',
      '2026-09-27T21:30',
      '2026-10-04T21:00',
    ],
    [
      'UTC',
      { every: 'month', onDay: 31, atHour: 6 },
      '2026-02-10T00:00:00Z',
      '2026-01-31T06:00',
      '2026-02-28T06:00',
    ],
    [
      'UTC',
      { every: 'month', onDay: 1, atHour: 0 },
      '2027-01-01T00:00:00Z',
      '2027-01-01T00:00',
      '2027-02-01T00:00',
    ],
  ] as const)('in %s %j at %s', async (timeZone, schedule, now, last, next) => {
    expect(await at(timeZone, schedule, now)).toEqual([`${last}:00.000Z`, `${next}:00.000Z`]);
  });

  test.each([
    ['yesterday', 'America/St_Johns', '2026-11-02T12:00:00Z', '2026-11-01T02:30', '2026-11-02T03:30'],
    ['last_7_days', 'Asia/Kolkata', '2026-11-02T12:00:00Z', '2026-10-25T18:30', '2026-11-01T18:30'],
    ['last_week', 'UTC', '2026-11-29T12:00:00Z', '2026-11-16T00:00', '2026-11-23T00:00'],
    ['last_month', 'Europe/Berlin', '2026-11-01T12:00:00Z', '2026-09-30T22:00', '2026-10-31T23:00'],
  ] as const)('%s in %s', async (range, timeZone, now, from, to) => {
    const found = await rangeAt(api.ledger, { range, timeZone, at: new Date(now) });
    expect([found.from.toISOString(), found.to.toISOString()]).toEqual([`${from}:00.000Z`, `${to}:00.000Z`]);
  });
});

describe('a saved report', () => {
  test('is kept, changed with If-Match, listed and deleted by its owner', async () => {
    const created = await save(operator, { schedule: DAILY, mail: true });
    expect(created).toMatchObject({ is_own: true, query: WEEK.query, last_run: null, schedule: DAILY });
    const path = `/v1/saved-reports/${created.id}`;
    const { headers } = await operator.call('GET', path);
    const etag = headers.get('etag') ?? '';
    const renamed = await operator.call('PATCH', path, {
      json: { name: 'Days' },
      headers: { 'if-match': etag },
    });
    expect(renamed.body).toMatchObject({ name: 'Days', schedule: DAILY, next_run_at: created.next_run_at });
    const late = await operator.call('PATCH', path, { json: { name: 'x' }, headers: { 'if-match': etag } });
    expect(late.status).toBe(412);
    const { body } = await operator.call('GET', '/v1/saved-reports?search=day');
    expect((body.data as object[]).length).toBe(1);
    expect((await operator.call('DELETE', path)).status).toBe(204);
    expect((await operator.call('GET', path)).status).toBe(404);
  });

  test('is seen by its owner, and of the team where it is shared', async () => {
    const shared = await save(operator, { shared: true });
    const own = await save(operator, {});
    const finance = await signedIn(api, { role: 'finance', programId: tenant.programId });
    const foreign = await api.tenant(`foreign ${Date.now()}`);
    const abroad = await signedIn(api, { role: 'operator', programId: foreign.programId });
    const statuses = async (by: SignedIn) =>
      await Promise.all(
        [shared, own].map(async ({ id }) => (await by.call('GET', `/v1/saved-reports/${id}`)).status),
      );
    expect(await statuses(finance)).toEqual([200, 404]);
    for (const by of [partner, abroad]) expect(await statuses(by)).toEqual([404, 404]);
    const change = { json: { name: 'x' } };
    expect((await finance.call('PATCH', `/v1/saved-reports/${shared.id}`, change)).status).toBe(403);
    expect((await finance.call('DELETE', `/v1/saved-reports/${shared.id}`)).status).toBe(403);
  });

  test.each([
    ['query.metrics', { query: { metrics: 'nothing' } }],
    ['query.group_by', { query: { group_by: 'nothing' } }],
    ['query.from', { query: { from: '2026-01-01T00:00:00Z' } }],
    ['query.nothing', { query: { nothing: '1' } }],
    ['metrics', { query: { group_by: 'os', metrics: 'conversions' } }],
    ['time_zone', { time_zone: 'Mars/Olympus' }],
    ['range', { range: 'tomorrow' }],
    ['schedule.day', { schedule: { every: 'week', day: 8, hour: 1 } }],
    ['schedule.day', { schedule: { every: 'day', day: 1, hour: 1 } }],
    ['webhook_id', { webhook_id: 'whk_999' }],
  ])('with a wrong %s is refused', async (field, wrong) => {
    const json = { name: 'Week', ...WEEK, ...wrong };
    const answer = await operator.call('POST', '/v1/saved-reports', { json });
    expect([answer.status, answer.body.field]).toEqual([422, field]);
  });

  test('of a partner has its own figures alone, and is shared with no other party', async () => {
    const refused = async (more: object) =>
      (await partner.call('POST', '/v1/saved-reports', { json: { name: 'Week', ...WEEK, ...more } })).status;
    expect(await refused({ query: { metrics: 'commission' } })).toBe(422);
    expect(await refused({ query: { affiliate_id: `aff_${tenant.otherAffiliateId}` } })).toBe(403);
    expect(await refused({ shared: true })).toBe(422);
    const key = tenant.keys.affiliate;
    const json = { name: 'Week', ...WEEK, mail: true };
    expect((await api.call('POST', '/v1/saved-reports', { key, json })).body.field).toBe('mail');
  });
});

describe('a scheduled report', () => {
  test('waits until its figures are complete, and is sent once by several processes', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const due = await dueOf(report);
    expect(await run(new Date(due.getTime() - 2 * HOUR_MS))).toEqual({ begun: 0, ended: 0, waiting: 0 });
    const early = new Date(due.getTime() - 24 * HOUR_MS);
    expect(await run(due, early)).toEqual({ begun: 1, ended: 0, waiting: 1 });
    expect((await shown(operator, report)).last_run).toMatchObject({ state: 'waiting', complete_to: null });
    expect(await api.mails()).toEqual([]);
    const both = await Promise.all([run(due), run(due)]);
    expect(both.map(({ begun }) => begun)).toEqual([0, 0]);
    const mails = await api.mails();
    expect(mails.map(({ subject }) => subject)).toEqual(['Report: Week']);
    const file = await api.call('GET', linkOf(mails[0]?.text ?? ''));
    expect([
      file.status,
      file.text
        .split('\n')
        .slice(1, -1)
        .map((line) => line.split(',')[1]),
    ]).toEqual([200, ['30']]);
    const { last_run: last, next_run_at: next } = await shown(operator, report);
    expect(last).toMatchObject({ state: 'done', rows: '1', complete_to: expect.any(String) });
    expect(Date.parse(String(next)) - Date.parse(String(report.next_run_at))).toBe(24 * HOUR_MS);
    const job = await operator.call('GET', `/v1/jobs/${last?.job_id}`);
    expect(job.body).toMatchObject({ state: 'done', rows_total: '1', rows_done: '1' });
  });

  test('that was missed for days is made up once, for the last of them', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const late = new Date((await dueOf(report)).getTime() + 3 * 24 * HOUR_MS);
    expect(await run(late)).toEqual({ begun: 1, ended: 1, waiting: 0 });
    expect(await run(late)).toEqual({ begun: 0, ended: 0, waiting: 0 });
    const { last_run: last } = await shown(operator, report);
    expect(Date.parse(String(last?.due_at)) - Date.parse(String(report.next_run_at))).toBe(72 * HOUR_MS);
    expect(await api.mails()).toHaveLength(1);
  });

  test('whose figures are not complete within 12 hours fails, says so, and is made the next day', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const due = await dueOf(report);
    const early = new Date(due.getTime() - 48 * HOUR_MS);
    await run(due, early);
    expect(await run(new Date(due.getTime() + 12 * HOUR_MS), early)).toMatchObject({ ended: 1 });
    const { last_run: last, stopped_reason: stopped } = await shown(operator, report);
    expect([last?.state, stopped]).toEqual(['failed', null]);
    expect(String(last?.failure)).toMatch(/^the figures were not complete within 12 hours: they are up to /);
    expect((await api.mails()).map(({ subject }) => subject)).toEqual(['Report failed: Week']);
    expect(await run(new Date(due.getTime() + 24 * HOUR_MS))).toMatchObject({ begun: 1, ended: 1 });
  });

  test('goes to the webhook that its owner has chosen, and to no other', async () => {
    const hook = async (key: string): Promise<unknown> => {
      const json = { url: 'http://127.0.0.1:9/hook', events: ['payout.created'] };
      const { body } = await api.call('POST', '/v1/webhooks', { key, json });
      return (body.webhook as { id: string }).id;
    };
    const [mine, theirs] = [await hook(tenant.keys.operator), await hook(tenant.keys.affiliate)];
    const json = { name: 'Week', ...WEEK, webhook_id: theirs };
    expect((await operator.call('POST', '/v1/saved-reports', { json })).body.field).toBe('webhook_id');
    const report = await save(operator, { schedule: DAILY, webhook_id: mine });
    await run(await dueOf(report));
    await fanOut(api);
    const deliveries = await owner<{ endpoint: string; body: string }[]>`
      select 'whk_' || endpoint_id as endpoint, body from webhook_deliveries`;
    expect(deliveries.map(({ endpoint }) => endpoint)).toEqual([mine]);
    const { type, data } = JSON.parse(deliveries[0]?.body ?? '{}');
    expect([type, data]).toMatchObject([
      'report.ready',
      { saved_report_id: report.id, name: 'Week', rows: '1', format: 'csv', complete_to: expect.any(String) },
    ]);
    expect((await api.call('GET', linkOf(data.download_url))).status).toBe(200);
  });

  test('has the rights that its owner has then', async () => {
    const user = await signedIn(api, { role: 'operator', programId: tenant.programId });
    const plain = await save(user, { schedule: DAILY, mail: true });
    await save(user, { name: 'Money', schedule: DAILY, mail: true, query: { metrics: 'commission' } });
    const due = await dueOf(plain);
    await run(due);
    const [before] = await api.mails();
    expect((await api.call('GET', linkOf(before?.text ?? ''))).status).toBe(200);
    await owner`delete from mails`;
    await owner`update users set role = 'affiliate', affiliate_id = ${tenant.affiliateId} where id = ${user.userId}`;
    // What the operator has seen is not what the partner sees.
    expect((await api.call('GET', linkOf(before?.text ?? ''))).status).toBe(404);
    await run(new Date(due.getTime() + 24 * HOUR_MS));
    const mails = await api.mails();
    expect(mails.map(({ subject }) => subject)).toEqual(['Report: Week']);
    const file = await api.call('GET', linkOf(mails[0]?.text ?? ''));
    expect(
      file.text
        .split('\n')
        .slice(1, -1)
        .map((line) => line.split(',')[1]),
    ).toEqual(['10']);
    const { body } = await user.call('GET', '/v1/saved-reports?search=Money');
    expect((body.data as object[])[0]).toMatchObject({
      next_run_at: null,
      stopped_reason: expect.stringMatching(/^its owner may not see it any more: metrics: commission/),
      last_run: { state: 'failed' },
    });
  });

  test('of a user who is disabled stops, and goes on when its owner changes it', async () => {
    const user = await signedIn(api, { role: 'operator', programId: tenant.programId });
    const report = await save(user, { schedule: DAILY, mail: true });
    await owner`update users set status = 'disabled' where id = ${user.userId}`;
    const due = await dueOf(report);
    await run(due);
    const [row] = await owner<{ stopped: string; nextRunAt: Date | null }[]>`
      select stopped, next_run_at from saved_reports`;
    expect(row).toEqual({ stopped: 'its owner has no access any more', nextRunAt: null });
    expect(await api.mails()).toEqual([]);
    expect(await run(new Date(due.getTime() + 24 * HOUR_MS))).toMatchObject({ begun: 0 });
    await owner`update users set status = 'active' where id = ${user.userId}`;
    const changed = await user.call('PATCH', `/v1/saved-reports/${report.id}`, { json: { mail: false } });
    expect(changed.body).toMatchObject({ stopped_reason: null, next_run_at: report.next_run_at });
  });
});
