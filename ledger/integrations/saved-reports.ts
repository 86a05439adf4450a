import { isDeepStrictEqual } from 'node:util';
import { assert } from '../../core/errors.ts';
import { isLiveKey } from '../access/api-keys.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';
import type { Job } from './jobs.ts';

/** Reports that are kept by name. */

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
  /** Whom a limit counts. */
  readonly party: string;
  /** Whether its owner has access. */
  readonly isOwned: boolean;
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
  'party',
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

/** Whether the owner of a saved report has access: a user who is active, or a key that works. */
const ownerLives = (sql: DatabaseSql) => sql`case
  when saved_reports.owner like 'user:%' then exists (
    select from users where id = substr(saved_reports.owner, 6)::integer and status = 'active')
  else exists (
    select from api_keys where id = substr(saved_reports.owner, 5)::integer and ${isLiveKey(sql, new Date())}) end`;
const columns = (sql: DatabaseSql) => sql`${sql(COLUMNS)}, ${ownerLives(sql)} as is_owned`;

function reportOf({ every, onDay, atHour, ...row }: Row, lastRun: ReportRun | null = null): SavedReport {
  const schedule = every === null || atHour === null ? null : { every, onDay, atHour };
  return { ...row, schedule, lastRun };
}

async function withRuns(sql: DatabaseSql, rows: readonly Row[]): Promise<SavedReport[]> {
  const runs = await sql<ReportRun[]>`
    select r.job_id, r.saved_report_id, r.due_at, r.from_at, r.to_at, j.state, j.rows_done, j.result, j.failure
    from unnest(${rows.map(({ id }) => id)}::integer[]) as wanted (id)
    cross join lateral (select * from report_runs where saved_report_id = wanted.id order by due_at desc limit 1) r
    join jobs j on j.id = r.job_id`;
  const last = new Map(runs.map((run) => [run.savedReportId, run]));
  return rows.map((row) => reportOf(row, last.get(row.id)));
}

/** The reports of these ids, without their last runs. */
export async function savedReportsOf(sql: DatabaseSql, ids: readonly number[]): Promise<SavedReport[]> {
  const rows = await sql<
    Row[]
  >`select ${columns(sql)} from saved_reports where id = any(${[...ids]}::integer[])`;
  return rows.map((row) => reportOf(row));
}

function columnsOf(sql: DatabaseSql, settings: ReportSettings) {
  const { schedule, name, shared, query, range, timeZone, format, mail, webhookId } = settings;
  const { every = null, onDay = null, atHour = null } = schedule ?? {};
  const plain = { name, shared, range, timeZone, format, mail, webhookId };
  return { ...plain, query: sql.json(query), every, onDay, atHour };
}

async function nextRunOf(sql: DatabaseSql, { schedule, timeZone }: ReportSettings): Promise<Date | null> {
  return schedule && (await slotsOf(sql, { schedule, timeZone, now: await databaseTime(sql) })).next;
}

/** By the one clock of the database: schedules of several processes are compared with each other. */
export async function databaseTime(sql: DatabaseSql): Promise<Date> {
  const [row] = await sql<[{ now: Date }]>`select clock_timestamp() as now`;
  return row.now;
}

/** @throws InputError naming program_id or webhook_id. */
export async function createSavedReport(
  sql: DatabaseSql,
  report: ReportSettings & { programId: number; owner: string; party: string },
): Promise<SavedReport> {
  const { programId, owner, party } = report;
  const row = { programId, owner, party, ...columnsOf(sql, report), nextRunAt: await nextRunOf(sql, report) };
  const rows = await answeringInput(
    sql<Row[]>`insert into saved_reports ${sql.values(row)} returning ${columns(sql)}`,
  );
  return only(await withRuns(sql, rows));
}

/** With these settings from now on; what had stopped goes on. A run that is due by the same schedule stays due. */
export async function updateSavedReport(
  sql: DatabaseSql,
  settings: ReportSettings & { before: SavedReport },
): Promise<SavedReport> {
  const { before } = settings;
  const isSame =
    before.stopped === null &&
    before.timeZone === settings.timeZone &&
    isDeepStrictEqual(before.schedule, settings.schedule);
  const nextRunAt = isSame ? before.nextRunAt : await nextRunOf(sql, settings);
  const row = { ...columnsOf(sql, settings), nextRunAt, stopped: null };
  const rows = await answeringInput(
    sql<Row[]>`update saved_reports set ${sql.set(row)} where id = ${before.id} returning ${columns(sql)}`,
  );
  return only(await withRuns(sql, rows));
}

/** A key that takes over from another has its reports. */
export async function handOnSavedReports(
  sql: DatabaseSql,
  { from, to }: { from: string; to: string },
): Promise<void> {
  await sql`update saved_reports set owner = ${to} where owner = ${from}`;
}

function only([report]: readonly SavedReport[]): SavedReport {
  assert(report, 'a saved report is what was written');
  return report;
}

/** With its runs; the jobs of those that have not ended fail. */
export async function deleteSavedReport(tx: DatabaseTransaction, id: number): Promise<void> {
  await tx`
    update jobs set state = 'failed', failure = 'the saved report was deleted', finished_at = clock_timestamp()
    where state = 'running' and id in (
      select job_id from report_runs where saved_report_id = ${id} and ended_at is null)`;
  await tx`delete from saved_reports where id = ${id}`;
}

export async function getSavedReport(sql: DatabaseSql, id: number): Promise<SavedReport | undefined> {
  const rows = await sql<Row[]>`select ${columns(sql)} from saved_reports where id = ${id}`;
  return (await withRuns(sql, rows))[0];
}

/** Those of a party whose owners have access: a key that has ended takes no room. */
export async function countSavedReports(sql: DatabaseSql, party: string): Promise<number> {
  const [row] = await sql<[{ n: number }]>`
    select count(*)::integer as n from saved_reports
    where party = ${party} and ${ownerLives(sql)}`;
  return row.n;
}

export const SAVED_REPORT_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: { created_at: 'id', name: { type: 'text', by: (sql) => sql`name` } },
  search: (sql, { pattern, id }) => sql`name ilike ${pattern} or id = ${id}::integer`,
};

/**
 * Those of the owner and of its party; `withShared` also those of others in the program that are shared, `withOrphans` those
 * whose owners have no access.
 */
export async function listSavedReports(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    owner: string;
    party: string;
    withShared: boolean;
    withOrphans: boolean;
    programId?: number | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<SavedReport, number>> {
  const { owner, party, withShared, withOrphans } = request;
  const { programId = null, from = null, to = null } = request;
  const page = listClauses(sql, SAVED_REPORT_LIST, request);
  const rows = await sql<(Row & { sortKey?: string })[]>`
    select ${columns(sql)}, ${page.key} from saved_reports
    where ${page.where}
      and (owner = ${owner} or party = ${party} or (${withShared} and shared)
        or (${withOrphans} and not ${ownerLives(sql)}))
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

/** Clocks are put back by less than this. */
const CLOCK_CHANGE = '3 hours';

/**
 * What a range is at a time, in a zone: half-open. A day begins with the first instant of its date: where the clocks show
 * midnight twice with the first of the two, where they leave it out after it.
 */
export async function rangeAt(
  sql: DatabaseSql,
  { range, timeZone, at }: { range: ReportRange; timeZone: string; at: Date },
): Promise<{ from: Date; to: Date }> {
  const beginning = (day: 'first' | 'end') => sql`(
    select min(instant) from generate_series(
      ${sql(day)} at time zone ${timeZone} - ${CLOCK_CHANGE}::interval, ${sql(day)} at time zone ${timeZone},
      interval '15 minutes') as instant
    where instant at time zone ${timeZone} >= ${sql(day)})`;
  const [row] = await sql<[{ from: Date; to: Date }]>`
    select ${beginning('first')} as "from", ${beginning('end')} as "to"
    from (select date_trunc('day', ${at}::timestamptz at time zone ${timeZone}) as today) t
    cross join lateral (
      select
        case ${range}::text
          when 'yesterday' then today - interval '1 day'
          when 'last_7_days' then today - interval '7 days'
          when 'last_30_days' then today - interval '30 days'
          when 'last_90_days' then today - interval '90 days'
          when 'last_week' then date_trunc('week', today) - interval '7 days'
          else date_trunc('month', today) - interval '1 month' end as first,
        case ${range}::text
          when 'last_week' then date_trunc('week', today)
          when 'last_month' then date_trunc('month', today)
          else today end as "end") days`;
  return row;
}
