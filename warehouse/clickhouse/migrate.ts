import { fromProject } from '../../core/config/paths.ts';
import { readingDatabase } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import {
  type AppliedMigration,
  type Migration,
  pendingMigrations,
  readMigrations,
} from '../../core/migrations.ts';
import type { Logger } from '../../core/service/log.ts';
import { timeText, type Warehouse } from './client.ts';
import { quotedName, quotedText, readingStatements, type StoredTable } from './cluster.ts';

/**
 * ClickHouse has no transactions over its schema: because each statement of a migration may run twice, racing migrators
 * and crashes do no harm. A file is on record once all of its statements have run.
 */
const MIGRATIONS_FOLDER = 'warehouse/migrations';

const APPLIED_TABLE = `CREATE TABLE IF NOT EXISTS migrations
(
  number UInt32,
  name String,
  checksum String,
  applied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1`;

/** Where a migration's dictionary takes the account that reads its table. */
const CREDENTIALS = '/*credentials*/';

/** Not every server of a cluster did the statement in time (159): its answer names them, and no repetition is quicker. */
const UNFINISHED = 159;
/** Two servers that create one table at the same moment: one may get the error that it exists already. */
const MAX_TRIES = 5;

interface WarehouseMigrationOptions {
  readonly warehouse: Warehouse;
  /** The store's name in messages to a person. */
  readonly store?: string | undefined;
}

/**
 * Checks, without a change, that the warehouse was migrated by these files or an older release of them, or not at all.
 * @throws OperatingError as {@link pendingMigrations} does.
 */
export async function checkWarehouseMigrations(options: WarehouseMigrationOptions): Promise<void> {
  await findPending(options);
}

/**
 * Brings the warehouse's schema to that of this program. Any number may run at once, and a run that was killed is
 * continued by the next one. Returns the number of files applied.
 * @throws OperatingError `clickhouse_refused`, and those of {@link pendingMigrations}.
 */
export async function migrateWarehouse(
  options: WarehouseMigrationOptions & {
    log: Logger;
    /** Only to the schema of a store that these were applied to; by default to the newest. */
    asOf?: readonly AppliedMigration[];
  },
): Promise<{ applied: number }> {
  const { warehouse, log, asOf } = options;
  const run = (statement: string): Promise<void> => retried(() => warehouse.everywhere(statement));
  const later = new Set(asOf ? migrationsAfter(asOf).map(({ name }) => name) : []);
  const pending = (await findPending(options)).filter(({ name }) => !later.has(name));
  await run(APPLIED_TABLE);
  for (const { name, text, checksum } of pending) {
    for (const statement of statementsOf(text)) {
      await run(statement.replace(CREDENTIALS, () => dictionaryCredentials(warehouse.account)));
    }
    const row = { number: Number(name.slice(0, 4)), name: name.slice(5, -4), checksum };
    await warehouse.insertRows('migrations', [{ ...row, applied_at: timeText(Date.now()) }]);
    log.info({ migration: name }, 'warehouse migrated');
  }
  if (warehouse.cluster !== '') await migrateReading(warehouse, run);
  return { applied: pending.length };
}

/** What a copy with these migrations lacks. @throws OperatingError as {@link pendingMigrations} does. */
function migrationsAfter(applied: readonly AppliedMigration[]): Migration[] {
  const migrations = readMigrations(fromProject(MIGRATIONS_FOLDER));
  return pendingMigrations({ store: 'the copy', migrations, applied });
}

async function findPending(options: WarehouseMigrationOptions): Promise<Migration[]> {
  const { warehouse, store = 'the ClickHouse database' } = options;
  const migrations = readMigrations(fromProject(MIGRATIONS_FOLDER));
  return pendingMigrations({ store, migrations, applied: await readApplied(warehouse) });
}

/** What the warehouse was migrated by. */
export async function readApplied(warehouse: Warehouse): Promise<AppliedMigration[]> {
  const tables = await warehouse.query(
    "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'",
  );
  if (tables.rows.length === 0) return [];
  const { rows } = await warehouse.query<AppliedMigration>(
    `SELECT concat(leftPad(toString(number), 4, '0'), '_', name, '.sql') AS name, any(checksum) AS checksum
     FROM migrations GROUP BY ALL`,
  );
  return rows;
}

/** Statements of a migration, with their comments: each ends with a semicolon at the end of a line. */
export function statementsOf(text: string): string[] {
  return text
    .split(/;$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}

/**
 * A dictionary reads its table as somebody: the server's default user needs no naming, unless it has a password. Within
 * the embedded engine any password does, so that a new one needs no new dictionary.
 */
function dictionaryCredentials({ username, password }: Warehouse['account']): string {
  if (username === 'default' && password === '') return '';
  return `USER ${quotedText(username)} PASSWORD ${quotedText(password)}`;
}

/** Makes the database that is read of a cluster ({@link readingStatements}) what the tables are now. */
async function migrateReading(
  warehouse: Warehouse,
  run: (statement: string) => Promise<void>,
): Promise<void> {
  const { database, cluster } = warehouse;
  const { rows } = await warehouse.query<StoredTable>(
    `SELECT name, engine, as_select AS select FROM system.tables
     WHERE database = {database:String} AND name != 'migrations' ORDER BY engine = 'View', name`,
    { database },
  );
  const reading = readingDatabase(database, cluster);
  for (const statement of readingStatements({ database, reading, cluster, tables: rows }))
    await run(statement);
  for (const statement of dictionaryStatements(warehouse, reading)) await run(statement);
}

/**
 * Gives the dictionaries the account of this connection: they read their tables under the one they were made with, whose
 * password can have changed. They are replaced at once; clicks get their countries meanwhile.
 */
export async function renewDictionaries(warehouse: Warehouse): Promise<{ renewed: number }> {
  const { database, cluster } = warehouse;
  const places = new Set([database, readingDatabase(database, cluster)]);
  const statements = [...places].flatMap((place) => dictionaryStatements(warehouse, place));
  for (const statement of statements) await retried(() => warehouse.everywhere(statement));
  return { renewed: statements.length };
}

/** The dictionaries of the migrations, to be made or replaced in the database `place`. */
export function dictionaryStatements(
  { database, account }: Pick<Warehouse, 'database' | 'account'>,
  place: string,
): string[] {
  return readMigrations(fromProject(MIGRATIONS_FOLDER))
    .flatMap(({ text }) => statementsOf(text))
    .filter((statement) => statement.includes(CREDENTIALS))
    .map((statement) =>
      statement
        .replace(CREDENTIALS, () => dictionaryCredentials(account))
        .replace('CLICKHOUSE(', () => `CLICKHOUSE(DB ${quotedText(database)} `)
        .replace(
          /CREATE DICTIONARY IF NOT EXISTS (\w+)/,
          (_, name) => `CREATE OR REPLACE DICTIONARY ${quotedName(place)}.${name}`,
        ),
    );
}

async function retried(statement: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await statement();
      return;
    } catch (error) {
      const refused =
        error instanceof OperatingError &&
        error.code === 'clickhouse_refused' &&
        error.clickhouseCode !== UNFINISHED;
      if (!refused || attempt === MAX_TRIES) throw error;
    }
  }
}
