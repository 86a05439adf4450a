import { z } from 'zod';
import { canonicalTimeZone } from '../../core/time.ts';
import {
  REPORT_RANGES,
  type ReportSettings,
  type SavedReport,
  SCHEDULE_EVERY,
} from '../../ledger/integrations/saved-reports.ts';
import { EXPORT_FORMATS, MAX_EXPORT_ROWS } from '../../warehouse/reports/report-export.ts';
import { checkReport, type ReportOptions } from '../../warehouse/reports/reports.ts';
import { type Principal, partyOf, programFilter } from '../http/principal.ts';
import { invalidField } from '../http/problems.ts';
import { formatId, formatOptionalId, idText, integerId } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, nameText, timeText } from '../schemas/schemas.ts';
import type { ReportResult } from './report-jobs.ts';
import { inParameters, reportOptions, reportQuery } from './report-query.ts';

/** A report that is kept by name: as it is written in bodies, checked, and shown. */

/** Who sees what others share: partners and shops see their own alone. */
const TEAM: readonly string[] = ['operator', 'finance', 'fraud'];
/** A parameter of a report is no longer. */
const MAX_PARAMETER_LENGTH = 500;
/** What the report says itself. */
const OWN_PARAMETERS = [
  'from',
  'to',
  'time_zone',
  'program_id',
  'format',
  'cursor',
  'limit',
  'totals',
  'compare',
];

const scheduleSchema = z
  .strictObject({
    every: z.enum(SCHEDULE_EVERY),
    day: z.int().min(1).max(31).nullable().meta({
      description: 'week: 1 (Monday) to 7; month: 1 to 31, or its last day where it is shorter; day: null.',
    }),
    hour: z.int().min(0).max(23).meta({
      description: 'Local time of time_zone; an hour that the clocks leave out is the one after it.',
    }),
  })
  .refine(({ every, day }) => (every === 'day') === (day === null) && (every !== 'week' || (day ?? 0) <= 7), {
    path: ['day'],
    message: 'must be null for every day, 1 to 7 for every week, 1 to 31 for every month',
  });

const fields = {
  name: nameText,
  shared: z.boolean().meta({
    description:
      'Operators, finance and the fraud team of the program see it, too; each with the figures that they may see.',
  }),
  query: z
    .record(z.string().max(64), z.string().max(MAX_PARAMETER_LENGTH))
    .meta({ description: `Parameters of GET /v1/reports other than ${OWN_PARAMETERS.join(', ')}.` }),
  range: z.enum(REPORT_RANGES).meta({ description: 'Whole days before the day of the run.' }),
  time_zone: z
    .string()
    .max(64)
    .refine(
      (zone) => canonicalTimeZone(zone) !== undefined,
      'must be an IANA time zone such as Europe/Berlin',
    )
    .meta({ examples: ['Europe/Berlin'] }),
  format: z.enum(Object.keys(EXPORT_FORMATS) as [keyof typeof EXPORT_FORMATS]),
  schedule: scheduleSchema.nullable(),
  mail: z.boolean().meta({ description: 'A link to the file of each run by mail to the user who owns it.' }),
  webhook_id: integerId('webhookEndpoint').nullable().meta({
    description: 'Gets the event report.ready with a link to the file of each run; null: none.',
  }),
};

export const createSchema = z.strictObject({
  program_id: integerId('program').optional(),
  name: fields.name,
  shared: fields.shared.default(false),
  query: fields.query,
  range: fields.range,
  time_zone: fields.time_zone.default('UTC'),
  format: fields.format.default('csv'),
  schedule: fields.schedule.default(null),
  mail: fields.mail.default(false),
  webhook_id: fields.webhook_id.default(null),
});
export const changeSchema = z.strictObject(fields).partial();

const runView = z.object({
  job_id: idText('job'),
  due_at: timeText,
  from: timeText,
  to: timeText,
  state: z
    .enum(['waiting', 'done', 'failed'])
    .meta({ description: 'waiting: for complete figures, or being made.' }),
  rows: z.string(),
  complete_to: timeText.nullable(),
  orders_complete_to: timeText.nullable().meta({
    description: 'Every change of orders before this is in it; null: it has no figures of orders.',
  }),
  failure: z.string().nullable(),
});

export const savedReportView = z
  .object({
    id: idText('savedReport'),
    program_id: idText('program'),
    name: z.string(),
    may_delete: z.boolean().meta({
      description: 'Its owner and its party do; an operator, when its owner has no access any more.',
    }),
    is_own: z.boolean().meta({ description: 'Only the owner changes it.' }),
    shared: z.boolean(),
    query: z.record(z.string(), z.string()),
    range: z.enum(REPORT_RANGES),
    time_zone: z.string(),
    format: fields.format,
    schedule: z.object({ every: z.enum(SCHEDULE_EVERY), day: z.int().nullable(), hour: z.int() }).nullable(),
    mail: z.boolean(),
    webhook_id: idText('webhookEndpoint').nullable(),
    next_run_at: timeText.nullable(),
    stopped_reason: z
      .string()
      .nullable()
      .meta({ description: 'Why it is made no more; a change has it made again.' }),
    last_run: runView.nullable().meta({ description: 'Null for others than the owner.' }),
    created_at: timeText,
  })
  .meta({ id: 'SavedReport' });

export function formatSavedReport(
  report: SavedReport,
  principal: Principal,
): z.output<typeof savedReportView> {
  const { schedule, lastRun } = report;
  const isOwn = report.owner === principal.actor;
  return {
    id: formatId('savedReport', report.id),
    program_id: formatId('program', report.programId),
    name: report.name,
    may_delete: mayDelete(principal, report),
    is_own: isOwn,
    shared: report.shared,
    query: { ...report.query },
    range: report.range,
    time_zone: report.timeZone,
    format: report.format,
    schedule: schedule && { every: schedule.every, day: schedule.onDay, hour: schedule.atHour },
    mail: report.mail,
    webhook_id: formatOptionalId('webhookEndpoint', report.webhookId),
    next_run_at: formatOptionalTime(report.nextRunAt),
    stopped_reason: report.stopped,
    last_run: isOwn && lastRun ? formatRun(lastRun) : null,
    created_at: formatTime(report.createdAt),
  };
}

function formatRun(run: NonNullable<SavedReport['lastRun']>): z.output<typeof runView> {
  const made = (run.result ?? {}) as Partial<ReportResult>;
  return {
    job_id: formatId('job', run.jobId),
    due_at: formatTime(run.dueAt),
    from: formatTime(run.fromAt),
    to: formatTime(run.toAt),
    state: run.state === 'running' ? 'waiting' : run.state,
    rows: String(run.rowsDone),
    complete_to: made.complete_to ?? null,
    orders_complete_to: made.orders_complete_to ?? null,
    failure: run.failure,
  };
}

export function seesShared({ role }: Principal): boolean {
  return TEAM.includes(role);
}

/** Who sees and removes reports without an owner: no other party could. */
export function seesOrphans({ role }: Principal): boolean {
  return role === 'operator';
}

export function mayDelete(principal: Principal, report: SavedReport): boolean {
  return (
    report.owner === principal.actor ||
    report.party === partyOf(principal) ||
    (seesOrphans(principal) && !report.isOwned)
  );
}

/** The report if the principal may see it: its own, and of the program's team what is shared. */
export function isVisible(principal: Principal, report: SavedReport): boolean {
  const foreign = principal.programId !== null && report.programId !== principal.programId;
  return !foreign && (mayDelete(principal, report) || (seesShared(principal) && report.shared));
}

/**
 * The report of a range as the principal may see it now. @throws Problem or InputError, naming `query.…`, for what is no
 * report, or is none of theirs.
 */
export async function savedOptions(
  principal: Principal,
  { query, timeZone, programId }: Pick<ReportSettings, 'query' | 'timeZone'> & { programId: number },
  { from, to }: { from: Date; to: Date },
): Promise<ReportOptions> {
  const unknown = Object.keys(query).find((name) => OWN_PARAMETERS.includes(name));
  if (unknown !== undefined) throw invalidField(`query.${unknown}`, 'is no parameter of a saved report');
  const parsed = reportQuery.safeParse({
    ...query,
    from: from.toISOString(),
    to: to.toISOString(),
    time_zone: timeZone,
    program_id: formatId('program', programId),
  });
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0];
    throw invalidField(`query.${String(name ?? '')}`, issue?.message ?? 'is no parameter of a report');
  }
  programFilter(principal, programId);
  const options = { ...reportOptions(principal, parsed.data), limit: MAX_EXPORT_ROWS };
  await inParameters(async () => checkReport(options, MAX_EXPORT_ROWS));
  return options;
}
