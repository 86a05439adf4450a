import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { DAY_MS } from '../../core/time.ts';
import { couponKey } from '../../ledger/programs/coupons.ts';
import { MAX_EVENT_LENGTH } from '../../ledger/programs/events.ts';
import { EXPORT_FORMATS, type ExportFormat, MAX_EXPORT_ROWS } from '../../warehouse/reports/report-export.ts';
import {
  CLICK_METRICS,
  isReportDimension,
  isReportMetric,
  REPORT_DIMENSIONS,
  REPORT_METRICS,
  type ReportDimension,
  type ReportMetric,
} from '../../warehouse/reports/report-tables.ts';
import type { ReportFilter, ReportOptions } from '../../warehouse/reports/reports.ts';
import { affiliateFilter, type Principal, programFilter } from '../http/principal.ts';
import { invalidField } from '../http/problems.ts';
import { integerId } from '../schemas/ids.ts';
import { booleanParameter, rowLimit, text, time } from '../schemas/schemas.ts';

/** The parameters of a report in a URL, and the warehouse's options for them. */

/** Rows of one answer at the most; below the warehouse's own limit, so that one row more shows a cut. */
const MAX_ROWS = 5_000;
const DEFAULT_ROWS = 1_000;
/** Three years by hour and link is as much as one query may read. */
const MAX_RANGE_DAYS = 1_100;

/** Sums over every level of the tree: by them an affiliate would see what those above it earn by its orders. */
const OF_ALL_LEVELS: readonly ReportMetric[] = ['commission', 'commission_minor', 'epc', 'epc_minor'];

/** What an affiliate may see instead. */
const OWN: readonly ReportMetric[] = ['own_commission', 'own_commission_minor', 'own_epc', 'own_epc_minor'];

const DEFAULT_METRICS: readonly ReportMetric[] = CLICK_METRICS;

/** Names out of a list, separated by commas. */
function listOf<Name extends string>(isOne: (name: string) => name is Name, all: readonly Name[]) {
  return z.string().transform((value, context): Name[] => {
    const names = value.split(',').filter((name) => name !== '');
    if (names.every(isOne)) return names;
    context.addIssue({
      code: 'custom',
      message: `must be names among ${all.join(', ')}, separated by commas`,
    });
    return z.NEVER;
  });
}

/** Parameters that keep only the rows with this text. */
const TEXT_FILTERS = [
  'country',
  'network',
  'device',
  'flag_group',
  'os',
  'browser',
  'referrer_domain',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'coupon',
] as const satisfies readonly ReportDimension[];
const textFilter = z.string().max(500).optional();
const TEXT_FILTER_SHAPE = Object.fromEntries(TEXT_FILTERS.map((name) => [name, textFilter])) as Record<
  (typeof TEXT_FILTERS)[number],
  typeof textFilter
>;

const flag = booleanParameter({ fallback: false });

/** The parameters of a report. */
export const reportQuery = z
  .strictObject({
    from: time.meta({ description: 'Counted from here, whole hours; whole minutes when grouped by minute.' }),
    to: time.meta({ description: 'Counted up to here and no further, whole hours.' }),
    time_zone: z
      .string()
      .max(64)
      .default('UTC')

      .meta({ description: 'IANA time zone of hours, days, weeks and months.', examples: ['Europe/Berlin'] }),
    group_by: listOf(isReportDimension, REPORT_DIMENSIONS)
      .default([])
      .meta({
        description: `Any of ${REPORT_DIMENSIONS.join(', ')}, separated by commas; empty: one row.`,
        examples: ['day,campaign'],
      }),
    metrics: listOf(isReportMetric, REPORT_METRICS)
      .default([...DEFAULT_METRICS])
      .meta({
        description: `Any of ${REPORT_METRICS.join(', ')}, separated by commas. A unique visitor is a fingerprint (User-Agent and language) in a network (/24 of IPv4, /48 of IPv6), among valid clicks; visitors who opted out count by network only. unique_visitors and unique_ips are null where a part of the clicks is from before visitors were counted so, or older than the 90 days for which addresses are kept. Conversions are grouped by time, program, campaign, affiliate, link, country and sub1 to sub5 of the click that won (empty where none did, and of orders decided before these were kept) only, or by coupon: the code that credits the order, empty where none does; no click has one. ${OF_ALL_LEVELS.join(' and ')} are of every level of the tree, and not shown to affiliates; ${OWN.join(' and ')} are of the affiliate whose click won. What a review or the shop’s approval holds is not earned. Amounts are in units of their currency (revenue, as text in JSON) or in its minor units (revenue_minor); the former bring the column currency. conversion_rate and those per click are null without valid clicks.`,
      }),
    program_id: integerId('program').optional(),
    campaign_id: integerId('campaign').optional(),
    affiliate_id: integerId('affiliate').optional(),
    link_id: integerId('link').optional(),
    ...TEXT_FILTER_SHAPE,
    event_name: text(MAX_EVENT_LENGTH).optional().meta({
      description: 'Only conversions of this event, with all clicks; default: of every event.',
    }),
    order_by: z
      .string()
      .max(64)
      .optional()
      .meta({ description: 'A dimension or metric of the report; with a leading "-" the greatest first.' }),
    totals: flag.meta({ description: 'Also count without dimensions: distinct visitors do not add up.' }),
    compare: flag.meta({ description: 'Also count the period of the same length before.' }),
    format: z
      .enum(['json', ...(Object.keys(EXPORT_FORMATS) as ExportFormat[])])
      .optional()
      .meta({
        description: `csv, arrow and parquet are sent while they are made, up to ${MAX_EXPORT_ROWS} rows; csv by hour or minute in the order of time has no such end. Default: as the header Accept says, else json.`,
      }),
    cursor: z
      .string()
      .transform((value, context): number => {
        const offset = /^offset:(\d{1,12})$/.exec(Buffer.from(value, 'base64url').toString('latin1'))?.[1];
        if (offset !== undefined) return Number(offset);
        context.addIssue({ code: 'custom', message: 'must be the next_cursor of a previous page' });
        return z.NEVER;
      })
      .optional()
      .meta({ description: 'next_cursor of the page before, with the same parameters otherwise.' }),
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

export type ReportQuery = z.output<typeof reportQuery>;

/** The requested report, confined to what the caller may see. @throws Problem naming `metrics`. */
export function reportOptions(principal: Principal, query: ReportQuery): ReportOptions {
  if (principal.role === 'affiliate' && query.metrics.some((name) => OF_ALL_LEVELS.includes(name))) {
    throw invalidField(
      'metrics',
      `${OF_ALL_LEVELS.join(' and ')} are of every level of the tree; ${OWN.join(' and ')} are of the affiliate alone`,
    );
  }
  return {
    from: query.from,
    to: query.to,
    timeZone: query.time_zone,
    groupBy: query.group_by,
    metrics: query.metrics,
    filters: filtersOf(query, {
      programId: programFilter(principal, query.program_id),
      affiliateId: affiliateFilter(principal, query.affiliate_id),
    }),
    eventName: query.event_name,
    orderBy: orderOf(query.order_by),
    limit: query.limit,
    role: principal.role === 'affiliate' ? 'affiliate' : 'operator',
  };
}

function filtersOf(
  query: ReportQuery,
  own: { programId: number | undefined; affiliateId: number | undefined },
): ReportFilter[] {
  const ids = {
    program: own.programId,
    campaign: query.campaign_id,
    affiliate: own.affiliateId,
    link: query.link_id,
  };
  const texts = TEXT_FILTERS.map((name) => [name, query[name]] as const);
  return [...(Object.entries(ids) as [keyof typeof ids, number | undefined][]), ...texts].flatMap(
    ([dimension, value]) =>
      value === undefined
        ? []
        : [{ dimension, values: [dimension === 'coupon' ? couponKey(String(value)) : value] }],
  );
}

function orderOf(text: string | undefined): NonNullable<ReportOptions['orderBy']> {
  if (text === undefined) return [];
  const by = text.replace(/^-/, '');
  // What is no column of the report is refused by the report itself.
  return [{ by: by as ReportDimension | ReportMetric, descending: text.startsWith('-') }];
}

/** The report names its own options; the outside knows them by their query parameters. */
const PARAMETERS: Readonly<Record<string, string>> = {
  timeZone: 'time_zone',
  groupBy: 'group_by',
  orderBy: 'order_by',
};

/** Faults of a report, named by the parameter that holds them. @throws InputError */
export async function inParameters<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(PARAMETERS[error.field] ?? error.field, error.reason);
  }
}
