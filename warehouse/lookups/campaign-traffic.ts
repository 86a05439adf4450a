import { assert } from '../../core/errors.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { numbers } from '../clickhouse/literals.ts';

/** Hours before that of the click which are counted. */
export const TRAFFIC_HOURS = 24;

export interface TrafficQuestion {
  /** Of the click, Unix ms. */
  readonly ts: number;
  readonly campaignId: number;
  /** The affiliate, and those that were merged into it. */
  readonly affiliateIds: readonly number[];
}

/** Clicks in the {@link TRAFFIC_HOURS} whole hours before that of a click. */
export interface CampaignTraffic {
  /** Valid ones of the affiliate in the campaign. */
  readonly clicks: number;
  /** Forced ones of the affiliate in the campaign. */
  readonly forced: number;
  /** Valid ones of each affiliate in the campaign, of {@link MAX_AFFILIATES} at the most: those with the most clicks. */
  readonly byAffiliate: ReadonlyMap<number, number>;
}

/** What is usual in a campaign is seen by these. */
export const MAX_AFFILIATES = 500;
/** A campaign whose clicks take longer is compared with nothing. */
const MAX_SECONDS = 2;
const SETTINGS = { max_query_size: 4 * 1024 * 1024, max_execution_time: MAX_SECONDS } as const;

/** Beginning of the hour of a time, Unix ms. */
export function hourOf(ts: number): number {
  return Math.floor(ts / HOUR_MS) * HOUR_MS;
}

/**
 * The traffic before clicks in two queries, one answer a question in the same order. Whole hours before that of the click
 * only, so that the answer is always the same once every click before it is stored.
 */
export async function readCampaignTraffic(
  warehouse: Warehouse,
  questions: readonly TrafficQuestion[],
): Promise<CampaignTraffic[]> {
  if (questions.length === 0) return [];
  const [own, campaigns] = await Promise.all([
    readOwnClicks(warehouse, questions),
    readCampaignClicks(warehouse, questions),
  ]);
  return questions.map((question, i) => ({
    ...(own[i] ?? { clicks: 0, forced: 0 }),
    byAffiliate: campaigns.get(campaignKey(question)) ?? new Map(),
  }));
}

async function readOwnClicks(
  warehouse: Warehouse,
  questions: readonly TrafficQuestion[],
): Promise<{ clicks: number; forced: number }[]> {
  const asked = questions.flatMap(({ ts, campaignId, affiliateIds }, index) =>
    affiliateIds.map((affiliateId) => [index, hourOf(ts) / 1_000, campaignId, affiliateId] as const),
  );
  const { rows } = await warehouse.query<{ index: number; clicks: string; forced: string }>(
    `WITH asked AS (${askedRows(asked, ['index', 'at', 'campaign_id', 'affiliate_id'])})
     SELECT index, sum(t.clicks) AS clicks, sum(t.forced) AS forced FROM (
       SELECT campaign_id, affiliate_id, toUInt32(hour) AS at, sumIf(h.clicks, flag_group IN ('ok', 'repeat')) AS clicks,
         sumIf(h.clicks, flag_group = 'forced') AS forced
       FROM clicks_hourly AS h
       WHERE (campaign_id, affiliate_id) IN (SELECT campaign_id, affiliate_id FROM asked) AND ${within(asked)}
       GROUP BY campaign_id, affiliate_id, at
     ) AS t INNER JOIN asked ON t.campaign_id = asked.campaign_id AND t.affiliate_id = asked.affiliate_id
     WHERE ${BEFORE} GROUP BY index`,
    {},
    SETTINGS,
  );
  const answers = questions.map(() => ({ clicks: 0, forced: 0 }));
  for (const { index, clicks, forced } of rows) {
    assert(answers[index], 'an answer belongs to a question');
    answers[index] = { clicks: Number(clicks), forced: Number(forced) };
  }
  return answers;
}

/** By {@link campaignKey} the valid clicks of each affiliate: questions of one campaign and hour share them. */
async function readCampaignClicks(
  warehouse: Warehouse,
  questions: readonly TrafficQuestion[],
): Promise<Map<string, Map<number, number>>> {
  const keys = [...new Map(questions.map((question) => [campaignKey(question), question])).entries()];
  const asked = keys.map(([, { ts, campaignId }], index) => [index, hourOf(ts) / 1_000, campaignId] as const);
  const { rows } = await warehouse.query<{ index: number; affiliate_id: number; clicks: string }>(
    `WITH asked AS (${askedRows(asked, ['index', 'at', 'campaign_id'])})
     SELECT index, t.affiliate_id AS affiliate_id, sum(t.clicks) AS clicks FROM (
       SELECT campaign_id, affiliate_id, toUInt32(hour) AS at, sum(h.clicks) AS clicks
       FROM clicks_hourly AS h
       WHERE campaign_id IN (SELECT campaign_id FROM asked) AND flag_group IN ('ok', 'repeat') AND ${within(asked)}
       GROUP BY campaign_id, affiliate_id, at
     ) AS t INNER JOIN asked ON t.campaign_id = asked.campaign_id
     WHERE ${BEFORE} GROUP BY index, affiliate_id
     ORDER BY index, clicks DESC, affiliate_id LIMIT ${MAX_AFFILIATES} BY index`,
    {},
    SETTINGS,
  );
  const answers = keys.map(() => new Map<number, number>());
  for (const { index, affiliate_id, clicks } of rows) answers[index]?.set(affiliate_id, Number(clicks));
  return new Map(keys.map(([key], index) => [key, answers[index] ?? new Map()]));
}

function campaignKey({ ts, campaignId }: TrafficQuestion): string {
  return `${campaignId} ${hourOf(ts)}`;
}

const BEFORE = `t.at >= asked.at - ${TRAFFIC_HOURS * 3_600} AND t.at < asked.at`;

/** The hours of all questions; the second column is the hour of the click, Unix s. */
function within(asked: readonly (readonly [number, number, ...number[]])[]): string {
  const hours = asked.map(([, hour]) => hour);
  const first = hours.reduce((a, b) => Math.min(a, b)) - TRAFFIC_HOURS * 3_600;
  const last = hours.reduce((a, b) => Math.max(a, b));
  return `hour >= toDateTime(${first}, 'UTC') AND hour < toDateTime(${last}, 'UTC')`;
}

function askedRows(asked: readonly (readonly number[])[], names: readonly string[]): string {
  const columns = names.map((_, column) =>
    numbers(
      'UInt32',
      asked.map((row) => row[column] ?? 0),
    ),
  );
  const fields = names.map((name, column) => `a.${column + 1} AS ${name}`).join(', ');
  return `SELECT ${fields} FROM (SELECT arrayJoin(arrayZip(${columns.join(', ')})) AS a)`;
}
