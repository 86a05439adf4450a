import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createWarehouseClicks } from '../../attribution/click-source.ts';
import { BATCHES_IN_FLIGHT, createAttributionWorker } from '../../attribution/worker.ts';
import { createLogger } from '../../core/log.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { createApiKey } from '../../ledger/api-keys.ts';
import { auditLedger } from '../../ledger/audit.ts';
import { recordConversion } from '../../ledger/conversions.ts';
import { affiliateBalance } from '../../ledger/counts.ts';
import { connectLedger, connectOwner, type Ledger } from '../../ledger/db.ts';
import { migrateLedger } from '../../ledger/migrate.ts';
import { answerAll } from '../../ledger/payout-provider.ts';
import { runPayouts } from '../../ledger/payout-run.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/client.ts';
import { loadGeo } from '../../warehouse/geo.ts';
import { migrateWarehouse } from '../../warehouse/migrate.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { prepareBrief, runBrief } from './brief.ts';
import { type BenchOrder, type BenchProgram, createBenchProgram, insertClicks, makeOrders } from './data.ts';
import { createPayableAffiliates, lengthenEntries } from './payouts.ts';
import { recordByApi, startApiProcess } from './record.ts';

/**
 * `npm run bench:attribution`: orders recorded by the API, decided and credited at three levels against a warehouse
 * of N clicks, a payout run, a balance over a long table of entries, and the usual design on the same data.
 */

const { values } = parseArgs({
  options: {
    clicks: { type: 'string', default: '10000000' },
    orders: { type: 'string', default: '200000' },
    payees: { type: 'string', default: '100000' },
    entries: { type: 'string', default: '10000000' },
    'brief-seconds': { type: 'string', default: '15' },
  },
});
const sizes = {
  clicks: Number(values.clicks),
  orders: Number(values.orders),
  payees: Number(values.payees),
  entries: Number(values.entries),
  briefMs: Number(values['brief-seconds']) * 1_000,
};

/** As the worker process has them. */
const WORKER_CONNECTIONS = 4;
const PASSWORD = 'bench';
/** Balances asked for. */
const BALANCES = 200;

const log = createLogger({ name: 'bench', level: 'warn' });
const folder = mkdtempSync(join(tmpdir(), 'afflux-bench-'));
const engines: Engine[] = [];

try {
  await main();
} finally {
  for (const engine of engines.reverse()) await engine.stop();
  rmSync(folder, { recursive: true, force: true });
}

interface Stores {
  readonly ledger: Ledger;
  readonly owner: Ledger;
  readonly warehouse: Warehouse;
  readonly postgresUrl: string;
  readonly clickhouseUrl: string;
}

async function main(): Promise<void> {
  const stores = await openStores();
  const { ledger, owner, warehouse } = stores;
  const clickKey = randomBytes(16);
  const program = await createBenchProgram(ledger, { clicks: sizes.clicks, clickKey, now: Date.now() });
  await insertClicks(warehouse, program, shown('clicks in the warehouse', sizes.clicks));
  const orders = makeOrders(program, sizes.orders);

  const recording = await record(stores, program, orders, clickKey);
  progress('deciding');
  const deciding = await decideAll(stores, program);
  progress('the usual design');
  const sameClicks = shown('clicks in PostgreSQL', sizes.clicks);
  await prepareBrief(owner, program, { clicks: sizes.clicks, progress: sameClicks });
  const brief = await runBrief(ledger, { orders, connections: WORKER_CONNECTIONS, maxMs: sizes.briefMs });
  await owner.unsafe('drop table brief_conversions, brief_clicks, brief_affiliates');

  const payable = await createPayableAffiliates(stores, {
    affiliates: sizes.payees,
    progress: shown('affiliates with money', sizes.payees),
  });
  await owner`vacuum analyze`;
  progress('paying');
  const paying = await pay(ledger, payable);
  progress('auditing');
  const off = (await auditLedger(ledger)).filter(({ ok }) => !ok);
  await lengthenEntries(owner, {
    programId: program.programId,
    entries: sizes.entries,
    progress: shown('entries', sizes.entries),
  });
  const balance = await askBalances(ledger, program);
  const versions = await readVersions(stores);
  await Promise.all([ledger.end(), owner.end(), warehouse.close()]);

  const rows: BenchRow[] = [
    { what: `recorded by HTTP, ${recording.orders} orders`, per_s: round(recording.perSecond) },
    { what: 'recorded by the ledger alone', per_s: round(recording.ledgerPerSecond) },
    { what: `decided, against ${sizes.clicks} clicks`, per_s: round(deciding.perSecond) },
    ...deciding.outcomes.map(([outcome, count]) => ({ what: `  ${outcome}`, count })),
    { what: `usual design, ${brief.orders} orders`, per_s: round(brief.perSecond) },
    { what: `payout run, ${paying.built} payouts`, seconds: round(paying.seconds) },
    {
      what: `balance of one affiliate, ${sizes.entries} entries`,
      p50_ms: round(balance.p50),
      p95_ms: round(balance.p95),
    },
    { what: 'checks of the books that failed', count: off.length },
  ];
  const targets: BenchTarget[] = [
    atLeast('orders/s recorded by the API', recording.perSecond, 3_000),
    atLeast('orders/s decided', deciding.perSecond, 3_000),
    atLeast('decided / usual design', deciding.perSecond / brief.perSecond, 1),
    atMost(`seconds to pay ${sizes.payees} affiliates`, paying.seconds, 60),
    atMost('balance p95 ms', balance.p95, 5),
    atMost('checks of the books that failed', off.length, 0),
  ];
  report({ name: 'attribution', versions, rows, targets });
}

async function openStores(): Promise<Stores> {
  const clickhouse = await startClickHouse({
    dataDir: join(folder, 'clickhouse'),
    port: await freePort(),
    database: 'afflux',
    log,
  });
  engines.push(clickhouse);
  const postgres = await startPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    password: PASSWORD,
    database: 'afflux',
    log,
  });
  engines.push(postgres);
  const warehouse = await connectWarehouse({ url: clickhouse.url, name: 'bench' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: Date.now() });
  await migrateLedger({ url: postgres.url, log });
  const ledger = await connectLedger({ url: postgres.url, max: WORKER_CONNECTIONS, name: 'bench' });
  const owner = await connectOwner({ url: postgres.url, name: 'bench-owner' });
  return { ledger, owner, warehouse, postgresUrl: postgres.url, clickhouseUrl: clickhouse.url };
}

/** All orders by the API; then as many again by the ledger's own function, of a twentieth of them. */
async function record(
  { ledger, postgresUrl, clickhouseUrl }: Stores,
  { programId }: BenchProgram,
  orders: readonly BenchOrder[],
  clickKey: Buffer,
): Promise<{ orders: number; perSecond: number; ledgerPerSecond: number }> {
  const { key } = await createApiKey(ledger, { role: 'advertiser', programId, name: 'bench' });
  const port = await freePort();
  const home = join(folder, 'home');
  if (!existsSync(home)) mkdirSync(home);
  const api = await startApiProcess({
    AFFLUX_HOME: home,
    DATABASE_URL: postgresUrl,
    CLICKHOUSE_URL: clickhouseUrl,
    NATS_URL: 'nats://127.0.0.1:4222',
    API_PORT: String(port),
    CLICK_KEYS: clickKey.toString('hex'),
    LOG_LEVEL: 'warn',
  });
  progress(`recording ${orders.length} orders`);
  const seconds = await recordByApi({ port, key, orders }).finally(() => api.stop());
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
    ledgerPerSecond: (alone.length * 1_000) / (performance.now() - startedAt),
  };
}

/** The worker as its process runs it, until nothing is due. */
async function decideAll(
  { ledger, owner, warehouse }: Stores,
  program: BenchProgram,
): Promise<{ perSecond: number; outcomes: [string, number][] }> {
  await owner`analyze`;
  const worker = createAttributionWorker({
    ledger,
    clicks: createWarehouseClicks(warehouse),
    clickIds: program.clickIds,
    log,
  });
  const startedAt = performance.now();
  let decided = 0;
  async function lane(): Promise<void> {
    for (;;) {
      const { claimed } = await worker.runBatch(new Date());
      if (claimed === 0) return;
      decided += claimed;
    }
  }
  await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, lane));
  const perSecond = (decided * 1_000) / (performance.now() - startedAt);
  return { perSecond, outcomes: Object.entries(worker.stats.decided) };
}

async function pay(ledger: Ledger, programId: number): Promise<{ built: number; seconds: number }> {
  const startedAt = performance.now();
  const { built } = await runPayouts(ledger, {
    now: new Date(),
    programId,
    provider: { name: 'bench', submit: async (batch) => answerAll(batch, { outcome: 'accepted' }) },
  });
  return { built, seconds: (performance.now() - startedAt) / 1_000 };
}

async function askBalances(ledger: Ledger, program: BenchProgram): Promise<{ p50: number; p95: number }> {
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

/** Tells of every fifth. */
function shown(what: string, total: number): (done: number) => void {
  let told = 0;
  return (done) => {
    if (done - told < total / 5 && done < total) return;
    told = done;
    progress(`${done} of ${total} ${what}`);
  };
}
