import { setTimeout as delay } from 'node:timers/promises';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';

const SETTLE_DEADLINE_MS = 120_000;
const POLL_MS = 500;

/** Waits until the engine has merged what it wants to merge, or for two minutes. */
export async function settle(warehouse: Warehouse): Promise<void> {
  const deadline = Date.now() + SETTLE_DEADLINE_MS;
  for (let quiet = 0; quiet < 4 && Date.now() < deadline; ) {
    const { rows } = await warehouse.query<{ running: string }>(
      'SELECT count() AS running FROM system.merges',
    );
    quiet = rows[0]?.running === '0' ? quiet + 1 : 0;
    await delay(POLL_MS);
  }
}

/** What takes how much of the disk, bytes a click. */
export interface Sizes {
  readonly columns: readonly { readonly name: string; readonly bytes: number }[];
  readonly projections: readonly { readonly name: string; readonly bytes: number }[];
  readonly tables: readonly { readonly name: string; readonly bytes: number }[];
  /** The columns of clicks alone. */
  readonly raw: number;
  /** Everything: columns, projections, rollups, velocity tables, marks and indexes. */
  readonly all: number;
}

/** Reads the sizes of the active parts. */
export async function readSizes(warehouse: Warehouse, clicks: number): Promise<Sizes> {
  const sizes = async (sql: string): Promise<{ name: string; bytes: number }[]> => {
    const { rows } = await warehouse.query<{ name: string; bytes: string }>(sql);
    return rows.map((row) => ({ name: row.name, bytes: Number(row.bytes) / clicks }));
  };
  const columns = await sizes(
    `SELECT column AS name, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns
     WHERE active AND database = currentDatabase() AND table = 'clicks' GROUP BY name ORDER BY bytes DESC, name`,
  );
  const projections = await sizes(
    `SELECT name, sum(bytes_on_disk) AS bytes FROM system.projection_parts
     WHERE active AND database = currentDatabase() AND table = 'clicks' GROUP BY name ORDER BY name`,
  );
  const tables = await sizes(
    `SELECT table AS name, sum(bytes_on_disk) AS bytes FROM system.parts
     WHERE active AND database = currentDatabase() AND NOT startsWith(table, 'geo') GROUP BY name ORDER BY bytes DESC`,
  );
  const sum = (list: readonly { bytes: number }[]): number =>
    list.reduce((total, { bytes }) => total + bytes, 0);
  return { columns, projections, tables, raw: sum(columns), all: sum(tables) };
}
