import { errorText, OperatingError } from '../../core/errors.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { quotedName, quotedText } from '../clickhouse/cluster.ts';

/** A projection that look-ups or reports read, with the columns of one of its rows: as the table has them, and as it has. */
interface Projection {
  readonly table: string;
  readonly name: string;
  readonly inTable: string;
  readonly inProjection: string;
}

/** A projection that holds columns of the table under their names. */
const copyOf = (table: string, name: string, columns: string): Projection => ({
  table,
  name,
  inTable: columns,
  inProjection: columns,
});

/** One that names rows of the table by their numbers. */
const numbersOf = (table: string, name: string, columns: string): Projection => ({
  table,
  name,
  inTable: `${columns}, _part_offset`,
  inProjection: `${columns}, _parent_part_offset`,
});

const PROJECTIONS: readonly Projection[] = [
  numbersOf('clicks', 'by_time', 'ts'),
  // It keeps what its key is computed from.
  numbersOf('clicks', 'by_visitor_key', 'fingerprint, ip'),
  copyOf('clicks', 'by_address', 'ip, ts, program_id, flags'),
  copyOf('clicks', 'by_fingerprint', 'fingerprint, ts, program_id, flags'),
  copyOf(
    'clicks_hourly',
    'by_affiliate',
    'affiliate_id, program_id, campaign_id, hour, link_id, flag_group, clicks',
  ),
];

/** What became of the comparison of a projection with its table. */
interface ProjectionCheck {
  /** Such as `clicks.by_time`. */
  readonly projection: string;
  /** Undefined: every row is as the table's. */
  readonly fault: string | undefined;
  readonly rows: number;
  readonly parts: number;
}

/** Parts named at the most. */
const MAX_NAMED_PARTS = 5;

/**
 * Compares each projection with its table: part by part, which nothing changes while clicks arrive, by the sum of a hash of
 * every row. Parts that have no projection are read from the table, and left out here. Of a cluster every server is compared.
 */
export async function checkProjections(warehouse: Warehouse): Promise<ProjectionCheck[]> {
  const checks: ProjectionCheck[] = [];
  for (const projection of PROJECTIONS) checks.push(await checkProjection(warehouse, projection));
  return checks;
}

async function checkProjection(warehouse: Warehouse, projection: Projection): Promise<ProjectionCheck> {
  const { table, name } = projection;
  const differing: string[] = [];
  let rows = 0;
  let parts = 0;
  const result = (fault: string | undefined) => ({ projection: `${table}.${name}`, fault, rows, parts });
  try {
    const { rows: partitions } = await warehouse.query<{ id: string }>(
      `SELECT DISTINCT _partition_id AS id FROM ${table} ORDER BY id`,
    );
    // One partition at a time: a query has a minute.
    for (const { id } of partitions) {
      const compared = await comparePartition(warehouse, projection, id);
      rows += Number(compared.rows);
      parts += Number(compared.parts);
      differing.push(...compared.differing);
    }
  } catch (error) {
    if (!(error instanceof OperatingError && error.code === 'clickhouse_refused')) throw error;
    return result(`cannot be read: ${errorText(error)}`);
  }
  if (differing.length === 0) return result(undefined);
  const named = differing.slice(0, MAX_NAMED_PARTS).join(', ');
  return result(`differs from the table in ${differing.length} of ${parts} parts: ${named}`);
}

async function comparePartition(
  warehouse: Warehouse,
  { table, name, inTable, inProjection }: Projection,
  partition: string,
): Promise<{ rows: string; parts: string; differing: string[] }> {
  const { database, cluster } = warehouse;
  const everywhere = (source: string): string =>
    cluster === '' ? source : `clusterAllReplicas(${quotedText(cluster)}, ${source})`;
  const [inDatabase, ofTable, ofName] = [database, table, name].map(quotedText);
  const part = cluster === '' ? '_part' : "concat(hostName(), ' ', _part)";
  const sums = (columns: string, source: string): string =>
    `SELECT ${part} AS part, count() AS rows, sum(cityHash64(${columns})) AS hash
     FROM ${everywhere(source)} WHERE _partition_id = {partition:String} GROUP BY part`;
  const { rows } = await warehouse.query<{ rows: string; parts: string; differing: string[] }>(
    `SELECT sum(rows) AS rows, count() AS parts, arraySort(groupArrayIf(part, differs)) AS differing
     FROM (
       SELECT part, max(sums.rows) AS rows, uniqExact(sums.rows, hash) > 1 AS differs
       FROM (
         ${sums(inTable, `${quotedName(database)}.${table}`)}
         UNION ALL
         ${sums(inProjection, `mergeTreeProjection(${inDatabase}, ${ofTable}, ${ofName})`)}
       ) AS sums
       GROUP BY part HAVING count() = 2
     )`,
    { partition },
    // Replicas that lack the newest parts are compared in what they have.
    { optimize_use_projections: 0, select_sequential_consistency: 0 },
  );
  const [compared] = rows;
  return compared ?? { rows: '0', parts: '0', differing: [] };
}
