import { createReadStream } from 'node:fs';
import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { ROLES } from '../../ledger/api-keys.ts';
import { createJob, getJob } from '../../ledger/jobs.ts';
import {
  EXPORT_FORMATS,
  type ExportFormat,
  exportReport,
  MAX_EXPORT_ROWS,
} from '../../warehouse/report-export.ts';
import {
  CLICK_METRICS,
  isReportDimension,
  isReportMetric,
  REPORT_DIMENSIONS,
  REPORT_METRICS,
  type ReportDimension,
  type ReportMetric,
} from '../../warehouse/report-tables.ts';
import {
  checkReport,
  previousPeriod,
  type ReportFilter,
  type ReportOptions,
  type ReportRow,
  reportTotals,
  runReport,
} from '../../warehouse/reports.ts';
import { commit } from '../commit.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { bigintId, formatId, type IntegerIdKind, integerId } from '../ids.ts';
import { formatJob, jobView } from '../job-view.ts';
import { affiliateFilter, type Principal, principalOf, programFilter } from '../principal.ts';
import { notFound } from '../problems.ts';
import { isDownloadSigned, reportFile, runReportJob } from '../report-jobs.ts';
import { formatTime, rowLimit, time, timeText } from '../schemas.ts';

/** Rows of one answer at the most; below the warehouse's own limit, so that one more tells of a cut. */
const MAX_ROWS = 5_000;
const DEFAULT_ROWS = 1_000;
const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
};
const DAY_MS = 86_400_000;
/** Three years by hour and link is as much as one query may read. */
const MAX_RANGE_DAYS = 1_100;

const ID_NAMES: Readonly<Record<string, IntegerIdKind>> = {
  program: 'program',
  campaign: 'campaign',
  affiliate: 'affiliate',
  link: 'link',
};
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
  'verdict',
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
] as const satisfies readonly ReportDimension[];
const textFilter = z.string().max(500).optional();
const TEXT_FILTER_SHAPE = Object.fromEntries(TEXT_FILTERS.map((name) => [name, textFilter])) as Record<
  (typeof TEXT_FILTERS)[number],
  typeof textFilter
>;

const flag = z.enum(['true', 'false']).default('false');

const query = z
  .strictObject({
    from: time.meta({ description: 'Counted from here, whole hours; whole minutes when grouped by minute.' }),
    to: time.meta({ description: 'Counted up to here and no further, whole hours.' }),
    time_zone: z
      .string()
      .max(64)
      .default('UTC')
      .meta({ description: 'IANA time zone of days, weeks and months.', examples: ['Europe/Berlin'] }),
    group_by: listOf(isReportDimension, REPORT_DIMENSIONS)
      .default([])
      .meta({
        description: `Any of ${REPORT_DIMENSIONS.join(', ')}, separated by commas; empty: one row.`,
        examples: ['day,campaign'],
      }),
    metrics: listOf(isReportMetric, REPORT_METRICS)
      .default([...DEFAULT_METRICS])
      .meta({
        description: `Any of ${REPORT_METRICS.join(', ')}, separated by commas. Conversions are told by time, program, campaign, affiliate, link and country only.`,
      }),
    program_id: integerId('program').optional(),
    campaign_id: integerId('campaign').optional(),
    affiliate_id: integerId('affiliate').optional(),
    link_id: integerId('link').optional(),
    ...TEXT_FILTER_SHAPE,
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
        description: `csv, arrow and parquet are sent while they are made, with ids as numbers, up to ${MAX_EXPORT_ROWS} rows; csv by hour or minute in the order of time has no such end. Default: as the header Accept says, else json.`,
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

const cell = z.union([z.string(), z.number(), z.null()]);
const rowView = z
  .record(z.string(), cell)
  .meta({ description: 'The value of each dimension (ids as campaign_id and the like) and metric.' });

const reportView = z
  .object({
    from: timeText,
    to: timeText,
    complete_to: timeText
      .nullable()
      .meta({ description: 'Every click before this is counted; null: nothing is loaded yet.' }),
    table: z.string().meta({ description: 'The table that answered.' }),
    truncated: z
      .boolean()
      .meta({ description: 'There are more rows than the limit: next_cursor leads to them.' }),
    next_cursor: z.string().nullable().meta({ description: 'Pass it as cursor; null on the last page.' }),
    rows: z.array(rowView),
    totals: rowView.optional(),
    previous: z.object({ from: timeText, to: timeText, totals: rowView }).optional(),
  })
  .meta({ id: 'Report' });

const file = (description: string) => ({ schema: z.string().meta({ description }) });
/** JSON, or a file of the same rows. */
const reportAnswer = {
  description: 'The report. As a file it carries Afflux-Table and Afflux-Complete-To in its headers.',
  content: {
    'application/json': { schema: reportView },
    'text/csv': file('RFC 4180 with a header.'),
    [MEDIA_TYPES.arrow]: file('An Arrow IPC stream.'),
    [MEDIA_TYPES.parquet]: file('A Parquet file.'),
  },
};

function formatRow(row: ReportRow): z.output<typeof rowView> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      const kind = ID_NAMES[name];
      return kind === undefined ? [name, value] : [`${name}_id`, formatId(kind, Number(value))];
    }),
  );
}

function filtersOf(
  asked: z.output<typeof query>,
  own: { programId: number | undefined; affiliateId: number | undefined },
): ReportFilter[] {
  const ids = {
    program: own.programId,
    campaign: asked.campaign_id,
    affiliate: own.affiliateId,
    link: asked.link_id,
  };
  const texts = TEXT_FILTERS.map((name) => [name, asked[name]] as const);
  return [...(Object.entries(ids) as [keyof typeof ids, number | undefined][]), ...texts].flatMap(
    ([dimension, value]) => (value === undefined ? [] : [{ dimension, values: [value] }]),
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

async function inParameters<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const said = error.message.slice(error.field.length + 2);
    throw new InputError(PARAMETERS[error.field] ?? error.field, said);
  }
}

interface ReportContext extends ApiContext {
  readonly log: Logger;
  /** Where files of reports are. */
  readonly folder: string;
}

/** Reports over clicks and conversions; every answer says how fresh it is. */
export function addReportRoutes(app: ApiServer, context: ReportContext): void {
  const { ledger, warehouse } = context;

  async function jsonReport(options: ReportOptions, asked: z.output<typeof query>) {
    const { limit, cursor = 0 } = asked;
    const report = await runReport(warehouse, { ...options, limit: limit + 1, offset: cursor });
    const more = report.rows.length > limit;
    const before = previousPeriod(options);
    return {
      from: formatTime(report.from),
      to: formatTime(report.to),
      complete_to: report.completeTo === undefined ? null : formatTime(report.completeTo),
      table: report.table,
      truncated: more,
      next_cursor: more ? Buffer.from(`offset:${cursor + limit}`).toString('base64url') : null,
      rows: report.rows.slice(0, limit).map(formatRow),
      ...(asked.totals === 'true' && { totals: formatRow(await reportTotals(warehouse, options)) }),
      ...(asked.compare === 'true' && {
        previous: {
          from: formatTime(before.from),
          to: formatTime(before.to),
          totals: formatRow(await reportTotals(warehouse, { ...options, ...before })),
        },
      }),
    };
  }

  app.route({
    method: 'GET',
    url: '/v1/reports',
    config: { roles: ROLES, isQuery: true },
    schema: {
      operationId: 'getReport',
      tags: ['reports'],
      summary: 'Clicks and conversions by any grouping; an affiliate sees its own',
      querystring: query,
      response: { 200: reportAnswer },
    },
    handler: async (request, reply) => {
      const asked = request.query;
      const options = optionsOf(principalOf(request), asked);
      const format = asked.format ?? formatFor(request.headers.accept);
      if (format === 'json') return await inParameters(() => jsonReport(options, asked));
      const { stream, table, completeTo } = await inParameters(() =>
        exportReport(warehouse, { ...options, limit: MAX_EXPORT_ROWS, format }),
      );
      reply.header('Afflux-Table', table).type(MEDIA_TYPES[format]);
      if (completeTo) reply.header('Afflux-Complete-To', formatTime(completeTo));
      return reply.send(stream as never);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/report-jobs',
    config: { roles: ROLES, isQuery: true, idempotent: true },
    schema: {
      operationId: 'startReport',
      tags: ['reports'],
      summary: 'Have a great report written to a file; the job has the link to it once it is done',
      querystring: query,
      response: { 202: jobView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const asked = request.query;
      const format = asked.format === undefined || asked.format === 'json' ? 'csv' : asked.format;
      const options = { ...optionsOf(principal, asked), limit: MAX_EXPORT_ROWS, format };
      // What is wrong with the report is told now and not in the job.
      await inParameters(async () => checkReport(options, MAX_EXPORT_ROWS));
      let start = (): void => undefined;
      const answer = await commit(context, request, reply, async (tx) => {
        const job = await createJob(tx, {
          kind: 'report',
          programId: principal.programId,
          actor: principal.actor,
          request: { query: request.url.split('?')[1] ?? '', format },
        });
        start = () => {
          const { folder, vault, log } = context;
          const work = runReportJob({ ledger, warehouse, vault, log, folder, job, report: options });
          app.underWay.add(work);
          void work.finally(() => app.underWay.delete(work));
        };
        return { status: 202, body: formatJob(job) };
      });
      start();
      return answer;
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/jobs/:id/download',
    config: { roles: 'public', problems: ['not_found'] },
    schema: {
      operationId: 'downloadReport',
      tags: ['reports'],
      summary: 'The file of a report, by the link in its job; good for a week',
      params: z.object({ id: bigintId('job') }),
      querystring: z.object({ expires: z.string().regex(/^\d{1,12}$/), signature: z.string().max(100) }),
      response: {
        200: {
          description: 'The file.',
          content: {
            'text/csv': { schema: z.string() },
            [MEDIA_TYPES.arrow]: { schema: z.string() },
            [MEDIA_TYPES.parquet]: { schema: z.string() },
          },
        },
      },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      const job = isDownloadSigned(context.vault, { id }, request.query)
        ? await getJob(ledger, id)
        : undefined;
      const file = job?.state === 'done' ? await reportFile(context.folder, job) : undefined;
      if (!job || !file) throw notFound('file with this link');
      const { format } = job.request as { format: ExportFormat };
      return reply
        .type(MEDIA_TYPES[format])
        .header('content-length', file.bytes)
        .header('content-disposition', `attachment; filename="${formatId('job', id)}.${format}"`)
        .send(createReadStream(file.path) as never);
    },
  });
}

function optionsOf(principal: Principal, asked: z.output<typeof query>): ReportOptions {
  return {
    from: asked.from,
    to: asked.to,
    timeZone: asked.time_zone,
    groupBy: asked.group_by,
    metrics: asked.metrics,
    filters: filtersOf(asked, {
      programId: programFilter(principal, asked.program_id),
      affiliateId: affiliateFilter(principal, asked.affiliate_id),
    }),
    orderBy: orderOf(asked.order_by),
    limit: asked.limit,
    role: principal.role === 'affiliate' ? 'affiliate' : 'operator',
  };
}

/** The first format of Accept that there is; whoever accepts anything gets JSON. */
function formatFor(accept: string | undefined): 'json' | ExportFormat {
  for (const part of (accept ?? '').split(',')) {
    const type = part.split(';')[0]?.trim().toLowerCase();
    if (type === 'application/json' || type === '*/*') return 'json';
    const found = Object.entries(MEDIA_TYPES).find(([, media]) => media.split(';')[0] === type);
    if (found) return found[0] as ExportFormat;
  }
  return 'json';
}
