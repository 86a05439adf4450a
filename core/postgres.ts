import postgres, { type Sql, type TransactionSql } from 'postgres';

/** The role every process works under: it owns no table, so it can neither edit nor empty the books. */
export const APP_ROLE = 'afflux_app';

/** A connection attempt longer than this means the server is away. */
const CONNECT_TIMEOUT_S = 10;
/** No statement of ours takes this long; a stuck one must not hold its locks. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Waiting longer for a row means something is stuck; the caller tries again. */
const LOCK_TIMEOUT_MS = 10_000;

/** Values as the code sees them: bigint as BigInt (money, ids), timestamps as Date. */
export type Postgres = Sql<{ bigint: bigint }>;
export type PostgresTransaction = TransactionSql<{ bigint: bigint }>;

/** A pool of connections under the role {@link APP_ROLE}. Connects when first used. */
export function connectPostgres(options: { url: string; name: string; max: number }): Postgres {
  return postgres(options.url, {
    max: options.max,
    connect_timeout: CONNECT_TIMEOUT_S,
    onnotice: () => undefined,
    types: { bigint: postgres.BigInt },
    connection: {
      application_name: `afflux-${options.name}`,
      role: APP_ROLE,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      lock_timeout: LOCK_TIMEOUT_MS,
    },
  });
}
