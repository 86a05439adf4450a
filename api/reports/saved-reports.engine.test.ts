import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { failAbandonedJobs, finishJob } from '../../ledger/integrations/jobs.ts';
import { rangeAt, type Schedule, slotsOf } from '../../ledger/integrations/saved-reports.ts';
import { connectOwner, type Database } from '../../ledger/postgres/db.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { type SignedIn, signedIn } from '../../test/support/users.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../../warehouse/loader/inserter.ts';
import { fanOut } from '../webhooks/webhook-worker.ts';
import { type FileLimits, writeReport } from './report-jobs.ts';
import { beginDueRuns, makeReports } from './scheduled-reports.ts';

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

const NEVER = new AbortController().signal;

/** The schedulers' work at a time; figures are complete until then. */
async function run(
  now: Date,
  completeTo = now,
  more: { limits?: FileLimits; signal?: AbortSignal } = {},
): Promise<{ begun: number; ended: number; waiting: number }> {
  await api.warehouse.command('TRUNCATE TABLE watermarks');
  await api.warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(completeTo.getTime()) }]);
  const { ledger, warehouse, secretBox, log, reportsFolder: folder } = api;
  const { limits, signal = NEVER } = more;
  const options = {
    ledger,
    warehouse,
    secretBox,
    log,
    folder,
    portalUrl: 'https://portal.example',
    ...(limits && { limits }),
  };
  const begun = await beginDueRuns(options, now);
  return { begun, ...(await makeReports(options, { now, signal })) };
}

async function dueOf(report: Answer['body']): Promise<Date> {
  return new Date(Number(Date.parse(String(report.next_run_at))) + 60_000);
}

async function shown(by: SignedIn, { id }: Answer['body']) {
  return (await by.call('GET', `/v1/saved-reports/${id}`)).body as Record<string, unknown> & {
    last_run: Record<string, unknown> | null;
  };
}

const idOf = ({ id }: Answer['body']): number => Number(String(id).replace('rpt_', ''));
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
    expect(mails.map(({ subject }) => subject).toSorted()).toEqual(['Report stopped: Money', 'Report: Week']);
    const week = mails.find(({ subject }) => subject === 'Report: Week');
    const file = await api.call('GET', linkOf(week?.text ?? ''));
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

describe('a run', () => {
  test('of an outage longer than its patience is made up, and waits from its beginning', async () => {
    const now = new Date();
    // Due 20 hours ago.
    const schedule = { ...DAILY, hour: (now.getUTCHours() + 4) % 24 };
    const report = await save(operator, { schedule, mail: true, time_zone: 'UTC' });
    await owner`update saved_reports set next_run_at = ${new Date(now.getTime() - 72 * HOUR_MS)}`;
    const early = new Date(now.getTime() - 100 * HOUR_MS);
    expect(await run(now, early)).toEqual({ begun: 1, ended: 0, waiting: 1 });
    expect(await run(now)).toEqual({ begun: 0, ended: 1, waiting: 0 });
    expect((await shown(operator, report)).last_run).toMatchObject({ state: 'done' });
  });

  test('that was made for its time already holds up no other', async () => {
    const first = await save(operator, { schedule: DAILY });
    const second = await save(operator, { schedule: { ...DAILY, hour: 6 } });
    const due = await dueOf(first);
    await run(due);
    await owner`update saved_reports set next_run_at = ${String(first.next_run_at)} where id = ${idOf(first)}`;
    expect(await run(new Date(due.getTime() + 2 * HOUR_MS))).toEqual({ begun: 1, ended: 1, waiting: 0 });
    expect((await shown(operator, second)).last_run).toMatchObject({ state: 'done' });
  });

  test('that cannot begin holds up no other', async () => {
    const first = await save(operator, { schedule: DAILY });
    const second = await save(operator, { schedule: { ...DAILY, hour: 6 } });
    await owner`update saved_reports set time_zone = 'Mars/Olympus' where id = ${idOf(first)}`;
    const late = new Date((await dueOf(first)).getTime() + 2 * HOUR_MS);
    await expect(run(late)).rejects.toThrow(/Mars/);
    await owner`delete from saved_reports where id = ${idOf(first)}`;
    expect(await run(late)).toEqual({ begun: 0, ended: 1, waiting: 0 });
    expect((await shown(operator, second)).last_run).toMatchObject({ state: 'done' });
  });

  test('makes what the report was when it began', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const due = await dueOf(report);
    await run(due, new Date(due.getTime() - 24 * HOUR_MS));
    // A zone of the same hours: in another one the changed report could be due at `due` as well, and send a second mail.
    const query = { group_by: 'affiliate', metrics: 'clicks' };
    const json = { format: 'parquet', query, time_zone: 'Asia/Colombo' };
    await operator.call('PATCH', `/v1/saved-reports/${report.id}`, { json });
    expect(await run(due)).toMatchObject({ begun: 0, ended: 1 });
    const [mail] = await api.mails();
    const file = await api.call('GET', linkOf(mail?.text ?? ''));
    expect([file.headers.get('content-type'), file.text.split('\n')[0]]).toEqual([
      expect.stringMatching(/^text\/csv/),
      '"day","clicks"',
    ]);
  });

  test('that is due stays due when the report is changed in anything but its schedule', async () => {
    const report = await save(operator, { schedule: DAILY });
    await owner`update saved_reports set next_run_at = clock_timestamp() - interval '1 minute'`;
    const changed = await operator.call('PATCH', `/v1/saved-reports/${report.id}`, { json: { name: 'x' } });
    expect(Date.parse(String(changed.body.next_run_at))).toBeLessThan(Date.now());
    const json = { schedule: { ...DAILY, hour: 9 } };
    const moved = await operator.call('PATCH', `/v1/saved-reports/${report.id}`, { json });
    expect(Date.parse(String(moved.body.next_run_at))).toBeGreaterThan(Date.now());
  });

  test('is not abandoned while it waits, and its job ends with its report', async () => {
    const report = await save(operator, { schedule: DAILY });
    const due = await dueOf(report);
    await run(due, new Date(due.getTime() - 24 * HOUR_MS));
    await failAbandonedJobs(api.ledger, { before: new Date(Date.now() + HOUR_MS) });
    const { last_run: last } = await shown(operator, report);
    expect(last?.state).toBe('waiting');
    await operator.call('DELETE', `/v1/saved-reports/${report.id}`);
    expect((await operator.call('GET', `/v1/jobs/${last?.job_id}`)).body).toMatchObject({
      state: 'failed',
      failure: 'the saved report was deleted',
    });
  });

  test('whose job has failed meanwhile mails no link', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const due = await dueOf(report);
    await run(due, new Date(due.getTime() - 24 * HOUR_MS));
    await owner`update jobs set state = 'failed', failure = 'x', finished_at = clock_timestamp() where state = 'running'`;
    expect(await run(due)).toMatchObject({ ended: 1 });
    expect(await api.mails()).toEqual([]);
    const [job] = await owner<{ id: bigint }[]>`select max(id) as id from jobs`;
    expect(await finishJob(api.ledger, { id: job?.id ?? 0n, rowsDone: 1, result: {} })).toBe(false);
  });

  test('with figures of orders waits until these are mirrored, and says up to when they are', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true, query: { metrics: 'conversions' } });
    const due = await dueOf(report);
    const [waiting] = await owner<{ id: bigint }[]>`
      insert into outbox (conversion_id, created_at) values (1, ${new Date(due.getTime() - 72 * HOUR_MS)}) returning id`;
    expect(await run(due)).toMatchObject({ begun: 1, ended: 0, waiting: 1 });
    await owner`delete from outbox where id = ${waiting?.id ?? 0n}`;
    expect(await run(due)).toMatchObject({ ended: 1 });
    const { last_run: last } = await shown(operator, report);
    expect(last?.orders_complete_to).toEqual(expect.any(String));
    expect((await api.mails())[0]?.text).toMatch(/, and orders as of 2\d{3}-/);
  });

  test('ends where its party has no room, and waits where the disk has none', async () => {
    const report = await save(operator, { schedule: DAILY, mail: true });
    const due = await dueOf(report);
    const full = { partyBytes: 1e9, leastFreeBytes: Number.MAX_SAFE_INTEGER };
    expect(await run(due, due, { limits: full })).toMatchObject({ begun: 1, ended: 0, waiting: 1 });
    expect(await run(due, due, { limits: { partyBytes: 10, leastFreeBytes: 0 } })).toMatchObject({
      ended: 1,
    });
    expect((await shown(operator, report)).last_run).toMatchObject({
      state: 'failed',
      failure: expect.stringMatching(/^the files of the last 7 days would take more than /),
    });
  });

  test('ends with its process, and is made by the next', async () => {
    const report = await save(operator, { schedule: DAILY });
    const due = await dueOf(report);
    expect(await run(due, due, { signal: AbortSignal.abort() })).toEqual({ begun: 1, ended: 0, waiting: 0 });
    const { ledger, warehouse, secretBox, reportsFolder: folder } = api;
    const written = writeReport(
      { ledger, warehouse, secretBox, folder },
      {
        job: { id: 1n },
        principal: { role: 'operator', programId: tenant.programId, affiliateId: null } as never,
        report: { from: new Date(0), to: due, groupBy: ['day'], limit: 10, format: 'csv' },
        origin: '',
        signal: AbortSignal.abort(),
      },
    );
    await expect(written).rejects.toThrow(/abort/i);
    expect((await readdir(folder)).filter((name) => name.endsWith('.part'))).toEqual([]);
    expect(await run(due)).toEqual({ begun: 0, ended: 1, waiting: 0 });
  });

  test('comes by turns of the parties', async () => {
    for (let i = 0; i < 14; i++) await save(operator, { name: `r${i}`, schedule: DAILY });
    const other = await save(partner, { schedule: DAILY });
    await run(await dueOf(other));
    const finished = await owner<{ actor: string }[]>`
      select actor from jobs where id in (select job_id from report_runs) order by finished_at`;
    expect(finished.findIndex(({ actor }) => actor === `user:${partner.userId}`)).toBeLessThan(4);
  });
});

describe('an owner', () => {
  async function ownKey(more: object = {}): Promise<{ id: string; key: string }> {
    const json = { name: 'k', role: 'operator', program_id: `prg_${tenant.programId}`, ...more };
    const { body } = await api.call('POST', '/v1/api-keys', { key: api.operatorKey, json });
    return { id: (body.api_key as { id: string }).id, key: String(body.key) };
  }
  const make = async (key: string) =>
    await api.call('POST', '/v1/saved-reports', { key, json: { name: 'Week', ...WEEK, schedule: DAILY } });

  test('that is a key hands its reports on when it is rotated', async () => {
    const { id, key } = await ownKey();
    const { body: report } = await make(key);
    const json = { grace_seconds: 0 };
    const rotated = await api.call('POST', `/v1/api-keys/${id}/rotate`, { key: api.operatorKey, json });
    expect(await run(await dueOf(report))).toMatchObject({ ended: 1 });
    const now = await api.call('GET', `/v1/saved-reports/${report.id}`, { key: String(rotated.body.key) });
    expect(now.body).toMatchObject({ is_own: true, last_run: { state: 'done' }, stopped_reason: null });
  });

  test('that has ended takes no room, and an operator removes what it left', async () => {
    const { id, key } = await ownKey();
    const { body: report } = await make(key);
    await owner`
      insert into saved_reports (program_id, owner, party, name, shared, query, range, time_zone, format, mail)
      select program_id, owner, party, name, shared, query, range, time_zone, format, mail
      from saved_reports, generate_series(1, 99)`;
    expect((await make(tenant.keys.operator)).status).toBe(409);
    expect((await operator.call('GET', `/v1/saved-reports/${report.id}`)).status).toBe(404);
    await api.call('DELETE', `/v1/api-keys/${id}`, { key: api.operatorKey });
    expect((await make(tenant.keys.operator)).status).toBe(201);
    expect((await operator.call('GET', `/v1/saved-reports/${report.id}`)).body).toMatchObject({
      may_delete: true,
    });
    expect((await partner.call('DELETE', `/v1/saved-reports/${report.id}`)).status).toBe(404);
    expect((await operator.call('DELETE', `/v1/saved-reports/${report.id}`)).status).toBe(204);
  });

  test('behind a key that has ended gets a mail when its report stops', async () => {
    const user = await signedIn(api, { role: 'operator', programId: tenant.programId });
    const json = { name: 'mine', role: 'operator', program_id: `prg_${tenant.programId}` };
    const { body } = await user.call('POST', '/v1/api-keys', { json });
    const { body: report } = await make(String(body.key));
    await api.call('DELETE', `/v1/api-keys/${(body.api_key as { id: string }).id}`, { key: api.operatorKey });
    await run(await dueOf(report));
    expect((await api.mails()).map(({ subject }) => subject)).toEqual(['Report stopped: Week']);
  });
});

describe('a webhook of reports', () => {
  test('shows its link to those alone who may read reports', async () => {
    const endpoint = { url: 'http://127.0.0.1:9/hook', events: ['payout.created'] };
    const { body } = await api.call('POST', '/v1/webhooks', { key: tenant.keys.operator, json: endpoint });
    const hook = (body.webhook as { id: string }).id;
    const report = await save(operator, { schedule: DAILY, webhook_id: hook });
    await run(await dueOf(report));
    await fanOut(api);
    const json = {
      name: 'k',
      role: 'operator',
      program_id: `prg_${tenant.programId}`,
      scopes: ['webhooks:read'],
    };
    const narrow = await api.call('POST', '/v1/api-keys', { key: api.operatorKey, json });
    const read = async (key: string) => {
      const list = await api.call('GET', `/v1/webhooks/${hook}/deliveries`, { key });
      const [{ id } = { id: '' }] = list.body.data as { id: string }[];
      const one = await api.call('GET', `/v1/webhook-deliveries/${id}`, { key });
      return [list, one].map(({ text }) => text.includes('/download?'));
    };
    expect(await read(tenant.keys.operator)).toEqual([true, true]);
    expect(await read(String(narrow.body.key))).toEqual([false, false]);
  });

  test('gets no link where there is no file, and an event that cannot be written stops none of the others', async () => {
    const endpoint = { url: 'http://127.0.0.1:9/hook', events: ['affiliate.created'] };
    const { body } = await api.call('POST', '/v1/webhooks', { key: tenant.keys.operator, json: endpoint });
    const hook = Number((body.webhook as { id: string }).id.replace('whk_', ''));
    while ((await fanOut(api)) > 0);
    // Of a report without a result, of a job that is no report, and of an affiliate.
    const [failed, alien] = await owner<{ id: bigint }[]>`
      insert into jobs (kind, program_id, actor, request) values
        ('report', ${tenant.programId}, 'user:1', '{"saved_report": {"id": 1, "name": "x"}}'),
        ('import', ${tenant.programId}, 'user:1', '{}') returning id`;
    await owner`
      insert into webhook_events (type, program_id, affiliate_id, endpoint_id, subject) values
        ('report.ready', ${tenant.programId}, null, ${hook}, ${`job_${failed?.id}`}),
        ('report.ready', ${tenant.programId}, null, ${hook}, ${`job_${alien?.id}`}),
        ('affiliate.created', ${tenant.programId}, null, ${hook}, ${`aff_${tenant.affiliateId}`})`;
    await fanOut(api);
    expect(await fanOut(api)).toBe(0);
    const sent = await owner<{ type: string }[]>`
      select v.type from webhook_deliveries d join webhook_events v on v.id = d.event_id
      where d.endpoint_id = ${hook} order by v.id`;
    expect(sent.map(({ type }) => type)).toEqual(['report.ready', 'affiliate.created']);
    const postponed =
      await owner`select from webhook_events where postponed_until > clock_timestamp() and not fanned_out`;
    expect(postponed).toHaveLength(1);
  });
});

test('the range that a saved report has now is shown with it', async () => {
  const report = await save(operator, { range: 'yesterday', time_zone: 'UTC' });
  const { body } = await operator.call('GET', `/v1/saved-reports/${report.id}`);
  expect(Date.parse(String(body.to)) - Date.parse(String(body.from))).toBe(24 * HOUR_MS);
});

test.each([
  ['Atlantic/Azores', '2026-10-26T12:00:00Z', '2026-10-25T00:00:00Z', '2026-10-26T01:00:00Z'],
  ['America/Havana', '2026-11-02T12:00:00Z', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z'],
  ['Asia/Beirut', '2026-03-30T12:00:00Z', '2026-03-28T22:00:00Z', '2026-03-29T21:00:00Z'],
])('yesterday in %s is all of its day', async (timeZone, at, from, to) => {
  const range = await rangeAt(owner, { range: 'yesterday', timeZone, at: new Date(at) });
  expect(range).toEqual({ from: new Date(from), to: new Date(to) });
});
