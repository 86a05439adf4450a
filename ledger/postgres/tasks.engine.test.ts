import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import type { Running } from '../../core/service/service.ts';
import { waitFor } from '../../test/support/engines.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { startTasks, type Task } from './tasks.ts';

/** A task's schedule, its lock, and what becomes of one that fails or takes too long. Killed processes: test/money-kill. */

let books: TestLedger;
let running: Running[];

beforeEach(async () => {
  books = await freshLedger({ max: 8 });
  running = [];
});
afterEach(async () => {
  await stopAll();
  await books.close();
});

const log = createLogger({ name: 'test', level: 'silent' });

function start(task: Task): void {
  running.push(startTasks({ ledger: books.ledger, log, tasks: [task], pollMs: 50 }));
}

async function stopAll(): Promise<void> {
  await Promise.all(running.splice(0).map((one) => one.stop()));
}

interface StoredTask {
  readonly stretchAt: Date;
  readonly dueInSeconds: number;
  readonly tries: number;
  readonly error: string | null;
  readonly isDone: boolean;
}

async function stored(): Promise<StoredTask[]> {
  return await books.owner<StoredTask[]>`
    select stretch_at, extract(epoch from due_at - clock_timestamp())::float8 as due_in_seconds, tries, error,
      done_at is not null as is_done
    from scheduled_tasks order by stretch_at`;
}

async function allDone(rows: number): Promise<void> {
  await waitFor(
    async () => {
      const tasks = await stored();
      return tasks.length === rows && tasks.every(({ isDone }) => isDone);
    },
    { deadlineMs: 20_000, what: 'the work to be done' },
  );
}

/** As if its time had come. */
async function makeDue(): Promise<void> {
  await books.owner`update scheduled_tasks set due_at = clock_timestamp()`;
}

function midnight(): Date {
  return new Date(Math.floor(Date.now() / 86_400_000) * 86_400_000);
}

/** Work that goes on until it is released, with how often it was begun. */
function longTask() {
  const seen = { begun: 0, polls: 0 };
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const task: Task = {
    name: 'payouts',
    async run() {
      seen.begun++;
      await released;
      return {};
    },
  };
  /** The same task of another process, which says when it looks. */
  const rival: Task = {
    ...task,
    mayBegin: () => {
      seen.polls++;
      return true;
    },
  };
  return { task, rival, seen, release };
}

test('two processes do the work of a stretch once', async () => {
  let runs = 0;
  const task: Task = {
    name: 'payouts',
    run: async () => {
      runs++;
      return {};
    },
  };
  start(task);
  start(task);
  await allDone(1);
  // A process that starts later in the same stretch finds it done: it looks once before it can be stopped.
  start(task);
  await stopAll();
  expect(runs).toBe(1);
  expect(await stored()).toMatchObject([{ stretchAt: midnight(), tries: 1, error: null, isDone: true }]);
});

test('work waits for its hour', async () => {
  start({ name: 'payouts', mayBegin: () => false, run: async () => ({}) });
  await stopAll();
  expect(await stored()).toEqual([]);
  start({ name: 'payouts', mayBegin: () => true, run: async () => ({}) });
  await allDone(1);
});

test('a stretch that was missed is run late, also before the hour of the present one', async () => {
  const days = [2, 1].map((ago) => new Date(midnight().getTime() - ago * 86_400_000));
  await books.owner`insert into scheduled_tasks (task, stretch_at) select 'payouts', unnest(${days}::timestamptz[])`;
  let runs = 0;
  start({
    name: 'payouts',
    mayBegin: () => false,
    run: async () => {
      runs++;
      return {};
    },
  });
  await allDone(2);
  expect(runs).toBe(1);
});

test('what was done long ago is forgotten', async () => {
  await books.owner`
    insert into scheduled_tasks (task, stretch_at, done_at) values ('payouts', now() - interval '40 days', now())`;
  start({ name: 'payouts', run: async () => ({}) });
  await waitFor(async () => (await stored())[0]?.stretchAt.getTime() === midnight().getTime(), {
    deadlineMs: 10_000,
    what: 'the old row to go',
  });
});

test('work that fails is tried again after a minute', { timeout: 30_000 }, async () => {
  let runs = 0;
  start({
    name: 'payouts',
    async run() {
      runs++;
      if (runs === 1) throw new Error('the provider is unavailable');
      return {};
    },
  });
  await waitFor(async () => (await stored())[0]?.error === 'the provider is unavailable', {
    deadlineMs: 10_000,
    what: 'the first failure',
  });
  const [failed] = await stored();
  expect(failed).toMatchObject({ tries: 1, isDone: false });
  expect(failed?.dueInSeconds).toBeGreaterThan(30);
  expect(failed?.dueInSeconds).toBeLessThanOrEqual(60);
  await makeDue();
  await allDone(1);
  expect(await stored()).toMatchObject([{ tries: 2, error: null }]);
});

test('work that takes too long is not begun by another process while it is done', async () => {
  const { task, rival, seen, release } = longTask();
  start(task);
  await waitFor(() => seen.begun === 1, { deadlineMs: 10_000, what: 'the work to begin' });
  await makeDue();
  start(rival);
  // When it looks for the second time it has found the lock taken.
  await waitFor(() => seen.polls >= 2, { deadlineMs: 20_000, what: 'the other process to try' });
  expect(await stored()).toMatchObject([{ tries: 1, isDone: false }]);
  release();
  await allDone(1);
  expect(seen.begun).toBe(1);
});

test('work whose lock is lost with its connection is not begun by another process at once', async () => {
  const { task, rival, seen, release } = longTask();
  start(task);
  await waitFor(() => seen.begun === 1, { deadlineMs: 10_000, what: 'the work to begin' });
  const ended = await books.owner`
    select pg_terminate_backend(pid, 5000) from pg_locks
    where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())`;
  expect(ended).toHaveLength(1);
  start(rival);
  await waitFor(() => seen.polls >= 2, { deadlineMs: 20_000, what: 'the other process to try' });
  expect(seen.begun).toBe(1);
  release();
  await allDone(1);
});
