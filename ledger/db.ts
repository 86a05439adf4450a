import postgres from 'postgres';
import { errorText, OperatingError } from '../core/errors.ts';

/** The types this ledger adds to those of the client: PostgreSQL `bigint` is a JavaScript `bigint`. */
type LedgerTypes = { bigint: bigint };

/** A pool of connections to the ledger's database under the role afflux_app. */
export type Ledger = postgres.Sql<LedgerTypes>;
/** A transaction of the ledger. Commands that must be atomic with others take one. */
export type LedgerTransaction = postgres.TransactionSql<LedgerTypes>;
/** Either: for queries, and for commands that are one statement. */
export type LedgerSql = postgres.ISql<LedgerTypes>;

/** The role of every process but the migrations: it owns nothing and cannot edit what is written. */
export const APPLICATION_ROLE = 'afflux_app';

/** A statement of the ledger touches one batch at the most; what runs longer is stuck. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Longest wait for somebody else's lock before the statement fails and its command is tried again. */
const LOCK_TIMEOUT_MS = 10_000;
/** A process that holds a transaction open and does nothing blocks the collectors' link polls from advancing. */
const IDLE_TRANSACTION_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_S = 10;
/** The client's own back-off grows to 20 s, and a query waits for it; a refused connection costs nothing to try again. */
const RECONNECT_PAUSE_S = 0.25;

/** Columns are snake_case in SQL and camelCase in rows; JSON inside a column is left alone. */
const COLUMN_NAMES = { column: { from: postgres.toCamel, to: postgres.fromCamel } };

/**
 * Opens a pool of at most `max` connections and checks that one of them works.
 * @throws OperatingError `postgres_unreachable`, or `ledger_not_migrated` when the role afflux_app is missing.
 */
export async function connectLedger(options: { url: string; max: number; name: string }): Promise<Ledger> {
  const ledger = postgres(options.url, {
    max: options.max,
    connect_timeout: CONNECT_TIMEOUT_S,
    backoff: () => RECONNECT_PAUSE_S,
    types: { bigint: postgres.BigInt },
    transform: COLUMN_NAMES,
    onnotice: () => {},
    connection: {
      application_name: options.name,
      role: APPLICATION_ROLE,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      lock_timeout: LOCK_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_TRANSACTION_TIMEOUT_MS,
    },
  });
  try {
    await ledger`select 1`;
    return ledger;
  } catch (error) {
    await ledger.end({ timeout: 0 });
    throw connectionFault(error, options.url);
  }
}

/** A single connection as the owner of the schema, for migrations and the schema dump. */
export async function connectOwner(options: { url: string; name: string }): Promise<Ledger> {
  const owner = postgres(options.url, {
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_S,
    types: { bigint: postgres.BigInt },
    transform: COLUMN_NAMES,
    onnotice: () => {},
    connection: { application_name: options.name },
  });
  try {
    await owner`select 1`;
    return owner;
  } catch (error) {
    await owner.end({ timeout: 0 });
    throw connectionFault(error, options.url);
  }
}

/** `invalid_parameter_value`: what PostgreSQL answers to a start-up role that does not exist. */
const UNKNOWN_ROLE = '22023';

function connectionFault(error: unknown, url: string): OperatingError {
  if (error instanceof postgres.PostgresError && error.code === UNKNOWN_ROLE) {
    return new OperatingError(
      'ledger_not_migrated',
      `the database has no role ${APPLICATION_ROLE} yet: run "afflux migrate" first`,
      { cause: error },
    );
  }
  const { host, pathname } = new URL(url);
  return new OperatingError(
    'postgres_unreachable',
    `cannot use PostgreSQL at ${host}${pathname}: ${errorText(error)}. Start the platform with "npm start", or set DATABASE_URL`,
    { cause: error },
  );
}

/** Serialization failure, deadlock, lock timeout: the transaction did nothing and may simply be tried again. */
const RETRYABLE = new Set(['40001', '40P01', '55P03']);
/** Each try waits for its rivals in the lock queue, so a handful outlasts any ordinary collision. */
const MAX_TRIES = 5;

/**
 * Runs `work` in one READ COMMITTED transaction, and again when it lost against a rival transaction.
 * `work` must have no effect outside the transaction.
 */
export async function inTransaction<T>(
  ledger: Ledger,
  work: (tx: LedgerTransaction) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await ledger.begin(work)) as T;
    } catch (error) {
      const retryable = error instanceof postgres.PostgresError && RETRYABLE.has(error.code);
      if (!retryable || attempt === MAX_TRIES) throw error;
    }
  }
}

/** Ids as a parameter for `any(…::bigint[])`: the client takes an array of JavaScript bigints for one bigint. */
export function idArray(ids: readonly bigint[]): string[] {
  return ids.map(String);
}
