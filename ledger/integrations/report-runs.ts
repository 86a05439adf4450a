import { assert } from '../../core/errors.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { createJob } from './jobs.ts';
import { type ReportSettings, rangeAt, type SavedReport, savedReportsOf, slotsOf } from './saved-reports.ts';

/** Runs of saved reports: each is a job, once for each time at which its report is due. */

/** Reports that are due, the longest waiting first. */
export async function dueReports(sql: DatabaseSql, now: Date): Promise<number[]> {
  const rows = await sql<{ id: number }[]>`
    select id from saved_reports where next_run_at <= ${now} order by next_run_at, id`;
  return rows.map(({ id }) => id);
}

/**
 * Begins the run of a report that is due; false when another process has, or it has run for that time already. Of several
 * times that were missed the last one is made up.
 */
export async function beginRun(
  tx: DatabaseTransaction,
  options: { id: number; now: Date },
): Promise<boolean> {
  const { id, now } = options;
  const locked = await tx`
    select from saved_reports where id = ${id} and next_run_at <= ${now} for no key update skip locked`;
  if (locked.length === 0) return false;
  const [report] = await savedReportsOf(tx, [id]);
  assert(report?.schedule, 'what has a next run has a schedule');
  const { programId, owner, name, query, range, timeZone, format, schedule } = report;
  const { last: dueAt, next } = await slotsOf(tx, { schedule, timeZone, now });
  await tx`update saved_reports set next_run_at = ${next} where id = ${id}`;
  const before = await tx`select from report_runs where saved_report_id = ${id} and due_at = ${dueAt}`;
  if (before.length > 0) return false;
  const { from, to } = await rangeAt(tx, { range, timeZone, at: dueAt });
  const request = { saved_report: { id, name }, query, from, to, time_zone: timeZone, format };
  const { id: jobId } = await createJob(tx, { kind: 'report', programId, actor: owner, request });
  await tx`
    insert into report_runs (job_id, saved_report_id, due_at, from_at, to_at, query, time_zone, format)
    values (${jobId}, ${id}, ${dueAt}, ${from}, ${to}, ${tx.json(query)}, ${timeZone}, ${format})`;
  return true;
}

/** A run that has not ended, with what it counts, and its report as it is now. */
export interface OpenRun extends Pick<ReportSettings, 'query' | 'timeZone' | 'format'> {
  readonly jobId: bigint;
  readonly dueAt: Date;
  /** When it was due, or begun after that. */
  readonly since: Date;
  /** Half-open. */
  readonly from: Date;
  readonly to: Date;
  /** So often it has failed for a reason that may pass. */
  readonly tries: number;
  readonly report: SavedReport;
}

/** Runs that have not ended, the oldest first. */
export async function openRuns(sql: DatabaseSql): Promise<OpenRun[]> {
  const runs = await sql<(Omit<OpenRun, 'report'> & { savedReportId: number })[]>`
    select r.job_id, r.saved_report_id, r.due_at, greatest(r.due_at, j.created_at) as since, r.from_at as "from",
      r.to_at as "to", r.query, r.time_zone, r.format, r.tries
    from report_runs r join jobs j on j.id = r.job_id where r.ended_at is null order by r.job_id`;
  const reports = await savedReportsOf(
    sql,
    runs.map(({ savedReportId }) => savedReportId),
  );
  const byId = new Map(reports.map((report) => [report.id, report]));
  return runs.flatMap(({ savedReportId, ...run }) => {
    const report = byId.get(savedReportId);
    return report ? [{ ...run, report }] : [];
  });
}

/** Counts a failure for a reason that may pass. */
export async function countTry(sql: DatabaseSql, jobId: bigint): Promise<void> {
  await sql`update report_runs set tries = tries + 1 where job_id = ${jobId}`;
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

/** Forgets runs that ended before, with their jobs; each report keeps its last one. */
export async function forgetReportRuns(
  sql: DatabaseSql,
  options: { before: Date; limit: number },
): Promise<void> {
  await sql`
    delete from jobs where id in (
      select r.job_id from report_runs r where r.ended_at < ${options.before} and exists (
        select from report_runs later where later.saved_report_id = r.saved_report_id and later.due_at > r.due_at)
      order by r.ended_at limit ${options.limit})`;
}
