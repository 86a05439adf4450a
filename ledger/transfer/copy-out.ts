import { createHash } from 'node:crypto';
import { writeLines } from '../../core/files/json-lines.ts';
import type { MeasuredFile } from '../../core/files/measured-file.ts';
import type { AppliedMigration } from '../../core/migrations.ts';
import type { Database, DatabaseTransaction } from '../postgres/db.ts';
import { readApplied } from '../postgres/migrate.ts';
import { dumpSchema } from '../postgres/schema-dump.ts';
import { fixTextForms, type LedgerTable, listLedgerTables, measureTable, quoted, rowText } from './tables.ts';

/** A table in a copy. */
export interface CopiedTable extends LedgerTable {
  readonly rows: string;
  /** See `measureTable`. */
  readonly checksum: string;
  /** A row a line, see `rowText`. */
  readonly file: MeasuredFile;
}

/** The database of the ledger as it was at one moment. */
export interface LedgerCopy {
  readonly server: string;
  readonly migrations: readonly AppliedMigration[];
  /** SHA-256 of the schema as text: constraints, triggers, functions and grants. */
  readonly schema: string;
  readonly tables: readonly CopiedTable[];
  readonly sequences: readonly { readonly name: string; readonly lastValue: string }[];
}

const ROWS_AT_A_TIME = 2_000;

/**
 * Opens a snapshot of the database, as its owner, and gives a function that copies it into `folder`. Everything committed
 * until then is in the copy, and nothing later; no other session waits for it.
 */
export async function withLedgerSnapshot<T>(
  owner: Database,
  work: (copyTo: (folder: string) => Promise<LedgerCopy>) => Promise<T>,
): Promise<T> {
  return await owner.begin('isolation level repeatable read read only', async (tx) => {
    await fixTextForms(tx);
    // The first statement takes the snapshot.
    const tables = await listLedgerTables(tx);
    return await work((folder) => copyTables(tx, tables, folder));
  });
}

async function copyTables(
  tx: DatabaseTransaction,
  tables: readonly LedgerTable[],
  folder: string,
): Promise<LedgerCopy> {
  const copied: CopiedTable[] = [];
  for (const table of tables) {
    const file = await writeLines(folder, `${table.name}.jsonl.gz`, rowsOf(tx, table));
    copied.push({ ...table, ...(await measureTable(tx, table)), file });
  }
  const [version] = await tx<{ server: string }[]>`select current_setting('server_version') as server`;
  return {
    server: version?.server ?? '',
    migrations: await readApplied(tx),
    schema: await schemaHash(tx),
    tables: copied,
    // Read after the rows, and without regard to the snapshot: never below an id among them.
    sequences: await readSequences(tx),
  };
}

export async function schemaHash(sql: DatabaseTransaction): Promise<string> {
  return createHash('sha256')
    .update(await dumpSchema(sql))
    .digest('hex');
}

async function* rowsOf(tx: DatabaseTransaction, table: LedgerTable): AsyncGenerator<string> {
  const cursor = 'copied_rows';
  await tx.unsafe(
    `declare ${cursor} no scroll cursor for select ${rowText(table)} as line from ${quoted(table.name)}`,
  );
  for (;;) {
    const rows = await tx.unsafe<{ line: string }[]>(`fetch ${ROWS_AT_A_TIME} from ${cursor}`);
    for (const { line } of rows) yield line;
    if (rows.length < ROWS_AT_A_TIME) break;
  }
  await tx.unsafe(`close ${cursor}`);
}

async function readSequences(tx: DatabaseTransaction): Promise<LedgerCopy['sequences']> {
  const names = await tx<{ name: string }[]>`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relkind = 'S' order by c.relname collate "C"`;
  const sequences: { name: string; lastValue: string }[] = [];
  for (const { name } of names) {
    const [row] = await tx.unsafe<{ value: string }[]>(
      `select last_value::text as value from ${quoted(name)}`,
    );
    sequences.push({ name, lastValue: row?.value ?? '1' });
  }
  return sequences;
}
