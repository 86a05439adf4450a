import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClickFlag, type ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { MAX_NEW_BLOCKS, MAX_PATTERNS } from '../../ledger/blocks/blocks.ts';
import { updateProgram } from '../../ledger/programs/programs.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { clickRecord, encodeClicks } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../../warehouse/loader/inserter.ts';

let api: TestApi;
let mine: Tenant;
let foreign: Tenant;

const NOW = Date.now();
const clickFrom = (ip: string, given: Partial<ClickRecord>): ClickRecord =>
  clickRecord({ ts: NOW - 60_000, ip: parseIp(ip) ?? Buffer.alloc(16), flags: 0, ...given });

beforeAll(async () => {
  api = await startTestApi();
  mine = await api.tenant('mine');
  foreign = await api.tenant('foreign');
  const of = ({ programId, affiliateId, linkId }: Tenant) => ({
    program_id: programId,
    affiliate_id: affiliateId,
    link_id: linkId,
  });
  const clicks = [
    clickFrom('192.0.2.1', of(mine)),
    clickFrom('192.0.2.2', { ...of(mine), flags: ClickFlag.blocked }),
    clickFrom('192.0.2.3', { ...of(mine), flags: ClickFlag.blocked | ClickFlag.bot }),
    clickFrom('198.51.100.1', of(mine)),
    clickFrom('192.0.2.1', of(foreign)),
  ].map((click, seq) => ({ ...click, seq }));
  await api.warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
});
afterAll(async () => {
  await api?.stop();
});

const entry = (value: string, extra: object = {}) => ({
  kind: 'address',
  value,
  action: 'fallback',
  reason: 'a test',
  ...extra,
});
const create = (key: string, entries: object[], extra: object = {}) =>
  api.call('POST', '/v1/blocks', { key, json: { entries, ...extra } });
interface View {
  readonly id: string;
  readonly value: string;
  readonly program_id: string | null;
  readonly ends_at: string | null;
}
const rows = (answer: { body: Readonly<Record<string, unknown>> }) => answer.body.data as View[];
const valuesOf = async (key: string, query = '') =>
  rows(await api.call('GET', `/v1/blocks?${query}`, { key })).map(({ value }) => value);

describe('entries of the block lists', () => {
  it('are made together or not at all, and each fault names its entry', async () => {
    const key = mine.keys.fraud;
    const made = await create(key, [
      entry('::ffff:203.0.113.1'),
      entry('203.0.113.0/28', { kind: 'network' }),
    ]);
    expect([made.status, rows(made).map(({ value, program_id }) => [value, program_id])]).toEqual([
      201,
      [
        ['203.0.113.1', `prg_${mine.programId}`],
        ['203.0.113.0/28', `prg_${mine.programId}`],
      ],
    ]);
    const sub = { kind: 'sub_id', affiliate_id: `aff_${mine.affiliateId}`, sub: 2 };
    const [first] = rows(made);
    const faults: [object[], string, RegExp][] = [
      [[entry('203.0.113.9'), entry('0.0.0.0/0', { kind: 'network' })], 'entries.1.value', /wider than \/8/],
      [[entry('203.0.113.9'), entry('::ffff:203.0.113.9')], 'entries.1.value', /the same as of entries.0/],
      [[entry('203.0.113.1')], 'entries.0.value', new RegExp(`blocked already, by ${first?.id}`)],
      [[entry('z', { ...sub, sub: undefined })], 'entries.0.sub', /required/],
      [
        [entry('203.0.113.9', { affiliate_id: sub.affiliate_id })],
        'entries.0.affiliate_id',
        /belongs to a sub_id/,
      ],
      [
        [entry('z', { ...sub, affiliate_id: `aff_${foreign.affiliateId}` })],
        'entries.0.affiliate_id',
        /no such/,
      ],
      [[entry('203.0.113.9', { ends_at: '2020-01-01T00:00:00Z' })], 'entries.0.ends_at', /in the future/],
    ];
    for (const [entries, field, message] of faults) {
      const refused = await create(key, entries);
      expect([
        refused.status,
        refused.body.field ?? (refused.body.errors as { field: string }[])[0]?.field,
      ]).toEqual([422, field]);
      expect(refused.text).toMatch(message);
    }
    expect(await valuesOf(key)).toEqual(['203.0.113.0/28', '203.0.113.1']);
  });

  it('are as many in one request as the limit says', async () => {
    const { keys } = await api.tenant('large');
    const reason = 'x'.repeat(1_500);
    const entries = Array.from({ length: MAX_NEW_BLOCKS }, (_, n) =>
      entry(`10.0.${n >> 8}.${n & 255}`, { reason }),
    );
    expect((await create(keys.fraud, entries)).status).toBe(201);
  });

  it('are ended once, can then be made again, and are never changed', async () => {
    const key = mine.keys.operator;
    const [made] = rows(await create(key, [entry('203.0.113.20')]));
    const ended = await api.call('POST', `/v1/blocks/${made?.id}/end`, { key });
    expect(ended.status).toBe(200);
    expect(Math.abs(Date.parse(String(ended.body.ends_at)) - Date.now())).toBeLessThan(60_000);
    const again = await api.call('POST', `/v1/blocks/${made?.id}/end`, { key });
    expect([again.status, again.body.code]).toEqual([409, 'wrong_state']);
    expect((await create(key, [entry('203.0.113.20')])).status).toBe(201);
    expect(await valuesOf(key, 'search=113.20&state=ended')).toEqual(['203.0.113.20']);
    const id = Number(made?.id.slice(4));
    await expect(api.ledger`update blocks set value = 'x' where id = ${id}`).rejects.toThrow(
      /permission denied/,
    );
    await expect(api.ledger`delete from blocks where id = ${id}`).rejects.toThrow(/permission denied/);
    const log = await api.call('GET', `/v1/audit-log?subject=${made?.id}`, { key });
    expect((log.body.data as { action: string }[]).map(({ action }) => action)).toEqual([
      'block.end',
      'block.create',
    ]);
  });

  it('of a program are for its users, and those of every program for users of all programs', async () => {
    const everywhere = await create(api.operatorKey, [entry('203.0.113.30')], { program_id: null });
    expect(rows(everywhere)[0]?.program_id).toBeNull();
    expect((await create(api.operatorKey, [entry('203.0.113.31')])).status).toBe(422);
    expect((await create(mine.keys.fraud, [entry('203.0.113.31')], { program_id: null })).status).toBe(422);
    const other = `prg_${foreign.programId}`;
    expect((await create(mine.keys.fraud, [entry('203.0.113.31')], { program_id: other })).status).toBe(403);
    const id = rows(everywhere)[0]?.id;
    for (const key of [mine.keys.fraud, mine.keys.operator]) {
      expect((await api.call('GET', `/v1/blocks/${id}`, { key })).status).toBe(404);
      expect((await api.call('POST', `/v1/blocks/${id}/end`, { key })).status).toBe(404);
      expect(await valuesOf(key)).not.toContain('203.0.113.30');
    }
    const [own] = rows(await create(mine.keys.fraud, [entry('203.0.113.32')]));
    expect((await api.call('POST', `/v1/blocks/${own?.id}/end`, { key: foreign.keys.fraud })).status).toBe(
      404,
    );
    expect(await valuesOf(foreign.keys.fraud)).toEqual([]);
    expect(await valuesOf(api.operatorKey, 'scope=every_program')).toEqual(['203.0.113.30']);
    expect(await valuesOf(api.operatorKey, `program_id=${other}`)).toEqual(['203.0.113.30']);
    expect(await valuesOf(api.operatorKey, `program_id=${other}&scope=program`)).toEqual([]);
    for (const key of [mine.keys.affiliate, mine.keys.finance, mine.keys.advertiser])
      expect((await api.call('GET', '/v1/blocks', { key })).status).toBe(403);
  });

  it('are exported as CSV, and imported from it', async () => {
    const key = mine.keys.operator;
    const csv =
      'kind;value;action;reason;ends_at\nnetwork;2001:db8::/32;redirect;a list;\nasn;AS0;redirect;x;\n';
    const started = await api.call('POST', '/v1/imports?kind=blocks&dry_run=false', {
      key,
      raw: csv,
      headers: { 'content-type': 'text/csv' },
    });
    expect(started.status).toBe(202);
    await expect
      .poll(async () => (await api.call('GET', `/v1/jobs/${started.body.id}`, { key })).body.result)
      .toMatchObject({ taken: 1, refused: 1, refused_rows: [{ line: 3, field: 'value' }] });
    const exported = await api.call('GET', '/v1/blocks.csv?kind=network', { key });
    expect(exported.text).toMatch(/,"network","2001:db8::\/32",,,,"redirect","a list",/);
  });
});

describe('an import of entries', () => {
  const run = async (key: string, kind: string, csv: string) => {
    const started = await api.call('POST', `/v1/imports?kind=${kind}&dry_run=false`, {
      key,
      raw: csv,
      headers: { 'content-type': 'text/csv' },
    });
    if (started.status !== 202) return started;
    const job = async () => await api.call('GET', `/v1/jobs/${started.body.id}`, { key });
    await expect.poll(async () => (await job()).body.state, { timeout: 30_000 }).toBe('done');
    return await job();
  };

  it('is for the fraud team too, and each entry is in the audit log', async () => {
    const key = foreign.keys.fraud;
    const csv = 'kind,value,action,reason\nasn,AS64500,redirect,a list\n';
    expect((await run(key, 'blocks', csv)).body.result).toMatchObject({ taken: 1, refused: 0 });
    const [{ id }] = rows(await api.call('GET', '/v1/blocks?search=AS64500', { key })) as [View];
    const log = await api.call('GET', `/v1/audit-log?subject=${id}`, { key: foreign.keys.operator });
    expect(log.body.data).toMatchObject([{ action: 'block.create', after: { value: 'AS64500' } }]);
    const affiliates = 'ref_code,name,email\nx,X,x@x.test\n';
    expect((await run(key, 'affiliates', affiliates)).status).toBe(403);
  });

  it('refuses each row for which there is no room, by its line', async () => {
    const { keys } = await api.tenant('many');
    const lines = Array.from({ length: MAX_PATTERNS + 1 }, (_, n) => `user_agent,tool-${n},redirect,a list`);
    const csv = ['kind,value,action,reason', ...lines, 'asn,AS64501,redirect,a list'].join('\n');
    expect((await run(keys.operator, 'blocks', csv)).body.result).toMatchObject({
      taken: MAX_PATTERNS + 1,
      refused: 1,
      refused_rows: [
        { line: MAX_PATTERNS + 2, field: 'kind', message: expect.stringMatching(/at most 200/) },
      ],
    });
    const more = await create(keys.fraud, [entry('curl', { kind: 'user_agent' })]);
    expect([more.status, more.text]).toEqual([409, expect.stringContaining('at most 200')]);
  });
});

describe('what entries would have caught', () => {
  const preview = (key: string, value: string, extra: object = {}) =>
    api.call('POST', '/v1/blocks/preview', {
      key,
      json: { entries: [{ kind: 'network', value }], ...extra },
    });

  it('is of the program of the caller', async () => {
    expect((await preview(mine.keys.fraud, '192.0.2.0/24')).body).toMatchObject({
      is_partial: false,
      clicks: 3,
      valid_clicks: 1,
      all_clicks: 4,
      orders: 0,
      money: [],
      affiliates: [{ affiliate_id: `aff_${mine.affiliateId}`, clicks: 3, valid_clicks: 1 }],
    });
    expect((await preview(api.operatorKey, '192.0.2.0/24', { program_id: null })).body).toMatchObject({
      clicks: 4,
      all_clicks: 5,
    });
    const { programId } = mine;
    await updateProgram(api.ledger, { id: programId, changes: { anonymiseIp: true } });
    for (const [network, isShortened] of [
      ['192.0.2.0/24', false],
      ['192.0.2.0/25', true],
      ['2001:db8::/48', false],
      ['2001:db8::/49', true],
    ] as const)
      expect((await preview(mine.keys.fraud, network)).body.is_shortened).toBe(isShortened);
    expect((await preview(foreign.keys.fraud, '192.0.2.0/25')).body.is_shortened).toBe(false);
    await updateProgram(api.ledger, { id: programId, changes: { anonymiseIp: false } });
    const refused = await preview(mine.keys.fraud, '10.0.0.0/7');
    expect([refused.status, refused.text]).toEqual([422, expect.stringContaining('entries.0.value')]);
  });
});

describe('reports', () => {
  it('count blocked clicks under a flag group of their own, also for the affiliate', async () => {
    const from = new Date(NOW - 3_600_000).toISOString();
    const to = new Date(NOW + 3_600_000).toISOString();
    for (const key of [mine.keys.operator, mine.keys.affiliate]) {
      for (const group of ['flag_group', 'flag_group,os']) {
        const query = `from=${from}&to=${to}&group_by=${group}&metrics=clicks,valid_clicks`;
        const { body } = await api.call('GET', `/v1/reports?${query}`, { key });
        const counted = (body.rows as { flag_group: string; clicks: number; valid_clicks: number }[]).map(
          (row) => [row.flag_group, row.clicks, row.valid_clicks],
        );
        expect(counted.toSorted()).toEqual([
          ['blocked', 2, 0],
          ['ok', 2, 2],
        ]);
      }
    }
  });
});
