import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readingDatabase } from '../../core/config/servers.ts';
import { HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { CLUSTER, openTwoShards, type TwoShards } from '../../test/support/servers/two-shards.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { ANALYST_READS } from '../analysts/reads.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { dictionaryStatements, migrateWarehouse } from '../clickhouse/migrate.ts';
import { previewBlocks } from '../lookups/block-preview.ts';
import { readCampaignTraffic } from '../lookups/campaign-traffic.ts';
import { readClickContexts } from '../lookups/click-context.ts';
import { clickTotals, newestClicks, orderIds, timeline } from '../lookups/explorer.ts';
import { fingerprintCandidates, lookupClicks } from '../lookups/lookups.ts';
import { networkAround, type Subject, select } from '../lookups/subjects.ts';
import { affiliatesSharingAddresses, timeToConvert, velocityOf } from '../lookups/velocity.ts';
import { listVelocity } from '../lookups/velocity-list.ts';
import { REPORT_METRICS } from '../reports/report-tables.ts';
import { type ReportOptions, reportTotals, runReport } from '../reports/reports.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { readingStatements, type StoredTable } from './statements.ts';

/** Clicks of the last hours: what "now" is, is no matter of what is compared. */
const NOW = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
const CLICKS = 2_000;
const STEP_MS = 20_000;

let shards: TwoShards;
let one: Warehouse;
let all: Warehouse;

beforeAll(async () => {
  shards = openTwoShards();
  ({ one, all } = shards);
  await migrateWarehouse({ warehouse: one, log: quietLog });
  const { rows: tables } = await one.query<StoredTable>(
    `SELECT name, engine, as_select AS select FROM system.tables
     WHERE database = currentDatabase() AND name != 'migrations' ORDER BY engine = 'View', name`,
  );
  const reading = readingDatabase(one.database, CLUSTER);
  for (const sql of [
    ...readingStatements({ database: one.database, reading, cluster: CLUSTER, tables }),
    ...dictionaryStatements(one, reading),
  ]) {
    await one.command(sql);
  }
  await fill();
}, 60_000);
afterAll(() => shards.close());

async function fill(): Promise<void> {
  await one.command(
    `INSERT INTO asn_networks VALUES ('::ffff:203.0.113.0/120', 680), ('::ffff:198.51.100.0/120', 3320)`,
  );
  await one.command(`INSERT INTO asn_owners VALUES (680, 'DFN'), (3320, 'DTAG')`);
  await one.command(
    `INSERT INTO geo_networks VALUES ('::ffff:203.0.113.0/120', 'DE'), ('::ffff:198.51.100.0/120', 'FR')`,
  );
  await one.command(
    `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, flags, fingerprint, user_agent,
       device, os, browser, language, referrer, sub1, sub2, utm_source)
     SELECT fromUnixTimestamp64Milli(toInt64(${NOW} - number * ${STEP_MS}), 'UTC'), number % 3, intDiv(number, 3), 1 + number % 2,
       1 + number % 10, 10 + intDiv(number, 3) % 4, 100 + number % 20,
       toIPv6(concat(['203.0.113.', '198.51.100.'][1 + number % 2], toString(number % 40))),
       [0, 0, 0, 8, 1, 2, 256, 16, 2048, 8192][1 + intDiv(number, 7) % 10], 1000 + number % 60, concat('Agent ', toString(number % 5)),
       ['desktop', 'mobile', 'bot'][1 + number % 3], 'Linux', 'Firefox', 'en', concat('https://site', toString(number % 4), '.test/'),
       toString(number % 6), toString(number % 3), 'news'
     FROM numbers(${CLICKS})`,
  );
  const orders = Array.from({ length: 60 }, (_, i) => ({
    conversion_id: i + 1,
    version: 1 + (i % 2),
    program_id: 1 + (i % 2),
    campaign_id: 1 + (i % 10),
    affiliate_id: 10 + (i % 4),
    link_id: 100 + (i % 20),
    state: ['attributed', 'rejected', 'review'][i % 3],
    event_name: 'sale',
    coupon: i % 5 === 0 ? 'SAVE' : '',
    currency: 'EUR',
    amount_minor: '1000',
    refunded_minor: '0',
    commission_minor: '80',
    own_commission_minor: '70',
    occurred_at: timeText(NOW - i * 3 * MINUTE_MS),
    received_at: timeText(NOW - i * 3 * MINUTE_MS),
    click_ts: timeText(NOW - i * STEP_MS),
    ip: `::ffff:203.0.113.${(i * 2) % 40}`,
    fingerprint: String(1_000 + (i % 60)),
    sub1: String(i % 6),
  }));
  await one.insertRows('conversions', [
    ...orders,
    ...orders.map((row) => ({ ...row, version: 5, state: 'attributed' })),
  ]);
  await one.insertRows(
    'names',
    Array.from({ length: 10 }, (_, i) => ({
      kind: 'campaign',
      id: i + 1,
      program_id: 1 + (i % 2),
      name: `C${i}`,
      version: '1',
    })),
  );
  await one.insertRows(
    'watermarks',
    [NOW - 1_000, NOW - 2_000].map((ms, shard) => ({ shard, complete_to: timeText(ms) })),
  );
}

/** The answer over both shards is that of the one server, and holds something. */
async function expectSame<T>(ask: (warehouse: Warehouse) => Promise<T>): Promise<T> {
  const [whole, sharded] = [await ask(one), await ask(all)];
  expect(sharded).toEqual(whole);
  return whole;
}

const range = { from: new Date(NOW - 24 * HOUR_MS), to: new Date(NOW + HOUR_MS), limit: 5_000 };

describe('two shards', () => {
  it('each have a part of the clicks', async () => {
    const parts = async (table: string) => {
      const { rows } = await all.query<{ n: string }>(
        `SELECT count() AS n FROM ${table} GROUP BY shardNum() ORDER BY shardNum()`,
      );
      return rows.map(({ n }) => Number(n));
    };
    const clicks = await parts('clicks');
    expect(clicks).toHaveLength(2);
    expect(Math.min(...clicks)).toBeGreaterThan(0);
    expect(clicks.reduce((a, b) => a + b)).toBe(CLICKS);
    expect(await parts('velocity_ip')).toHaveLength(2);
    // Every server has these whole: they are not counted once for each shard.
    expect(await parts('names')).toEqual([10]);
  });

  it('of which one is read for the figures of one campaign', async () => {
    const lines = async (where: string) => {
      const { rows } = await all.query<{ explain: string }>(
        `EXPLAIN SELECT count() FROM clicks_hourly ${where}`,
      );
      return rows.filter(({ explain }) => explain.includes('ReadFromMergeTree')).length;
    };
    expect(await lines('')).toBe(2);
    expect(await lines('WHERE campaign_id = 3')).toBe(1);
    expect(await lines('WHERE campaign_id IN (3)')).toBe(1);
  });
});

describe('reports', () => {
  const asked: [string, Partial<ReportOptions> & Pick<ReportOptions, 'groupBy'>][] = [
    ['time', { groupBy: ['hour', 'flag_group'] }],
    ['month', { groupBy: ['month', 'program'] }],
    ['place', { groupBy: ['country', 'network', 'device'] }],
    ['browser', { groupBy: ['os', 'browser', 'language', 'referrer_domain'] }],
    ['text', { groupBy: ['sub1', 'sub2', 'utm_source'] }],
    ['coupon', { groupBy: ['coupon'], metrics: ['conversions'] }],
    ['campaign, affiliate', { groupBy: ['campaign', 'affiliate'] }],
    ['day in Berlin', { groupBy: ['day'], timeZone: 'Europe/Berlin' }],
    ['hour in Kolkata', { groupBy: ['hour'], timeZone: 'Asia/Kolkata' }],
    ['one campaign', { groupBy: ['affiliate'], filters: [{ dimension: 'campaign', values: [3] }] }],
    ['two campaigns', { groupBy: ['hour'], filters: [{ dimension: 'campaign', values: [3, 4] }] }],
    ['without some', { groupBy: ['link'], filters: [{ dimension: 'campaign', values: [3], exclude: true }] }],
  ];
  it.each(asked)('by %s', async (_name, options) => {
    const { rows } = await expectSame((warehouse) => runReport(warehouse, { ...range, ...options }));
    expect(rows.length).toBeGreaterThan(0);
  });

  it('of every metric, and their totals', async () => {
    const metrics = REPORT_METRICS.filter((name) => name !== 'currency');
    const options = { ...range, metrics };
    const { rows } = await expectSame((warehouse) =>
      runReport(warehouse, { ...options, groupBy: ['campaign'] }),
    );
    expect(rows).toHaveLength(10);
    await expectSame((warehouse) => reportTotals(warehouse, { ...options, groupBy: ['campaign'] }));
  });

  it('say how fresh they are, and hold what that covers', async () => {
    expect(await expectSame(readWatermark)).toBe(NOW - 2_000);
  });
});

describe('look-ups', () => {
  const identities = [0, 1, 2, 500, 999].map((i) => ({
    ts: NOW - i * STEP_MS,
    node: i % 3,
    seq: Math.floor(i / 3),
  }));
  const ordered = async (clicks: Promise<readonly { ts: number; node: number; seq: number }[]>) =>
    [...(await clicks)].sort((a, b) => a.ts - b.ts || a.node - b.node || a.seq - b.seq);

  it('find clicks by identity on whichever shard they are', async () => {
    const found = await expectSame((warehouse) => ordered(lookupClicks(warehouse, identities)));
    expect(found).toHaveLength(identities.length);
  });

  it('find the candidates of a fingerprint', async () => {
    const requests = [0, 1, 7].map((i) => ({
      fingerprint: BigInt(1_000 + i),
      ip: i % 2 === 0 ? `203.0.113.${i}` : `198.51.100.${i}`,
      fromMs: NOW - 20 * HOUR_MS,
      toMs: NOW,
    }));
    const found = await expectSame((warehouse) => fingerprintCandidates(warehouse, requests));
    expect(found.every((clicks) => clicks.length > 0)).toBe(true);
  });

  it('count the velocity of keys, and list the fastest', async () => {
    const at = { now: new Date(NOW) };
    const fast = await expectSame((warehouse) =>
      velocityOf(warehouse, { key: 'ip', value: '203.0.113.4', ...at }),
    );
    expect(fast.clicks.h24).toBeGreaterThan(0);
    await expectSame((warehouse) => velocityOf(warehouse, { key: 'subnet', value: '203.0.113.0', ...at }));
    await expectSame((warehouse) => velocityOf(warehouse, { key: 'fingerprint', value: '1000', ...at }));
    for (const key of ['subnet', 'asn'] as const) {
      const { rows } = await expectSame((warehouse) =>
        listVelocity(warehouse, { key, sort: 'clicks', minutes: 600, limit: 20, ...at }),
      );
      expect(rows.length).toBeGreaterThan(0);
    }
    const shared = await expectSame((warehouse) =>
      affiliatesSharingAddresses(warehouse, { programId: 1, ...range, minAddresses: 1, limit: 10 }),
    );
    expect(shared.length).toBeGreaterThan(0);
    await expectSame((warehouse) => timeToConvert(warehouse, { affiliateId: 10, ...range }));
  });

  it('know the traffic and the surroundings of a click', async () => {
    const [traffic] = await expectSame((warehouse) =>
      readCampaignTraffic(warehouse, [{ campaignId: 1, affiliateIds: [10], ts: NOW }]),
    );
    expect(traffic?.byAffiliate.size).toBeGreaterThan(0);
    const [context] = await expectSame((warehouse) =>
      readClickContexts(warehouse, [
        {
          ts: NOW - MINUTE_MS,
          ip: '203.0.113.4',
          orderIp: '198.51.100.1',
          fingerprint: 1_004n,
          node: 0,
          seq: 0,
        },
      ]),
    );
    expect(context).toMatchObject({ country: 'DE', orderCountry: 'FR', network: 'AS680 DFN' });
  });

  const subjects: Subject[] = [
    { kind: 'ip', ip: '203.0.113.4' },
    { kind: 'subnet', network: networkAround('203.0.113.4') },
    { kind: 'fingerprint', fingerprint: '1004' },
    { kind: 'asn', asn: 680 },
    { kind: 'affiliates', affiliateIds: [10], campaignIds: [1, 2, 3, 4, 5] },
    { kind: 'link', linkId: 101, campaignId: 2 },
  ];
  it.each(subjects)('explore $kind', async (subject) => {
    const how = { selection: select(subject, undefined), now: new Date(NOW) };
    const totals = await expectSame((warehouse) => clickTotals(warehouse, how));
    expect(Object.keys(totals.byFlagGroup).length).toBeGreaterThan(0);
    const newest = await expectSame((warehouse) => newestClicks(warehouse, { ...how, limit: 20 }));
    expect(newest.length).toBeGreaterThan(0);
    await expectSame((warehouse) => orderIds(warehouse, { ...how, limit: 20 }));
    await expectSame((warehouse) => timeline(warehouse, { ...how, step: 'minute', timeZone: 'UTC' }));
  });

  it('preview what an entry of a block list would have caught', async () => {
    const preview = await expectSame((warehouse) =>
      previewBlocks(warehouse, {
        programId: undefined,
        targets: [{ kind: 'address', value: '203.0.113.4', affiliateId: 0, sub: 0 }],
        now: new Date(NOW),
      }),
    );
    expect(preview.isPartial).toBe(false);
  });
});

describe('analysts', () => {
  const ordered = (select: string) => `SELECT * FROM (${select}) ORDER BY ALL`;
  it.each(ANALYST_READS.views)('read %s', async (view) => {
    const { rows } = await expectSame(async (warehouse) => {
      const answer = await warehouse.query(
        ordered(`SELECT * FROM ${view}`),
        {},
        { query_cache_tag: 'analyst' },
      );
      return { rows: answer.rows };
    });
    expect(rows.length).toBeGreaterThan(0);
  });

  it('of one program read its rows alone', async () => {
    const { rows } = await expectSame(async (warehouse) => {
      const answer = await warehouse.query<{ program_id: number }>(
        'SELECT program_id, count() AS n FROM analyst_clicks GROUP BY program_id',
        {},
        { query_cache_tag: 'analyst_prg_2' },
      );
      return { rows: answer.rows };
    });
    expect(rows).toEqual([{ program_id: 2, n: String(CLICKS / 2) }]);
  });

  it.each(ANALYST_READS.tables)('count the rows of %s', async (table) => {
    const { rows } = await expectSame(async (warehouse) => {
      const answer = await warehouse.query<{ n: string }>(`SELECT count() AS n FROM ${table}`);
      return { rows: answer.rows };
    });
    expect(Number(rows[0]?.n)).toBeGreaterThan(0);
  });
});
