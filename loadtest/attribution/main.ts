import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createWarehouseClicks } from '../../attribution/worker/click-source.ts';
import { BATCHES_IN_FLIGHT, createAttributionWorker } from '../../attribution/worker/worker.ts';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { applicationUrl } from '../../core/login.ts';
import { createLogger } from '../../core/service/log.ts';
import { freePort } from '../../engines/engine.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { affiliateBalance } from '../../ledger/audit/counts.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { answerAll } from '../../ledger/payouts/provider.ts';
import { BANK_LIMITS } from '../../ledger/payouts/providers/bank-csv.ts';
import { runPayouts } from '../../ledger/payouts/run.ts';
import { connectDatabase, connectOwner, type Database } from '../../ledger/postgres/db.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { APP_PASSWORD } from '../login.ts';
import { above0, optional, readOptions, text, whole } from '../options.ts';
import { inUnits, measureBetween, timeInsert, unitRow } from '../units.ts';
import { prepareConventional, runConventional } from './conventional.ts';
import { type BenchOrder, type BenchProgram, createBenchProgram, insertClicks, makeOrders } from './data.ts';
import { createPayableAffiliates, lengthenEntries } from './payouts.ts';
import { cpuMs, recordByApi, startApiProcess } from './record.ts';

/**
 * `npm run bench:attribution`: orders recorded by the API, decided and credited at three levels against a warehouse
 * of N clicks, a payout run, a balance over a long table of entries, and the conventional design on the same data.
 *
 * With `--folder PATH` data and figures stay there, and `--parts record,decide` runs some of {@link PARTS} on them: what
 * only prepares can so be done at another time than what is measured.
 */

const { values: sizes } = readOptions({
  clicks: whole(10_000_000),
  orders: whole(200_000),
  payees: whole(100_000),
  entries: whole(10_000_000),
  'conventional-seconds': above0(15),
  folder: optional(text('')),
  parts: optional(text('')),
});

/** As the worker process has them. */
const WORKER_CONNECTIONS = 4;
/** Balances read. */
const BALANCES = 200;

const log = createLogger({ name: 'bench', level: 'warn' });

interface Stores {
  readonly folder: string;
  readonly ledger: Database;
  readonly owner: Database;
  readonly warehouse: Warehouse;
  readonly databaseUrl: string;
  readonly ownerUrl: string;
  readonly clickhouseUrl: string;
}

/** What one part leaves to the next ones. */
interface State {
  clickKey: string;
  program?: Omit<BenchProgram, 'clickIds'>;
  payable?: number;
  rows: Record<string, BenchRow[]>;
  targets: Record<string, BenchTarget[]>;
  decidedPerSecond?: number;
}

/** In their order. Those without figures prepare the next. */
const PARTS: Readonly<Record<string, (stores: Stores, state: State) => Promise<Figures | undefined>>> = {
  clicks: async ({ ledger, warehouse }, state) => {
    const clickKey = Buffer.from(state.clickKey, 'hex');
    const { clickIds: _, ...program } = await createBenchProgram(ledger, {
      clicks: sizes.clicks,
      clickKey,
      now: Date.now(),
    });
    state.program = program;
    await insertClicks(warehouse, programOf(state), showProgress('clicks in the warehouse', sizes.clicks));
    return undefined;
  },
  'conventional-clicks': async ({ owner }, state) => {
    const progress = showProgress('clicks in PostgreSQL', sizes.clicks);
    await prepareConventional(owner, programOf(state), { clicks: sizes.clicks, progress });
    return undefined;
  },
  record: async (stores, state) => {
    const program = programOf(state);
    const orders = makeOrders(program, sizes.orders);
    const done = await record(stores, program, orders, Buffer.from(state.clickKey, 'hex'));
    return {
      rows: [
        {
          what: `recorded by HTTP, ${done.orders} orders`,
          per_s: round(done.perSecond),
          api_us: round(done.apiUs),
          postgres_us: round(done.postgresUs),
        },
        { what: 'recorded by the ledger alone', per_s: round(done.ledgerPerSecond) },
      ],
      targets: [atLeast('orders/s recorded by the API', done.perSecond, 3_000)],
    };
  },
  decide: async (stores, state) => {
    const done = await decideAll(stores, programOf(state));
    state.decidedPerSecond = done.perSecond;
    return {
      rows: [
        {
          what: `decided, against ${sizes.clicks} clicks`,
          per_s: round(done.perSecond),
          worker_us: round(done.workerUs),
          postgres_us: round(done.postgresUs),
        },
        ...done.outcomes.map(([outcome, count]) => ({ what: `  ${outcome}`, count })),
      ],
      targets: [atLeast('orders/s decided', done.perSecond, 3_000)],
    };
  },
  conventional: async ({ ledger, owner }, state) => {
    const program = programOf(state);
    const orders = makeOrders(program, sizes.orders);
    const done = await runConventional(ledger, {
      orders,
      connections: WORKER_CONNECTIONS,
      maxMs: sizes['conventional-seconds'] * 1_000,
    });
    await owner.unsafe('drop table conventional_conversions, conventional_clicks, conventional_affiliates');
    return {
      rows: [{ what: `conventional design, ${done.orders} orders`, per_s: round(done.perSecond) }],
      targets: [atLeast('decided / conventional design', (state.decidedPerSecond ?? 0) / done.perSecond, 1)],
    };
  },
  payees: async (stores, state) => {
    const progress = showProgress('affiliates with money', sizes.payees);
    state.payable = await createPayableAffiliates(stores, { affiliates: sizes.payees, progress });
    await stores.owner`vacuum analyze`;
    return undefined;
  },
  pay: async ({ ledger }, { payable }) => {
    const done = await pay(ledger, required(payable));
    if (done.built !== sizes.payees) throw new Error(`${done.built} of ${sizes.payees} affiliates were paid`);
    return {
      rows: [{ what: `payout run, ${done.built} payouts`, seconds: round(done.seconds) }],
      targets: [atMost(`seconds to pay ${sizes.payees} affiliates`, done.seconds, 60)],
    };
  },
  audit: async ({ ledger }) => {
    const off = (await auditLedger(ledger)).filter(({ ok }) => !ok);
    return {
      rows: [{ what: 'checks of the books that failed', count: off.length }],
      targets: [atMost('checks of the books that failed', off.length, 0)],
    };
  },
  entries: async ({ owner }, state) => {
    const { programId } = programOf(state);
    const progress = showProgress('entries', sizes.entries);
    await lengthenEntries(owner, { programId, entries: sizes.entries, progress });
    return undefined;
  },
  balances: async ({ ledger }, state) => {
    const { p50, p95 } = await askBalances(ledger, programOf(state));
    const what = `balance of one affiliate, ${sizes.entries} entries`;
    return {
      rows: [{ what, p50_ms: round(p50), p95_ms: round(p95) }],
      targets: [atMost('balance p95 ms', p95, 5)],
    };
  },
};

interface Figures {
  readonly rows: BenchRow[];
  readonly targets: BenchTarget[];
}

await carryOut(main);

async function main(run: Run): Promise<void> {
  const parts = sizes.parts?.split(',') ?? Object.keys(PARTS);
  const unknown = parts.find((part) => !PARTS[part]);
  if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(PARTS).join(', ')}`);
  const folder = sizes.folder ?? run.makeFolder('afflux-bench-');
  mkdirSync(folder, { recursive: true });
  const stateFile = join(folder, 'bench.json');
  const state: State = existsSync(stateFile)
    ? (JSON.parse(readFileSync(stateFile, 'utf8')) as State)
    : { clickKey: randomBytes(16).toString('hex'), rows: {}, targets: {} };
  const stores = await openStores(run, folder);
  const { units } = await measureBetween([() => timeInsert(stores.ownerUrl)], async () => {
    for (const part of parts) {
      progress(part);
      const figures = await PARTS[part]?.(stores, state);
      if (figures) {
        state.rows[part] = figures.rows;
        state.targets[part] = figures.targets;
      }
      writeFileSync(stateFile, JSON.stringify(state));
    }
  });
  const [insert] = units;
  // A part of an earlier call keeps the multiples of that call's unit.
  for (const part of parts) state.rows[part] = (state.rows[part] ?? []).map((row) => inUnits(row, insert));
  writeFileSync(stateFile, JSON.stringify(state));
  const versions = await readVersions(stores);
  const { ledger, owner, warehouse } = stores;
  await Promise.all([ledger.end(), owner.end(), warehouse.close()]);
  const measured = Object.keys(PARTS);
  report({
    name: 'attribution',
    versions,
    rows: [unitRow(insert), ...measured.flatMap((part) => state.rows[part] ?? [])],
    targets: measured.flatMap((part) => state.targets[part] ?? []),
  });
}

function programOf({ program, clickKey }: State): BenchProgram {
  return { ...required(program), clickIds: createClickIdCodec([Buffer.from(clickKey, 'hex')]) };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('an earlier part has to be run first');
  return value;
}

async function openStores(run: Run, folder: string): Promise<Stores> {
  const engines = ownEngines(run, { folder, log });
  const clickhouse = await engines.clickhouse();
  const postgres = await engines.postgres();
  const warehouse = await connectWarehouse({ url: clickhouse.url, name: 'bench' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: Date.now() });
  await migrateLedger({ url: postgres.url, log, appPassword: APP_PASSWORD });
  const databaseUrl = applicationUrl(postgres.url, APP_PASSWORD);
  const ledger = await connectDatabase({ url: databaseUrl, max: WORKER_CONNECTIONS, name: 'bench' });
  const owner = await connectOwner({ url: postgres.url, name: 'bench-owner' });
  return {
    folder,
    ledger,
    owner,
    warehouse,
    databaseUrl,
    ownerUrl: postgres.url,
    clickhouseUrl: clickhouse.url,
  };
}

/** All orders by the API; then as many again by the ledger's own function, of a twentieth of them. */
async function record(
  { folder, ledger, databaseUrl, clickhouseUrl }: Stores,
  { programId }: BenchProgram,
  orders: readonly BenchOrder[],
  clickKey: Buffer,
): Promise<{
  orders: number;
  perSecond: number;
  apiUs: number;
  postgresUs: number;
  ledgerPerSecond: number;
}> {
  const { key } = await createApiKey(ledger, { role: 'advertiser', programId, name: 'bench' });
  const port = await freePort();
  const home = join(folder, 'home');
  if (!existsSync(home)) mkdirSync(home);
  const api = await startApiProcess({
    AFFLUX_HOME: home,
    DATABASE_URL: databaseUrl,
    CLICKHOUSE_URL: clickhouseUrl,
    NATS_URL: 'nats://127.0.0.1:4222',
    API_PORT: String(port),
    CLICK_KEYS: clickKey.toString('hex'),
    LOG_LEVEL: 'warn',
  });
  const cpuBefore = { api: cpuMs([api.pid]), postgres: cpuMs(await backendsOf(ledger)) };
  const seconds = await recordByApi({ port, key, orders });
  const perOrder = (now: number, before: number): number => ((now - before) * 1_000) / orders.length;
  const apiUs = perOrder(cpuMs([api.pid]), cpuBefore.api);
  const postgresUs = perOrder(cpuMs(await backendsOf(ledger)), cpuBefore.postgres);
  await api.stop();
  const alone = orders.slice(0, Math.ceil(orders.length / 20));
  const startedAt = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: WORKER_CONNECTIONS }, async () => {
      for (let order = alone[next++]; order; order = alone[next++]) {
        const { clickId, amountMinor, occurredAt } = order;
        const orderId = `${order.orderId}-alone`;
        await recordConversion(ledger, {
          programId,
          orderId,
          amountMinor,
          clickId,
          occurredAt,
          currency: 'EUR',
          source: 'api',
        });
      }
    }),
  );
  return {
    orders: orders.length,
    perSecond: orders.length / seconds,
    apiUs,
    postgresUs,
    ledgerPerSecond: (alone.length * 1_000) / (performance.now() - startedAt),
  };
}

/** The processes of PostgreSQL's sessions. */
async function backendsOf(ledger: Database): Promise<number[]> {
  const rows = await ledger<{ pid: number }[]>`select pid from pg_stat_activity where datname is not null`;
  return rows.map(({ pid }) => pid);
}

/** The worker as its process runs it, until nothing is due; processor time of this process and of PostgreSQL's each. */
async function decideAll(
  { ledger, owner, warehouse }: Stores,
  program: BenchProgram,
): Promise<{ perSecond: number; workerUs: number; postgresUs: number; outcomes: [string, number][] }> {
  await owner`analyze`;
  const worker = createAttributionWorker({
    ledger,
    clicks: createWarehouseClicks(warehouse),
    clickIds: program.clickIds,
    log,
  });
  const postgresMs = cpuMs(await backendsOf(ledger));
  const ownCpu = process.cpuUsage();
  const startedAt = performance.now();
  let decided = 0;
  async function decideUntilNoneIsDue(): Promise<void> {
    for (;;) {
      const { claimed } = await worker.runBatch(new Date());
      if (claimed === 0) return;
      decided += claimed;
    }
  }
  await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, decideUntilNoneIsDue));
  const perSecond = (decided * 1_000) / (performance.now() - startedAt);
  const { user, system } = process.cpuUsage(ownCpu);
  const workerUs = (user + system) / decided;
  const postgresUs = ((cpuMs(await backendsOf(ledger)) - postgresMs) * 1_000) / decided;
  return { perSecond, workerUs, postgresUs, outcomes: Object.entries(worker.stats.decided) };
}

async function pay(ledger: Database, programId: number): Promise<{ built: number; seconds: number }> {
  const startedAt = performance.now();
  const { built } = await runPayouts(ledger, {
    actor: 'bench',
    now: new Date(),
    programId,
    provider: {
      name: 'bench',
      limits: BANK_LIMITS,
      submit: async (batch) => answerAll(batch, { outcome: 'accepted' }),
    },
  });
  return { built, seconds: (performance.now() - startedAt) / 1_000 };
}

async function askBalances(ledger: Database, program: BenchProgram): Promise<{ p50: number; p95: number }> {
  const times: number[] = [];
  for (let i = 0; i < BALANCES; i++) {
    const affiliateId = program.affiliateIds[(i * 7) % program.affiliateIds.length] ?? 0;
    const startedAt = performance.now();
    await affiliateBalance(ledger, affiliateId);
    times.push(performance.now() - startedAt);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  return { p50: at(0.5), p95: at(0.95) };
}

async function readVersions({ ledger, warehouse }: Stores): Promise<Record<string, string>> {
  const { rows } = await warehouse.query<{ version: string }>('SELECT version() AS version');
  const [postgres] = await ledger<{ version: string }[]>`select current_setting('server_version') as version`;
  return { clickhouse: rows[0]?.version ?? '', postgres: postgres?.version ?? '' };
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

/** Logs every fifth. */
function showProgress(what: string, total: number): (done: number) => void {
  let logged = 0;
  return (done) => {
    if (done - logged < total / 5 && done < total) return;
    logged = done;
    progress(`${done} of ${total} ${what}`);
  };
}
