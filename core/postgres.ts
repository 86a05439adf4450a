import postgres from 'postgres';
import { OperatingError } from './errors.ts';

/** Values as the code sees them: bigint as BigInt (money, ids), timestamps as Date. */
type PostgresTypes = { bigint: bigint };

/** A pool of connections. */
export type Postgres = postgres.Sql<PostgresTypes>;
/** A transaction on one of them. */
export type PostgresTransaction = postgres.TransactionSql<PostgresTypes>;
/** Either: for queries, and for commands that are one statement. */
export type PostgresSql = postgres.ISql<PostgresTypes>;

/** The role of every process but the migrations: it owns no table, so it can neither edit nor empty the books. */
export const APP_ROLE = 'afflux_app';

/** A connection attempt longer than this means that the server is away. */
const CONNECT_TIMEOUT_S = 10;
/** The client's own back-off grows to 20 s, and a query waits for it; a refused connection costs nothing to try again. */
const RECONNECT_PAUSE_S = 0.25;
/** A statement touches one batch at the most; what runs longer is stuck, and must not hold its locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Longest wait for somebody else's lock before the statement fails and its command is tried again. */
const LOCK_TIMEOUT_MS = 10_000;
/** A process that holds a transaction open and does nothing keeps the collectors' link polls from advancing. */
const IDLE_TRANSACTION_TIMEOUT_MS = 60_000;

/** Columns are snake_case in SQL and camelCase in rows; JSON inside a column is left alone. */
const COLUMN_NAMES = { column: { from: postgres.toCamel, to: postgres.fromCamel } };

/**
 * A pool of at most `max` connections, opened when they are first used: for the application under {@link APP_ROLE} and
 * its time-outs, or for the owner of the schema, who may take as long as a migration takes. A query whose connection
 * ends is rejected with `CONNECTION_CLOSED` or the socket's code, a transaction with it, whatever it was doing.
 */
export function openPostgres(options: {
  url: string;
  max: number;
  name: string;
  as: 'application' | 'owner';
}): Postgres {
  requirePatch();
  const limits = {
    role: APP_ROLE,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_TIMEOUT_MS,
  };
  return postgres(options.url, {
    max: options.max,
    connect_timeout: CONNECT_TIMEOUT_S,
    backoff: () => RECONNECT_PAUSE_S,
    types: { bigint: postgres.BigInt },
    transform: COLUMN_NAMES,
    onnotice: () => undefined,
    connection: { application_name: options.name, ...(options.as === 'application' && limits) },
  });
}

/**
 * As it is published the client crashes the process when a connection ends in a transaction, and may write what a dead
 * transaction goes on with into the next one. @throws OperatingError `postgres_client_unpatched`.
 */
function requirePatch(): void {
  if (String(postgres).includes('lost = e')) return;
  throw new OperatingError(
    'postgres_client_unpatched',
    'node_modules/postgres is as published; "node scripts/setup.mjs" puts its faults right (scripts/postgres-patch.mjs)',
  );
}
