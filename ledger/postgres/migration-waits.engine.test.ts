import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { freshPostgresDatabase, waitFor } from '../../test/support/engines.ts';
import { migrateLedger } from './migrate.ts';

/** A migration that locks a table which a long report reads. */

let folder: string;
let database: Awaited<ReturnType<typeof freshPostgresDatabase>>;
let reader: Postgres;
const lines: string[] = [];
const log = createLogger({ name: 'test', level: 'warn', write: (line) => void lines.push(line) });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-waits-'));
  database = await freshPostgresDatabase();
  writeFileSync(
    join(folder, '0001_a.sql'),
    'create table a (id integer); grant select on schema_migrations to afflux_app',
  );
  await migrateLedger({ url: database.url, folder, log });
  writeFileSync(
    join(folder, '0002_b.sql'),
    'create table b (id integer); alter table a add column b integer',
  );
  reader = openPostgres({ url: database.url, max: 2, name: 'report', as: 'owner' });
  lines.length = 0;
});
afterEach(async () => {
  await reader.end({ timeoutMs: 1_000 });
  await database.drop();
  rmSync(folder, { recursive: true });
});

const migrate = (tries: number) =>
  migrateLedger({
    url: database.url,
    folder,
    log,
    tableWait: { tries, timeoutMs: 1_500, pauseMs: 200 },
  });

test('gives up after its tries, and names who reads it', async () => {
  await reader.begin(async (tx) => {
    const [own] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid, (select count(*) from a)`;
    await expect(migrate(2)).rejects.toMatchObject({
      code: 'migration_locked',
      message: expect.stringMatching(
        new RegExp(
          `^0002_b.sql could not lock a table within 1.5 s, because of PostgreSQL's process ${own?.pid} \\(report of \\w+\\), ` +
            'in a transaction for \\d+ s: select pg_backend_pid\\(\\).* from a\\)\\. It was tried 2 times',
        ),
      ),
    });
    // Between the tries and after them no session waits behind it.
    expect(await tx`select from pg_locks where relation = 'a'::regclass and not granted`).toEqual([]);
  });
  expect(await reader`select to_regclass('b') as b`).toEqual([{ b: null }]);
  expect(lines.join('')).toContain('trying again');
});

test('is done once the report has ended', async () => {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const report = reader.begin(async (tx) => {
    await tx`select from a`;
    await ended;
  });
  const migration = migrate(20);
  await waitFor(() => lines.some((line) => line.includes('trying again')), {
    deadlineMs: 15_000,
    what: 'a first try',
  });
  end();
  await report;
  expect(await migration).toEqual({ applied: ['0002_b.sql'] });
});
