import type { JsonValue } from '../../core/postgres/sql.ts';
import { keptJson, keptText } from '../../core/secret-forms.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';

export const JOB_KINDS = ['import', 'report', 'audit'] as const;
export type JobKind = (typeof JOB_KINDS)[number];
export const JOB_STATES = ['running', 'done', 'failed'] as const;

/** Work that outlasts a request. */
export interface Job {
  readonly id: bigint;
  readonly kind: JobKind;
  /** Null: of every program. */
  readonly programId: number | null;
  readonly actor: string;
  readonly state: (typeof JOB_STATES)[number];
  readonly request: JsonValue;
  /** 0 until it is known. */
  readonly rowsTotal: bigint;
  readonly rowsDone: bigint;
  readonly result: JsonValue;
  readonly failure: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

const COLUMNS = [
  'id',
  'kind',
  'programId',
  'actor',
  'state',
  'request',
  'rowsTotal',
  'rowsDone',
  'result',
  'failure',
  'createdAt',
  'finishedAt',
];

export async function createJob(
  sql: DatabaseSql,
  job: Pick<Job, 'kind' | 'programId' | 'actor' | 'request'> & { rowsTotal?: number },
): Promise<Job> {
  const { kind, programId, actor, request, rowsTotal = 0 } = job;
  const [created] = await sql<[Job]>`
    insert into jobs (kind, program_id, actor, request, rows_total)
    values (${kind}, ${programId}, ${actor}, ${sql.json(keptJson(request))}, ${rowsTotal}) returning ${sql(COLUMNS)}`;
  return created;
}

export async function getJob(sql: DatabaseSql, id: bigint): Promise<Job | undefined> {
  const [job] = await sql<Job[]>`select ${sql(COLUMNS)} from jobs where id = ${id}`;
  return job;
}

export const JOB_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    created_at: 'id',
    kind: { type: 'text', by: (sql) => sql`kind` },
    state: { type: 'text', by: (sql) => sql`state` },
  },
  search: (sql, { text, pattern, id }) =>
    sql`request::text ilike ${pattern} or actor = ${text} or id = ${id}::bigint`,
};

/** Jobs, the newest first. */
export async function listJobs(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    kind?: JobKind | undefined;
    actor?: string | undefined;
    state?: Job['state'] | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Job, bigint>> {
  const { programId = null, kind = null, actor = null, state = null } = request;
  const { from = null, to = null } = request;
  const page = listClauses(sql, JOB_LIST, request);
  const rows = await sql<Job[]>`
    select ${sql(COLUMNS)}, ${page.key} from jobs
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${kind}::text is null or kind = ${kind})
      and (${actor}::text is null or actor = ${actor})
      and (${state}::text is null or state = ${state})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** The job of a kind that runs now, begun after `since`: an older one is abandoned. */
export async function findRunning(
  sql: DatabaseSql,
  options: { kind: JobKind; since: Date },
): Promise<Job | undefined> {
  const [job] = await sql<Job[]>`
    select ${sql(COLUMNS)} from jobs
    where kind = ${options.kind} and state = 'running' and created_at >= ${options.since} order by id desc limit 1`;
  return job;
}

export async function reportProgress(
  sql: DatabaseSql,
  options: { id: bigint; rowsDone: number },
): Promise<void> {
  await sql`update jobs set rows_done = ${options.rowsDone} where id = ${options.id} and state = 'running'`;
}

/** Ends a job; false when it has ended already, and keeps the outcome that it had then. */
export async function finishJob(
  sql: DatabaseSql,
  options: { id: bigint; rowsDone: number; result: JsonValue },
): Promise<boolean> {
  const { id, rowsDone, result } = options;
  const finished = await sql`
    update jobs set state = 'done', rows_done = ${rowsDone}, rows_total = greatest(rows_total, ${rowsDone}),
      result = ${sql.json(keptJson(result))}, finished_at = clock_timestamp()
    where id = ${id} and state = 'running'`.affected();
  return finished > 0;
}

export async function failJob(sql: DatabaseSql, options: { id: bigint; failure: string }): Promise<void> {
  await sql`
    update jobs set state = 'failed', failure = ${keptText(options.failure, 1_000)}, finished_at = clock_timestamp()
    where id = ${options.id} and state = 'running'`;
}

/** Jobs that a process left running when it ended: they are not going on. Runs of saved reports are, in any process. */
export async function failAbandonedJobs(sql: DatabaseSql, options: { before: Date }): Promise<void> {
  await sql`
    update jobs set state = 'failed', failure = 'the server ended while it ran', finished_at = clock_timestamp()
    where state = 'running' and created_at < ${options.before}
      and not exists (select from report_runs r where r.job_id = jobs.id and r.ended_at is null)`;
}

/** Bytes of the files of reports that were made since with these rights. */
export async function reportBytes(
  sql: DatabaseSql,
  { rights, since }: { rights: JsonValue; since: Date },
): Promise<number> {
  const [row] = await sql<[{ bytes: bigint }]>`
    select coalesce(sum((result ->> 'bytes')::bigint), 0)::bigint as bytes from jobs
    where kind = 'report' and state = 'done' and created_at >= ${since} and result -> 'rights' = ${sql.json(rights)}`;
  return Number(row.bytes);
}
