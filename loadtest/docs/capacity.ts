import { MAX_CLICK_SHARDS } from '../../core/clicks/shards.ts';
import type { BenchResult, BenchRow } from '../bench.ts';
import { browserHeaders, clickPath } from '../traffic/visits.ts';
import { figure, resultOf, round3, target, whole } from './figures.ts';
import { table } from './page.ts';

/** The page docs/capacity.md: machines for a number of clicks, calculated from published results and from nothing else. */

const DAILY_CLICKS = [1e8, 3e8, 1e9, 3e9, 1e10];
const DAY_S = 86_400;
const DAY_H = 24;

/** What is assumed, and not measured. */
const PEAK_FACTOR = 5;
/** Of a click: one order in a hundred. */
const ORDERS_A_CLICK = 0.01;
const NODE_CORES = 8;
/** Of a node's cores at the peak: the rest is for backups, exports, a failed neighbour's share and a backlog. */
const USED_SHARE = 0.6;
/** Of what a loader can catch up with, a shard gets at most this much, so that a backlog shrinks at the peak too. */
const SHARD_SHARE = 0.5;
const NATS_REPLICAS = 3;
const CLICKHOUSE_REPLICAS = 2;
const POSTGRES_NODES = 2;
/** Fewest that let one fail. */
const FEWEST = { collector: 2, nats: 3, api: 2 };
const RETENTION_DAYS = 400;
const STREAM_HOURS = 72;
const GB = 1e9;
const TB = 1e12;
const MBIT = 1e6;
const BITS = 8;

/** Measured figures of one click, and where they are from. */
export interface Costs {
  readonly collectorUs: number;
  readonly natsUs: number;
  readonly loaderUs: number;
  readonly clickhouseUs: number;
  /** API, attribution and PostgreSQL together. */
  readonly restUs: number;
  readonly pipelineRate: number;
  readonly loaderRate: number;
  /** A collector that does nothing else, at 256 connections. */
  readonly collectorAloneUs: number;
  readonly ordersRate: number;
  readonly storedBytes: number;
  readonly streamBytes: number;
}

/** @throws Error that names the result or the row that is missing. */
export function readCosts(results: readonly BenchResult[]): Costs {
  const pipeline = (what: string): number => figure(results, 'pipeline', { what }, 'value');
  const us = (process: string): number => pipeline(`${process}: CPU, µs a click`);
  return {
    collectorUs: us('collector'),
    natsUs: us('nats'),
    loaderUs: us('loader'),
    clickhouseUs: us('clickhouse'),
    restUs: us('api') + us('attribution') + us('postgres'),
    pipelineRate: pipeline('clicks a second'),
    loaderRate: figure(results, 'warehouse', { what: /^backlog of/ }, 'rows_per_s'),
    collectorAloneUs: figure(
      results,
      'collector',
      { server: 'collector, sync_interval: always', connections: 256 },
      'cpu_us_per_request',
    ),
    ordersRate: figure(results, 'attribution', { what: /^decided/ }, 'per_s'),
    storedBytes: target(results, 'warehouse', 'bytes a click, everything'),
    streamBytes: figure(results, 'peers', { peer: 'Afflux' }, 'log_bytes_per_click'),
  };
}

/** The machines for so many clicks a day. */
export interface Plan {
  readonly daily: number;
  readonly peakPerS: number;
  /** `CLICK_SHARDS`. */
  readonly shards: number;
  /** Nodes by role; each has {@link NODE_CORES} cores, and what one has to spare is not lent to another. */
  readonly nodes: Readonly<Record<Role, number>>;
  /** Share of what each role can do that the peak takes. */
  readonly used: Readonly<Record<Role | 'shards' | 'orders', number>>;
}
type Role = 'collector' | 'nats' | 'clickhouse' | 'api' | 'postgres';

export function plan(costs: Costs, daily: number): Plan {
  const peakPerS = (daily * PEAK_FACTOR) / DAY_S;
  const cores = (us: number): number => (peakPerS * us) / 1e6;
  const nodesFor = (needed: number): number => Math.max(1, Math.ceil(needed / (NODE_CORES * USED_SHARE)));
  const shards = Math.max(1, Math.ceil(peakPerS / (costs.loaderRate * SHARD_SHARE)));
  // Loaders run beside ClickHouse; each replica merges what it holds, and each server of a stream writes it.
  const needed: Record<Role, number> = {
    collector: cores(costs.collectorUs),
    nats: cores(costs.natsUs) * NATS_REPLICAS,
    clickhouse: (cores(costs.clickhouseUs) + cores(costs.loaderUs)) * CLICKHOUSE_REPLICAS,
    api: cores(costs.restUs),
    postgres: cores(costs.restUs),
  };
  const nodes: Record<Role, number> = {
    collector: Math.max(FEWEST.collector, nodesFor(needed.collector)),
    nats: Math.max(FEWEST.nats, nodesFor(needed.nats)),
    clickhouse: CLICKHOUSE_REPLICAS * nodesFor(needed.clickhouse / CLICKHOUSE_REPLICAS),
    api: Math.max(FEWEST.api, nodesFor(needed.api)),
    postgres: POSTGRES_NODES,
  };
  const used = (role: Role): number => needed[role] / (nodes[role] * NODE_CORES * USED_SHARE);
  return {
    daily,
    peakPerS,
    shards,
    nodes,
    used: {
      collector: used('collector'),
      nats: used('nats'),
      clickhouse: used('clickhouse'),
      api: used('api'),
      postgres: needed.postgres / (NODE_CORES * USED_SHARE),
      shards: peakPerS / (shards * costs.loaderRate * SHARD_SHARE),
      orders: (peakPerS * ORDERS_A_CLICK) / costs.ordersRate,
    },
  };
}

export function capacityPage(results: readonly BenchResult[]): string {
  const costs = readCosts(results);
  const plans = DAILY_CLICKS.map((daily) => plan(costs, daily));
  const sources = ['collector', 'pipeline', 'warehouse', 'attribution', 'peers'].map((name) => {
    const { command, date, machine } = resultOf(results, name);
    return { figures: name, command: `\`${command}\``, date: date.slice(0, 10), machine };
  });
  const alone = (costs.pipelineRate / PEAK_FACTOR) * DAY_S;
  return `# Capacity

Generated by \`npm run bench:docs\` from the results in [benchmarks/](benchmarks), which [benchmarks](benchmarks.md) shows; no figure is written by hand. Measured on machines of two cores that the load generator shares. Before you buy machines, run \`npm run bench:pipeline -- --minutes 10\` on one of them.

${table(sources)}

## What a click costs

${table(costRows(costs))}

One machine of two cores carries everything, load generator included, at ${whole(costs.pipelineRate)} clicks/s: ${power(alone)} clicks a day with a peak of ${PEAK_FACTOR} times the mean. It has no second machine to fail over to.

## Machines

Assumed: a peak of ${PEAK_FACTOR} times the mean, ${ORDERS_A_CLICK * 100} % of clicks lead to orders, machines of ${NODE_CORES} cores used to ${USED_SHARE * 100} % at the peak, streams on ${NATS_REPLICAS} servers, ClickHouse in ${CLICKHOUSE_REPLICAS} replicas of each shard, PostgreSQL with one standby, and at least so many machines of each role that one may fail. Loaders run beside ClickHouse. The API's machines have attribution and scheduler; they and PostgreSQL are each counted with all that API, attribution and PostgreSQL cost together, as in the run of the pipeline, whose orders are fewer: what orders ask for beyond is in the column of limits.

${table(plans.map(machineRow))}

${table(plans.map(limitRow))}

A share of 100 % means that the role uses its machines to the ${USED_SHARE * 100} % above, a shard's loader ${SHARD_SHARE * 100} % of what it can catch up with, and orders all that one PostgreSQL of two cores has decided (${whole(costs.ordersRate)}/s).

## Disk and network

${table(plans.map((one) => storeRow(costs, one)))}

Warehouse: ${round3(costs.storedBytes)} bytes a click with rollups, projections and velocity, in ${CLICKHOUSE_REPLICAS} replicas, after merges; the [explorer's](warehouse.md#explorer) table comes on top. Merging needs as much again as the largest partition. Stream: ${round3(costs.streamBytes)} bytes a click on each of ${NATS_REPLICAS} servers for ${STREAM_HOURS} hours. Network at the peak: to the collectors one request of ${requestBytes()} bytes, as the load generator sends it, without TLS and TCP; within, the click as the stream has it once to its leader, to ${NATS_REPLICAS - 1} followers, to the loader, and to ${CLICKHOUSE_REPLICAS} replicas.

## Measured and extrapolated

- **Measured:** every cost of the first table, on two cores; the rate of one loader; exactness with several [shards](operations.md#shards), a NATS cluster and a [ClickHouse cluster](cluster.md) of two shards, for correctness and not for speed.
- **Extrapolated:** that costs grow with the clicks alone, that a machine of ${NODE_CORES} cores does ${NODE_CORES / 2} times what one of two does, that each replica costs what one does. Blocks grow with the rate, and a click in a larger block costs ClickHouse and loader less (\`backlog\` in [benchmarks](benchmarks.md)); this is not taken into account, so that the machines for ClickHouse are too many rather than too few.
- **Not tried:** anything above what one machine of two cores does. More than ${MAX_CLICK_SHARDS} shards are refused, and the clicks of one campaign cannot be divided among shards: a campaign takes at most ${whole(costs.loaderRate * SHARD_SHARE)} clicks/s in the same terms. PostgreSQL has one primary: where orders are above 100 %, it needs more cores than the two measured, and nothing here says how many.

Collectors scale by processes and machines (\`afflux collector --workers\`): a lease for each shard, no shared state on the click path. A loader holds up to 128 MiB for each shard that it leads when a backlog is loaded. A collector writes each lease four times a second: with ${MAX_CLICK_SHARDS} shards and 8 workers that is 512 small writes a second in NATS.
`;
}

function costRows(costs: Costs): BenchRow[] {
  const rows: [string, number][] = [
    ['collector, all other processes on the same cores', costs.collectorUs],
    ['NATS, one server', costs.natsUs],
    ['loader', costs.loaderUs],
    ['ClickHouse, one replica, with reports and look-ups', costs.clickhouseUs],
    ['API, attribution, PostgreSQL', costs.restUs],
  ];
  const total = rows.reduce((sum, [, us]) => sum + us, 0);
  const alone: [string, number] = ['collector alone, not in the sum', costs.collectorAloneUs];
  return [...rows, ['all', total] as const, alone].map(([process, us]) => ({
    process,
    'CPU, µs a click': round3(us),
    'clicks/s of one core': whole(1e6 / us),
  }));
}

function machineRow({ daily, peakPerS, shards, nodes }: Plan): BenchRow {
  const fits = shards <= MAX_CLICK_SHARDS;
  return {
    'clicks a day': power(daily),
    'peak, clicks/s': whole(peakPerS),
    CLICK_SHARDS: fits ? shards : `${shards}, of ${MAX_CLICK_SHARDS} at most`,
    collectors: nodes.collector,
    NATS: nodes.nats,
    'ClickHouse: shards × replicas': `${nodes.clickhouse / CLICKHOUSE_REPLICAS} × ${CLICKHOUSE_REPLICAS}`,
    PostgreSQL: nodes.postgres,
    API: nodes.api,
    machines: Object.values(nodes).reduce((sum, count) => sum + count, 0),
  };
}

function limitRow({ daily, used }: Plan): BenchRow {
  const shares = Object.entries(used).toSorted(([, a], [, b]) => b - a);
  const percent = (share: number): string => `${whole(share * 100)} %`;
  return {
    'clicks a day': power(daily),
    'limits first': `${shares[0]?.[0]}, ${percent(shares[0]?.[1] ?? 0)}`,
    next: shares
      .slice(1, 4)
      .map(([name, share]) => `${name} ${percent(share)}`)
      .join(', '),
  };
}

function storeRow(costs: Costs, { daily, peakPerS }: Plan): BenchRow {
  const warehouse = daily * costs.storedBytes * CLICKHOUSE_REPLICAS;
  const stream = ((daily * costs.streamBytes * STREAM_HOURS) / DAY_H) * NATS_REPLICAS;
  const inner = peakPerS * costs.streamBytes * (NATS_REPLICAS + 1 + CLICKHOUSE_REPLICAS);
  return {
    'clicks a day': power(daily),
    'warehouse, GB a day': whole(warehouse / GB),
    [`warehouse, TB in ${RETENTION_DAYS} days`]: round3((warehouse * RETENTION_DAYS) / TB),
    [`streams, GB in ${STREAM_HOURS} h`]: whole(stream / GB),
    'to collectors, Mbit/s': whole((peakPerS * requestBytes() * BITS) / MBIT),
    'within, Mbit/s': whole((inner * BITS) / MBIT),
  };
}

/** A visitor's request, in bytes. */
function requestBytes(): number {
  const agent =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36';
  const lines = Object.entries(browserHeaders(0, agent)).map(([name, value]) => `${name}: ${value}`);
  return [`GET ${clickPath('ann-summer', 0)} HTTP/1.1`, ...lines, '', ''].join('\r\n').length;
}

/** 3e8 as 3·10⁸. */
function power(value: number): string {
  const exponent = Math.floor(Math.log10(value));
  const factor = round3(value / 10 ** exponent);
  const digits = [...String(exponent)].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('');
  return factor === 1 ? `10${digits}` : `${factor}·10${digits}`;
}
