/** Where a replicated table keeps its state in Keeper; the macros are the server's own. */
const REPLICA = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

/**
 * A migration's statement for every server of `cluster`: `ON CLUSTER` behind the name, and replicated engines. The
 * clicks of one cluster are one shard: each replica holds all of them.
 * https://clickhouse.com/docs/engines/table-engines/mergetree-family/replication
 */
export function onCluster(sql: string, cluster: string): string {
  const quoted = `\`${cluster.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
  return sql
    .replace(
      /^((?:CREATE (?:TABLE|(?:MATERIALIZED )?VIEW|DICTIONARY)(?: IF NOT EXISTS)?|ALTER TABLE) \w+)/m,
      (head) => `${head} ON CLUSTER ${quoted}`,
    )
    .replace(
      /^ENGINE = (Replacing|Aggregating|)MergeTree(?:\(([^)]*)\))?$/m,
      (_engine, kind, args) =>
        `ENGINE = Replicated${kind}MergeTree(${args ? `${REPLICA}, ${args}` : REPLICA})`,
    );
}
