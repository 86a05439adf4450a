import { OperatingError } from '../../core/errors.ts';
import { readLines } from '../../core/files/json-lines.ts';
import { connectOwner, type DatabaseTransaction } from '../postgres/db.ts';
import { applyAll, createSchema } from '../postgres/migrate.ts';
import { type CopiedTable, type LedgerCopy, schemaHash } from './copy-out.ts';
import { hasSettled, type RestoredBackup, settleAfterRestore } from './settle.ts';
import { fixTextForms, measureTable, quoted, RENEWED_COLUMNS } from './tables.ts';

/** Values sent in one statement. */
const ROWS_AT_A_TIME = 1_000;
const BYTES_AT_A_TIME = 4 * 1024 * 1024;

/** @throws OperatingError `target_not_empty` when the database has a table. */
export async function requireEmptyDatabase(url: string): Promise<void> {
  const owner = await connectOwner({ url, name: 'afflux-restore' });
  try {
    await owner.begin(requireEmpty);
  } finally {
    await owner.end();
  }
}

async function requireEmpty(tx: DatabaseTransaction): Promise<void> {
  const [found] = await tx<{ name: string }[]>`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'm', 'S') limit 1`;
  if (!found) return;
  throw new OperatingError(
    'target_not_empty',
    `the PostgreSQL database already holds data (such as ${found.name}): restore into an empty one. Nothing was changed`,
  );
}

/** Whether the database is there by a restore of this backup. */
export async function isRestoredFrom(url: string, backup: RestoredBackup): Promise<boolean> {
  const owner = await connectOwner({ url, name: 'afflux-restore' });
  try {
    const [table] = await owner<{ exists: boolean }[]>`select to_regclass('audit_log') is not null as exists`;
    if (!table?.exists) return false;
    return await hasSettled(owner, backup);
  } finally {
    await owner.end();
  }
}

/**
 * Makes the database of a copy again, in one transaction: schema, rows, sequences, and every constraint, trigger and grant
 * as they were, which is compared with the copy; then what later versions have added. A restore that is ended leaves the
 * database empty.
 * @throws OperatingError `target_not_empty`, `backup_damaged`, `store_newer`, `migration_failed`.
 */
export async function restoreLedger(options: {
  /** Of the schema's owner. */
  url: string;
  copy: LedgerCopy;
  folder: string;
  backup: RestoredBackup;
}): Promise<void> {
  const { url, copy, folder, backup } = options;
  const owner = await connectOwner({ url, name: 'afflux-restore' });
  try {
    await owner.begin(async (tx) => {
      await requireEmpty(tx);
      await fixTextForms(tx);
      const later = await createSchema(tx, { store: 'the backup', applied: copy.migrations });
      await withoutConstraints(tx, copy.tables, async () => {
        for (const table of copy.tables) await loadTable(tx, table, folder);
      });
      for (const table of copy.tables) await compareTable(tx, table);
      for (const { name, lastValue } of copy.sequences) {
        await tx`select setval(${quoted(name)}::regclass, ${BigInt(lastValue)})`;
      }
      await compareSchema(tx, copy);
      await applyAll(tx, later);
      await settleAfterRestore(tx, backup);
    });
  } finally {
    await owner.end();
  }
}

interface Disabled {
  readonly table: string;
  readonly trigger: string;
  /** How `alter table … enable` says when it fires. */
  readonly mode: string;
}

/** Runs `load` without foreign keys and triggers, then has every foreign key checked again. */
async function withoutConstraints(
  tx: DatabaseTransaction,
  tables: readonly CopiedTable[],
  load: () => Promise<void>,
): Promise<void> {
  // What migrations have inserted must not wait for a check that comes when the table is being changed.
  await tx.unsafe('set constraints all immediate');
  const foreignKeys = await tx<{ table: string; name: string; definition: string }[]>`
    select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(c.oid) as definition
    from pg_constraint c join pg_namespace n on n.oid = c.connamespace
    where n.nspname = 'public' and contype = 'f' and conparentid = 0 order by 1, 2`;
  const triggers = await tx<Disabled[]>`
    select tgrelid::regclass::text as table, tgname as trigger,
      case tgenabled when 'A' then 'always ' when 'R' then 'replica ' else '' end as mode
    from pg_trigger t join pg_class c on c.oid = tgrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and not tgisinternal and tgenabled <> 'D' and tgparentid = 0 order by 1, 2`;
  for (const { table, name } of foreignKeys) {
    await tx.unsafe(`alter table ${table} drop constraint ${quoted(name)}`);
  }
  for (const { table, trigger } of triggers) {
    await tx.unsafe(`alter table ${table} disable trigger ${quoted(trigger)}`);
  }
  await tx.unsafe(`truncate ${tables.map(({ name }) => quoted(name)).join(', ')}`);
  await load();
  for (const { table, trigger, mode } of triggers) {
    await tx.unsafe(`alter table ${table} enable ${mode}trigger ${quoted(trigger)}`);
  }
  for (const { table, name, definition } of foreignKeys) {
    await tx.unsafe(`alter table ${table} add constraint ${quoted(name)} ${definition}`);
  }
}

async function loadTable(tx: DatabaseTransaction, table: CopiedTable, folder: string): Promise<void> {
  const names = table.columns.map(({ name }) => quoted(name));
  const values = table.columns.map(({ name, type }) => {
    const renewed = RENEWED_COLUMNS[name];
    return renewed === undefined ? `u.${quoted(name)}::${type}` : renewed.replace('$', `u.${quoted(name)}`);
  });
  const statement = `insert into ${quoted(table.name)} (${names.join(', ')}) overriding system value
    select ${values.join(', ')}
    from unnest(${names.map((_, i) => `$${i + 1}::text[]`).join(', ')}) as u (${names.join(', ')})`;
  let rows: (string | null)[][] = [];
  let bytes = 0;
  async function send(): Promise<void> {
    if (rows.length > 0)
      await tx.unsafe(
        statement,
        names.map((_, i) => rows.map((row) => row[i] ?? null)),
      );
    rows = [];
    bytes = 0;
  }
  for await (const line of readLines(folder, table.file.path)) {
    rows.push(JSON.parse(line) as (string | null)[]);
    bytes += line.length;
    if (rows.length >= ROWS_AT_A_TIME || bytes >= BYTES_AT_A_TIME) await send();
  }
  await send();
}

async function compareTable(tx: DatabaseTransaction, table: CopiedTable): Promise<void> {
  const { rows, checksum } = await measureTable(tx, table);
  if (rows === table.rows && checksum === table.checksum) return;
  throw new OperatingError(
    'backup_damaged',
    `table ${table.name}: ${rows} rows of sum ${checksum} were restored, ${table.rows} of ${table.checksum} were copied. Nothing was restored`,
  );
}

async function compareSchema(tx: DatabaseTransaction, copy: LedgerCopy): Promise<void> {
  if ((await schemaHash(tx)) === copy.schema) return;
  throw new OperatingError(
    'backup_damaged',
    'the schema that the migrations make differs from the one that was copied: somebody had changed it by hand. ' +
      'Nothing was restored. Undo the change where the backup was made (compare with ledger/schema.txt), and make it again',
  );
}
