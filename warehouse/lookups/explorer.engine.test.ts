import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { ClickFlag, type ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { clickRecord, countingRows, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { runReport } from '../reports/reports.ts';
import { clickTotals, newestClicks, orderIds, sampleClicks, timeline } from './explorer.ts';
import { parseSubnet, type Subject, select } from './subjects.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

/** In the middle of an hour of UTC, so that it is one in every zone. */
const NOW = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS / 4;
const now = new Date(NOW);
const bytes = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);
const OTHERS = 120_000;
const CAMPAIGN = 3;
const ASN = 64_500;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  await warehouse.command(`INSERT INTO asn_networks VALUES ('198.51.100.0/24', ${ASN})`);
  await warehouse.command('SYSTEM RELOAD DICTIONARY asn');
  // Of others: what a look-up must not read.
  await warehouse.command(
    `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
     SELECT fromUnixTimestamp64Milli(toInt64(${NOW} - number * 60000), 'UTC'), 9, toUInt32(number), 1 + number % 2, number % 50,
       100 + number % 70, 1000 + number % 90, toIPv6(concat('10.', toString(intDiv(number, 65536)), '.', toString(intDiv(number, 256) % 256), '.', toString(number % 256))), 1000 + number
     FROM numbers(${OTHERS})`,
  );
  const given: Partial<ClickRecord>[] = [
    ...[0, 1, 1, 2, 90, 3_000].map((minutes, i) => ({
      ts: NOW - minutes * MINUTE_MS,
      ip: bytes(`198.51.100.${7 + (i % 2)}`),
      fingerprint: 7n,
      campaign_id: CAMPAIGN,
      affiliate_id: 10,
      link_id: 20,
      flags: i === 0 ? ClickFlag.bot : 0,
    })),
    { ts: NOW, ip: bytes('198.51.100.7'), affiliate_id: 13, flags: ClickFlag.impression },
    { ts: NOW, ip: bytes('198.51.100.7'), program_id: 2, campaign_id: 9, affiliate_id: 11, link_id: 21 },
    {
      ts: NOW - 91 * DAY_MS,
      ip: bytes('198.51.100.7'),
      fingerprint: 7n,
      campaign_id: CAMPAIGN,
      affiliate_id: 10,
      link_id: 20,
    },
    { ts: NOW, ip: bytes('::'), fingerprint: 0n },
    { ts: NOW, ip: bytes('2001:db8:1:2::1'), fingerprint: 0n, affiliate_id: 12 },
    { ts: NOW, ip: bytes('2001:db8:1:2:ffff::1'), affiliate_id: 12 },
    { ts: NOW, ip: bytes('2001:db8:1:3::1'), affiliate_id: 12 },
  ];
  const clicks = given.map((one, seq) => clickRecord({ node: 3, seq, flags: 0, ...one }));
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
  const order = (id: number, minutes: number, more: object = {}) => ({
    conversion_id: id,
    version: 1,
    program_id: 1,
    affiliate_id: 10,
    link_id: 20,
    ip: '::ffff:198.51.100.7',
    fingerprint: 7,
    occurred_at: timeText(NOW - minutes * MINUTE_MS),
    ...more,
  });
  await warehouse.insertRows('conversions', [
    order(1, 0),
    order(2, 90),
    order(3, 1, { program_id: 2, affiliate_id: 11, link_id: 21 }),
    order(4, 91 * 1_440),
    order(5, 1, { ip: '::', fingerprint: 0, affiliate_id: 12, link_id: 0 }),
  ]);
});
afterAll(() => warehouse.drop());

const SUBJECTS = {
  ip: { kind: 'ip', ip: '198.51.100.7' },
  subnet: { kind: 'subnet', network: parseSubnet('198.51.100.0/24') },
  fingerprint: { kind: 'fingerprint', fingerprint: '7' },
  asn: { kind: 'asn', asn: ASN },
  affiliate: { kind: 'affiliates', affiliateIds: [10], campaignIds: [CAMPAIGN, 4] },
  link: { kind: 'link', linkId: 20, campaignId: CAMPAIGN },
  orders: {
    kind: 'orders',
    conversionIds: [1n, 2n],
    clicks: [
      { ts: NOW, node: 3, seq: 0 },
      { ts: NOW - MINUTE_MS, node: 3, seq: 2 },
    ],
  },
} as const satisfies Record<string, Subject>;

async function seqs(subject: Subject, programId?: number): Promise<number[]> {
  const clicks = await newestClicks(warehouse, { selection: select(subject, programId), now, limit: 100 });
  return clicks.map(({ seq }) => seq);
}

describe('the explorer', () => {
  it.each([
    ['ip', [7, 6, 0, 2, 4]],
    ['subnet', [7, 6, 0, 2, 1, 3, 4, 5]],
    ['fingerprint', [0, 2, 1, 3, 4, 5]],
    ['asn', [7, 6, 0, 2, 1, 3, 4, 5]],
    ['affiliate', [0, 2, 1, 3, 4, 5]],
    ['link', [0, 2, 1, 3, 4, 5]],
    ['orders', [0, 2]],
  ] as const)('finds the clicks of one %s in 90 days, the newest first', async (key, expected) => {
    expect(await seqs(SUBJECTS[key])).toEqual(expected);
  });

  it('counts them by flag group, and orders by key', async () => {
    const selection = select(SUBJECTS.ip, undefined);
    expect(await clickTotals(warehouse, { selection, now })).toEqual({
      byFlagGroup: { ok: 3, bot: 1, impression: 1 },
      firstSeen: new Date(NOW - 90 * MINUTE_MS),
      completeTo: undefined,
    });
    const ids = async (subject: Subject, programId?: number) =>
      await orderIds(warehouse, { selection: select(subject, programId), now, limit: 10 });
    expect(await ids(SUBJECTS.ip)).toEqual([3n, 2n, 1n]);
    expect(await ids(SUBJECTS.subnet)).toEqual([3n, 2n, 1n]);
    expect(await ids(SUBJECTS.fingerprint, 1)).toEqual([2n, 1n]);
    expect(await ids(SUBJECTS.link)).toEqual([2n, 1n]);
    expect(await ids(SUBJECTS.orders)).toEqual([2n, 1n]);
  });

  it('counts those of affiliates and links by hour, and of half-hour zones one by one', async () => {
    for (const subject of [SUBJECTS.affiliate, SUBJECTS.link]) {
      const selection = select(subject, 1);
      expect(await clickTotals(warehouse, { selection, now })).toMatchObject({
        byFlagGroup: { ok: 5, bot: 1 },
        firstSeen: new Date(Math.floor((NOW - 3_000 * MINUTE_MS) / HOUR_MS) * HOUR_MS),
      });
      for (const [timeZone, step, expected] of [
        ['UTC', 'hour', [1, 1, 4]],
        ['Asia/Kolkata', 'hour', [1, 1, 4]],
        ['UTC', 'minute', [1, 1, 2, 1]],
      ] as const) {
        const points = await timeline(warehouse, { selection, step, timeZone, now });
        expect(points.map(({ clicks }) => clicks).filter((clicks) => clicks > 0)).toEqual(expected);
      }
    }
  });

  it('counts the clicks of an autonomous system in the last day alone', async () => {
    const selection = select(SUBJECTS.asn, undefined);
    const { byFlagGroup, firstSeen } = await clickTotals(warehouse, { selection, now });
    expect(byFlagGroup).toEqual({ ok: 5, bot: 1, impression: 1 });
    expect(firstSeen).toEqual(new Date(NOW - 90 * MINUTE_MS));
    const hours = await timeline(warehouse, { selection, step: 'hour', timeZone: 'UTC', now });
    expect(hours).toHaveLength(25);
    expect(hours.reduce((sum, { clicks }) => sum + clicks, 0)).toBe(6);
  });

  it('sees nothing of another program', async () => {
    expect(await seqs(SUBJECTS.ip, 1)).toEqual([6, 0, 2, 4]);
    expect(await seqs(SUBJECTS.ip, 2)).toEqual([7]);
    expect(await seqs(SUBJECTS.fingerprint, 2)).toEqual([]);
    expect(await seqs(SUBJECTS.orders, 2)).toEqual([]);
    const selection = select(SUBJECTS.ip, 2);
    expect((await clickTotals(warehouse, { selection, now })).byFlagGroup).toEqual({ ok: 1 });
    expect(await orderIds(warehouse, { selection, now, limit: 10 })).toEqual([3n]);
    const points = await timeline(warehouse, { selection, step: 'minute', timeZone: 'UTC', now });
    expect(points.reduce((sum, { clicks, orders }) => sum + clicks + orders, 0)).toBe(2);
  });

  it('takes neither the erased for one person nor those who opted out', async () => {
    expect(await seqs({ kind: 'ip', ip: '::' })).toEqual([]);
    expect(await seqs({ kind: 'fingerprint', fingerprint: '0' })).toEqual([]);
    for (const unknown of ['::/64', '::/48', '::'])
      expect(() => parseSubnet(unknown)).toThrow('visitors have');
    const selection = select({ kind: 'ip', ip: '::' }, undefined);
    expect(await orderIds(warehouse, { selection, now, limit: 10 })).toEqual([]);
  });

  it('tells a /64 from its neighbour', async () => {
    expect(await seqs({ kind: 'subnet', network: parseSubnet('2001:db8:1:2::/64') })).toEqual([11, 10]);
  });

  it.each([
    ['subnet', [7, 6, 0, 2, 1, 3, 4, 5]],
    ['asn', [7, 6, 0, 2, 1, 3, 4, 5]],
    ['affiliate', [0, 2, 1, 3, 4, 5]],
    ['orders', [0, 2]],
  ] as const)('pages without a gap, also between clicks of one millisecond: %s', async (key, expected) => {
    const selection = select(SUBJECTS[key], undefined);
    const found: number[] = [];
    for (let before: ClickIdentity | undefined; ; ) {
      const page = await newestClicks(warehouse, { selection, now, limit: 1, before });
      before = page[0];
      if (!before) break;
      found.push(before.seq);
    }
    expect(found).toEqual(expected);
  });

  it.each(['ip', 'subnet', 'fingerprint', 'asn', 'affiliate', 'link', 'orders'] as const)(
    'reads far fewer rows than there are clicks for one %s',
    async (key) => {
      const { watched, readRows } = countingRows(warehouse);
      const selection = select(SUBJECTS[key], undefined);
      await newestClicks(watched, { selection, now, limit: 50 });
      await clickTotals(watched, { selection, now });
      await timeline(watched, { selection, step: 'minute', timeZone: 'UTC', now });
      expect(readRows()).toBeGreaterThan(5);
      // Of each month, of which there are up to four, a granule at least; without an index it would be three times OTHERS.
      expect(readRows()).toBeLessThan(0.6 * OTHERS);
    },
  );

  it('shows 90 days by hour and a day by minute, with what is zero', async () => {
    const selection = select(SUBJECTS.ip, 1);
    for (const [timeZone, offset] of [
      ['UTC', 0],
      ['Asia/Kolkata', HOUR_MS / 2],
    ] as const) {
      const hours = await timeline(warehouse, { selection, step: 'hour', timeZone, now });
      expect(hours.length).toBeGreaterThanOrEqual(90 * 24);
      expect(new Set(hours.map(({ at }) => at.getTime() % HOUR_MS))).toEqual(new Set([offset]));
      const steps = hours.slice(1).map(({ at }, i) => at.getTime() - (hours[i]?.at.getTime() ?? 0));
      expect(new Set(steps)).toEqual(new Set([HOUR_MS]));
      const busy = hours.filter(({ clicks, orders }) => clicks + orders > 0);
      expect(busy.map(({ clicks, orders }) => [clicks, orders])).toEqual([
        [1, 1],
        [2, 1],
      ]);
    }
    const minutes = await timeline(warehouse, { selection, step: 'minute', timeZone: 'UTC', now });
    expect(minutes).toHaveLength(1_441);
    expect(minutes.at(-1)).toEqual({ at: now, clicks: 1, orders: 1 });
  });

  it('knows a link’s clicks of each affiliate that it was of', async () => {
    const clicks = [15, 16].map((affiliate_id, seq) =>
      clickRecord({ node: 5, seq, ts: NOW, campaign_id: CAMPAIGN, affiliate_id, link_id: 30, flags: 0 }),
    );
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [encodeClicks(clicks)],
      settings: { async_insert: 0 },
    });
    const subject = { kind: 'link', linkId: 30, campaignId: CAMPAIGN } as const;
    expect(
      (await clickTotals(warehouse, { selection: select(subject, undefined), now })).byFlagGroup,
    ).toEqual({ ok: 2 });
    expect(await seqs(subject)).toEqual([1, 0]);
  });

  it('samples a busy key without reading its other clicks', async () => {
    const clicks = 100_000;
    await warehouse.command(
      `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
       SELECT fromUnixTimestamp64Milli(toInt64(${NOW} - number * 1000), 'UTC'), 11, toUInt32(number), 1, 77, 17, 70,
         toIPv6('::ffff:203.0.113.77'), 78 FROM numbers(${clicks})`,
    );
    for (const subject of [
      { kind: 'ip', ip: '203.0.113.77' },
      { kind: 'fingerprint', fingerprint: '78' },
    ] as const) {
      const { watched, readRows } = countingRows(warehouse);
      const wanted = { selection: select(subject, undefined), now, limit: 50 };
      const sampled = await sampleClicks(watched, wanted);
      expect(sampled.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, seq) => seq));
      expect(sampled[0]).toMatchObject({
        affiliateId: 17,
        linkId: 70,
        ip: '203.0.113.77',
        fingerprint: '78',
      });
      expect(readRows()).toBeGreaterThan(50);
      expect(readRows()).toBeLessThan(clicks / 2);
    }
  });

  it('reads an affiliate’s clicks in many campaigns without those of everybody else in them', async () => {
    const others = 200_000;
    const campaigns = 50;
    const ofOthers = `toUInt32(200 + number % ${campaigns}) AS campaign_id, toUInt32(30 + intDiv(number, ${campaigns}) % 50) AS affiliate_id`;
    const own = `toUInt32(200 + number * 7 % ${campaigns}) AS campaign_id, toUInt32(18) AS affiliate_id`;
    // Clicks of 80 days: everybody’s every 35 s, the affiliate's one a day.
    for (const [node, columns, count, stepMs] of [
      [12, ofOthers, others, 35_000],
      [13, own, 80, DAY_MS],
    ] as const) {
      await warehouse.command(
        `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
         SELECT fromUnixTimestamp64Milli(toInt64(${NOW} - 3600000 - number * ${stepMs}), 'UTC') AS ts, ${node}, toUInt32(number), 1, ${columns}, 1,
           toIPv6('::ffff:203.0.113.80'), 80 FROM numbers(${count})`,
        {},
        { max_partitions_per_insert_block: 0 },
      );
    }
    const campaignIds = Array.from({ length: campaigns }, (_, i) => 200 + i);
    const selection = select({ kind: 'affiliates', affiliateIds: [18], campaignIds }, undefined);
    const { watched, readRows } = countingRows(warehouse);
    const first = await sampleClicks(watched, { selection, now, limit: 20 });
    const second = await sampleClicks(watched, { selection, now, limit: 20, before: first.at(-1) });
    expect([...first, ...second].map(({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, seq) => seq));
    expect((await clickTotals(watched, { selection, now })).byFlagGroup).toEqual({ ok: 80 });
    const report = await runReport(watched, {
      from: new Date(NOW - 90 * DAY_MS),
      to: now,
      groupBy: ['link'],
      metrics: ['clicks', 'valid_clicks'],
      filters: [{ dimension: 'affiliate', values: [18] }],
      limit: 10,
    });
    expect(report).toMatchObject({
      table: 'clicks_hourly',
      rows: [{ link: 1, clicks: 80, valid_clicks: 80 }],
    });
    expect(readRows()).toBeGreaterThan(80);
    // Each of the four would read all of them once more.
    expect(readRows()).toBeLessThan(1.5 * others);
  });
});

// The last test of this file: it takes a view away.
it('shows clicks of the last hour that the rollup by the hour does not have yet', async () => {
  const put = async (node: number, newest: number, count: number) =>
    await warehouse.command(
      `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
       SELECT fromUnixTimestamp64Milli(toInt64(${newest} - number * 1000), 'UTC'), ${node}, toUInt32(number), 1, 900, 19, 1,
         toIPv6('::ffff:203.0.113.81'), 81 FROM numbers(${count})`,
    );
  await put(81, NOW - 3 * DAY_MS, 3);
  // As between the insert into the table and that of its views.
  await warehouse.command('DROP VIEW clicks_hourly_feed');
  await put(82, NOW - MINUTE_MS, 5);
  const selection = select({ kind: 'affiliates', affiliateIds: [19], campaignIds: [900] }, undefined);
  const found = await newestClicks(warehouse, { selection, now, limit: 20 });
  expect(found.map(({ node }) => node)).toEqual([82, 82, 82, 82, 82, 81, 81, 81]);
});
