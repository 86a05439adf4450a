import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromProject } from '../../../core/config/paths.ts';
import { freePort } from '../../../engines/engine.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { waitFor } from '../engines.ts';
import { TEST_DATA_KEY } from '../ledger.ts';

/** Processes of the platform that stand still where they write to the ledger, and are killed there. */

/** The holder of this advisory lock stops the process under test where a trigger takes it. */
const STOP_LOCK = 4_711;
const DEADLINE_MS = 30_000;

/** Places in the ledger at which a process that writes stands still. One at a time. */
export interface Stops {
  /**
   * Stops every process where it writes such a row, before it commits, until {@link goOn}. `atCommit`: once PostgreSQL has
   * received the commit, which it then carries out without the process.
   */
  before(table: string, condition: string, atCommit?: boolean): Promise<void>;
  /** Stops a migration after the command that has made or changed `identity`, such as `public.adjustments`. */
  afterCommand(command: string, identity: string): Promise<void>;
  /** Returns the session that stands still, by its process in PostgreSQL, once one does. */
  isStopped(): Promise<number>;
  goOn(): Promise<void>;
  /** Waits until a session whose process was killed has ended. */
  hasEnded(pid: number): Promise<void>;
}

/** @param owner One connection, which holds the lock. */
export function createStops(owner: Database): Stops {
  let remove = '';
  async function stopBy(make: string, unmake: string): Promise<void> {
    await owner.unsafe(make);
    remove = unmake;
    await owner`select pg_advisory_lock(${STOP_LOCK})`;
  }
  return {
    before: (table, condition, atCommit = false) =>
      stopBy(
        `create function stop_here() returns trigger language plpgsql as $$
        begin
          if ${condition} then perform pg_advisory_xact_lock(${STOP_LOCK}); end if;
          return null;
        end $$;
        create ${atCommit ? 'constraint' : ''} trigger stop_here after insert or update on ${table}
        ${atCommit ? 'deferrable initially deferred' : ''} for each row execute function stop_here()`,
        `drop trigger stop_here on ${table}; drop function stop_here`,
      ),
    afterCommand: (command, identity) =>
      stopBy(
        `create function stop_here() returns event_trigger language plpgsql as $$
        begin
          if exists (select from pg_event_trigger_ddl_commands() where object_identity = '${identity}') then
            perform pg_advisory_xact_lock(${STOP_LOCK});
          end if;
        end $$;
        create event trigger stop_here on ddl_command_end when tag in ('${command}') execute function stop_here()`,
        'drop event trigger stop_here; drop function stop_here',
      ),
    async isStopped() {
      return await waitFor(
        async () => {
          const [row] = await owner<{ pid: number }[]>`
            select pid from pg_locks where locktype = 'advisory' and objid = ${STOP_LOCK} and not granted
              and database = (select oid from pg_database where datname = current_database())`;
          return row?.pid;
        },
        { deadlineMs: DEADLINE_MS, what: 'the process to stop' },
      );
    },
    async goOn() {
      await owner`select pg_advisory_unlock(${STOP_LOCK})`;
      await owner.unsafe(remove);
    },
    async hasEnded(pid) {
      await waitFor(async () => (await owner`select from pg_stat_activity where pid = ${pid}`).length === 0, {
        deadlineMs: DEADLINE_MS,
        what: 'its session to end',
      });
    },
  };
}

/** A process and its end. */
export interface Started {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  /** SIGKILL, and wait for the end. */
  kill(): Promise<void>;
}

export interface Processes {
  /** AFFLUX_HOME of all of them. */
  readonly home: string;
  /** Starts `afflux …`. */
  start(args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<Started>;
  /** Starts an API, ready. */
  startApi(environment?: Readonly<Record<string, string>>): Promise<Started & { readonly url: string }>;
  /** Kills those that still run. */
  close(): Promise<void>;
}

/** @param common Variables of every process. */
export function createProcesses(
  world: {
    readonly books: { readonly appUrl: string };
    readonly warehouse: { readonly url: string };
    readonly clickKey: Buffer;
  },
  common: Readonly<Record<string, string>> = {},
): Processes {
  const home = mkdtempSync(join(tmpdir(), 'afflux-kill-'));
  const running = new Set<Started>();
  async function start(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Started> {
    const child = fork(fromProject('dist/bin/afflux.js'), args, {
      env: {
        ...process.env,
        AFFLUX_HOME: home,
        DATABASE_URL: world.books.appUrl,
        CLICKHOUSE_URL: world.warehouse.url,
        CLICK_KEYS: world.clickKey.toString('hex'),
        DATA_KEYS: TEST_DATA_KEY.toString('hex'),
        LOG_LEVEL: 'error',
        ATTRIBUTION_PORT: String(await freePort()),
        SCHEDULER_PORT: String(await freePort()),
        // Runs are started by the test.
        PAYOUT_HOUR: 'off',
        ...common,
        ...environment,
      },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const started: Started = {
      child,
      exited,
      async kill() {
        child.kill('SIGKILL');
        await exited;
      },
    };
    running.add(started);
    void exited.then(() => running.delete(started));
    return started;
  }
  return {
    home,
    start,
    async startApi(environment = {}) {
      const port = await freePort();
      const started = await start(['api'], { API_PORT: String(port), ...environment });
      const url = `http://127.0.0.1:${port}`;
      await waitFor(
        async () =>
          await fetch(`${url}/healthz`).then(
            ({ ok }) => ok,
            () => false,
          ),
        { deadlineMs: DEADLINE_MS, what: 'the API to listen' },
      );
      return { ...started, url };
    },
    async close() {
      await Promise.all([...running].map((one) => one.kill()));
      rmSync(home, { recursive: true, force: true });
    },
  };
}
