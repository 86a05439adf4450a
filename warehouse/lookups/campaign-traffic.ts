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
  readonly affiliateId: number;
}

/** Clicks in the {@link TRAFFIC_HOURS} whole hours before that of a click. */
export interface CampaignTraffic {
  /** Valid ones of the affiliate in the campaign. */
  readonly clicks: number;
  /** Forced ones of the affiliate in the campaign. */
  readonly forced: number;
  /** Valid ones of all affiliates in the campaign. */
  readonly campaignClicks: number;
}

/** Beginning of the hour of a time, Unix ms. */
export function hourOf(ts: number): number {
  return Math.floor(ts / HOUR_MS) * HOUR_MS;
}

/**
 * The traffic before clicks in one query, one answer a question in the same order. Whole hours before that of the click
 * only, so that the answer is always the same once every click before it is stored.
 */
export async function readCampaignTraffic(
  warehouse: Warehouse,
  questions: readonly TrafficQuestion[],
): Promise<CampaignTraffic[]> {
  if (questions.length === 0) return [];
  const hours = questions.map(({ ts }) => hourOf(ts) / 1_000);
  const asked = [hours, questions.map((one) => one.campaignId), questions.map((one) => one.affiliateId)];
  const list = [questions.map((_, index) => index), ...asked].map((column) => numbers('UInt32', column));
  const first = hours.reduce((a, b) => Math.min(a, b)) - TRAFFIC_HOURS * 3_600;
  const last = hours.reduce((a, b) => Math.max(a, b));
  const within = `hour >= toDateTime(${first}, 'UTC') AND hour < toDateTime(${last}, 'UTC')`;
  const before = `t.at >= asked.at - ${TRAFFIC_HOURS * 3_600} AND t.at < asked.at`;
  const { rows } = await warehouse.query<{
    index: number;
    clicks: string;
    forced: string;
    all_clicks: string;
  }>(
    `WITH asked AS (
       SELECT a.1 AS index, a.2 AS at, a.3 AS campaign_id, a.4 AS affiliate_id
       FROM (SELECT arrayJoin(arrayZip(${list.join(', ')})) AS a)
     )
     SELECT index, sum(t.clicks) AS clicks, sum(t.forced) AS forced, 0 AS all_clicks FROM (
       SELECT campaign_id, affiliate_id, toUInt32(hour) AS at, sumIf(h.clicks, flag_group IN ('ok', 'repeat')) AS clicks,
         sumIf(h.clicks, flag_group = 'forced') AS forced
       FROM clicks_hourly AS h
       WHERE (campaign_id, affiliate_id) IN (SELECT campaign_id, affiliate_id FROM asked) AND ${within}
       GROUP BY campaign_id, affiliate_id, at
     ) AS t INNER JOIN asked ON t.campaign_id = asked.campaign_id AND t.affiliate_id = asked.affiliate_id
     WHERE ${before} GROUP BY index
     UNION ALL
     SELECT index, 0, 0, sum(t.clicks) FROM (
       SELECT campaign_id, toUInt32(hour) AS at, sum(valid_clicks) AS clicks
       FROM campaigns_hourly WHERE campaign_id IN (SELECT campaign_id FROM asked) AND ${within} GROUP BY campaign_id, at
     ) AS t INNER JOIN asked ON t.campaign_id = asked.campaign_id
     WHERE ${before} GROUP BY index`,
    {},
    { max_query_size: 4 * 1024 * 1024, max_execution_time: 20 },
  );
  const traffic = questions.map(() => ({ clicks: 0, forced: 0, campaignClicks: 0 }));
  for (const { index, clicks, forced, all_clicks } of rows) {
    const answer = traffic[index];
    assert(answer, 'an answer belongs to a question');
    answer.clicks += Number(clicks);
    answer.forced += Number(forced);
    answer.campaignClicks += Number(all_clicks);
  }
  return traffic;
}
