import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from './errors.ts';

/**
 * Migrations of both stores: files `NNNN_topic.sql`, numbered from 0001 without a gap, forward-only. An applied file
 * never changes: each store keeps the names and checksums of those it has, and CHECKSUMS beside the files keeps them in
 * the repository (scripts/check-migrations.mjs).
 */
export interface Migration {
  /** Such as `0001_shared.sql`. */
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly checksum: string;
}

/** What a store says it has, in any order. */
export type AppliedMigration = Pick<Migration, 'name' | 'checksum'>;

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;

/** The migrations of a folder, in order. Files that are not SQL are left alone. */
export function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  return names.map((name, i) => {
    if (Number(FILE_NAME.exec(name)?.[1]) !== i + 1) {
      throw new Error(`${join(folder, name)}: migrations are named NNNN_topic.sql, from 0001 without a gap`);
    }
    const text = readFileSync(join(folder, name), 'utf8');
    return { name, text, checksum: createHash('sha256').update(text).digest('hex') };
  });
}

/**
 * The migrations that a store still needs, in order. `store` names it to a person, such as "the data folder /srv/afflux".
 * @throws OperatingError `store_pre_release`, `store_newer`, `migration_missing` or `migration_changed` when the store was
 *   not migrated by these files or an older release of them.
 */
export function pendingMigrations(options: {
  store: string;
  migrations: readonly Migration[];
  applied: readonly AppliedMigration[];
}): Migration[] {
  const { store, migrations } = options;
  const applied = new Map(options.applied.map(({ name, checksum }) => [name, checksum]));
  const first = migrations[0]?.name ?? '';
  if (applied.size > 0 && !applied.has(first)) throw preRelease(store);
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = [...applied.keys()].sort().find((name) => !known.has(name));
  if (unknown !== undefined) throw unknownMigration(store, unknown, migrations);
  const changed = migrations.find(({ name, checksum }) => (applied.get(name) ?? checksum) !== checksum);
  if (changed) {
    throw new OperatingError(
      'migration_changed',
      `${store} was migrated with another ${changed.name} than this installation has. Nothing was changed. ` +
        'Install Afflux again as it was released; a change of the schema is a new file',
    );
  }
  return migrations.filter(({ name }) => !applied.has(name));
}

/** No release renames its first migration, so a store that lacks it was made before the first release. */
function preRelease(store: string): OperatingError {
  return new OperatingError(
    'store_pre_release',
    `${store} was made by a version before 1.0.0-alpha.1, and this version cannot read its data. Nothing was changed. ` +
      'Start the version that made it and export the data you need (docs/upgrade.md says how); then set AFFLUX_HOME to ' +
      'a new folder, or DATABASE_URL and CLICKHOUSE_URL to empty databases, and start this version again',
  );
}

function unknownMigration(store: string, name: string, migrations: readonly Migration[]): OperatingError {
  if (name > (migrations.at(-1)?.name ?? '')) {
    return new OperatingError(
      'store_newer',
      `${store} was made by a later version of Afflux (it has the migration ${name}); install that version. Nothing was changed`,
    );
  }
  return new OperatingError(
    'migration_missing',
    `${store} has the migration ${name}, which this installation lacks. Nothing was changed. Install Afflux again as it was released`,
  );
}
