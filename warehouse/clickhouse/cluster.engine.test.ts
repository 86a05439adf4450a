import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { readMigrations } from '../../core/migrations.ts';
import { freshClickHouseDatabase } from '../../test/support/engines.ts';
import { connectWarehouse, type Warehouse } from './client.ts';
import { onCluster } from './cluster.ts';
import { statementsOf } from './migrate.ts';

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;
let warehouse: Warehouse;
beforeAll(async () => {
  database = await freshClickHouseDatabase();
  warehouse = await connectWarehouse({ url: database.url, name: 'test' });
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
  .map((statement) => [/^(?!--)\w.*/m.exec(statement)?.[0], statement] as const);

const PATH = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

describe('on a cluster', () => {
  it.each(statements)(
    '%s runs on every server, with a replicated engine where it holds rows',
    async (_name, sql) => {
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
      expect(replicated).toBe(`Replicated${plain}`);
      expect(args).toBe(version ? `${PATH}, ${version}` : PATH);
    },
  );

  it('quotes the name of the cluster', () => {
    expect(onCluster('ALTER TABLE t DELETE WHERE 1', "a`b'")).toBe(
      "ALTER TABLE t ON CLUSTER `a\\`b'` DELETE WHERE 1",
    );
  });
});
