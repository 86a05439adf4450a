import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { readMigrations } from '../../core/migrations.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { connectWarehouse, type Warehouse } from './client.ts';
import { onCluster, readingStatements, SHARDED_TABLES, type StoredTable, TOKEN_SECONDS } from './cluster.ts';
import { dictionaryStatements, migrateWarehouse, statementsOf } from './migrate.ts';

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let warehouse: Warehouse;
beforeAll(async () => {
  database = await freshClickHouseDatabase();
  warehouse = await connectWarehouse({ url: database.url, name: 'test' });
  await migrateWarehouse({ warehouse, log: quietLog });
});
afterAll(async () => {
  await warehouse.close();
  await database.drop();
});

/** No cluster can run in the embedded engine: its parser says how it understands a statement. */
async function understood(sql: string): Promise<string> {
  const { rows } = await warehouse.query<{ text: string }>('SELECT formatQuery({sql:String}) AS text', {
    sql,
  });
  return rows[0]?.text ?? '';
}

const statements = readMigrations(fromProject('warehouse/migrations'))
  .flatMap(({ text }) => statementsOf(text))
  .map((statement) => statement.replace('/*credentials*/', ''))
  // By their first line that is no comment.
  .map((statement) => [/^(?!--)\w.*/m.exec(statement)?.[0] ?? '', statement] as const);

const OF_SHARD = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
const OF_CLUSTER = "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}'";

describe('on a cluster', () => {
  it.each(statements)(
    '%s runs on every server, with a replicated engine where it holds rows',
    async (first, sql) => {
      const made = await understood(onCluster(sql, 'main'));
      // Rows are inserted on one server, and replicated.
      if (made.startsWith('INSERT INTO ')) return;
      expect(made.split('\n')[0]).toMatch(/^(CREATE|ALTER) .* ON CLUSTER main\b/);
      const engine = (text: string) => /^ENGINE = (\w+)(?:\((.*)\))?$/m.exec(text);
      const [, plain, version] = engine(await understood(sql)) ?? [];
      const [, replicated, args] = engine(made) ?? [];
      if (!plain?.endsWith('MergeTree')) {
        expect(replicated).toBe(plain);
        return;
      }
      const path = SHARDED_TABLES.has(first.split(' ').at(-1) ?? '') ? OF_SHARD : OF_CLUSTER;
      expect(replicated).toBe(`Replicated${plain}`);
      expect(args).toBe(version ? `${path}, ${version}` : path);
      if (!/non_replicated_deduplication_window/.test(sql)) return;
      expect(made).toMatch(
        new RegExp(
          `\\breplicated_deduplication_window = 10000(?:0)?, replicated_deduplication_window_seconds = ${TOKEN_SECONDS}\\b`,
        ),
      );
    },
  );

  it('only the migrations from before clusters of several shards insert into tables of clicks', () => {
    const inserted = statements.flatMap(([first]) => /^INSERT INTO (\w+)/.exec(first)?.[1] ?? []);
    // An insert runs on one server: another of a table of clicks has to run on each shard.
    expect(inserted).toEqual(['visitors_known', 'clicks_grouped']);
  });

  it('quotes the name of the cluster', () => {
    expect(onCluster('ALTER TABLE t DELETE WHERE 1', "a`b'")).toBe(
      "ALTER TABLE t ON CLUSTER `a\\`b'` DELETE WHERE 1",
    );
  });

  it.each([
    'CREATE DATABASE IF NOT EXISTS `x-y`',
    'CREATE OR REPLACE VIEW `a`.`b` AS SELECT 1',
    "CREATE OR REPLACE TABLE a.b AS c.d ENGINE = Merge('c', '^d$')",
    "DELETE FROM velocity_ip WHERE ip = toIPv6('::')",
    "ALTER TABLE clicks UPDATE ip = toIPv6('::') WHERE 1",
    'SYSTEM RELOAD DICTIONARY `a`.geo',
  ])('%s is for every server', async (sql) => {
    expect(await understood(onCluster(sql, 'main'))).toContain('ON CLUSTER main');
  });
});

describe('the reading database', () => {
  async function stored(): Promise<StoredTable[]> {
    const { rows } = await warehouse.query<StoredTable>(
      `SELECT name, engine, as_select AS select FROM system.tables
       WHERE database = currentDatabase() AND name != 'migrations' ORDER BY name`,
    );
    return rows;
  }

  it('has what feeds from clicks as tables of shards, with the campaign that tells the shard', async () => {
    const { rows } = await warehouse.query<{ name: string }>(
      `SELECT DISTINCT extract(create_table_query, ' TO (?:[^ .]+\\\\.)?([^ (]+)') AS name FROM system.tables
       WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name`,
    );
    expect(new Set(['clicks', ...rows.map(({ name }) => name)])).toEqual(SHARDED_TABLES);
    const { rows: columns } = await warehouse.query<{ table: string }>(
      "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'campaign_id' AND type = 'UInt32'",
    );
    expect(columns.map(({ table }) => table)).toEqual(expect.arrayContaining([...SHARDED_TABLES]));
  });

  it('has every table, view and dictionary that is read, on every server', async () => {
    const tables = await stored();
    const named = { database: warehouse.database, reading: 'r_all', cluster: 'main' };
    const made = [
      ...readingStatements({ ...named, tables }),
      ...dictionaryStatements(warehouse, 'r_all'),
    ].map((sql) => onCluster(sql, 'main'));
    const texts = await Promise.all(made.map(understood));
    for (const text of texts) {
      expect(text).toMatch(/^CREATE OR REPLACE (TABLE|VIEW|DICTIONARY) r_all\.\w+ ON CLUSTER main\b/);
    }
    const names = texts.map((text) => /r_all\.(\w+)/.exec(text)?.[1]).sort();
    const read = tables.filter(({ engine }) => !['Null', 'MaterializedView'].includes(engine));
    expect(names).toEqual(read.map(({ name }) => name).sort());
  });

  it('has views over its own tables', async () => {
    const tables = (await stored()).filter(({ engine }) => engine === 'View');
    expect(tables).toHaveLength(5);
    for (const sql of readingStatements({
      database: warehouse.database,
      reading: 'r_all',
      cluster: 'main',
      tables,
    })) {
      const text = await understood(sql);
      expect(text).not.toMatch(new RegExp(`\\b(FROM|JOIN) ${warehouse.database}\\.`));
      expect(text).toMatch(/\bFROM r_all\.\w+/);
    }
  });
});
