import { z } from 'zod';
import { ROLES } from '../../ledger/api-keys.ts';
import {
  type CampaignReportRow,
  campaignReport,
  REPORT_DIMENSIONS,
  type ReportDimension,
} from '../../warehouse/reports.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { formatId, idText, integerId } from '../ids.ts';
import { affiliateFilter, principalOf, programFilter } from '../principal.ts';
import { formatTime, rowLimit, time, timeText } from '../schemas.ts';

/** Rows of one answer at the most; below the warehouse's own limit, so that one more tells of a cut. */
const MAX_ROWS = 5_000;
const DEFAULT_ROWS = 1_000;
const DAY_MS = 86_400_000;
/** Three years by hour and link is as much as one query may read. */
const MAX_RANGE_DAYS = 1_100;

const DIMENSIONS: ReadonlySet<string> = new Set(REPORT_DIMENSIONS);

const groupBy = z
  .string()
  .transform((value, context): ReportDimension[] => {
    const names = value.split(',').filter((name) => name !== '');
    if (names.every((name): name is ReportDimension => DIMENSIONS.has(name))) return names;
    context.addIssue({
      code: 'custom',
      message: `must be names among ${REPORT_DIMENSIONS.join(', ')}, separated by commas`,
    });
    return z.NEVER;
  })
  .default([])
  .meta({
    description: `Any of ${REPORT_DIMENSIONS.join(', ')}, separated by commas; empty: one row.`,
    examples: ['day,campaign'],
  });

const query = z
  .strictObject({
    from: time.meta({ description: 'Counted from here, whole hours.' }),
    to: time.meta({ description: 'Counted up to here and no further, whole hours.' }),
    group_by: groupBy,
    program_id: integerId('program').optional(),
    campaign_id: integerId('campaign').optional(),
    affiliate_id: integerId('affiliate').optional(),
    limit: rowLimit({ max: MAX_ROWS, fallback: DEFAULT_ROWS }),
  })
  .refine(({ from, to }) => from.getTime() < to.getTime(), {
    path: ['from'],
    message: 'must be before to',
  })
  .refine(({ from, to }) => to.getTime() - from.getTime() <= MAX_RANGE_DAYS * DAY_MS, {
    path: ['to'],
    message: `must be within ${MAX_RANGE_DAYS} days of from`,
  });

const rowView = z.object({
  day: z.string().optional(),
  hour: timeText.optional(),
  campaign_id: idText('campaign').optional(),
  affiliate_id: idText('affiliate').optional(),
  link_id: idText('link').optional(),
  device: z.string().optional(),
  clicks: z.number(),
  valid_clicks: z
    .number()
    .meta({ description: 'Without robots, prefetches and what was paused or expired.' }),
  unique_ips: z.number(),
  unique_visitors: z.number(),
});

const reportView = z
  .object({
    from: timeText,
    to: timeText,
    complete_to: timeText
      .nullable()
      .meta({ description: 'Every click before this is counted; null: nothing is loaded yet.' }),
    table: z.string().meta({ description: 'The table that answered.' }),
    truncated: z.boolean().meta({ description: 'There are more rows than the limit.' }),
    rows: z.array(rowView),
  })
  .meta({ id: 'Report' });

function formatRow(row: CampaignReportRow): z.output<typeof rowView> {
  return {
    ...(row.day !== undefined && { day: row.day }),
    ...(row.hour !== undefined && { hour: row.hour }),
    ...(row.campaign !== undefined && { campaign_id: formatId('campaign', row.campaign) }),
    ...(row.affiliate !== undefined && { affiliate_id: formatId('affiliate', row.affiliate) }),
    ...(row.link !== undefined && { link_id: formatId('link', row.link) }),
    ...(row.device !== undefined && { device: row.device }),
    clicks: row.clicks,
    valid_clicks: row.validClicks,
    unique_ips: row.uniqueIps,
    unique_visitors: row.uniqueVisitors,
  };
}

/** Reports over the clicks; every answer says how fresh it is. */
export function addReportRoutes(app: ApiServer, { warehouse }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/reports',
    config: { roles: ROLES },
    schema: {
      operationId: 'getReport',
      tags: ['reports'],
      summary: 'Clicks by any grouping; an affiliate sees its own',
      querystring: query,
      response: { 200: reportView },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { from, to, group_by, program_id, campaign_id, affiliate_id, limit } = request.query;
      const programId = programFilter(principal, program_id);
      const affiliateId = affiliateFilter(principal, affiliate_id);
      const report = await campaignReport(warehouse, {
        from,
        to,
        groupBy: group_by,
        limit: limit + 1,
        ...(programId !== undefined && { programId }),
        ...(campaign_id !== undefined && { campaignId: campaign_id }),
        ...(affiliateId !== undefined && { affiliateId }),
      });
      return {
        from: formatTime(report.from),
        to: formatTime(report.to),
        complete_to: report.completeTo === undefined ? null : formatTime(report.completeTo),
        table: report.table,
        truncated: report.rows.length > limit,
        rows: report.rows.slice(0, limit).map(formatRow),
      };
    },
  });
}
