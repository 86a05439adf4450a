import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { createHttp } from '../chaos/http.ts';
import {
  createLoadGenerator,
  type Load,
  type LoadRequest,
  makeRequests,
  SILENCE_NOTE,
} from '../collector/load.ts';
import { carryOut, type Run } from '../ending.ts';
import { above0, readOptions, whole } from '../options.ts';
import { type Platform, startPlatform, type Target } from '../platform.ts';
import { childrenNamed, treeCpuMs } from '../process-usage.ts';
import { createRandom } from '../random.ts';
import { LIMITS } from '../traffic/limits.ts';
import { atMostUnits, type BenchUnit, inUnits, measureBetween, timeBareUws, timeSelect1 } from '../units.ts';
import { isTrueWithin } from '../wait.ts';
import { readSizes, type Sizes, settle } from '../warehouse/sizes.ts';
import { type Probe, startProbe } from './probe.ts';

/**
 * `npm run bench:pipeline -- --minutes 10 --rate 60000`: everything that `afflux up` starts, on the cores of this
 * machine together with the generator (wrk): sustained clicks a second, orders and reports meanwhile; how fresh the
 * reports are, what each process costs a click, and whether every answered click is stored, once.
 */

const { values } = readOptions({
  minutes: above0(1),
  rate: whole(60_000),
  links: whole(1_000),
  seed: whole(42, 0),
});
const { minutes, rate, links: linkCount } = values;

const TARGETS: readonly Target[] = [
  'collector',
  'nats',
  'loader',
  'clickhouse',
  'attribution',
  'scheduler',
  'api',
  'postgres',
];
/** A connection waits as long, on average, between an answer and its next click; visitors are many and slow. */
const THINK_MS = 10;
const VARIETY = 50_000;
const USER_AGENTS = 5_000;
const ALL_CORES = '0-255';
const LINKS_AT_ONCE = 8;
const SERVED_MS = 30_000;
const CAUGHT_UP_MS = 120_000;
const DECIDED_MS = 180_000;
/** How often the generator's CPU time and the lag are read. */
const SAMPLE_MS = 1_000;

interface Measured {
  readonly load: Load;
  readonly probe: Probe;
  readonly cpuMs: ReadonlyMap<string, number>;
  /** Messages of the stream behind the loader's mark, second by second. */
  readonly lag: readonly number[];
  readonly catchUpMs: number;
  /** Rows of the generator's clicks. */
  readonly stored: number;
  readonly undecided: number;
  /** From an order's arrival to its decision. */
  readonly decisionMs: { readonly p50: number; readonly p99: number };
  readonly auditOk: boolean;
  readonly sizes: Sizes;
}

interface Units {
  readonly bare: BenchUnit;
  readonly select1: BenchUnit;
}

const http = createHttp();

await carryOut(async (run: Run) => {
  const folder = run.makeFolder('afflux-pipeline-');
  const platform = await run.start((signal) => startPlatform({ folder, smallDisk: undefined, signal }));
  await withWarehouse(platform, async (warehouse) => {
    const { done, units } = await measureBetween([timeBareUws, () => timeSelect1(warehouse)], () =>
      measure(platform, { folder, warehouse }),
    );
    const [bare, select1] = units;
    publish(done, { bare, select1 });
  });
});

async function measure(
  running: Platform,
  { folder, warehouse }: { folder: string; warehouse: Warehouse },
): Promise<Measured> {
  const links = await createLinks(running);
  const [own, ...clicked] = links;
  if (!own) throw new Error('no links');
  await serving(running, links);
  const generator = createLoadGenerator({
    folder,
    name: 'pipeline',
    requests: visitors(clicked.map(({ code }) => code)),
  });
  if (!generator.runThinking) throw new Error('this benchmark needs wrk and ss');
  const probe = startProbe({ http, platform: running, link: own });
  const before = cpuOf(running);
  const sampler = sample(running);
  const load = await generator.runThinking({
    url: running.collectorUrl,
    connections: Math.ceil((rate * THINK_MS) / 1_000),
    seconds: Math.max(1, Math.round(minutes * 60)),
    core: ALL_CORES,
    thinkMs: THINK_MS,
  });
  const endedAt = Date.now();
  const { wrkMs, lag } = await sampler.stop();
  const cpuMs = new Map([...cpuOf(running)].map(([name, ms]) => [name, ms - (before.get(name) ?? 0)]));
  cpuMs.set('wrk', wrkMs);
  if (!(await probe.stop(CAUGHT_UP_MS))) throw new Error('the report does not show every click');
  const caughtUp = async (): Promise<boolean> => ((await readWatermark(warehouse)) ?? 0) > endedAt;
  if (!(await isTrueWithin(CAUGHT_UP_MS, caughtUp))) throw new Error('the loader does not catch up');
  const catchUpMs = Date.now() - endedAt;
  const decisions = await readDecisions(running);
  const stored = await countClicks(warehouse);
  const auditOk = (await running.run('audit')).code === 0;
  await settle(warehouse);
  const sizes = await readSizes(warehouse, stored);
  return { load, probe, cpuMs, lag, catchUpMs, stored, ...decisions, auditOk, sizes };
}

async function createLinks({ apiUrl, demo }: Platform): Promise<{ id: string; code: string }[]> {
  const random = createRandom(values.seed);
  const made: { id: string; code: string }[] = [];
  let left = linkCount + 1;
  async function worker(): Promise<void> {
    while (left-- > 0) {
      const like = random.pick(demo.links);
      const answer = await http.send('POST', `${apiUrl}/v1/links`, {
        headers: { Authorization: `Bearer ${demo.keys.operator}` },
        body: {
          campaign_id: `cmp_${like.campaign_id}`,
          affiliate_id: `aff_${like.affiliate_id}`,
          landing_url: 'https://shop.example/offer',
        },
      });
      if (answer?.status !== 201) throw new Error(`no link could be made: ${answer?.status} ${answer?.body}`);
      made.push(JSON.parse(answer.body) as { id: string; code: string });
    }
  }
  await Promise.all(Array.from({ length: LINKS_AT_ONCE }, worker));
  return made;
}

/** Waits until the collector knows every link. The requests are HEADs, and stored as such. */
async function serving({ collectorUrl }: Platform, links: readonly { code: string }[]): Promise<void> {
  const known = async (code: string): Promise<boolean> => {
    const answer = await fetch(`${collectorUrl}/c/${code}`, { method: 'HEAD', redirect: 'manual' });
    return answer.status === 302;
  };
  for (const { code } of links) {
    if (!(await isTrueWithin(SERVED_MS, () => known(code)))) throw new Error(`link ${code} is not served`);
  }
}

/** Clicks of visitors of 50,000 addresses, whose neighbours in time are in different networks. */
function visitors(codes: readonly string[]): LoadRequest[] {
  return makeRequests({ codes, variety: VARIETY, userAgents: USER_AGENTS }).map(({ path, headers }, i) => ({
    path,
    headers: {
      ...headers,
      'X-Forwarded-For': `${11 + (i % 199)}.${(i >> 8) & 255}.${i & 255}.${1 + (i % 254)}`,
    },
  }));
}

function cpuOf(running: Platform): Map<string, number> {
  return new Map(
    TARGETS.map((target) => {
      const pid = running.pidOf(target);
      if (pid === undefined) throw new Error(`${target} is not running`);
      return [target, treeCpuMs([pid])];
    }),
  );
}

/** Reads, every second, what the generator has used and how far the loader is behind. */
function sample(running: Platform): { stop(): Promise<{ wrkMs: number; lag: number[] }> } {
  const lag: number[] = [];
  let wrkMs = 0;
  let under = Promise.resolve();
  async function look(): Promise<void> {
    wrkMs = Math.max(wrkMs, treeCpuMs(childrenNamed(process.pid, 'wrk')));
    const metrics = await fetch(`http://127.0.0.1:${running.config.loaderPort}/metrics`, {
      headers: { authorization: `Bearer ${metricsToken(createSecretBox(running.config.dataKeys))}` },
    });
    const found = /^afflux_loader_lag_messages(?:\{[^}]*\})? (\d+)/m.exec(await metrics.text());
    lag.push(Number(found?.[1]));
  }
  const timer = setInterval(() => {
    under = under.then(look);
  }, SAMPLE_MS);
  return {
    async stop() {
      clearInterval(timer);
      await under;
      return { wrkMs, lag };
    },
  };
}

/** Rows of the clicks that the generator sent; none is counted twice: the loader's own audit sees to that. */
async function countClicks(warehouse: Warehouse): Promise<number> {
  const { rows } = await warehouse.query<{ stored: string }>(
    `SELECT count() AS stored FROM clicks WHERE startsWith(sub1, 'placement-')`,
  );
  return Number(rows[0]?.stored);
}

async function readDecisions({ config }: Platform): Promise<Pick<Measured, 'undecided' | 'decisionMs'>> {
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'bench' });
  try {
    const undecided = async (): Promise<number> => {
      const [row] = await ledger<{ count: number }[]>`
        select count(*)::integer as count from conversions where decided_at is null`;
      return row?.count ?? 0;
    };
    await isTrueWithin(DECIDED_MS, async () => (await undecided()) === 0, SAMPLE_MS);
    const [times] = await ledger<{ p50: number; p99: number }[]>`
      select 1000 * percentile_cont(0.5) within group (order by extract(epoch from decided_at - received_at)) as p50,
        1000 * percentile_cont(0.99) within group (order by extract(epoch from decided_at - received_at)) as p99
      from conversions where decided_at is not null`;
    return { undecided: await undecided(), decisionMs: times ?? { p50: 0, p99: 0 } };
  } finally {
    await ledger.end();
  }
}

async function withWarehouse<T>(
  { config }: Platform,
  work: (warehouse: Warehouse) => Promise<T>,
): Promise<T> {
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'bench' });
  return await work(warehouse).finally(() => warehouse.close());
}

function publish(measured: Measured, units: Units): void {
  const { load, probe, cpuMs, lag, catchUpMs, stored, undecided, decisionMs, auditOk, sizes } = measured;
  for (const failure of probe.failures.slice(0, 10)) process.stderr.write(`${failure}\n`);
  const quarter = Math.max(1, Math.floor(lag.length / 4));
  // The first quarter is a start: caches are cold, and nothing is merged yet.
  const early = mean(lag.slice(quarter, 2 * quarter));
  const late = mean(lag.slice(-quarter));
  const reportP95Ms = quantile(probe.reportMs, 0.95);
  const perClick = (ms: number): number => round((ms * 1_000) / load.requests);
  const figures: BenchRow[] = [
    { what: 'clicks a second', value: round(load.perSecond) },
    { what: 'redirect p50, ms', value: round(load.p50Ms) },
    { what: 'redirect p99, ms', value: round(load.p99Ms) },
    { what: 'redirect p99.9, ms', value: round(load.p999Ms) },
    { what: 'click to report p50, ms', value: round(quantile(probe.freshnessMs, 0.5)) },
    { what: 'click to report p99, ms', value: round(quantile(probe.freshnessMs, 0.99)) },
    { what: 'report p95, ms', value: round(reportP95Ms) },
    { what: 'orders accepted', value: probe.ordersAccepted },
    { what: 'order to decision p50, ms', value: round(decisionMs.p50) },
    { what: 'order to decision p99, ms', value: round(decisionMs.p99) },
    { what: 'messages behind, second quarter, mean', value: round(early) },
    { what: 'messages behind, last quarter, mean', value: round(late) },
    { what: 'all counted after the last click, ms', value: catchUpMs },
    { what: 'clicks answered', value: load.requests },
    { what: 'clicks stored', value: stored },
    ...[...cpuMs].map(([name, ms]): BenchRow => ({ what: `${name}: CPU, µs a click`, value: perClick(ms) })),
    { what: 'clicks, bytes a click on disk', value: round(sizes.raw) },
    { what: 'everything in the warehouse, bytes a click on disk', value: round(sizes.all) },
  ];
  const rows = figures.map((row) =>
    inUnits(row, /^redirect/.test(String(row.what)) ? units.bare : units.select1),
  );
  const unitRows = [units.bare, units.select1].flatMap(unitFigures);
  const ownCpuMs = [...cpuMs].filter(([name]) => name !== 'wrk').reduce((sum, [, ms]) => sum + ms, 0);
  const connections = Math.ceil((rate * THINK_MS) / 1_000);
  const targets: BenchTarget[] = [
    atLeast('clicks a second', load.perSecond, 40_000),
    atMost('redirect p99, ms', load.p99Ms, 50),
    atMost('click to report p99, ms', quantile(probe.freshnessMs, 0.99), 2_000),
    atMost('report p95, ms', reportP95Ms, LIMITS.reports.p99Ms),
    atMostUnits('report p95', reportP95Ms, LIMITS.reports.p99Ms, units.select1),
    atMost('CPU of all processes without the generator, µs a click', perClick(ownCpuMs), 36),
    atMost('lag of the last quarter to the second', late / Math.max(early, 1), 1.5),
    atMost('answered clicks not stored', Math.max(0, load.requests - stored), 0),
    // What was under way when the generator stopped has been stored and not been counted by it.
    atMost('stored clicks beyond those under way', Math.max(0, stored - load.requests - connections), 0),
    atMost('answers that are no redirect', load.errors + probe.failures.length, 0),
    atMost('orders undecided', undecided, 0),
    atMost('audits that fail', auditOk ? 0 : 1, 0),
  ];
  report({
    name: 'pipeline',
    versions: { seed: String(values.seed) },
    rows: [...unitRows, ...rows],
    targets,
    notes: [SILENCE_NOTE],
  });
}

/** A unit in rows like the others. */
function unitFigures({ name, ms, p95Ms, beforeMs, afterMs }: BenchUnit): BenchRow[] {
  return Object.entries({ p50: ms, p95: p95Ms, 'p50 before': beforeMs, 'p50 after': afterMs }).map(
    ([figure, value]) => ({ what: `${name}, the unit, ${figure}, ms`, value: round(value) }),
  );
}

function mean(list: readonly number[]): number {
  return list.reduce((sum, value) => sum + value, 0) / list.length;
}

function quantile(list: readonly number[], share: number): number {
  return list.toSorted((a, b) => a - b)[Math.floor(share * (list.length - 1))] ?? 0;
}
