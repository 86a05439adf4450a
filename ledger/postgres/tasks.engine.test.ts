import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import type { Running } from '../../core/service/service.ts';
import { waitFor } from '../../test/support/engines.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { installTasks, startTasks, type Task } from './tasks.ts';

/** A task's schedule, its lock, and what becomes of jobs that fail or take too long. Killed processes: test/money-kill. */

let books: TestLedger;
let running: Running[];

beforeEach(async () => {
  books = await freshLedger({ max: 8 });
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()));
  await books.close();
});

const log = createLogger({ name: 'test', level: 'silent' });

async function start(task: Task): Promise<void> {
  running.push(await startTasks({ url: books.url, ledger: books.ledger, log, tasks: [task] }));
}

async function jobs(): Promise<string[]> {
  const rows = await books.owner<{ name: string; state: string }[]>`
    select name, state::text from pgboss.job order by name`;
  return rows.map(({ name, state }) => `${name} ${state}`);
}

/** Jobs of this queue end early and are tried again at once. */
async function hasten(name: string): Promise<void> {
  await books.owner`update pgboss.queue set expire_seconds = 1, retry_delay = 1 where name = ${name}`;
}

test('two processes do the job of a stretch once', async () => {
  let runs = 0;
  const task: Task = {
    name: 'payouts',
    run: async () => {
      runs++;
      return {};
    },
  };
  await Promise.all([start(task), start(task)]);
  await waitFor(async () => (await jobs()).includes('payouts completed'), {
    deadlineMs: 10_000,
    what: 'the job',
  });
  // A process that starts later in the same stretch finds it done: it looks once before it can be stopped.
  await start(task);
  await Promise.all(running.map((one) => one.stop()));
  expect(runs).toBe(1);
  expect(await jobs()).toEqual(['payouts completed']);
});

test('a job waits for its hour, and a stretch that nobody served is made up for', async () => {
  await start({ name: 'payouts', mayBegin: () => false, run: async () => ({}) });
  await running.pop()?.stop();
  expect(await jobs()).toEqual([]);
  await start({ name: 'payouts', mayBegin: () => true, run: async () => ({}) });
  await waitFor(async () => (await jobs()).includes('payouts completed'), {
    deadlineMs: 10_000,
    what: 'the job',
  });
});

test('a job that fails is tried again', { timeout: 30_000 }, async () => {
  await hasten('payouts');
  let runs = 0;
  await start({
    name: 'payouts',
    async run() {
      runs++;
      if (runs === 1) throw new Error('the provider is away');
      return {};
    },
  });
  await waitFor(async () => (await jobs()).includes('payouts completed'), {
    deadlineMs: 20_000,
    what: 'the second try',
  });
  expect(runs).toBe(2);
});

test('a job that takes too long is not begun by another process while it runs', {
  timeout: 60_000,
}, async () => {
  await hasten('payouts');
  let atOnce = 0;
  let most = 0;
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const task: Task = {
    name: 'payouts',
    async run() {
      most = Math.max(most, ++atOnce);
      await held;
      atOnce--;
      return {};
    },
  };
  await Promise.all([start(task), start(task)]);
  await waitFor(
    async () => {
      const [row] = await books.owner<{ tries: bigint }[]>`
        select coalesce(sum(retry_count), 0)::bigint as tries from pgboss.job`;
      return (row?.tries ?? 0n) >= 1n && atOnce === 1;
    },
    { deadlineMs: 40_000, what: 'the other process to try' },
  );
  release();
  await waitFor(async () => (await jobs()).includes('payouts completed'), {
    deadlineMs: 20_000,
    what: 'its end',
  });
  expect(most).toBe(1);
});

test('installing again changes nothing, and the application may not change the schema', async () => {
  await installTasks(books.owner);
  await expect(books.ledger`create table pgboss.mine (id integer)`).rejects.toThrow('permission denied');
  const [row] = await books.owner<{ owned: bigint }[]>`
    select count(*) as owned from pg_class c join pg_roles r on r.oid = c.relowner where r.rolname = 'afflux_app'`;
  expect(row?.owned).toBe(0n);
});
