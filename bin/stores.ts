import { clickhouseServer } from '../core/config/servers.ts';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../warehouse/clickhouse/client.ts';
import { readConfig } from './environment.ts';

/** Connections of commands: opened for the work and closed after it, whatever becomes of it. */

/** Commands run one query after another; a second connection serves progress within a transaction. */
const LEDGER_CONNECTIONS = 2;

export async function withLedger<T>(name: string, work: (ledger: Database) => Promise<T>): Promise<T> {
  const ledger = await connectDatabase({ url: readConfig().databaseUrl, max: LEDGER_CONNECTIONS, name });
  return await work(ledger).finally(() => ledger.end());
}

export async function withWarehouse<T>(name: string, work: (warehouse: Warehouse) => Promise<T>): Promise<T> {
  const warehouse = await connectWarehouse({ ...clickhouseServer(readConfig()), name });
  return await work(warehouse).finally(() => warehouse.close());
}
