import { errorText } from '../../core/errors.ts';
import type { PostgresSession } from '../../core/postgres/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import type { Database, DatabaseSql } from './db.ts';

/**
 * Work that is done every so often, by whichever process comes first: one row for each task and stretch of time, counted
 * from midnight UTC. A stretch that was missed is run late; a task whose process died is taken over; one that failed is
 * tried again each minute.
 */

interface Schedule {
  /** Once in each stretch of so many seconds, which divide a day. */
  readonly everySeconds: number;
  /** A task whose process died is begun again after so long; one that takes longer goes on under its lock. */
  readonly leaseSeconds: number;
}

const SCHEDULES = {
  /** An affiliate sees its money available so soon after its hold has ended. */
  vesting: { everySeconds: 600, leaseSeconds: 300 },
  /** An affiliate waits while the outcome of its payout is unknown. */
  reconciliation: { everySeconds: 900, leaseSeconds: 300 },
  payouts: { everySeconds: 86_400, leaseSeconds: 900 },
  /** The statements of a month are there in the first hours of its second day. */
  statements: { everySeconds: 86_400, leaseSeconds: 900 },
  housekeeping: { everySeconds: 3_600, leaseSeconds: 900 },
  /** Runs of reports begin so soon after the hour for which they are asked. */
  report_runs: { everySeconds: 300, leaseSeconds: 300 },
  /** Runs are looked at so often while they wait. */
  reports: { everySeconds: 300, leaseSeconds: 900 },
  /** So long a row of the books may wait for its place in the chain. */
  hash_chains: { everySeconds: 300, leaseSeconds: 300 },
  /** Reports of a day are as quick as those of older days so soon after it has ended. */
  settled_days: { everySeconds: 3_600, leaseSeconds: 900 },
} as const satisfies Record<string, Schedule>;

export type TaskName = keyof typeof SCHEDULES;

export interface Task {
  readonly name: TaskName;
  /** Whether the work of the present stretch may begin yet; by default from the stretch's beginning on. */
  readonly mayBegin?: ((now: Date) => boolean) | undefined;
  /**
   * Does all the work there is, also that of stretches before, and returns what is logged of it. Done again it must do
   * no harm: a process may die at its end. The signal says that the process stops: what is long ends early then.
   */
  readonly run: (now: Date, signal: AbortSignal) => Promise<Readonly<Record<string, unknown>>>;
}

/** By default; longest delay before due work is picked up. */
const POLL_MS = 5_000;
const RETRY_SECONDS = 60;
/** So long somebody may look up what was done when. */
const KEEP_DAYS = 30;

/** Runs these tasks when they are due, beside any other process that does. A stop tells the ones in flight, and waits for them. */
export function startTasks(options: {
  /** A task that is run holds one of its connections, beside those it works with. */
  ledger: Database;
  log: Logger;
  tasks: readonly Task[];
  pollMs?: number;
}): Running {
  const { ledger, log, tasks, pollMs = POLL_MS } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const loops = tasks.map((task) =>
    startLoop(async () => {
      try {
        await runIfDue({ ledger, log, task, signal, now: new Date() });
      } catch (error) {
        log.warn({ task: task.name, reason: errorText(error) }, 'task polling failed; retrying');
      }
      return pollMs;
    }),
  );
  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

async function runIfDue(options: {
  ledger: Database;
  log: Logger;
  task: Task;
  signal: AbortSignal;
  now: Date;
}): Promise<void> {
  const { ledger, log, task, signal, now } = options;
  const stretchAt = stretchOf(task.name, now);
  if (task.mayBegin?.(now) ?? true) await addStretch(ledger, task.name, stretchAt);
  if (!(await isDue(ledger, task.name))) return;
  const session = await ledger.reserve();
  try {
    if (!(await lock(session, task.name)) || !(await claim(ledger, task.name))) return;
    try {
      const done = await task.run(now, signal);
      await finish(ledger, task.name, stretchAt);
      log.info({ task: task.name, ...done }, 'task done');
    } catch (error) {
      log.error({ task: task.name, reason: errorText(error) }, 'task failed; it will be tried again');
      await postpone(ledger, task.name, error);
    }
  } finally {
    // The session ends, and its lock with it.
    session.release();
  }
}

function stretchOf(name: TaskName, now: Date): Date {
  const stretchMs = SCHEDULES[name].everySeconds * 1_000;
  return new Date(Math.floor(now.getTime() / stretchMs) * stretchMs);
}

async function addStretch(sql: DatabaseSql, name: TaskName, stretchAt: Date): Promise<void> {
  const added = await sql`
    insert into scheduled_tasks (task, stretch_at) values (${name}, ${stretchAt}) on conflict do nothing`.affected();
  if (added === 0) return;
  await sql`
    delete from scheduled_tasks where task = ${name} and stretch_at < ${stretchAt} - make_interval(days => ${KEEP_DAYS})`;
}

async function isDue(sql: DatabaseSql, name: TaskName): Promise<boolean> {
  const rows = await sql`
    select from scheduled_tasks where task = ${name} and done_at is null and due_at <= clock_timestamp() limit 1`;
  return rows.length > 0;
}

/** Never two at once: the process that runs a task keeps this lock, however long it takes, and loses it with its life. */
async function lock(session: PostgresSession, name: TaskName): Promise<boolean> {
  const [row] = await session<{ taken: boolean }[]>`
    select pg_try_advisory_lock(hashtextextended(${`task:${name}`}, 0)) as taken`;
  return row?.taken === true;
}

/** Begins what is due; false when another process has done it meanwhile. Without the lock it is still ours for a while. */
async function claim(sql: DatabaseSql, name: TaskName): Promise<boolean> {
  const claimed = await sql`
    update scheduled_tasks
    set tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => ${SCHEDULES[name].leaseSeconds})
    where task = ${name} and done_at is null and due_at <= clock_timestamp()`.affected();
  return claimed > 0;
}

/** The work of this stretch is done, and with it that of every stretch before. */
async function finish(sql: DatabaseSql, name: TaskName, stretchAt: Date): Promise<void> {
  await sql`
    update scheduled_tasks set done_at = clock_timestamp(), error = null
    where task = ${name} and done_at is null and stretch_at <= ${stretchAt}`;
}

async function postpone(sql: DatabaseSql, name: TaskName, error: unknown): Promise<void> {
  await sql`
    update scheduled_tasks
    set due_at = clock_timestamp() + make_interval(secs => ${RETRY_SECONDS}), error = ${errorText(error)}
    where task = ${name} and done_at is null`;
}
