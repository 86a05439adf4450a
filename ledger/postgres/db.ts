import { setTimeout as delay } from 'node:timers/promises';
import { errorText, OperatingError } from '../../core/errors.ts';
import { APP_ROLE } from '../../core/login.ts';
import { DatabaseError } from '../../core/postgres/connection.ts';
import { isServerFull } from '../../core/postgres/pool.ts';
import {
  openPostgres,
  type Postgres,
  type PostgresSql,
  type PostgresTransaction,
} from '../../core/postgres/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { databasePlace, hostUrls } from '../../core/url.ts';

/** A pool of connections to the ledger's database. */
export type Database = Postgres;
/** A transaction of the ledger. Commands that must be atomic with others take one. */
export type DatabaseTransaction = PostgresTransaction;
/** Either: for queries, and for commands that are one statement. */
export type DatabaseSql = PostgresSql;

/** A process that starts while the server has no connection free waits so long for one, and says so each time it has asked. */
const FULL_TIMEOUT_MS = 60_000;
const FULL_PAUSE_MS = 2_000;

/**
 * Opens a pool of at most `max` connections and checks that one of them works. With a `log` it waits for a connection while
 * the server has none free.
 * @throws OperatingError `postgres_unreachable`, `postgres_login`, or what {@link openPostgres} says of a session that is not
 * as it must be.
 */
export async function connectDatabase(options: {
  url: string;
  max: number;
  name: string;
  log?: Logger;
}): Promise<Database> {
  return await checked(openPostgres({ ...options, as: 'application' }), options.url, options.log);
}

/** A single connection, or `max`, as the owner of the schema, for migrations and the schema dump. */
export async function connectOwner(options: { url: string; name: string; max?: number }): Promise<Database> {
  return await checked(openPostgres({ max: 1, ...options, as: 'owner' }), options.url);
}

async function checked(pool: Postgres, url: string, log?: Logger): Promise<Database> {
  const deadline = Date.now() + FULL_TIMEOUT_MS;
  for (;;) {
    try {
      await pool`select 1`;
      return pool;
    } catch (error) {
      if (!log || !isServerFull(error) || Date.now() > deadline) {
        await pool.end({ timeoutMs: 0 });
        throw connectionFault(error, url);
      }
      log.warn({ reason: errorText(error) }, 'PostgreSQL has no connection free; waiting for one');
      await delay(FULL_PAUSE_MS);
    }
  }
}

/** `invalid_authorization_specification`, `invalid_password`: also what PostgreSQL answers of a role that does not exist. */
const LOGIN_REFUSED = new Set(['28000', '28P01']);

function connectionFault(error: unknown, url: string): OperatingError {
  if (error instanceof OperatingError) return error;
  const place = databasePlace(url);
  const { username } = new URL(hostUrls(url)[0] as string);
  if (error instanceof DatabaseError && LOGIN_REFUSED.has(error.code ?? '')) {
    const remedy =
      username === APP_ROLE
        ? `. Run "afflux migrate", which makes the role, then as the owner:\n  alter role ${APP_ROLE} login password '…';`
        : '';
    return new OperatingError(
      'postgres_login',
      `PostgreSQL at ${place} refuses the login: ${errorText(error)}${remedy}`,
      { cause: error },
    );
  }
  if (isServerFull(error)) {
    return new OperatingError(
      'postgres_unreachable',
      `PostgreSQL at ${place} has no connection free: ${errorText(error)}. Raise its max_connections, or end what takes them (docs/operations.md)`,
      { cause: error },
    );
  }
  return new OperatingError(
    'postgres_unreachable',
    `cannot use PostgreSQL at ${place}: ${errorText(error)}. Start the platform with "npm start", or set DATABASE_URL`,
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
  ledger: Database,
  work: (tx: DatabaseTransaction) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await ledger.begin(work)) as T;
    } catch (error) {
      const retryable = error instanceof DatabaseError && RETRYABLE.has(error.code ?? '');
      if (!retryable || attempt === MAX_TRIES) throw error;
    }
  }
}
