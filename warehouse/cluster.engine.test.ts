import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshClickHouseDatabase } from '../test/support/engines.ts';
import { connectWarehouse, type Warehouse } from './client.ts';
import { onCluster } from './cluster.ts';
import { readMigrations } from './migrate.ts';

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

/** No cluster can run in the embedded engine: it is asked for what it understands of each statement. */
async function tree(sql: string): Promise<string> {
  const { rows } = await warehouse.query<{ explain: string }>(`EXPLAIN AST ${sql}`);
  return rows.map((row) => row.explain).join('\n');
}

describe('on a cluster', () => {
  it.each(readMigrations().map(({ name, sql }) => [name, sql.replace('/*credentials*/', '')]))(
    '%s is made on every server, with a replicated engine where it holds rows',
    async (_name, sql) => {
      const clustered = onCluster(sql, 'main');
      expect(clustered.match(/ ON CLUSTER `main`/g)).toHaveLength(1);
      const [plain, made] = [await tree(sql), await tree(clustered)];
      const replicated = /MergeTree/.exec(plain) !== null;
      expect(/Function Replicated(Replacing|Aggregating)?MergeTree/.test(made)).toBe(replicated);
      expect(made).toContain(plain.split('\n')[0]?.replace(/ \(children \d+\)$/, ''));
    },
  );

  it('keeps the version column of a replacing engine', () => {
    expect(onCluster('CREATE TABLE t\nENGINE = ReplacingMergeTree(version)\nORDER BY a', "a`b'")).toBe(
      "CREATE TABLE t ON CLUSTER `a\\`b'`\nENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version)\nORDER BY a",
    );
  });
});
