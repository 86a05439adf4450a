import { HOUR_MS, MINUTE_MS } from '../../../core/time.ts';
import { ANALYST_READS } from '../../../warehouse/analysts/reads.ts';
import { timeText, type Warehouse } from '../../../warehouse/clickhouse/client.ts';
import { CAMPAIGN_SHARD } from '../../../warehouse/clickhouse/cluster.ts';
import { previewBlocks } from '../../../warehouse/lookups/block-preview.ts';
import { readCampaignTraffic } from '../../../warehouse/lookups/campaign-traffic.ts';
import { readClickContexts } from '../../../warehouse/lookups/click-context.ts';
import { clickTotals, newestClicks, orderIds, timeline } from '../../../warehouse/lookups/explorer.ts';
import { fingerprintCandidates, lookupClicks } from '../../../warehouse/lookups/lookups.ts';
import { networkAround, type Subject, select } from '../../../warehouse/lookups/subjects.ts';
import {
  affiliatesSharingAddresses,
  timeToConvert,
  velocityOf,
} from '../../../warehouse/lookups/velocity.ts';
import { listVelocity } from '../../../warehouse/lookups/velocity-list.ts';
import { REPORT_METRICS } from '../../../warehouse/reports/report-tables.ts';
import { type ReportOptions, reportTotals, runReport } from '../../../warehouse/reports/reports.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';

/** Rows for every question of the platform to a warehouse, and the questions: the same answers are due wherever the rows lie. */

export const SAMPLE_CLICKS = 2_000;
const STEP_MS = 20_000;
const CAMPAIGNS = 10;

/** Clicks of the hours before `now`; of a cluster those of one shard, counted from 0, into that shard's server. */
export async function insertSampleClicks(
  server: Warehouse,
  now: number,
  of: { shard: number; shards: number } = { shard: 0, shards: 1 },
): Promise<void> {
  await server.command(
    `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, flags, fingerprint, user_agent,
       device, os, browser, language, referrer, sub1, sub2, utm_source)
     SELECT fromUnixTimestamp64Milli(toInt64(${now} - number * ${STEP_MS}), 'UTC'), number % 3, intDiv(number, 3), 1 + number % 2,
       1 + number % ${CAMPAIGNS} AS campaign_id, 10 + intDiv(number, 3) % 4, 100 + number % 20,
       toIPv6(concat(['203.0.113.', '198.51.100.'][1 + number % 2], toString(number % 40))),
       [0, 0, 0, 8, 1, 2, 256, 16, 2048, 8192][1 + intDiv(number, 7) % 10], 1000 + number % 60, concat('Agent ', toString(number % 5)),
       ['desktop', 'mobile', 'bot'][1 + number % 3], 'Linux', 'Firefox', 'en', concat('https://site', toString(number % 4), '.test/'),
       toString(number % 6), toString(number % 3), 'news'
     FROM numbers(${SAMPLE_CLICKS}) WHERE ${CAMPAIGN_SHARD} % ${of.shards} = ${of.shard}`,
    {},
    server.cluster === '' ? {} : { insert_quorum: 'auto', insert_quorum_parallel: 0 },
  );
}

/** What every server has whole: networks (before any click), orders, names, watermarks. */
export async function insertSampleFacts(server: Warehouse, now: number): Promise<void> {
  await server.insertRows('asn_networks', [
    { network: '::ffff:203.0.113.0/120', asn: 680 },
    { network: '::ffff:198.51.100.0/120', asn: 3320 },
  ]);
  await server.insertRows('asn_owners', [
    { asn: 680, organisation: 'DFN' },
    { asn: 3320, organisation: 'DTAG' },
  ]);
  await server.insertRows('geo_networks', [
    { network: '::ffff:203.0.113.0/120', country: 'DE' },
    { network: '::ffff:198.51.100.0/120', country: 'FR' },
  ]);
  const orders = Array.from({ length: 60 }, (_, i) => ({
    conversion_id: i + 1,
    version: 1 + (i % 2),
    program_id: 1 + (i % 2),
    campaign_id: 1 + (i % CAMPAIGNS),
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
    occurred_at: timeText(now - i * 3 * MINUTE_MS),
    received_at: timeText(now - i * 3 * MINUTE_MS),
    click_ts: timeText(now - i * STEP_MS),
    ip: `::ffff:203.0.113.${(i * 2) % 40}`,
    fingerprint: String(1_000 + (i % 60)),
    sub1: String(i % 6),
  }));
  const newest = orders.map((row) => ({ ...row, version: 5, state: 'attributed' }));
  await server.insertRows('conversions', [...orders, ...newest]);
  await server.insertRows(
    'names',
    Array.from({ length: CAMPAIGNS }, (_, i) => ({
      kind: 'campaign',
      id: i + 1,
      program_id: 1 + (i % 2),
      name: `C${i}`,
      version: '1',
    })),
  );
  const shards = [now - 1_000, now - 2_000];
  await server.insertRows(
    'watermarks',
    shards.map((ms, shard) => ({ shard, complete_to: timeText(ms) })),
  );
}

export interface SampleQuestion {
  readonly name: string;
  /** What is compared; it holds at least one row, click or count. */
  readonly ask: (warehouse: Warehouse) => Promise<readonly unknown[]>;
}

/** Every report, look-up and view, of the sample's rows. */
export function sampleQuestions(now: number): SampleQuestion[] {
  return [...reportQuestions(now), ...lookupQuestions(now), ...explorerQuestions(now), ...analystQuestions()];
}

function reportQuestions(now: number): SampleQuestion[] {
  const range = { from: new Date(now - 24 * HOUR_MS), to: new Date(now + HOUR_MS), limit: 5_000 };
  const metrics = REPORT_METRICS.filter((name) => name !== 'currency');
  const reports: [string, Partial<ReportOptions> & Pick<ReportOptions, 'groupBy'>][] = [
    ['time', { groupBy: ['hour', 'flag_group'] }],
    ['month', { groupBy: ['month', 'program'] }],
    ['place', { groupBy: ['country', 'network', 'device'] }],
    ['browser', { groupBy: ['os', 'browser', 'language', 'referrer_domain'] }],
    ['text', { groupBy: ['sub1', 'sub2', 'utm_source'] }],
    ['coupon', { groupBy: ['coupon'], metrics: ['conversions'] }],
    ['campaign and affiliate', { groupBy: ['campaign', 'affiliate'] }],
    ['hours of Kolkata', { groupBy: ['hour'], timeZone: 'Asia/Kolkata' }],
    ['one campaign', { groupBy: ['affiliate'], filters: [{ dimension: 'campaign', values: [3] }] }],
    ['two campaigns', { groupBy: ['hour'], filters: [{ dimension: 'campaign', values: [3, 4] }] }],
    ['all but one', { groupBy: ['link'], filters: [{ dimension: 'campaign', values: [3], exclude: true }] }],
    ['every metric', { groupBy: ['campaign'], metrics }],
  ];
  return [
    ...reports.map(([name, options]) => ({
      name: `report by ${name}`,
      ask: async (warehouse: Warehouse) => {
        const report = await runReport(warehouse, { ...range, ...options });
        return report.rows;
      },
    })),
    {
      name: 'totals of a report',
      ask: async (warehouse) => [await reportTotals(warehouse, { ...range, metrics, groupBy: ['campaign'] })],
    },
    { name: 'the watermark', ask: async (warehouse) => [await readWatermark(warehouse)] },
  ];
}

function lookupQuestions(now: number): SampleQuestion[] {
  const at = { now: new Date(now) };
  const identities = [0, 1, 2, 500, 999].map((i) => ({
    ts: now - i * STEP_MS,
    node: i % 3,
    seq: Math.floor(i / 3),
  }));
  const requests = [0, 1, 7].map((i) => ({
    fingerprint: BigInt(1_000 + i),
    ip: i % 2 === 0 ? `203.0.113.${i}` : `198.51.100.${i}`,
    fromMs: now - 20 * HOUR_MS,
    toMs: now,
  }));
  const target = { kind: 'address', value: '203.0.113.4', affiliateId: 0, sub: 0 } as const;
  return [
    {
      name: 'clicks by identity',
      ask: async (warehouse) =>
        (await lookupClicks(warehouse, identities)).sort((a, b) => a.ts - b.ts || a.node - b.node),
    },
    {
      name: 'candidates of fingerprints',
      ask: async (warehouse) => (await fingerprintCandidates(warehouse, requests)).flat(),
    },
    ...(['ip', 'subnet', 'fingerprint'] as const).map((key) => ({
      name: `velocity of ${key}`,
      ask: async (warehouse: Warehouse) => [
        await velocityOf(warehouse, { key, value: key === 'fingerprint' ? '1004' : '203.0.113.4', ...at }),
      ],
    })),
    {
      name: 'the fastest networks',
      ask: async (warehouse) =>
        (await listVelocity(warehouse, { key: 'asn', sort: 'clicks', minutes: 600, limit: 20, ...at })).rows,
    },
    {
      name: 'affiliates with the same addresses',
      ask: (warehouse) =>
        affiliatesSharingAddresses(warehouse, {
          programId: 1,
          from: new Date(now - 24 * HOUR_MS),
          to: at.now,
          minAddresses: 1,
          limit: 10,
        }),
    },
    {
      name: 'times from click to order',
      ask: (warehouse) =>
        timeToConvert(warehouse, { affiliateId: 10, from: new Date(now - 24 * HOUR_MS), to: at.now }),
    },
    {
      name: 'traffic of a campaign',
      ask: async (warehouse) => {
        const [traffic] = await readCampaignTraffic(warehouse, [
          { campaignId: 1, affiliateIds: [10], ts: now },
        ]);
        return [...(traffic?.byAffiliate ?? [])].sort(([a], [b]) => a - b);
      },
    },
    {
      name: 'the surroundings of a click',
      ask: (warehouse) =>
        readClickContexts(warehouse, [
          {
            ts: now - MINUTE_MS,
            ip: '203.0.113.4',
            orderIp: '198.51.100.1',
            fingerprint: 1_004n,
            node: 0,
            seq: 0,
          },
        ]),
    },
    {
      name: 'what an entry of a block list would have caught',
      ask: async (warehouse) => [
        await previewBlocks(warehouse, { programId: undefined, targets: [target], ...at }),
      ],
    },
  ];
}

function explorerQuestions(now: number): SampleQuestion[] {
  const subjects: Subject[] = [
    { kind: 'ip', ip: '203.0.113.4' },
    { kind: 'subnet', network: networkAround('203.0.113.4') },
    { kind: 'fingerprint', fingerprint: '1004' },
    { kind: 'asn', asn: 680 },
    { kind: 'affiliates', affiliateIds: [10], campaignIds: [1, 2, 3, 4, 5] },
    { kind: 'link', linkId: 101, campaignId: 2 },
  ];
  return subjects.map((subject) => ({
    name: `explorer of ${subject.kind}`,
    ask: async (warehouse) => {
      const how = { selection: select(subject, undefined), now: new Date(now) };
      const points = await timeline(warehouse, { ...how, step: 'minute', timeZone: 'UTC' });
      return [
        ...(await newestClicks(warehouse, { ...how, limit: 20 })),
        await clickTotals(warehouse, how),
        await orderIds(warehouse, { ...how, limit: 20 }),
        points.filter(({ clicks, orders }) => clicks + orders > 0),
      ];
    },
  }));
}

function analystQuestions(): SampleQuestion[] {
  const views = ANALYST_READS.views.map((view) => ({
    name: `${view} of an analyst`,
    ask: async (warehouse: Warehouse) => {
      const sql = `SELECT * FROM (SELECT * FROM ${view}) ORDER BY ALL`;
      return (await warehouse.query(sql, {}, { query_cache_tag: 'analyst' })).rows;
    },
  }));
  const ofProgram: SampleQuestion = {
    name: 'clicks of the analyst of one program',
    ask: async (warehouse) => {
      const sql = 'SELECT program_id, count() AS n FROM analyst_clicks GROUP BY program_id';
      return (await warehouse.query(sql, {}, { query_cache_tag: 'analyst_prg_2' })).rows;
    },
  };
  const tables = ANALYST_READS.tables.map((table) => ({
    name: `rows of ${table}`,
    ask: async (warehouse: Warehouse) => {
      const final = ['conversions', 'names', 'watermarks'].includes(table) ? 'FINAL' : '';
      // Rows of a rollup are fewer once they are merged: their clicks are not.
      const count = table.includes('ly') ? 'sum(clicks)' : 'count()';
      const { rows } = await warehouse.query<{ n: string }>(`SELECT ${count} AS n FROM ${table} ${final}`);
      return rows.filter(({ n }) => n !== '0');
    },
  }));
  return [...views, ofProgram, ...tables];
}
