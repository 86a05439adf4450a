import { fromProject } from '../../core/config/paths.ts';
import { OperatingError } from '../../core/errors.ts';
import {
  type AppliedMigration,
  type Migration,
  pendingMigrations,
  readMigrations,
} from '../../core/migrations.ts';
import type { Logger } from '../../core/service/log.ts';
import { timeText, type Warehouse } from './client.ts';
import { onCluster } from './cluster.ts';

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
    /** The cluster whose servers all get the schema, with replicated tables; '' for this server alone. */
    cluster?: string;
    /** Only to the schema of a store that these were applied to; by default to the newest. */
    asOf?: readonly AppliedMigration[];
  },
): Promise<{ applied: number }> {
  const { warehouse, log, cluster = '', asOf } = options;
  const run = async (statement: string): Promise<void> => {
    const sql = cluster === '' ? statement : onCluster(statement, cluster);
    await retried(() => warehouse.command(sql));
  };
  const later = new Set(asOf ? migrationsAfter(asOf).map(({ name }) => name) : []);
  const pending = (await findPending(options)).filter(({ name }) => !later.has(name));
  await run(APPLIED_TABLE);
  for (const { name, text, checksum } of pending) {
    for (const statement of statementsOf(text)) {
      await run(statement.replace('/*credentials*/', () => dictionaryCredentials(warehouse.account)));
    }
    const row = { number: Number(name.slice(0, 4)), name: name.slice(5, -4), checksum };
    await warehouse.insertRows('migrations', [{ ...row, applied_at: timeText(Date.now()) }]);
    log.info({ migration: name }, 'warehouse migrated');
  }
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
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  return `USER ${quoted(username)} PASSWORD ${quoted(password)}`;
}

async function retried(statement: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await statement();
      return;
    } catch (error) {
      const refused = error instanceof OperatingError && error.code === 'clickhouse_refused';
      if (!refused || attempt === MAX_TRIES) throw error;
    }
  }
}
