import { join } from 'node:path';
import { createLogger } from '../../core/service/log.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { readOptions, whole } from '../options.ts';
import { atMostInUnits, type BenchUnit, inUnits, measureBetween, timeSelect1, unitRow } from '../units.ts';
import { type Backlog, catchUp } from './backlog.ts';
import { compareClients } from './clients.ts';
import { DAYS, generateClicks } from './generate.ts';
import { finishPast } from './past.ts';
import { askQuestions, type Timing } from './questions.ts';
import { readSizes, type Sizes } from './sizes.ts';

/**
 * `npm run bench:warehouse -- --rows N`: how quickly clicks are loaded, how much room they take, and how the time of
 * a question grows from N/10 to N clicks. Then a backlog in JetStream is caught up with (`--backlog 0`: it is not).
 * `--clients ROUNDS` compares the two ClickHouse clients instead.
 */

const { values } = readOptions({
  rows: whole(2_000_000),
  backlog: whole(2_000_000, 0),
  seed: whole(42, 0),
  clients: whole(0, 0),
});
const { rows, backlog: backlogRows, seed } = values;

const log = createLogger({ name: 'bench', level: 'warn' });

interface Measured {
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly timings: readonly Timing[];
  readonly select1: BenchUnit;
  readonly sizes: Sizes;
}

await carryOut(main);

async function main(run: Run): Promise<void> {
  const folder = run.makeFolder('afflux-bench-');
  const engines = ownEngines(run, { folder, log });
  const clickhouse = await engines.clickhouse();
  if (values.clients > 0) {
    await compareClients({ url: clickhouse.url, rows, seed, rounds: values.clients, log, progress });
    return;
  }
  const nats = await engines.nats({ sync: 'interval' });
  const small = await measure(clickhouse.url, 'small', Math.ceil(rows / 10));
  const large = await measure(clickhouse.url, 'large', rows);
  const url = new URL(clickhouse.url);
  url.pathname = '/backlog';
  const warehouse = await openWarehouse(url.href);
  let backlog: Backlog | undefined;
  if (backlogRows > 0) {
    progress(`catching up with ${backlogRows} clicks in JetStream`);
    backlog = await catchUp({
      warehouse,
      rows: backlogRows,
      clickhouse: { url: url.href, pid: clickhouse.pid },
      nats,
      home: join(folder, 'home'),
    });
  }
  const { rows: versions } = await warehouse.query<{ version: string }>('SELECT version() AS version');
  await warehouse.close();
  report({
    name: 'warehouse',
    versions: { clickhouse: versions[0]?.version ?? '', seed: String(seed) },
    rows: [
      ...tableOf(small),
      ...tableOf(large),
      ...sizeRows(large.sizes),
      ...(backlog ? backlogTable(backlog) : []),
    ],
    targets: [...targetsOf(small, large), ...(backlog ? backlogTargets(backlog) : [])],
  });
}

async function openWarehouse(url: string): Promise<Warehouse> {
  const warehouse = await connectWarehouse({ url, name: 'bench' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: Date.now() });
  return warehouse;
}

/** Loads so many clicks into a database of their own, asks, weighs, and drops it. */
async function measure(serverUrl: string, database: string, count: number): Promise<Measured> {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  const warehouse = await openWarehouse(url.href);
  const endMs = Date.now();
  let shown = 0;
  const { seconds } = await generateClicks({
    warehouse,
    rows: count,
    seed,
    endMs,
    progress(done) {
      if (done - shown < count / 20 && done < count) return;
      shown = done;
      progress(`${done} of ${count} clicks (${DAYS} days, seed ${seed})`);
    },
  });
  progress('finishing what is past');
  await finishPast(warehouse, { url: url.href, endMs });
  const sizes = await readSizes(warehouse, count);
  progress('asking');
  const { done: timings, units } = await measureBetween([() => timeSelect1(warehouse)], () =>
    askQuestions(warehouse, endMs),
  );
  const [select1] = units;
  await warehouse.command(`DROP DATABASE ${database} SYNC`);
  await warehouse.close();
  return { rows: count, rowsPerSecond: count / seconds, timings, select1, sizes };
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

function tableOf({ rows: count, rowsPerSecond, timings, select1 }: Measured): BenchRow[] {
  return [
    { what: `insert ${count} clicks, generated in the engine`, rows_per_s: round(rowsPerSecond) },
    unitRow(select1),
    ...timings.map(({ name, p50Ms, p95Ms }) =>
      inUnits({ what: `${name}, at ${count}`, p50_ms: round(p50Ms), p95_ms: round(p95Ms) }, select1),
    ),
  ];
}

function sizeRows({ columns, projections, tables }: Sizes): BenchRow[] {
  return [
    ...columns.map(({ name, bytes }) => ({ what: `clicks.${name}`, bytes_per_click: round(bytes) })),
    ...projections.map(({ name, bytes }) => ({ what: `projection ${name}`, bytes_per_click: round(bytes) })),
    ...tables.map(({ name, bytes }) => ({ what: `table ${name}`, bytes_per_click: round(bytes) })),
  ];
}

function backlogTable({ rows: count, rowsPerSecond, cpuUs, peakMb, freshness }: Backlog): BenchRow[] {
  return [
    { what: `backlog of ${count} clicks through the loader`, rows_per_s: round(rowsPerSecond) },
    { what: 'CPU a click: loader', us: round(cpuUs.loader) },
    { what: 'CPU a click: ClickHouse', us: round(cpuUs.clickhouse) },
    { what: 'CPU a click: NATS', us: round(cpuUs.nats) },
    { what: 'peak memory: loader', mb: round(peakMb.loader) },
    { what: 'peak memory: ClickHouse', mb: round(peakMb.clickhouse) },
    {
      what: `click to report at ${freshness.clicksPerSecond} clicks/s`,
      p50_ms: round(freshness.p50Ms),
      p99_ms: round(freshness.p99Ms),
    },
  ];
}

function targetsOf(small: Measured, large: Measured): BenchTarget[] {
  const p95 = (run: Measured, start: string): number =>
    run.timings.find(({ name }) => name.startsWith(start))?.p95Ms ?? Number.POSITIVE_INFINITY;
  const bound = (name: string, ms: number): BenchTarget[] =>
    atMostInUnits(`${name} p95`, p95(large, name), ms, large.select1);
  return [
    ...bound('campaign report', 15),
    atMost(
      `campaign report, ${large.rows} / ${small.rows}`,
      p95(large, 'campaign report') / p95(small, 'campaign report'),
      1.2,
    ),
    ...bound('velocity of one ip', 8),
    ...bound('velocity of one subnet', 8),
    ...bound('velocity of one fingerprint', 8),
    ...bound('who exceeds', 50),
    ...bound('1,000 look-ups', 60),
    ...bound('report of an affiliate', 40),
    atMost('bytes a click, raw columns', large.sizes.raw, 30),
    atMost('bytes a click, everything', large.sizes.all, 45),
  ];
}

function backlogTargets(backlog: Backlog): BenchTarget[] {
  return [
    atLeast('clicks/s through the loader', backlog.rowsPerSecond, 400_000),
    atMost('peak MB of ClickHouse while catching up', backlog.peakMb.clickhouse, 1_500),
    atMost('peak MB of the loader while catching up', backlog.peakMb.loader, 300),
    atMost('click to report under load, p99 ms', backlog.freshness.p99Ms, 2_000),
  ];
}
