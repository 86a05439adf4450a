import { ANALYST_READS } from './reads.ts';

/** Grafana's user of a ClickHouse server of one's own; it reads what the embedded engine's user `analyst` does. */

/** The most that one question of a dashboard may cost; what Grafana's plugin sends for its own time-outs stays below. */
const QUESTION_SECONDS = 30;
const QUESTION_BYTES = 4_000_000_000;

/** The name of Grafana's user of a ClickHouse server. */
export const CLICKHOUSE_READER = 'grafana';

/**
 * A user for a ClickHouse server, also where it exists. It cannot write and cannot change settings, but for the two that the
 * plugin sends with a query: its time-out, and the filters that people add by hand.
 */
export function clickhouseUserStatements(options: { database: string; passwordSha256: string }): string[] {
  const { database, passwordSha256 } = options;
  return [
    `CREATE USER IF NOT EXISTS ${CLICKHOUSE_READER}`,
    `ALTER USER ${CLICKHOUSE_READER} IDENTIFIED WITH sha256_hash BY '${passwordSha256}'
SETTINGS readonly = 1,
  max_execution_time = ${QUESTION_SECONDS} MIN 0 MAX ${QUESTION_SECONDS} CHANGEABLE_IN_READONLY,
  additional_table_filters CHANGEABLE_IN_READONLY,
  max_memory_usage = ${QUESTION_BYTES}`,
    ...ANALYST_READS.tables.map((table) => `GRANT SELECT ON ${database}.${table} TO ${CLICKHOUSE_READER}`),
    ...ANALYST_READS.dictionaries.map(
      (dictionary) => `GRANT dictGet ON ${database}.${dictionary} TO ${CLICKHOUSE_READER}`,
    ),
  ];
}
