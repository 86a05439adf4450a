import { withoutPassword } from './url.ts';

/**
 * The code of every operating error, with its meaning. A code that is not in this table does not compile; the API's
 * answer to each is in `api/http/problems.ts`.
 */
export const OPERATING_ERRORS = {
  already_running: 'another process uses this data folder',
  backup_damaged: 'a file of a backup or an export is not what was written',
  backup_incomplete: 'a backup is not whole: it was ended while it was made',
  block_miscounted: 'the warehouse does not hold the clicks of a block that was inserted',
  block_refused_in_part: 'ClickHouse took a part of a block and refuses the rest',
  clickhouse_refused: 'ClickHouse answered with an exception; clickhouseCode is its number',
  clickhouse_unreachable: 'ClickHouse does not answer',
  cluster_unfit: 'the servers of ClickHouse are not what the loader relies on',
  collector_running: 'another collector uses this state folder',
  data_key_missing: 'no key decrypts a stored secret',
  dead_letter_cut: 'a dead letter was kept in part and cannot be replayed',
  deduplication_off: 'a table remembers too few insert tokens',
  disk_full: 'too little disk space is left to start',
  engine_failed: 'an embedded engine did not start, or ended',
  engine_user: 'an embedded engine has no user to run as',
  export_outdated: 'clicks were loaded, or the schema changed, since an export was made',
  geo_database_unreadable: "the collector's list of countries cannot be read",
  geo_unreadable: 'a list of networks cannot be read',
  grafana_refused: 'Grafana answered with an error',
  grafana_unreachable: 'Grafana does not answer',
  home_unusable: 'the data folder cannot be written',
  intent_unreadable: 'the stream lacks the clicks of a block that was to be inserted',
  invalid_config: 'the configuration is not valid',
  invalid_rates: 'exchange rates are not valid',
  keys_differ: 'the keys of this process are not those of the platform',
  loader_block_pending: 'a block was begun, and no loader finishes it',
  loader_paused: 'a loader was paused between the intent of an insert and the insert',
  loader_state_broken: "the loader's records do not follow each other",
  loader_superseded: 'another loader works on this shard',
  malformed_batch: 'a batch of clicks does not decode',
  migration_changed: 'an applied migration has other contents now',
  migration_failed: 'a migration failed',
  migration_locked: 'another process migrates this store',
  migration_missing: 'the store has a migration that this installation lacks',
  nats_disconnected: 'the connection to NATS is lost',
  nats_failed: 'NATS answered with an error',
  nats_login: 'NATS refuses the login',
  nats_server_missing: 'no nats-server program was found',
  nats_unreachable: 'NATS does not answer',
  no_dead_letter: 'there is no such dead letter',
  no_demo: 'the demo cannot run on this platform',
  no_free_node: 'every node number is leased',
  not_found: 'there is nothing with this id',
  not_ready: 'the platform is not ready',
  nothing_to_erase: 'no person was named',
  nothing_to_replay: 'no dead letter was named',
  other_shard: 'the server is of another shard than the clicks',
  owner_unknown: 'the owner of the schema is not configured',
  passphrase_missing: 'a passphrase is needed for the secrets of a backup',
  passphrase_wrong: 'the passphrase does not open the secrets of a backup',
  payout_file_failed: 'a payout file cannot be written or read',
  payout_provider_refused: "the payout provider refuses to work for the operator's account",
  port_unavailable: 'the port is in use, or not permitted',
  postgres_login: 'the login of PostgreSQL is not the one that processes work as',
  postgres_missing: 'there is no embedded PostgreSQL for this platform',
  postgres_pooled: 'a pooler does not keep the settings of a session',
  postgres_session: 'a session of PostgreSQL is not as the process needs it',
  postgres_unreachable: 'PostgreSQL does not answer',
  preview_changed: 'a payout run would not do what its preview showed',
  reader_stalled: 'the stream has messages and delivers none',
  restore_unfinished: 'the data folder is in the middle of a restore',
  rows_refused: 'ClickHouse refuses the rows of an insert; no repetition helps',
  server_unavailable: "the collector's server does not run on this machine",
  shard_unfinished: 'an insert of another shard has been unfinished for too long',
  shared_memory: 'the machine gives an embedded engine too little shared memory',
  snapshot_damaged: 'the snapshot of the links is damaged',
  spool_failed: 'the spool cannot be written',
  spool_full: 'the spool has reached its limit',
  state_unreadable: "the collector's state cannot be read",
  store_newer: 'the store was made by a later version',
  store_pre_release: 'the store was made by a version before 1.0.0-alpha.1',
  stream_order: 'the stream delivered messages out of order',
  stream_refused: 'the stream refused a batch',
  stream_replaced: 'the stream of clicks was deleted and made again',
  stream_unanswered: 'the stream did not acknowledge a batch in time',
  stream_unreadable: 'the stream cannot be read',
  target_not_empty: 'the place to restore or import into holds data',
  timeout: 'a condition was not met in time',
  usage: 'the arguments of a command are not valid',
  wrong_state: 'the state does not permit the change',
} as const satisfies Record<string, string>;

export type OperatingErrorCode = keyof typeof OPERATING_ERRORS;

/**
 * An operating error: something outside the program went wrong and a person can mend it.
 * `code` is a stable literal for scripts and metrics; `message` says what to change.
 */
export class OperatingError extends Error {
  readonly code: OperatingErrorCode;
  /** Of `clickhouse_refused` and `rows_refused`: ClickHouse's number of the error (system.errors), NaN when it gave none. */
  readonly clickhouseCode: number | undefined;

  constructor(
    code: OperatingErrorCode,
    message: string,
    options: { cause?: unknown; clickhouseCode?: number } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'OperatingError';
    this.code = code;
    this.clickhouseCode = options.clickhouseCode;
  }
}

/** `no_rate`: the field is well-formed, and the operator has not stored what is needed to accept it. */
export type InputErrorCode = 'invalid_input' | 'no_rate';

/** A field of somebody's input is wrong. `field` is the name they wrote; `reason` says what it must be. */
export class InputError extends Error {
  readonly code: InputErrorCode;
  readonly field: string;
  readonly reason: string;

  constructor(field: string, reason: string, code: InputErrorCode = 'invalid_input') {
    super(`${field}: ${reason}`);
    this.name = 'InputError';
    this.field = field;
    this.reason = reason;
    this.code = code;
  }
}

/** Stops the process on a broken assumption: a bug, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}

/** The text of anything that was thrown, with its causes; URLs in it without their passwords. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return withoutPassword(String(error));
  const own = error.message || ('code' in error ? String(error.code) : error.name);
  const nested = error instanceof AggregateError ? error.errors.map(errorText).join('; ') : '';
  const cause = error.cause === undefined ? '' : ` (cause: ${errorText(error.cause)})`;
  return withoutPassword(`${own}${nested && !own.includes(nested) ? `: ${nested}` : ''}${cause}`);
}
