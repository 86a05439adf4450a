import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clickColumnsDdl } from '../../core/clicks/click-record.ts';
import { fromProject } from '../../core/config/paths.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { timeText, type Warehouse } from './client.ts';
import { onCluster } from './cluster.ts';

/**
 * Migrations are `migrations/NNNN_name.sql`: forward-only, one idempotent statement each. ClickHouse has no
 * transactions over its schema; because each statement may run twice, racing migrators and crashes do no harm.
 */

interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly checksum: string;
}

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

/** Two servers that create one table at the same moment: one may be told that it exists already. */
const MAX_TRIES = 5;

/** All migrations in order, with the click's columns in their place. */
export function readMigrations(): Migration[] {
  const folder = fromProject('warehouse/migrations');
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const match = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file);
      if (!match) throw new Error(`a migration must be named NNNN_name.sql: ${file}`);
      const text = readFileSync(join(folder, file), 'utf8');
      return {
        number: Number(match[1]),
        name: match[2] ?? '',
        sql: text.replace('/*click_columns*/', clickColumnsDdl()),
        checksum: createHash('sha256').update(text).digest('hex'),
      };
    });
}

/**
 * Brings the warehouse's schema to that of this program. Any number may run at once.
 * @throws OperatingError `migration_changed` when an applied migration's file is not what it was,
 *   `schema_newer` when the store was migrated by a later program.
 */
export async function migrateWarehouse(options: {
  warehouse: Warehouse;
  log: Logger;
  /** The cluster whose servers all get the schema, with replicated tables; '' for this server alone. */
  cluster?: string;
}): Promise<{ applied: number }> {
  const { warehouse, log, cluster = '' } = options;
  const placed = (sql: string): string => (cluster === '' ? sql : onCluster(sql, cluster));
  await retried(() => warehouse.command(placed(APPLIED_TABLE)));
  const migrations = readMigrations().map((migration) => ({ ...migration, sql: placed(migration.sql) }));
  const done = await readApplied(warehouse);
  const newest = Math.max(0, ...done.keys());
  if (newest > (migrations.at(-1)?.number ?? 0)) {
    throw new OperatingError(
      'schema_newer',
      `the warehouse has migration ${newest}, which this version of Afflux does not know: run the newer version`,
    );
  }
  let applied = 0;
  for (const migration of migrations) {
    const checksum = done.get(migration.number);
    if (checksum === migration.checksum) continue;
    if (checksum !== undefined) {
      throw new OperatingError(
        'migration_changed',
        `migration ${migration.number} (${migration.name}) was applied with other contents: restore its file and add a new migration instead`,
      );
    }
    await apply(warehouse, migration);
    log.info({ number: migration.number, migration: migration.name }, 'warehouse migration applied');
    applied++;
  }
  return { applied };
}

async function readApplied(warehouse: Warehouse): Promise<Map<number, string>> {
  const { rows } = await warehouse.query<{ number: number; checksum: string }>(
    'SELECT number, any(checksum) AS checksum FROM migrations GROUP BY number',
  );
  return new Map(rows.map((row) => [row.number, row.checksum]));
}

async function apply(warehouse: Warehouse, migration: Migration): Promise<void> {
  const sql = migration.sql.replace('/*credentials*/', () => dictionaryCredentials(warehouse.account));
  await retried(() => warehouse.command(sql));
  const { number, name, checksum } = migration;
  await warehouse.insertRows('migrations', [{ number, name, checksum, applied_at: timeText(Date.now()) }]);
}

/** A dictionary reads its table as somebody: the server's default user needs no naming, unless it has a password. */
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
