/**
 * The tables of clicks. On a cluster each row of theirs is on one shard, that of its campaign ({@link CAMPAIGN_SHARD});
 * every other table is small and whole on each server of the cluster.
 */
export const SHARDED_TABLES: ReadonlySet<string> = new Set([
  'clicks',
  'clicks_grouped',
  'clicks_hourly',
  'clicks_minutely',
  'campaigns_hourly',
  'campaigns_daily',
  'velocity_ip',
  'velocity_fingerprint',
]);

/**
 * Modulo the number of shards it is the shard of a campaign's clicks, counted from 0: the hash by which collectors choose
 * the stream shard. Where the number of stream shards is a multiple, both choose the same.
 */
export const CAMPAIGN_SHARD = 'murmurHash3_32(campaign_id)';

/**
 * The longest that a token has to be known: a block waits in the stream for three days at the most. The engine counts
 * from the newest insert, and other stream shards insert into the same tables while one of them stands.
 */
export const TOKEN_SECONDS = 7 * 86_400;

/** Where a replicated table keeps its state in Keeper; the macros are the server's own. */
const OF_SHARD = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
const OF_CLUSTER = "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}'";

const NAME = '(?:`(?:[^`\\\\]|\\\\.)*`|\\w+)';
const HEAD = new RegExp(
  `^(CREATE (?:OR REPLACE )?(?:TABLE|(?:MATERIALIZED )?VIEW|DICTIONARY)(?: IF NOT EXISTS)? |CREATE DATABASE(?: IF NOT EXISTS)? |ALTER TABLE |DELETE FROM |SYSTEM RELOAD DICTIONARY )(${NAME}(?:\\.${NAME})?)`,
  'm',
);
const MERGE_TREE = /^ENGINE = (Replacing|Aggregating|)MergeTree(?:\(([^)]*)\))?$/m;

/**
 * A statement for every server of `cluster`: `ON CLUSTER` behind the name, replicated engines with explicit paths, and
 * windows of tokens that last as long as a block can wait. A statement that changes no schema is left as it is.
 * https://clickhouse.com/docs/engines/table-engines/mergetree-family/replication
 */
export function onCluster(sql: string, cluster: string): string {
  const [, , name = ''] = HEAD.exec(sql) ?? [];
  const path = SHARDED_TABLES.has(name) ? OF_SHARD : OF_CLUSTER;
  return sql
    .replace(HEAD, (head) => `${head} ON CLUSTER ${quotedName(cluster)}`)
    .replace(
      MERGE_TREE,
      (_engine, kind, args) => `ENGINE = Replicated${kind}MergeTree(${args ? `${path}, ${args}` : path})`,
    )
    .replace(
      /non_replicated_deduplication_window = (\d+)/,
      (same, inserts) =>
        `${same}, replicated_deduplication_window = ${inserts}, replicated_deduplication_window_seconds = ${TOKEN_SECONDS}`,
    );
}

/** A name in backticks, whatever it consists of. */
export function quotedName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

export function quotedText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** A table or view as `system.tables` has it. */
export interface StoredTable {
  readonly name: string;
  readonly engine: string;
  /** The query of a view, '' of a table. */
  readonly select: string;
}

/**
 * The statements that make the reading database of a cluster, whose tables have the names of those below them: every
 * query, view and dashboard reads the whole cluster by naming this database instead. Tables of clicks are read from one
 * replica of each shard, the others from the server that is asked. Nothing in here holds a row: all is replaced at will.
 */
export function readingStatements(options: {
  database: string;
  reading: string;
  cluster: string;
  tables: readonly StoredTable[];
}): string[] {
  const { database, reading, cluster, tables } = options;
  const of = (place: string, name: string): string => `${quotedName(place)}.${quotedName(name)}`;
  return tables.flatMap(({ name, engine, select }) => {
    if (engine === 'View') {
      const query = select.replace(qualifierOf(database), `${quotedName(reading)}.`);
      return [
        `CREATE OR REPLACE VIEW ${of(reading, name)}\nDEFINER = CURRENT_USER SQL SECURITY DEFINER\nAS ${query}`,
      ];
    }
    if (!engine.endsWith('MergeTree')) return [];
    const read = SHARDED_TABLES.has(name)
      ? `Distributed(${[cluster, database, name].map(quotedText).join(', ')}, ${CAMPAIGN_SHARD})`
      : `Merge(${quotedText(database)}, ${quotedText(`^${name}$`)})`;
    return [`CREATE OR REPLACE TABLE ${of(reading, name)} AS ${of(database, name)}\nENGINE = ${read}`];
  });
}

/** The database before a table's name in a query that the engine wrote out, outside of texts. */
function qualifierOf(database: string): RegExp {
  const plain = /^[A-Za-z_]\w*$/.test(database) ? database : quotedName(database);
  return new RegExp(
    `(?<=\\b(?:FROM|JOIN)\\s+\\(?)${plain.replaceAll(/[\\$.*+?()[\]{}|^]/g, '\\$&')}\\.`,
    'g',
  );
}
