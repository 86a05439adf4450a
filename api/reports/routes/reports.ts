import { createReadStream } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Logger } from '../../../core/service/log.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { createJob, getJob, type Job } from '../../../ledger/integrations/jobs.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import type { Warehouse } from '../../../warehouse/clickhouse/client.ts';
import {
  type ExportFormat,
  exportReport,
  MAX_EXPORT_ROWS,
} from '../../../warehouse/reports/report-export.ts';
import {
  checkReport,
  previousPeriod,
  type ReportOptions,
  type ReportRow,
  reportTotals,
  runReport,
} from '../../../warehouse/reports/reports.ts';
import { principalOfActor } from '../../auth/live-access.ts';
import { READING_REPORTS, refusalOf } from '../../http/admission.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { acceptedFormat } from '../../http/wire/encodings.ts';
import { bigintId, formatId, type IntegerIdKind } from '../../schemas/ids.ts';
import { fileBytes, formatTime, timeText, wholeNumber } from '../../schemas/schemas.ts';
import { formatJob, jobView } from '../job-view.ts';
import { isDownloadSigned, type ReportResult, reportFile, rightsOf, runReportJob } from '../report-jobs.ts';
import { inParameters, type ReportQuery, reportOptions, reportQuery } from '../report-query.ts';

const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8',
  arrow: 'application/vnd.apache.arrow.stream',
  parquet: 'application/vnd.apache.parquet',
};
const ID_NAMES: Readonly<Record<string, IntegerIdKind>> = {
  program: 'program',
  campaign: 'campaign',
  affiliate: 'affiliate',
  link: 'link',
};
/** Unix seconds. */
const MAX_EXPIRES = 999_999_999_999;
const cell = z.union([z.string(), z.number(), z.null()]);
/** Not a record: it is checked in half of the time, 5,000 rows in 7 instead of 15 ms. */
const rowView = z
  .object({})
  .catchall(cell)
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

/** JSON, or a file of the same rows. */
const reportAnswer = {
  description: 'The report. As a file it carries Afflux-Table and Afflux-Complete-To in its headers.',
  content: {
    'application/json': { schema: reportView },
    'text/csv': { schema: z.string().meta({ description: 'RFC 4180 with a header.' }) },
    [MEDIA_TYPES.arrow]: { schema: fileBytes('An Arrow IPC stream.') },
    [MEDIA_TYPES.parquet]: { schema: fileBytes('A Parquet file.') },
  },
};

type Row = z.output<typeof rowView>;

/** Rows of one report, which have the same columns. */
function formatRows(rows: readonly ReportRow[]): Row[] {
  const columns = Object.keys(rows[0] ?? {}).map((name) => {
    const kind = ID_NAMES[name];
    return { name: name as keyof ReportRow, kind, shownAs: kind === undefined ? name : `${name}_id` };
  });
  return rows.map((row) => {
    const shown: Row = {};
    for (const { name, kind, shownAs } of columns) {
      const value = row[name] ?? null;
      shown[shownAs] = kind === undefined ? value : formatId(kind, Number(value));
    }
    return shown;
  });
}

const formatRow = (row: ReportRow): Row => formatRows([row])[0] ?? {};

interface ReportContext extends ApiContext {
  readonly log: Logger;
  /** Where files of reports are. */
  readonly folder: string;
}

/** Reports over clicks and conversions; every answer says how fresh it is. */
export function addReportRoutes(app: ApiServer, context: ReportContext): void {
  const { ledger, warehouse } = context;

  app.route({
    method: 'GET',
    url: '/v1/reports',
    config: { roles: ROLES, isQuery: true, problems: ['too_costly'] },
    schema: {
      operationId: 'getReport',
      tags: ['reports'],
      summary: 'Clicks and conversions by any grouping; an affiliate sees its own',
      querystring: reportQuery,
      response: { 200: reportAnswer },
    },
    handler: async (request, reply) => {
      const query = request.query;
      const options = reportOptions(principalOf(request), query);
      const format = query.format ?? acceptedFormat(request, { json: 'application/json', ...MEDIA_TYPES });
      if (format === 'json') return await inParameters(() => jsonReport(warehouse, options, query));
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
    config: { roles: ROLES, isQuery: true, idempotent: true, problems: ['too_costly'] },
    schema: {
      operationId: 'startReport',
      tags: ['reports'],
      summary: 'Write a large report to a file; the job has its link once it is done',
      querystring: reportQuery,
      response: { 202: jobView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const query = request.query;
      const format = query.format === undefined || query.format === 'json' ? 'csv' : query.format;
      const options = { ...reportOptions(principal, query), limit: MAX_EXPORT_ROWS, format };
      // Faults of the report fail the request, not the job.
      await inParameters(async () => checkReport(options, MAX_EXPORT_ROWS));
      return await commit(context, request, reply, async (tx) => {
        const job = await createJob(tx, {
          kind: 'report',
          programId: principal.programId,
          actor: principal.actor,
          request: { query: request.url.split('?')[1] ?? '', format },
        });
        const { folder, secretBox, log } = context;
        const after = () => {
          const report = { ledger, warehouse, secretBox, log, folder, job, principal, report: options };
          request.lastingQuery = runReportJob(report);
          return request.lastingQuery;
        };
        return { status: 202, body: formatJob(job, principal), after };
      });
    },
  });

  addDownloadRoute(app, context);
}

function addDownloadRoute(app: ApiServer, { ledger, secretBox, folder }: ReportContext): void {
  app.route({
    method: 'GET',
    url: '/v1/jobs/:id/download',
    config: { roles: 'public', problems: ['not_found'] },
    schema: {
      operationId: 'downloadReport',
      tags: ['reports'],
      summary:
        'The file of a report, by the link in its job; good for a week, while who made it may read reports',
      params: z.object({ id: bigintId('job') }),
      querystring: z.looseObject({
        expires: wholeNumber({ min: 0, max: MAX_EXPIRES }),
        signature: z.string().max(100),
      }),
      response: {
        200: {
          description: 'The file.',
          content: {
            'text/csv': { schema: z.string() },
            [MEDIA_TYPES.arrow]: { schema: fileBytes() },
            [MEDIA_TYPES.parquet]: { schema: fileBytes() },
          },
        },
      },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      const job = isDownloadSigned(secretBox, { id }, request.query) ? await getJob(ledger, id) : undefined;
      const file = job?.state === 'done' ? await reportFile(folder, job) : undefined;
      if (!job || !file || !(await mayRead(ledger, job))) throw notFound('file with this link');
      const { format } = job.request as { format: ExportFormat };
      return reply
        .type(MEDIA_TYPES[format])
        .header('content-length', file.bytes)
        .header('content-disposition', `attachment; filename="${formatId('job', id)}.${format}"`)
        .send(createReadStream(file.path) as never);
    },
  });
}

/**
 * Whether who asked for a report still may read it: the link in wrong hands ends with the key or user that made it, and
 * with the rights for which it was made.
 */
async function mayRead(ledger: Database, { actor, result }: Job): Promise<boolean> {
  const principal = await principalOfActor(ledger, actor);
  if (principal === undefined || refusalOf(principal, READING_REPORTS) !== undefined) return false;
  const { rights } = result as Partial<ReportResult>;
  const present = rightsOf(principal);
  // Files of before have none, and are gone within a week.
  return rights === undefined || isDeepStrictEqual({ ...rights }, { ...present });
}

async function jsonReport(warehouse: Warehouse, options: ReportOptions, query: ReportQuery) {
  const { limit, cursor = 0 } = query;
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
    rows: formatRows(report.rows.slice(0, limit)),
    ...(query.totals && { totals: formatRow(await reportTotals(warehouse, options)) }),
    ...(query.compare && {
      previous: {
        from: formatTime(before.from),
        to: formatTime(before.to),
        totals: formatRow(await reportTotals(warehouse, { ...options, ...before })),
      },
    }),
  };
}
