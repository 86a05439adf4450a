import { assert } from '../../core/errors.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import { createJob, type Job } from './jobs.ts';

/** Reports that are kept by name, and the runs of those that are made by the clock. */

/** Whole days of the report's zone before the day on which it is made: such a range is complete some time. */
export const REPORT_RANGES = [
  'yesterday',
  'last_7_days',
  'last_30_days',
  'last_90_days',
  'last_week',
  'last_month',
] as const;
export type ReportRange = (typeof REPORT_RANGES)[number];
export const SCHEDULE_EVERY = ['day', 'week', 'month'] as const;

/** Local time of the report's zone. */
export interface Schedule {
  readonly every: (typeof SCHEDULE_EVERY)[number];
  /** Of the week 1 (Monday) to 7, of the month 1 to 31 or its last; null: every day. */
  readonly onDay: number | null;
  readonly atHour: number;
}

export interface ReportSettings {
  readonly name: string;
  readonly shared: boolean;
  /** Parameters of GET /v1/reports. */
  readonly query: Readonly<Record<string, string>>;
  readonly range: ReportRange;
  readonly timeZone: string;
  readonly format: 'csv' | 'arrow' | 'parquet';
  readonly schedule: Schedule | null;
  readonly mail: boolean;
  readonly webhookId: number | null;
}

export interface SavedReport extends ReportSettings {
  readonly id: number;
  readonly programId: number;
  /** As the audit log names them. */
  readonly owner: string;
  readonly nextRunAt: Date | null;
  /** Why it is not made any more. */
  readonly stopped: string | null;
  readonly createdAt: Date;
  readonly lastRun: ReportRun | null;
}

export interface ReportRun {
  readonly jobId: bigint;
  readonly savedReportId: number;
  readonly dueAt: Date;
  /** Half-open. */
  readonly fromAt: Date;
  readonly toAt: Date;
  readonly state: Job['state'];
  readonly rowsDone: bigint;
  readonly result: Job['result'];
  readonly failure: string | null;
}

interface Row extends Omit<SavedReport, 'schedule' | 'lastRun'> {
  readonly every: Schedule['every'] | null;
  readonly onDay: number | null;
  readonly atHour: number | null;
}

const COLUMNS = [
  'id',
  'programId',
  'owner',
  'name',
  'shared',
  'query',
  'range',
  'timeZone',
  'format',
  'every',
  'onDay',
  'atHour',
  'mail',
  'webhookId',
  'nextRunAt',
  'stopped',
  'createdAt',
];

async function withRuns(sql: DatabaseSql, rows: readonly Row[]): Promise<SavedReport[]> {
  const runs = await sql<ReportRun[]>`
    select distinct on (r.saved_report_id) r.job_id, r.saved_report_id, r.due_at, r.from_at, r.to_at, j.state, j.rows_done,
      j.result, j.failure
    from report_runs r join jobs j on j.id = r.job_id
    where r.saved_report_id = any(${rows.map(({ id }) => id)}::integer[]) order by r.saved_report_id, r.due_at desc`;
  const last = new Map(runs.map((run) => [run.savedReportId, run]));
  return rows.map(({ every, onDay, atHour, ...row }) => ({
    ...row,
    schedule: every === null || atHour === null ? null : { every, onDay, atHour },
    lastRun: last.get(row.id) ?? null,
  }));
}

/** The columns of the settings, with the next run after `now`. */
async function columnsOf(sql: DatabaseSql, settings: ReportSettings, now: Date) {
  const { schedule, name, shared, query, range, timeZone, format, mail, webhookId } = settings;
  const { every = null, onDay = null, atHour = null } = schedule ?? {};
  const nextRunAt = schedule && (await slotsOf(sql, { schedule, timeZone, now })).next;
  const plain = { name, shared, range, timeZone, format, mail, webhookId };
  return { ...plain, query: sql.json(query), every, onDay, atHour, nextRunAt, stopped: null };
}

/** @throws InputError naming program_id or webhook_id. */
export async function createSavedReport(
  sql: DatabaseSql,
  report: ReportSettings & { programId: number; owner: string; party: string; now: Date },
): Promise<SavedReport> {
  const { programId, owner, party, now } = report;
  const row = { programId, owner, party, ...(await columnsOf(sql, report, now)) };
  const rows = await answeringInput(
    sql<Row[]>`insert into saved_reports ${sql.values(row)} returning ${sql(COLUMNS)}`,
  );
  return only(await withRuns(sql, rows));
}

/** With these settings from now on; what had stopped goes on. */
export async function updateSavedReport(
  sql: DatabaseSql,
  report: ReportSettings & { id: number; now: Date },
): Promise<SavedReport> {
  const row = await columnsOf(sql, report, report.now);
  const rows = await answeringInput(
    sql<Row[]>`update saved_reports set ${sql.set(row)} where id = ${report.id} returning ${sql(COLUMNS)}`,
  );
  return only(await withRuns(sql, rows));
}

function only([report]: readonly SavedReport[]): SavedReport {
  assert(report, 'a saved report is what was written');
  return report;
}

export async function deleteSavedReport(sql: DatabaseSql, id: number): Promise<void> {
  await sql`delete from saved_reports where id = ${id}`;
}

export async function getSavedReport(sql: DatabaseSql, id: number): Promise<SavedReport | undefined> {
  const rows = await sql<Row[]>`select ${sql(COLUMNS)} from saved_reports where id = ${id}`;
  return (await withRuns(sql, rows))[0];
}

export async function countSavedReports(sql: DatabaseSql, party: string): Promise<number> {
  const [row] = await sql<[{ n: number }]>`
    select count(*)::integer as n from saved_reports where party = ${party}`;
  return row.n;
}

export const SAVED_REPORT_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: { created_at: 'id', name: { type: 'text', by: (sql) => sql`name` } },
  search: (sql, { pattern, id }) => sql`name ilike ${pattern} or id = ${id}::integer`,
};

/** Those of the owner and, `withShared`, those of others in the program that are shared. */
export async function listSavedReports(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    owner: string;
    withShared: boolean;
    programId?: number | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<SavedReport, number>> {
  const { owner, withShared, programId = null, from = null, to = null } = request;
  const page = listClauses(sql, SAVED_REPORT_LIST, request);
  const rows = await sql<(Row & { sortKey?: string })[]>`
    select ${sql(COLUMNS)}, ${page.key} from saved_reports
    where ${page.where}
      and (owner = ${owner} or (${withShared} and shared))
      and (${programId}::integer is null or program_id = ${programId})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  const { rows: shown, ...rest } = pageOf(rows, request);
  return { ...rest, rows: await withRuns(sql, shown) };
}

/**
 * The last time at which a schedule is due until `now`, and the next one. PostgreSQL knows the clocks: an hour that they
 * leave out is the one after it, one that they show twice is due once.
 */
export async function slotsOf(
  sql: DatabaseSql,
  { schedule, timeZone, now }: { schedule: Schedule; timeZone: string; now: Date },
): Promise<{ last: Date; next: Date }> {
  const { every, onDay, atHour } = schedule;
  const [row] = await sql<[{ last: Date; next: Date }]>`
    with slots as (
      select (day + make_interval(hours => ${atHour}::integer)) at time zone ${timeZone} as at
      from (select date_trunc('day', ${now}::timestamptz at time zone ${timeZone}) as today) t,
        generate_series(today - interval '32 days', today + interval '32 days', interval '1 day') as day
      where case ${every}::text
        when 'day' then true
        when 'week' then extract(isodow from day) = ${onDay}::integer
        else extract(day from day) = least(${onDay}::integer,
          extract(day from date_trunc('month', day) + interval '1 month - 1 day')) end
    )
    select max(at) filter (where at <= ${now}) as last, min(at) filter (where at > ${now}) as next from slots`;
  return row;
}

/** What a range is at a time, in a zone: half-open. */
export async function rangeAt(
  sql: DatabaseSql,
  { range, timeZone, at }: { range: ReportRange; timeZone: string; at: Date },
): Promise<{ from: Date; to: Date }> {
  const [row] = await sql<[{ from: Date; to: Date }]>`
    select
      case ${range}::text
        when 'yesterday' then today - interval '1 day'
        when 'last_7_days' then today - interval '7 days'
        when 'last_30_days' then today - interval '30 days'
        when 'last_90_days' then today - interval '90 days'
        when 'last_week' then date_trunc('week', today) - interval '7 days'
        else date_trunc('month', today) - interval '1 month' end at time zone ${timeZone} as "from",
      case ${range}::text
        when 'last_week' then date_trunc('week', today)
        when 'last_month' then date_trunc('month', today)
        else today end at time zone ${timeZone} as "to"
    from (select date_trunc('day', ${at}::timestamptz at time zone ${timeZone}) as today) t`;
  return row;
}

/**
 * Begins a run of a report that is due, if there is one: a job, once for each time. Of several times that were missed the
 * last one is made up.
 */
export async function beginDueRun(tx: DatabaseTransaction, now: Date): Promise<boolean> {
  const rows = await tx<Row[]>`
    select ${tx(COLUMNS)} from saved_reports where next_run_at <= ${now}
    order by next_run_at, id limit 1 for no key update skip locked`;
  const [report] = await withRuns(tx, rows);
  if (!report) return false;
  assert(report.schedule, 'what has a next run has a schedule');
  const { id, programId, owner, name, query, range, timeZone, format, schedule } = report;
  const { last: dueAt, next } = await slotsOf(tx, { schedule, timeZone, now });
  await tx`update saved_reports set next_run_at = ${next} where id = ${id}`;
  const { from, to } = await rangeAt(tx, { range, timeZone, at: dueAt });
  const request = { saved_report: { id, name }, query, from, to, time_zone: timeZone, format };
  const job = await createJob(tx, { kind: 'report', programId, actor: owner, request });
  await tx`
    insert into report_runs (job_id, saved_report_id, due_at, from_at, to_at)
    values (${job.id}, ${id}, ${dueAt}, ${from}, ${to})`;
  return true;
}

/** A run that has not ended, and its report as it is now. */
export interface OpenRun {
  readonly jobId: bigint;
  readonly dueAt: Date;
  readonly from: Date;
  readonly to: Date;
  readonly report: SavedReport;
}

/** Runs that have not ended, the oldest first; without those whose job was given up after a day. */
export async function openRuns(sql: DatabaseSql): Promise<OpenRun[]> {
  const runs = await sql<Omit<OpenRun & { savedReportId: number }, 'report'>[]>`
    select r.job_id, r.saved_report_id, r.due_at, r.from_at as "from", r.to_at as "to"
    from report_runs r join jobs j on j.id = r.job_id and j.state = 'running'
    where r.ended_at is null order by r.job_id`;
  const rows = await sql<Row[]>`
    select ${sql(COLUMNS)} from saved_reports
    where id = any(${runs.map(({ savedReportId }) => savedReportId)}::integer[])`;
  const reports = new Map((await withRuns(sql, rows)).map((report) => [report.id, report]));
  return runs.flatMap(({ savedReportId, ...run }) => {
    const report = reports.get(savedReportId);
    return report ? [{ ...run, report }] : [];
  });
}

/** Ends a run; false when it has ended, or is gone with its report. */
export async function endRun(tx: DatabaseTransaction, jobId: bigint): Promise<boolean> {
  const ended = await tx`
    update report_runs set ended_at = clock_timestamp() where job_id = ${jobId} and ended_at is null`.affected();
  return ended > 0;
}

/** No run any more, until the report is changed. */
export async function stopSavedReport(
  tx: DatabaseTransaction,
  { id, reason }: { id: number; reason: string },
): Promise<void> {
  await tx`update saved_reports set next_run_at = null, stopped = ${reason.slice(0, 500)} where id = ${id}`;
}
