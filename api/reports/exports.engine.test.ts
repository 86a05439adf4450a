import { parse } from 'csv-parse/sync';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { translateError } from '../http/translate-error.ts';
import { removeOldReports } from './report-jobs.ts';

const MONTH = 'from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z';
/** What a visitor may write into a link, and a spreadsheet would run. */
const FORMULAS = ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\n=2+2', "it's", 'plain'];

let api: TestApi;
let mine: Tenant;

beforeAll(async () => {
  api = await startTestApi(async (url) => url, { requestsPerMinute: 100, concurrentQueries: 2 });
  mine = await api.tenant('mine');
  const records = FORMULAS.map((sub1, seq) =>
    clickRecord({
      seq,
      sub1,
      program_id: mine.programId,
      campaign_id: mine.campaignId,
      affiliate_id: mine.affiliateId,
      link_id: mine.linkId,
    }),
  );
  await api.warehouse.insertBytes({
    sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
    data: [encodeClicks(records)],
    settings: {},
  });
});
afterAll(async () => {
  await api?.stop();
});

function report(query: string, headers: Record<string, string> = {}): Promise<Answer> {
  return api.call('GET', `/v1/reports?${MONTH}&${query}`, { key: mine.keys.operator, headers });
}

describe('a report', () => {
  test('is read page by page to its end', async () => {
    const seen: unknown[] = [];
    let cursor = '';
    do {
      const { body } = await report(`group_by=sub1&limit=3${cursor && `&cursor=${cursor}`}`);
      seen.push(...(body.rows as { sub1: string }[]).map(({ sub1 }) => sub1));
      cursor = String(body.next_cursor ?? '');
    } while (cursor !== '');
    expect(seen.toSorted()).toEqual(FORMULAS.toSorted());
    expect((await report('group_by=sub1&cursor=x')).body.field).toBe('cursor');
  });

  test('comes in the format that Accept asks for', async () => {
    const csv = await report('group_by=campaign', { accept: 'text/csv;q=0.9, application/json;q=0.1' });
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(csv.text).toMatch(/^"campaign_id","clicks"/);
    const parquet = await report('group_by=campaign', { accept: 'application/vnd.apache.parquet' });
    expect(parquet.text.slice(0, 4)).toBe('PAR1');
    for (const accept of [
      '*/*',
      'text/html',
      '',
      'text/csv;q=0.5, application/json;q=0.9',
      'text/csv;q=0, */*',
      'application/json, text/csv',
    ]) {
      expect((await report('', { accept })).headers.get('content-type')).toMatch(/^application\/json/);
    }
  });

  test('as CSV holds nothing that a spreadsheet would run; as JSON it holds what there is', async () => {
    const { text } = await report('group_by=sub1&format=csv');
    const cells = (parse(text, { from_line: 2 }) as string[][]).map(([cell]) => cell);
    expect(cells.sort()).toEqual(
      ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\n=2+2", "it's", 'plain'].sort(),
    );
    const { body } = await report('group_by=sub1');
    expect((body.rows as { sub1: string }[]).map(({ sub1 }) => sub1).sort()).toEqual([...FORMULAS].sort());
  });

  test.each(['csv', 'arrow', 'parquet'])('as %s file has as many rows as its job says', async (format) => {
    const path = `/v1/report-jobs?${MONTH}&group_by=sub1,campaign&format=${format}`;
    const { body } = await api.call('POST', path, { key: mine.keys.operator });
    const job = await waitFor(
      async () => {
        const found = await api.call('GET', `/v1/jobs/${body.id}`, { key: mine.keys.operator });
        return found.body.state === 'running' ? undefined : found.body;
      },
      { deadlineMs: 20_000, what: 'the report' },
    );
    // One of the texts is a line feed and more: rows are not lines.
    expect([job.state, job.rows_total, job.rows_done]).toEqual(['done', '8', '8']);
  });

  test('names what it counts as JSON does', async () => {
    const query = 'group_by=program,campaign,affiliate,link&metrics=clicks';
    const { body } = await report(query);
    const [header, row] = parse((await report(`${query}&format=csv`)).text) as string[][];
    expect(Object.fromEntries((header ?? []).map((name, i) => [name, row?.[i]]))).toEqual({
      ...(body.rows as object[])[0],
      clicks: '8',
    });
  });

  test('that is great is written to a file, and fetched by a link that cannot be made up', async () => {
    const path = `/v1/report-jobs?${MONTH}&group_by=sub1&format=csv`;
    const started = await api.call('POST', path, { key: mine.keys.affiliate });
    expect(started.status).toBe(202);
    const job = await waitFor(
      async () => {
        const { body } = await api.call('GET', `/v1/jobs/${started.body.id}`, { key: mine.keys.affiliate });
        return body.state === 'done' ? body : undefined;
      },
      { deadlineMs: 20_000, what: 'the report' },
    );
    const { download_url: url, bytes } = job.result as { download_url: string; bytes: number };
    const file = await api.call('GET', url);
    expect([file.status, file.text.length, file.text.split('\n').length]).toEqual([200, bytes, 11]);
    expect(file.headers.get('content-disposition')).toBe(`attachment; filename="${job.id}.csv"`);
    for (const wrong of [
      url.replace(/expires=\d+/, 'expires=99999999999'),
      url.replace(/signature=.{6}/, 'signature=AAAAAA'),
      url.replace(/job_\d+/, 'job_1000000'),
    ]) {
      expect([wrong, (await api.call('GET', wrong)).status]).toEqual([wrong, 404]);
    }
    const other = await api.call('GET', `/v1/jobs/${job.id}`, { key: mine.keys.advertiser });
    expect(other.status).toBe(404);
    const bad = await api.call('POST', `/v1/report-jobs?${MONTH}&group_by=nothing`, {
      key: mine.keys.operator,
    });
    expect([bad.status, bad.body.field]).toEqual([422, 'group_by']);
    await removeOldReports('/nowhere');
  });
});

test('a query over its limit of time or memory is reported as too costly', async () => {
  const numbers = 'SELECT uniqExact(number) FROM numbers(100000000000)';
  for (const limit of [{ max_execution_time: 1 }, { max_memory_usage: 20_000_000 }]) {
    const failed = await api.warehouse.query(numbers, {}, limit).then(
      () => undefined,
      (error: unknown) => translateError(error),
    );
    expect([limit, failed?.code]).toEqual([limit, 'too_costly']);
  }
});

test('what ClickHouse has no room for just now may be asked again', async () => {
  // As the server says it when too many ask (202), when it has no thread (439), and of a query of our own making (47).
  const codes: unknown[] = [];
  for (const number of [202, 439, 47]) {
    const failed = await api.warehouse
      .query(`SELECT throwIf(1, 'busy', toInt16(${number}))`, {}, { allow_custom_error_code_in_throwif: 1 })
      .then(
        () => undefined,
        (error: unknown) => translateError(error),
      );
    codes.push([failed?.code, failed?.headers['retry-after']]);
  }
  expect(codes).toEqual([
    ['unavailable', '2'],
    ['unavailable', '2'],
    ['internal', undefined],
  ]);
});

describe('a quota', () => {
  test('of reports at a time is kept, and free again when they end', async () => {
    // Exports keep running until their rows are read.
    const open = (signal: AbortSignal) =>
      fetch(`${api.url}/v1/reports?${MONTH}&format=csv`, {
        signal,
        headers: { authorization: `Bearer ${mine.keys.finance}` },
      });
    const answers = await Promise.all(Array.from({ length: 8 }, () => open(new AbortController().signal)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(2);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    const refused = answers.find(({ status }) => status === 429);
    expect([
      refused?.headers.get('retry-after'),
      ((await refused?.json()) as { code?: string })?.code,
    ]).toEqual(['1', 'rate_limited']);
    await Promise.all(answers.filter((answer) => !answer.bodyUsed).map((answer) => answer.text()));
    await waitFor(async () => (await open(new AbortController().signal)).status === 200, {
      deadlineMs: 5_000,
      what: 'a report to be allowed again',
    });
  });

  test('of requests is in the headers of each answer; beyond it, the refusal has the time to wait', async () => {
    const key = mine.keys.advertiser;
    const first = await api.call('GET', '/v1/me', { key });
    expect(first.headers.get('ratelimit-policy')).toBe('"requests";q=100;w=60');
    expect(first.headers.get('ratelimit')).toMatch(/^"requests";r=\d+;t=\d+$/);
    const answers = await Promise.all(Array.from({ length: 250 }, () => api.call('GET', '/v1/me', { key })));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body.code).toBe('rate_limited');
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    // An order is accepted anyway, and other keys are not affected.
    const json = { order_id: 'q', amount: '1', currency: 'EUR' };
    expect((await api.call('POST', '/v1/conversions', { key, json })).status).toBe(202);
    expect((await api.call('GET', '/v1/me', { key: mine.keys.fraud })).status).toBe(200);
    const affiliate = await api.call('GET', '/v1/me', { key: mine.keys.affiliate });
    expect(affiliate.headers.get('ratelimit-policy')).toBe('"requests";q=10;w=60');
  });
});
