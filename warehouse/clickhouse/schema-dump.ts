import type { Warehouse } from './client.ts';

/** The schema as the engine has it, one CREATE statement a table, without the database's name: `schema.sql`. */
export async function dumpWarehouseSchema(warehouse: Warehouse): Promise<string> {
  const { rows } = await warehouse.query<{ create_table_query: string }>(
    `SELECT replaceAll(formatQuery(create_table_query), concat(database, '.'), '') AS create_table_query
     FROM system.tables WHERE database = currentDatabase() AND NOT startsWith(name, '.inner') ORDER BY name`,
  );
  const statements = rows.map((row) => `${row.create_table_query.replaceAll('`', '')};\n`);
  return `-- The warehouse's schema after every migration, as ClickHouse prints it. A test keeps it true.\n\n${statements.join('\n')}`;
}
