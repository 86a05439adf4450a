import type { Config } from '../core/config/config.ts';
import { clickhouseServer } from '../core/config/servers.ts';
import { OperatingError } from '../core/errors.ts';
import { APP_ROLE } from '../core/login.ts';
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

export async function withWarehouse<T>(
  name: string,
  work: (warehouse: Warehouse) => Promise<T>,
  /** `server`: the tables of one server, not those of a whole cluster. */
  reads: 'cluster' | 'server' = 'cluster',
): Promise<T> {
  const warehouse = await connectWarehouse({ ...clickhouseServer(readConfig()), name, reads });
  return await work(warehouse).finally(() => warehouse.close());
}

/** The URL of PostgreSQL for what only the schema's owner may do. @throws OperatingError `owner_unknown`. */
export function requireOwnerUrl(config: Config): string {
  if (config.databaseOwnerUrl !== '') return config.databaseOwnerUrl;
  throw new OperatingError(
    'owner_unknown',
    'DATABASE_OWNER_URL is not set: this needs the owner of the schema, postgres://owner:password@host/database, ' +
      `and DATABASE_URL is the login of the processes, ${APP_ROLE} (docs/operations.md)`,
  );
}
