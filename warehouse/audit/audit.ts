import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { INVALID_CLICK_FLAGS } from '../../core/clicks/click-record.ts';
import { type Lease, listLeases } from '../../core/clicks/lease.ts';
import { listClickShards, readClicksStream } from '../../core/clicks/shards.ts';
import { DEAD_LETTERS_STREAM, LEASES_BUCKET, LOADER_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { createLoaderStore } from '../loader/loader-store.ts';
import { LEASE_END_SLACK_MS } from '../watermark/known-leases.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { checkProjections } from './projections.ts';

/** The result of one audit check. */
export interface WarehouseCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** A rollup is written right after the table it is made from; a difference that lasts this many looks is one. */
const ROLLUP_LOOKS = 3;

/**
 * Checks that every click is counted once: no gap in any node lease, no identity twice, rollups equal to the raw rows,
 * projections equal to their tables, and the loader's checkpoint in step with the stream. It can run while clicks arrive.
 */
export async function auditWarehouse(options: {
  warehouse: Warehouse;
  nc: NatsConnection;
}): Promise<WarehouseCheck[]> {
  const { warehouse, nc } = options;
  // The watermark comes first: all that it covers was in the warehouse before anything else is read.
  const completeTo = (await readWatermark(warehouse)) ?? 0;
  const leases = await listLeases(await openBucket(nc, LEASES_BUCKET));
  return [
    await checkLeases(warehouse, leases, completeTo),
    await checkIdentities(warehouse),
    ...(await checkRollups(warehouse)),
    ...(await checkCopies(warehouse)),
    ...(await checkLoader(nc, warehouse)),
  ];
}

interface LeaseCount {
  readonly node: number;
  readonly stored: string;
  readonly distinct_seqs: string;
  readonly next_seq: string;
}

async function checkLeases(
  warehouse: Warehouse,
  leases: readonly Lease[],
  completeTo: number,
): Promise<WarehouseCheck> {
  const faults: string[] = [];
  let clicks = 0;
  for (const lease of leases) {
    const range = leaseRange(lease, completeTo);
    const { rows } = await warehouse.query<LeaseCount>(
      `SELECT count() AS stored, uniqExact(seq) AS distinct_seqs, if(count() = 0, 0, max(seq) + 1) AS next_seq
       FROM clicks WHERE ${LEASE_CONDITION}`,
      range.params,
    );
    const [stored, distinct, next] = [rows[0]?.stored, rows[0]?.distinct_seqs, rows[0]?.next_seq].map(Number);
    const expected = range.complete ? lease.nextSeq : next;
    clicks += stored ?? 0;
    if (stored === expected && distinct === expected && next === expected) continue;
    const gap = await firstGap(warehouse, lease.node, range.params, expected ?? 0);
    faults.push(
      `lease ${lease.node}: ${stored} rows, ${distinct} distinct, ${expected} given out${gap ? `, first gap ${gap}` : ''}`,
    );
  }
  const sealed = await checkSealed(warehouse, leases);
  faults.push(...sealed.faults, ...(await findUnleased(warehouse, leases, completeTo)));
  const detail =
    faults.length > 0
      ? faults.join('; ')
      : `${clicks + sealed.clicks} clicks of ${leases.length + sealed.leases} leases, no gap`;
  return { name: 'leases', ok: faults.length === 0, detail };
}

/** Sealed leases named at the most: behind a gap in so many the rest says nothing new. */
const MAX_SEALED_FAULTS = 100;

/**
 * The leases that NATS has forgotten, in one pass over the clicks. That seqs are distinct follows from their number,
 * their greatest and their sum together.
 */
async function checkSealed(
  warehouse: Warehouse,
  current: readonly Lease[],
): Promise<{ faults: string[]; leases: number; clicks: number }> {
  const inNats = `[${current.map(({ node, startedAtMs }) => `(${node},${startedAtMs})`).join(',')}]::Array(Tuple(UInt16, Int64))`;
  const { rows } = await warehouse.query<{
    node: number;
    expected: string;
    stored: string;
    wrong: number;
    leases: string;
    clicks: string;
    since: string;
  }>(
    `SELECT node, toUnixTimestamp64Milli(started_at) AS since, stored, expected,
       stored != expected OR total != intDiv(expected * (expected - 1), 2) AS wrong,
       count() OVER () AS leases, sum(stored) OVER () AS clicks
     FROM (
       SELECT l.node AS node, l.started_at AS started_at, countIf(c.found = 1) AS stored, sum(toUInt128(c.seq)) AS total,
         toUInt128(if(any(l.state) = 'closed', any(l.next_seq), greatest(any(l.next_seq), if(stored = 0, 0, max(c.seq) + 1)))) AS expected
       FROM (SELECT * FROM sealed_leases FINAL
         WHERE (node, toUnixTimestamp64Milli(started_at)) NOT IN (SELECT t.1, t.2 FROM (SELECT arrayJoin(${inNats}) AS t))) AS l
       LEFT JOIN (
         SELECT k.node AS node, k.started_at AS started_at, c.seq AS seq, 1 AS found
         FROM clicks AS c ASOF INNER JOIN (SELECT node, started_at, ended_at FROM sealed_leases FINAL) AS k
           ON c.node = k.node AND c.ts >= k.started_at
         WHERE toUnixTimestamp64Milli(c.ts) <= toUnixTimestamp64Milli(k.ended_at) + ${LEASE_END_SLACK_MS}
       ) AS c ON l.node = c.node AND l.started_at = c.started_at
       GROUP BY l.node, l.started_at
     )
     ORDER BY wrong DESC, node LIMIT ${MAX_SEALED_FAULTS}`,
  );
  const faults: string[] = [];
  for (const row of rows.filter(({ wrong }) => wrong)) {
    const params = { node: row.node, sinceMs: Number(row.since), beforeMs: END_OF_TIME_MS };
    const gap = await firstGap(warehouse, row.node, params, Number(row.expected));
    faults.push(
      `lease ${row.node}: ${row.stored} rows, ${row.expected} given out${gap ? `, first gap ${gap}` : ''}`,
    );
  }
  return { faults, leases: Number(rows[0]?.leases ?? 0), clicks: Number(rows[0]?.clicks ?? 0) };
}

/** Nodes named at the most of clicks that no lease gave out. */
const MAX_UNLEASED_NODES = 20;

/**
 * The other direction: clicks that no lease gave out, up to the watermark, which is older than the list of leases. They
 * were written past the loader, which refuses them.
 */
async function findUnleased(
  warehouse: Warehouse,
  current: readonly Lease[],
  completeTo: number,
): Promise<string[]> {
  const inNats = current.map(({ node, startedAtMs, state, updatedAtMs }) => {
    const endedAtMs = state === 'open' ? END_OF_TIME_MS : updatedAtMs;
    return `(${node},${startedAtMs},${endedAtMs})`;
  });
  const { rows } = await warehouse.query<{ node: number; clicks: string; first: string }>(
    `SELECT c.node AS node, count() AS clicks, toString(min(c.ts)) AS first
     FROM clicks AS c ASOF LEFT JOIN (
       SELECT node, started_at, ended_at, 1 AS found FROM sealed_leases FINAL
       UNION ALL
       SELECT t.1, fromUnixTimestamp64Milli(t.2, 'UTC'), fromUnixTimestamp64Milli(t.3, 'UTC'), 1
       FROM (SELECT arrayJoin([${inNats.join(',')}]::Array(Tuple(UInt16, Int64, Int64))) AS t)
     ) AS k ON c.node = k.node AND c.ts >= k.started_at
     WHERE c.ts < fromUnixTimestamp64Milli({completeTo:Int64})
       AND (k.found = 0 OR toUnixTimestamp64Milli(c.ts) > toUnixTimestamp64Milli(k.ended_at) + ${LEASE_END_SLACK_MS})
     GROUP BY c.node ORDER BY clicks DESC, node LIMIT ${MAX_UNLEASED_NODES}`,
    { completeTo },
  );
  return rows.map(
    ({ node, clicks, first }) => `node ${node}: ${clicks} clicks of no lease, the first at ${first}`,
  );
}

/** A node number is used again after 65,536 leases, hence the lower bound. */
const LEASE_CONDITION = `node = {node:UInt16} AND ts >= fromUnixTimestamp64Milli({sinceMs:Int64})
  AND ts < fromUnixTimestamp64Milli({beforeMs:Int64})`;

/** Far beyond any click, within the range of DateTime64(3). */
const END_OF_TIME_MS = Date.UTC(2200, 0, 1);

/** Which of a lease's clicks must be stored: all once it is closed and the watermark has passed its end. */
function leaseRange(lease: Lease, completeTo: number) {
  const complete = lease.state === 'closed' && completeTo >= lease.updatedAtMs;
  const beforeMs = complete ? END_OF_TIME_MS : completeTo;
  return { complete, params: { node: lease.node, sinceMs: lease.startedAtMs, beforeMs } };
}

/** The first seqs that are missing, as `node:from-to`. */
async function firstGap(
  warehouse: Warehouse,
  node: number,
  params: { node: number; sinceMs: number; beforeMs: number },
  expected: number,
): Promise<string | undefined> {
  const { rows } = await warehouse.query<{ from: string; to: string }>(
    `SELECT min(seq) AS from, max(seq) AS to
     FROM (
       SELECT seq, toInt64(seq) - row_number() OVER (ORDER BY seq) AS island
       FROM (SELECT DISTINCT seq FROM clicks WHERE ${LEASE_CONDITION})
     )
     GROUP BY island ORDER BY from LIMIT 2`,
    params,
  );
  const [first, second] = rows.map((row) => ({ from: Number(row.from), to: Number(row.to) }));
  if (!first) return expected > 0 ? `${node}:0-${expected - 1}` : undefined;
  if (first.from > 0) return `${node}:0-${first.from - 1}`;
  const end = second ? second.from : expected;
  return first.to + 1 < end ? `${node}:${first.to + 1}-${end - 1}` : undefined;
}

/** Month by month: the distinct identities of all clicks at once would not fit into memory. */
async function checkIdentities(warehouse: Warehouse): Promise<WarehouseCheck> {
  const { rows: months } = await warehouse.query<{ month: number }>(
    'SELECT DISTINCT toYYYYMM(ts) AS month FROM clicks ORDER BY month',
  );
  let stored = 0;
  let identities = 0;
  for (const { month } of months) {
    const { rows } = await warehouse.query<{ stored: string; identities: string }>(
      'SELECT count() AS stored, uniqExact(ts, node, seq) AS identities FROM clicks WHERE toYYYYMM(ts) = {month:UInt32}',
      { month },
    );
    stored += Number(rows[0]?.stored ?? 0);
    identities += Number(rows[0]?.identities ?? 0);
  }
  return {
    name: 'identities',
    ok: stored === identities,
    detail: `${stored} rows, ${identities} distinct identities`,
  };
}

interface RollupDifference {
  readonly campaign: number;
  readonly at: string;
  readonly raw: string;
  readonly rolled: string;
  readonly raw_valid: string;
  readonly rolled_valid: string;
}

const BY_FLAG_GROUP = "sum(clicks), sumIf(clicks, flag_group IN ('ok', 'repeat'))";
const OF_CAMPAIGNS = 'sum(clicks) + sum(impressions), sum(valid_clicks)';
/**
 * Every rollup with its time's column, how its rows and the valid among them are counted, and how far back it is kept,
 * in days; undefined: as long as the clicks.
 */
const ROLLUPS = [
  { table: 'clicks_hourly', time: 'hour', counts: BY_FLAG_GROUP, days: undefined },
  { table: 'campaigns_hourly', time: 'hour', counts: OF_CAMPAIGNS, days: undefined },
  { table: 'campaigns_daily', time: 'day', counts: OF_CAMPAIGNS, days: undefined },
  { table: 'clicks_minutely', time: 'minute', counts: BY_FLAG_GROUP, days: 7 },
] as const;
type Rollup = (typeof ROLLUPS)[number];
const START_OF = { minute: 'toStartOfMinute', hour: 'toStartOfHour', day: 'toStartOfDay' } as const;

async function checkRollups(warehouse: Warehouse): Promise<WarehouseCheck[]> {
  const checks: WarehouseCheck[] = [];
  for (const rollup of ROLLUPS) checks.push(await checkRollup(warehouse, rollup));
  return checks;
}

async function checkRollup(warehouse: Warehouse, rollup: Rollup): Promise<WarehouseCheck> {
  const name = `rollup ${rollup.table}`;
  for (let look = 1; ; look++) {
    const difference = await rollupDifference(warehouse, rollup);
    if (!difference)
      return { name, ok: true, detail: `equal to the raw rows in every campaign and ${rollup.time}` };
    if (look < ROLLUP_LOOKS) continue;
    const { campaign, at, raw, rolled, raw_valid, rolled_valid } = difference;
    const detail = `campaign ${campaign}, ${rollup.time} ${at}: ${rolled} clicks (${rolled_valid} valid), raw ${raw} (${raw_valid} valid)`;
    return { name, ok: false, detail };
  }
}

async function rollupDifference(
  warehouse: Warehouse,
  { table, time, counts, days }: Rollup,
): Promise<RollupDifference | undefined> {
  const start = START_OF[time];
  const since = (column: string): string =>
    days === undefined ? '' : `WHERE ${column} >= toStartOfDay(now('UTC') - INTERVAL ${days} DAY)`;
  const { rows } = await warehouse.query<RollupDifference>(
    `SELECT campaign, toString(at) AS at, sum(r) AS raw, sum(h) AS rolled, sum(rv) AS raw_valid, sum(hv) AS rolled_valid
     FROM (
       SELECT campaign_id AS campaign, ${start}(ts) AS at, count() AS r,
         countIf(bitAnd(flags, {invalid:UInt32}) = 0) AS rv, 0 AS h, 0 AS hv
       FROM clicks ${since('ts')} GROUP BY campaign, at
       UNION ALL
       SELECT campaign_id, ${time}, 0, 0, ${counts} FROM ${table} ${since(time)}
       GROUP BY campaign_id, ${time}
     )
     GROUP BY campaign, at HAVING raw != rolled OR raw_valid != rolled_valid
     ORDER BY at, campaign LIMIT 1`,
    { invalid: INVALID_CLICK_FLAGS },
  );
  return rows[0];
}

/** Projections: what reports and look-ups read instead of the tables that everything else here is compared with. */
async function checkCopies(warehouse: Warehouse): Promise<WarehouseCheck[]> {
  return (await checkProjections(warehouse)).map(({ projection, fault, rows, parts }) => ({
    name: `projection ${projection}`,
    ok: fault === undefined,
    detail: fault ?? `equal to the table: ${rows} rows of ${parts} parts`,
  }));
}

async function checkLoader(nc: NatsConnection, warehouse: Warehouse): Promise<WarehouseCheck[]> {
  const manager = await jetstreamManager(nc);
  const bucket = await openBucket(nc, LOADER_BUCKET);
  const shards = await listClickShards(manager);
  const { rows } = await warehouse.query<{ shard: number }>('SELECT DISTINCT shard FROM watermarks');
  const checked = await Promise.all(shards.map((shard) => checkShard({ manager, bucket, shard })));
  const gone = rows
    .filter(({ shard }) => !shards.includes(shard))
    .map(({ shard }) => ({
      ok: false,
      detail: `shard ${shard}: its stream is gone, no figure becomes complete`,
    }));
  const all = [...checked, ...gone];
  const { state } = await manager.streams.info(DEAD_LETTERS_STREAM);
  return [
    {
      name: 'loader',
      ok: all.every(({ ok }) => ok),
      detail: all.map(({ detail }) => detail).join('; '),
    },
    {
      name: 'dead letters',
      ok: state.messages === 0,
      detail: `${state.messages} batches set aside`,
    },
  ];
}

async function checkShard(options: {
  manager: JetStreamManager;
  bucket: KV;
  shard: number;
}): Promise<{ ok: boolean; detail: string }> {
  const { manager, bucket, shard } = options;
  // The checkpoint first: a stream that is read later can only have passed it.
  const { checkpoint } = await createLoaderStore({ bucket, shard }).read();
  const stream = await readClicksStream(manager, shard);
  const seq = checkpoint.value?.seq ?? 0;
  const missing = Math.max(0, stream.firstSeq - seq - 1);
  const known = !checkpoint.value || checkpoint.value.stream === stream.created;
  return {
    ok: known && missing === 0 && seq <= stream.lastSeq,
    detail: `shard ${shard}: checkpoint ${seq}, stream ${stream.firstSeq} to ${stream.lastSeq}${missing > 0 ? `, ${missing} messages left the stream before they were loaded` : ''}${known ? '' : ', the checkpoint belongs to an earlier stream'}`,
  };
}
