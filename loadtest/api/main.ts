import { createWriteStream, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { query as queryEngine } from 'chdb';
import { fromProject } from '../../core/config/paths.ts';
import { applicationUrl } from '../../core/login.ts';
import { createLogger } from '../../core/service/log.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { freePort } from '../../engines/engine.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { createProgram } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { type Load, runWrk, SILENCE_NOTE, WRK_RESULT } from '../collector/load.ts';
import { type Measured, startMeasured } from '../collector/process.ts';
import { carryOut, type Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { APP_PASSWORD } from '../login.ts';
import { readOptions, text, whole } from '../options.ts';
import {
  atMostInUnits,
  type BenchUnit,
  inUnits,
  measureBetween,
  timeInsert,
  timeSelect1,
  unitRow,
} from '../units.ts';
import { generateClicks } from '../warehouse/generate.ts';
import { finishPast } from '../warehouse/past.ts';

/**
 * `npm run bench:api`: orders reported one by one over 64 connections, a report of 30 days by day and campaign, and
 * exports in each format, of an API process with PostgreSQL, ClickHouse and the load generator on the same cores.
 */

const { values } = readOptions({
  clicks: whole(10_000_000),
  seconds: whole(10),
  connections: whole(64),
  reports: whole(100),
  profile: text(''),
  seed: whole(42, 0),
});
const { clicks, seconds, connections } = values;

/** ClickHouse's name of each format, and the days of the export: Arrow and Parquet end at 5,000,000 rows. */
const EXPORTS = {
  csv: { input: 'CSVWithNames', days: 61 },
  arrow: { input: 'ArrowStream', days: 30 },
  parquet: { input: 'Parquet', days: 30 },
} as const;
type Format = keyof typeof EXPORTS;
const FORMATS: readonly Format[] = ['csv', 'arrow', 'parquet'];

const ALL_CORES = '0-255';
/** How often the memory of the process is looked at during the export. */
const LOOK_MS = 50;

const log = createLogger({ name: 'bench', level: 'error' });

await carryOut(main);

async function main(run: Run): Promise<void> {
  const folder = run.makeFolder('afflux-bench-');
  const engines = ownEngines(run, { folder, log });
  const database = await engines.postgres();
  const clickhouse = await engines.clickhouse();
  const databaseUrl = applicationUrl(database.url, APP_PASSWORD);
  const keys = await prepareLedger(database.url, databaseUrl);
  const warehouse = await connectWarehouse({ url: clickhouse.url, name: 'bench' });
  await prepareWarehouse(warehouse, clickhouse.url);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const api = await startMeasured({
    command: [process.execPath, ...profileFlags(), fromProject('dist/bin/afflux.js'), 'api'],
    env: {
      AFFLUX_HOME: join(folder, 'home'),
      DATABASE_URL: databaseUrl,
      CLICKHOUSE_URL: clickhouse.url,
      API_PORT: String(port),
      API_REQUESTS_PER_MINUTE: '1000000',
      HOST: '127.0.0.1',
      LOG_LEVEL: 'warn',
    },
    core: ALL_CORES,
    url: `${url}/readyz`,
  });
  const timed = await measureBetween(
    [() => timeInsert(database.url), () => timeSelect1(warehouse)],
    async () => ({
      orders: await measureOrders({ folder, url, api, key: keys.shop }),
      reports: await measureReports({ url, key: keys.operator }),
    }),
  );
  const [insert, select1] = timed.units;
  const exports: Result[] = [];
  for (const format of FORMATS) {
    exports.push(await measureExport({ folder, url, api, key: keys.operator, format }));
  }
  const measured = [
    ordersResult(timed.done.orders, insert),
    reportsResult(timed.done.reports, select1),
    ...exports,
  ];
  await api.stop();
  await warehouse.close();
  report({
    name: 'api',
    versions: { clicks: String(clicks), seed: String(values.seed) },
    rows: [unitRow(insert), unitRow(select1), ...measured.map(({ row }) => row)],
    targets: measured.flatMap(({ targets }) => targets),
    notes: [SILENCE_NOTE],
  });
}

async function prepareLedger(ownerUrl: string, url: string): Promise<{ shop: string; operator: string }> {
  await migrateLedger({ url: ownerUrl, log, appPassword: APP_PASSWORD });
  const ledger = await connectDatabase({ url, max: 1, name: 'bench' });
  const { id: programId } = await createProgram(ledger, { name: 'Bench', currency: 'EUR' });
  await setTerms(ledger, { programId });
  const shop = await createApiKey(ledger, { role: 'advertiser', name: 'shop', programId });
  const operator = await createApiKey(ledger, { role: 'operator', name: 'operator' });
  await ledger.end();
  return { shop: shop.key, operator: operator.key };
}

async function prepareWarehouse(warehouse: Warehouse, url: string): Promise<void> {
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: Date.now() });
  const endMs = Date.now();
  const { seconds: took } = await generateClicks({
    warehouse,
    rows: clicks,
    seed: values.seed,
    endMs,
    progress: () => undefined,
  });
  await finishPast(warehouse, { url, endMs });
  progress(`${clicks} clicks in ${Math.round(took)} s`);
}

interface Result {
  readonly row: BenchRow;
  readonly targets: readonly BenchTarget[];
}

/** Every order is another one: wrk counts them up. */
async function measureOrders(options: {
  readonly folder: string;
  readonly url: string;
  readonly api: Measured;
  readonly key: string;
}): Promise<{ load: Load; cpuUs: number }> {
  const { folder, url, api, key } = options;
  const script = join(folder, 'orders.lua');
  writeFileSync(
    script,
    `local n = ${Date.now()}
local headers = { ["Authorization"] = "Bearer ${key}", ["Content-Type"] = "application/json" }
function request()
  n = n + 1
  return wrk.format("POST", "/v1/conversions", headers, '{"order_id":"' .. n .. '","amount":"12.34","currency":"EUR","customer_id":"customer-' .. (n % 5000) .. '","ip":"198.51.100.7"}')
end
${WRK_RESULT}`,
  );
  const run = (forSeconds: number) =>
    runWrk({ url, script, connections, seconds: forSeconds, core: ALL_CORES });
  await run(2);
  const cpuBefore = api.cpuMs();
  const load = await run(seconds);
  const cpuUs = ((api.cpuMs() - cpuBefore) * 1_000) / load.requests;
  progress(`${Math.round(load.perSecond)} orders/s`);
  return { load, cpuUs };
}

function ordersResult({ load, cpuUs }: { load: Load; cpuUs: number }, insert: BenchUnit): Result {
  return {
    row: inUnits(
      {
        what: `POST /v1/conversions, ${connections} connections`,
        'per second': round(load.perSecond),
        p50_ms: round(load.p50Ms),
        p99_ms: round(load.p99Ms),
        'CPU µs a request': round(cpuUs),
        errors: load.errors,
      },
      insert,
    ),
    targets: [
      atLeast('orders a second', load.perSecond, 2_000),
      ...atMostInUnits('orders p99', load.p99Ms, 50, insert),
      atMost('orders refused', load.errors, 0),
    ],
  };
}

/** Percentiles, milliseconds. */
interface Times {
  readonly p50Ms: number;
  readonly p95Ms: number;
}

async function measureReports({ url, key }: { url: string; key: string }): Promise<Times> {
  // Whole days, today's among them: the usual range of a dashboard.
  const to = new Date(Math.ceil(Date.now() / DAY_MS) * DAY_MS);
  const from = new Date(to.getTime() - 30 * DAY_MS);
  const query = `from=${from.toISOString()}&to=${to.toISOString()}&group_by=day,campaign&limit=5000`;
  const timesMs: number[] = [];
  for (let i = 0; i < values.reports + 5; i++) {
    const startedAt = performance.now();
    const answer = await get(`${url}/v1/reports?${query}`, key);
    await answer.arrayBuffer();
    if (i >= 5) timesMs.push(performance.now() - startedAt);
  }
  timesMs.sort((a, b) => a - b);
  const at = (share: number) =>
    timesMs[Math.min(timesMs.length - 1, Math.floor(timesMs.length * share))] ?? 0;
  progress(`reports p95 ${Math.round(at(0.95))} ms`);
  return { p50Ms: at(0.5), p95Ms: at(0.95) };
}

function reportsResult({ p50Ms, p95Ms }: Times, select1: BenchUnit): Result {
  return {
    row: inUnits(
      { what: '30 days by day and campaign', p50_ms: round(p50Ms), p95_ms: round(p95Ms) },
      select1,
    ),
    targets: atMostInUnits('report p95', p95Ms, 60, select1),
  };
}

/** As finely as there are rows: by hour, campaign, affiliate, country and device. */
async function measureExport(options: {
  readonly folder: string;
  readonly url: string;
  readonly api: Measured;
  readonly key: string;
  readonly format: Format;
}): Promise<Result> {
  const { folder, url, api, key, format } = options;
  const to = new Date(Math.ceil(Date.now() / HOUR_MS) * HOUR_MS);
  const from = new Date(to.getTime() - EXPORTS[format].days * DAY_MS);
  const query = `from=${from.toISOString()}&to=${to.toISOString()}&group_by=hour,campaign,affiliate,country,device&format=${format}`;
  const file = join(folder, `export.${format}`);
  const before = api.rssMb();
  let peak = before;
  let watching = true;
  const watch = (async () => {
    while (watching) {
      peak = Math.max(peak, api.rssMb());
      await delay(LOOK_MS);
    }
  })();
  const startedAt = performance.now();
  let firstMs = 0;
  let totalS = 0;
  try {
    const answer = await get(`${url}/v1/reports?${query}`, key);
    firstMs = performance.now() - startedAt;
    if (answer.body === null) throw new Error(`${query} answered nothing`);
    await pipeline(answer.body, createWriteStream(file));
    totalS = (performance.now() - startedAt) / 1_000;
  } finally {
    watching = false;
    await watch;
  }
  const rows = countRows(file, format);
  const bytes = statSync(file).size;
  rmSync(file);
  progress(`${format}: ${rows} rows in ${Math.round(totalS)} s`);
  return {
    row: {
      what: `${format} of ${rows} rows`,
      'per second': round(rows / totalS),
      'first byte ms': round(firstMs),
      MB: round(bytes / 1e6),
      'RSS growth MB': round(peak - before),
    },
    targets: [
      atLeast(`${format}: rows a second`, rows / totalS, 100_000),
      atMost(`${format}: RSS growth MB`, peak - before, 50),
    ],
  };
}

/** The engine reads each of the formats itself; its server opens no files for clients. */
function countRows(file: string, format: Format): number {
  return Number(queryEngine(`SELECT count() FROM file('${file}', ${EXPORTS[format].input})`, 'TabSeparated'));
}

async function get(url: string, key: string): Promise<Response> {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
  return answer;
}

/** `--profile DIR` writes a CPU profile of the API there. */
function profileFlags(): string[] {
  return values.profile === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
