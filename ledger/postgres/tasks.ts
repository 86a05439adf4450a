import PgBoss from 'pg-boss';
import { errorText } from '../../core/errors.ts';
import { APP_ROLE, openPostgres, type Postgres } from '../../core/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import { DAY_S, HOUR_S } from '../../core/time.ts';
import type { Ledger } from './db.ts';

/**
 * Work that is done every so often, by whichever process comes first: one pg-boss job for each task and stretch of
 * time, counted from midnight UTC. A stretch that nobody was there for is made up for as soon as somebody is; a job
 * whose process died is taken over when its time is up; a job that failed is tried again.
 */

interface Schedule {
  /** One job in each stretch of so many seconds. */
  readonly everySeconds: number;
  /** A job whose process gave no sign for so long is somebody else's. A longer one goes on under its lock. */
  readonly expireSeconds: number;
}

/** Every task: migrations make their queues, because the application's role may not. */
const SCHEDULES = {
  /** An affiliate sees its money available so soon after its hold has ended. */
  vesting: { everySeconds: 600, expireSeconds: 300 },
  /** A payout nobody knows of is an affiliate who waits. */
  reconciliation: { everySeconds: 900, expireSeconds: 300 },
  payouts: { everySeconds: DAY_S, expireSeconds: 900 },
  housekeeping: { everySeconds: HOUR_S, expireSeconds: 900 },
} as const satisfies Record<string, Schedule>;

export type TaskName = keyof typeof SCHEDULES;

export interface Task {
  readonly name: TaskName;
  /** Whether the job of the present stretch may be made yet; by default from the stretch's beginning on. */
  readonly mayBegin?: ((now: Date) => boolean) | undefined;
  /** Does the work and returns what is logged of it. Done again it must do no harm: a process may die at its end. */
  readonly run: (now: Date) => Promise<Readonly<Record<string, unknown>>>;
}

const SCHEMA = 'pgboss';
/** How long work that became due may lie. */
const POLL_MS = 5_000;
/** A failed job is tried again after so long, and so often: a day's payouts are tried until the day has ended. */
const RETRY_SECONDS = 60;
const RETRY_LIMIT = 1_440;
/** How often jobs of dead processes are looked for. */
const SUPERVISE_SECONDS = 10;
/** Longer than the longest stretch, because the row of a job is what says that its stretch is served. */
const KEEP_SECONDS = 2 * DAY_S;

/** Makes or upgrades pg-boss's schema and the queues, as the schema's owner; the application may use the rows only. */
export async function installTasks(owner: Ledger): Promise<void> {
  const boss = createBoss(owner, { migrate: true, supervise: false });
  await boss.start();
  for (const [name, { expireSeconds }] of Object.entries(SCHEDULES)) {
    const options = {
      // At most one that waits, one that runs, one that is to be tried again.
      policy: 'stately' as const,
      expireInSeconds: expireSeconds,
      retryLimit: RETRY_LIMIT,
      retryDelay: RETRY_SECONDS,
    };
    await boss.createQueue(name, { name, ...options });
    await boss.updateQueue(name, { name, ...options });
  }
  await boss.stop({ graceful: false });
  await owner.unsafe(`
    grant usage on schema ${SCHEMA} to ${APP_ROLE};
    grant select, insert, update, delete on all tables in schema ${SCHEMA} to ${APP_ROLE}`);
}

/** Runs these tasks when they are due, beside any other process that does. A stop waits for the one under way. */
export async function startTasks(options: {
  url: string;
  /** Each task that runs holds one of its connections, beside those it works with. */
  ledger: Ledger;
  log: Logger;
  tasks: readonly Task[];
}): Promise<Running> {
  const { ledger, log, tasks } = options;
  // A connection of its own: a task that needs all of the pool must not keep others from seeing that it is alive.
  const own = openPostgres({ url: options.url, max: 1, name: 'tasks', as: 'application' });
  const boss = createBoss(own, { migrate: false, supervise: true });
  boss.on('error', (error) => log.warn({ reason: errorText(error) }, 'tasks wait'));
  await boss.start();

  async function step({ name, mayBegin, run }: Task): Promise<number> {
    try {
      if (mayBegin?.(new Date()) ?? true) {
        await boss.send(name, {}, { singletonSeconds: SCHEDULES[name].everySeconds });
      }
      const [job] = await boss.fetch(name);
      if (job) await runJob({ name, run }, job.id);
    } catch (error) {
      log.warn({ task: name, reason: errorText(error) }, 'a task waits');
    }
    return POLL_MS;
  }

  /** Runs a job under its task's lock, which ends with the process at the latest. */
  async function runJob({ name, run }: Task, id: string): Promise<void> {
    const connection = await ledger.reserve();
    const key = `task:${name}`;
    try {
      const [lock] = await connection<{ taken: boolean }[]>`
        select pg_try_advisory_lock(hashtextextended(${key}, 0)) as taken`;
      if (!lock?.taken) {
        // Its time was up, but the process that runs it is alive.
        await boss.fail(name, id);
        return;
      }
      try {
        const job = await boss.getJobById(name, id);
        // Meanwhile whoever had it before has finished it.
        if (job?.state !== 'active') return;
        const done = await run(new Date());
        await boss.complete(name, id);
        log.info({ task: name, ...done }, 'task done');
      } catch (error) {
        log.error({ task: name, reason: errorText(error) }, 'a task failed and will be tried again');
        await boss.fail(name, id);
      } finally {
        await connection`select pg_advisory_unlock(hashtextextended(${key}, 0))`;
      }
    } finally {
      connection.release();
    }
  }

  const loops = tasks.map((task) => startLoop(() => step(task)));
  return {
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
      await boss.stop({ graceful: false });
      await own.end({ timeout: 5 });
    },
  };
}

/** pg-boss on our own client, so that there is one driver and one way to connect. `sql` has one connection. */
function createBoss(sql: Postgres, options: { migrate: boolean; supervise: boolean }): PgBoss {
  return new PgBoss({
    ...options,
    schema: SCHEMA,
    // Its cron forgets what fell into a downtime; the stretches do not.
    schedule: false,
    maintenanceIntervalSeconds: SUPERVISE_SECONDS,
    archiveCompletedAfterSeconds: KEEP_SECONDS,
    archiveFailedAfterSeconds: KEEP_SECONDS,
    db: {
      async executeSql(text, values = []) {
        const parameters = values.map((value: unknown) => value ?? null) as (string | null)[];
        return { rows: [...(await sql.unsafe(text, parameters))] };
      },
    },
  });
}
