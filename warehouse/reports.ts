import { InputError } from '../core/errors.ts';
import type { QueryParams, Warehouse } from './client.ts';
import { readWatermark } from './watermark.ts';

/** What a report can be grouped by: the column it yields and the expression over the rollup. */
const DIMENSIONS = {
  day: `formatDateTime(hour, '%Y-%m-%d')`,
  hour: `formatDateTime(hour, '%Y-%m-%dT%H:00:00Z')`,
  campaign: 'campaign_id',
  affiliate: 'affiliate_id',
  link: 'link_id',
  device: 'device',
} as const;

export type ReportDimension = keyof typeof DIMENSIONS;
export const REPORT_DIMENSIONS = Object.keys(DIMENSIONS) as readonly ReportDimension[];

/** Rows of one answer at the most; a longer report is an export. */
export const MAX_REPORT_ROWS = 10_000;
/** A report that takes longer is asked too widely for a page. */
const MAX_EXECUTION_SECONDS = 15;
const HOUR_MS = 3_600_000;
const TABLE = 'clicks_hourly';
/** The pixel's loads are counted in the same table, and are no clicks. */
const NO_IMPRESSIONS = "flag_group != 'impression'";

export interface CampaignReportOptions {
  readonly programId?: number;
  readonly campaignId?: number;
  readonly affiliateId?: number;
  /** Half-open range, widened to whole hours. */
  readonly from: Date;
  readonly to: Date;
  readonly groupBy: readonly ReportDimension[];
  /** 1 to {@link MAX_REPORT_ROWS}. */
  readonly limit: number;
}

/** Counts, and the value of each dimension that was asked for. */
export interface CampaignReportRow {
  /** UTC: "2026-11-22". */
  readonly day?: string;
  /** UTC: "2026-11-22T09:00:00Z". */
  readonly hour?: string;
  readonly campaign?: number;
  readonly affiliate?: number;
  readonly link?: number;
  readonly device?: string;
  readonly clicks: number;
  readonly validClicks: number;
  /** Distinct addresses among valid clicks; an estimate within 1 %, exact for small numbers. */
  readonly uniqueIps: number;
  /** Distinct fingerprints among valid clicks, likewise. */
  readonly uniqueVisitors: number;
}

export interface CampaignReport {
  readonly rows: readonly CampaignReportRow[];
  /** Every click before this time is counted; undefined before anything was loaded. */
  readonly completeTo: Date | undefined;
  /** The table that answered. */
  readonly table: string;
  /** The range that was counted: whole hours. */
  readonly from: Date;
  readonly to: Date;
}

interface Counts {
  readonly total: string;
  readonly valid: string;
  readonly unique_ips: string;
  readonly unique_visitors: string;
}

/**
 * Clicks by any subset of the dimensions, in order of time and then of clicks.
 * @throws InputError naming `from`, `groupBy` or `limit`.
 */
export async function campaignReport(
  warehouse: Warehouse,
  options: CampaignReportOptions,
): Promise<CampaignReport> {
  const { groupBy } = checkedOptions(options);
  const from = Math.floor(options.from.getTime() / HOUR_MS) * HOUR_MS;
  const to = Math.ceil(options.to.getTime() / HOUR_MS) * HOUR_MS;
  const { conditions, params } = filters(options);
  // The watermark is read first: what it promises is then surely in the counts.
  const completeTo = await readWatermark(warehouse);
  const { rows } = await warehouse.query<Counts & Omit<CampaignReportRow, keyof Counts>>(
    `SELECT
       ${groupBy.map((name) => `${DIMENSIONS[name]} AS ${name}_key, `).join('')}
       sum(clicks) AS total,
       sum(valid_clicks) AS valid,
       uniqCombined64MergeIf(ips, flag_group IN ('ok', 'repeat')) AS unique_ips,
       uniqCombined64MergeIf(visitors, flag_group IN ('ok', 'repeat')) AS unique_visitors
     FROM ${TABLE}
     WHERE ${['hour >= {from:DateTime}', 'hour < {to:DateTime}', NO_IMPRESSIONS, ...conditions].join(' AND ')}
     ${groupBy.length > 0 ? `GROUP BY ${groupBy.map((name) => `${name}_key`).join(', ')}` : ''}
     ORDER BY ${[...groupBy.filter(isTime).map((name) => `${name}_key`), 'total DESC', ...groupBy.map((name) => `${name}_key`)].join(', ')}
     LIMIT {limit:UInt32}`,
    { ...params, from: from / 1_000, to: to / 1_000, limit: options.limit },
    { max_execution_time: MAX_EXECUTION_SECONDS },
  );
  return {
    rows: rows.map((row) => reportRow(row, groupBy)),
    completeTo: completeTo === undefined ? undefined : new Date(completeTo),
    table: TABLE,
    from: new Date(from),
    to: new Date(to),
  };
}

function isTime(name: ReportDimension): boolean {
  return name === 'day' || name === 'hour';
}

function checkedOptions(options: CampaignReportOptions): { groupBy: ReportDimension[] } {
  if (!(options.from.getTime() < options.to.getTime())) throw new InputError('from', 'must be before "to"');
  const unknown = options.groupBy.find((name) => !Object.hasOwn(DIMENSIONS, name));
  if (unknown !== undefined) {
    throw new InputError('groupBy', `must be among ${REPORT_DIMENSIONS.join(', ')}`);
  }
  if (!Number.isInteger(options.limit) || options.limit < 1 || options.limit > MAX_REPORT_ROWS) {
    throw new InputError('limit', `must be a whole number from 1 to ${MAX_REPORT_ROWS}`);
  }
  return { groupBy: [...new Set(options.groupBy)] };
}

function filters(options: CampaignReportOptions): { conditions: string[]; params: QueryParams } {
  const given = Object.entries({
    program_id: options.programId,
    campaign_id: options.campaignId,
    affiliate_id: options.affiliateId,
  }).filter(([, value]) => value !== undefined);
  return {
    conditions: given.map(([name]) => `${name} = {${name}:UInt32}`),
    params: Object.fromEntries(given),
  };
}

function reportRow(row: Counts & object, groupBy: readonly ReportDimension[]): CampaignReportRow {
  const keys = row as unknown as Record<string, string | number>;
  return {
    ...Object.fromEntries(groupBy.map((name) => [name, keys[`${name}_key`]])),
    clicks: Number(row.total),
    validClicks: Number(row.valid),
    uniqueIps: Number(row.unique_ips),
    uniqueVisitors: Number(row.unique_visitors),
  };
}
