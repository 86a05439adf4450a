import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fromProject } from './config/paths.ts';
import { pendingMigrations, readMigrations } from './migrations.ts';

const FOLDERS = ['ledger/migrations', 'warehouse/migrations'];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-migrations-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('the list of checksums', () => {
  /** Runs the check of `npm run check` on a folder. */
  function check(...args: string[]): { status: number | null; stdout: string } {
    return spawnSync(process.execPath, [fromProject('scripts/check-migrations.mjs'), ...args], {
      encoding: 'utf8',
    });
  }

  test.each(FOLDERS)('of %s is that of its files', (path) => {
    expect(check(fromProject(path))).toMatchObject({ stdout: '', status: 0 });
  });

  test('refuses a file that has changed', () => {
    cpSync(fromProject('ledger/migrations'), folder, { recursive: true });
    appendFileSync(join(folder, '0002_programs.sql'), '\n');
    expect(check(folder)).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^\S+0002_programs\.sql has changed: [^\n]+\n$/),
    });
    // Not even by adding.
    expect(check('--add', folder).status).toBe(1);
  });

  test('refuses a file that is gone', () => {
    cpSync(fromProject('ledger/migrations'), folder, { recursive: true });
    renameSync(join(folder, '0002_programs.sql'), join(folder, '0002_shops.sql'));
    const { status, stdout } = check(folder);
    expect(status).toBe(1);
    expect(stdout).toMatch(/0002_programs\.sql is listed in CHECKSUMS and missing/);
    expect(stdout).toMatch(/0002_shops\.sql is not listed/);
  });

  test('takes a new file when it is added, and then keeps it', () => {
    cpSync(fromProject('ledger/migrations'), folder, { recursive: true });
    const path = join(folder, '9000_new.sql');
    writeFileSync(path, 'select 1;\n');
    expect(check(folder).status).toBe(1);
    expect(check('--add', folder).status).toBe(0);
    expect(check(folder).status).toBe(0);
    writeFileSync(path, 'select 2;\n');
    expect(check(folder)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('9000_new.sql has changed'),
    });
  });
});

describe('what a migration does to a large table', () => {
  /** The lines about each of these files, which are checked together. */
  function faultsOf(texts: readonly string[]): string[][] {
    for (const [i, text] of texts.entries()) writeFileSync(join(folder, `0053_${i}.sql`), `${text};\n`);
    const { stdout } = spawnSync(
      process.execPath,
      [fromProject('scripts/check-migrations.mjs'), '--add', folder],
      { encoding: 'utf8' },
    );
    return texts.map((_, i) => stdout.split('\n').filter((line) => line.includes(`0053_${i}.sql`)));
  }

  const HEAVY: readonly (readonly [statement: string, effect: string])[] = [
    ['alter table conversions alter column amount_minor type numeric', 'rewrites it'],
    ['ALTER TABLE public."entries"\n  ALTER note SET DATA TYPE text', 'rewrites it'],
    ['alter table conversions add column a bigint generated always as (id * 2) stored', 'rewrites it'],
    ['alter table conversions add column a uuid default gen_random_uuid()', 'rewrites it'],
    ['alter table conversions add a int, alter column b set not null', 'reads all of it'],
    ['alter table entries add constraint c check (amount_minor <> 0)', 'add the constraint "not valid"'],
    ['alter table entries add foreign key (a) references b', 'add the constraint "not valid"'],
    ['alter table only entries add constraint u unique (a, b)', 'builds an index'],
    ['create index on postback_calls (code)', 'reads all of it without any writes meanwhile'],
    [
      'create unique index i on only journals using btree (a)',
      'reads all of it without any writes meanwhile',
    ],
    ['-- why\nupdate audit_log set before = null', 'every row'],
    ['do $$ begin delete from outbox; delete from journals where true; end $$', 'every row'],
    ['lock table conversions in access exclusive mode', 'every row'],
    ['truncate outbox, journals', 'every row'],
    ['merge into conversions c using x on x.id = c.id when matched then delete', 'every row'],
    ['create index a on conversions(program_id)', 'reads all of it without any writes meanwhile'],
    [
      'alter table entries add constraint c check (a > 0), add constraint d check (b > 0) not valid',
      'add the constraint "not valid"',
    ],
    ['alter table sources add foreign key (a) references conversions(id)', 'writing to the table'],
  ];

  /** Files whose last statement holds everybody up by what the ones before have done. */
  const HEAVY_BY_OTHERS: readonly (readonly [text: string, effect: string])[] = [
    [
      'alter table entries add constraint c check (a > 0) not valid;\nalter table entries validate constraint c',
      'validate it in a later file',
    ],
    [
      'create function f() returns void language sql as $$ update conversions set a = 1 $$;\nselect f()',
      'every row',
    ],
  ];

  test('wants a reason where it holds everybody up', () => {
    // A text is no reason, and neither is that of another statement.
    const before = "select '-- large table: no';\n-- large table: no.\nselect 1;\n";
    const faults = faultsOf(HEAVY.map(([statement]) => `${before}${statement}`));
    for (const [i, [statement, effect]] of HEAVY.entries()) {
      expect([statement, faults[i]]).toEqual([
        statement,
        [expect.stringMatching(new RegExp(`\\.sql:[45]: the statement on the large table \\w+ .*${effect}`))],
      ]);
    }
  });

  test('looks at what stands before in the file', () => {
    const faults = faultsOf(HEAVY_BY_OTHERS.map(([text]) => text));
    expect(faults).toEqual(
      HEAVY_BY_OTHERS.map(([, effect]) => [expect.stringMatching(new RegExp(`\\.sql:2: .*${effect}`))]),
    );
  });

  test('takes the reason above the statement', () => {
    const faults = faultsOf(
      HEAVY.map(([statement]) => `-- large table: it was empty until now.\n${statement}`),
    );
    expect(faults.flat()).toEqual([]);
  });

  test('wants none where it is short', () => {
    const faults = faultsOf([
      'alter table conversions add column a bigint',
      "alter table conversions add column a text not null default 'x'",
      'alter table entries add constraint c check (amount_minor <> 0) not valid',
      'alter table entries add constraint f foreign key (a) references b not valid',
      'alter table entries validate constraint c',
      'alter table entries add constraint u unique using index i',
      'create index on sources (id)',
      'create table mine (id bigint references conversions); create index on mine (id)',
      'create function f() returns void language sql as $$ delete from journals $$',
      'create trigger t after update on conversions for each row execute function f()',
      'grant update (a) on conversions to afflux_app',
      "select 'it''s: update conversions set a = 1'",
    ]);
    expect(faults.flat()).toEqual([]);
  });
});

describe('the files', () => {
  test.each(FOLDERS)('of %s are numbered without a gap', (path) => {
    expect(readMigrations(fromProject(path)).length).toBeGreaterThan(5);
  });

  test.each([
    ['0001_a.sql', '0003_c.sql'],
    ['0002_a.sql'],
    ['0001_a.sql', '0001_b.sql'],
    ['0001_a.sql', '2_b.sql'],
  ])('are refused with other numbers: %s %s', (...names) => {
    for (const name of names) if (name !== undefined) writeFileSync(join(folder, name), 'select 1;');
    expect(() => readMigrations(folder)).toThrow(/named NNNN_topic\.sql, from 0001 without a gap/);
  });
});

describe('what a store has applied', () => {
  const migrations = ['0001_a.sql', '0002_b.sql', '0003_c.sql'].map((name) => ({
    name,
    text: name,
    checksum: name,
  }));
  const has = (...names: string[]) => names.map((name) => ({ name, checksum: name }));
  const pending = (applied: { name: string; checksum: string }[]) =>
    pendingMigrations({ store: 'the data folder /srv/afflux', migrations, applied }).map(({ name }) => name);

  test('leaves the others pending, in order', () => {
    expect(pending([])).toEqual(['0001_a.sql', '0002_b.sql', '0003_c.sql']);
    expect(pending(has('0002_b.sql', '0001_a.sql'))).toEqual(['0003_c.sql']);
    expect(pending(has('0003_c.sql', '0002_b.sql', '0001_a.sql'))).toEqual([]);
  });

  test.each([
    ['of before the first release', 'store_pre_release', has('0001_parties.sql', '0461_first.sql')],
    ['of a later version', 'store_newer', has('0001_a.sql', '0002_b.sql', '0003_c.sql', '0004_d.sql')],
    ['of a file that is missing here', 'migration_missing', has('0001_a.sql', '0002_x.sql')],
    [
      'of a file with other contents',
      'migration_changed',
      [...has('0001_a.sql'), { name: '0002_b.sql', checksum: 'other' }],
    ],
  ])('is refused: %s', (_what, code, applied) => {
    expect(() => pending(applied)).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(/^the data folder \/srv\/afflux (?=.*Nothing was changed)/),
      }),
    );
  });
});
