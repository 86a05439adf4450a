import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromProject } from '../../core/config/paths.ts';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { createLogger } from '../../core/service/log.ts';
import { freePort } from '../../engines/engine.ts';
import { atLeast, atMost, type BenchRow, type BenchTarget, report, round } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { findOwnNats, ownEngines } from '../engines.ts';
import { readOptions, text, whole, wholes } from '../options.ts';
import { createConventionalLinks } from '../peers/conventional-schema.ts';
import { BARE_UWS } from '../units.ts';
import { type BenchLink, createLedgerLinks, makeLinks } from './links.ts';
import { createLoadGenerator, type Load, type LoadGenerator, makeRequests } from './load.ts';
import { type Measured, pin, startMeasured } from './process.ts';
import { soak } from './soak.ts';
import { countStoredClicks } from './stored.ts';

/**
 * `npm run bench:collector`: the collector beside the bare server and the conventional design, one after another and
 * interleaved, in one run on one machine; bench:peers has more of them. The server has core 0; load generator, NATS and PostgreSQL have core 1.
 */

/** All collectors belong to one platform, each with a data folder of its own. */
const CLICK_KEYS = randomBytes(16).toString('hex');
const SERVER_CORE = 0;
const LOAD_CORE = 1;
const LINKS = 100_000;
const REQUEST_VARIETY = 20_000;
const USER_AGENTS = 1_000;
/** Enough for V8 to compile what a click runs through, as a server that has been up for a minute has. */
const WARM_UP_SECONDS = 4;

const { values } = readOptions({
  rounds: whole(3),
  seconds: whole(5),
  connections: wholes([8, 64, 256]),
  only: text(''),
  /** Clicks; 0: none. */
  soak: whole(10_000_000, 0),
});
const { rounds, seconds, connections: connectionCounts } = values;

interface Contestant {
  readonly name: string;
  start(port: number): Promise<Measured>;
  /** Clicks stored so far, for those whose every redirect must be stored. */
  stored?(): Promise<number>;
}

interface Sample extends Load {
  readonly cpuUs: number;
  readonly rssMb: number;
}

const node = process.execPath;
const beside = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

await carryOut(main);

async function main(run: Run): Promise<void> {
  const folder = run.makeFolder('afflux-bench-');
  const { ownerUrl, nats, natsAlways } = await startEngines(run, folder);
  const links = makeLinks(LINKS);
  const databaseUrl = await createLedgerLinks(ownerUrl, links);
  const collector = (name: string, natsUrl: string): Contestant =>
    startsCollector({ name, home: join(folder, name.replaceAll(/\W+/g, '-')), databaseUrl, natsUrl });
  const codes = links.map(({ code }) => code);
  const load = createLoadGenerator({
    folder,
    name: 'requests',
    requests: makeRequests({ codes, variety: REQUEST_VARIETY, userAgents: USER_AGENTS }),
  });
  const contestants = [
    bareUws(),
    collector('collector', nats.url),
    ...(natsAlways ? [collector('collector, sync_interval: always', natsAlways.url)] : []),
    await insertPerClick(ownerUrl, links),
  ].filter(
    (contestant) =>
      values.only === '' || values.only.split(',').some((part) => contestant.name.startsWith(part)),
  );
  const samples = await measure(contestants, load);
  const rows = besideBare(summarize(contestants, samples));
  const memory =
    values.soak > 0
      ? [
          await soak({
            start: collector('collector', nats.url).start,
            clicks: values.soak,
            codes,
            folder,
            core: LOAD_CORE,
          }),
        ]
      : [];
  report({
    name: 'collector',
    versions: { [load.name]: loadVersion(load), 'nats-server': version(nats.binary, ['--version']) },
    rows,
    targets: [...targets(rows), ...memory],
    notes: [`${load.note} A run with an error has no result.`],
  });
}

async function startEngines(run: Run, folder: string) {
  const engines = ownEngines(run, { folder, log: createLogger({ name: 'bench', level: 'error' }) });
  const server = await findOwnNats();
  const start = async (name: string, sync: 'always' | 'interval') => {
    const engine = await engines.nats({ server, name, sync });
    pin(engine.pid, LOAD_CORE);
    return { url: engine.url, binary: server.binary };
  };
  const database = await engines.postgres();
  pin(database.pid, LOAD_CORE);
  const canSyncAlways = server.version[0] > 2 || server.version[1] >= 10;
  return {
    ownerUrl: database.url,
    nats: await start('nats', 'interval'),
    natsAlways: canSyncAlways ? await start('nats-always', 'always') : undefined,
  };
}

function bareUws(): Contestant {
  return {
    name: BARE_UWS,
    start: (port) =>
      startMeasured({
        command: [node, beside('./bare-uws.js'), String(port)],
        core: SERVER_CORE,
        url: `http://127.0.0.1:${port}/`,
      }),
  };
}

function startsCollector(options: {
  name: string;
  home: string;
  databaseUrl: string;
  natsUrl: string;
}): Contestant {
  const { name, home, databaseUrl, natsUrl } = options;
  return {
    name,
    start: (port) =>
      startMeasured({
        command: [node, fromProject('dist/bin/afflux.js'), 'collector'],
        env: {
          AFFLUX_HOME: home,
          CLICK_KEYS,
          DATABASE_URL: databaseUrl,
          NATS_URL: natsUrl,
          COLLECTOR_PORT: String(port),
          HOST: '127.0.0.1',
          LOG_LEVEL: 'warn',
        },
        core: SERVER_CORE,
        url: `http://127.0.0.1:${port}/readyz`,
      }),
    stored: () => countStoredClicks(natsUrl),
  };
}

async function insertPerClick(ownerUrl: string, links: readonly BenchLink[]): Promise<Contestant> {
  const url = new URL(ownerUrl);
  url.pathname = '/conventional';
  const sql = openPostgres({ url: ownerUrl, max: 1, name: 'bench', as: 'owner' });
  await sql`create database conventional`.finally(() => sql.end());
  await createConventionalLinks(url.href, links);
  return {
    name: 'Fastify + pg, one INSERT a click',
    start: (port) =>
      startMeasured({
        command: [node, beside('../peers/conventional-server.js'), String(port), url.href, 'awaited'],
        core: SERVER_CORE,
        url: `http://127.0.0.1:${port}/c/none`,
      }),
  };
}

async function measure(
  contestants: readonly Contestant[],
  load: LoadGenerator,
): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>();
  const total = rounds * connectionCounts.length * contestants.length;
  let done = 0;
  for (let round_ = 1; round_ <= rounds; round_++) {
    for (const contestant of contestants) {
      const port = await freePort();
      const server = await contestant.start(port);
      const url = `http://127.0.0.1:${port}`;
      await load.run({ url, connections: 64, seconds: WARM_UP_SECONDS, core: LOAD_CORE });
      for (const connections of connectionCounts) {
        const storedBefore = await contestant.stored?.();
        const cpuBefore = server.cpuMs();
        const measured = await load.run({ url, connections, seconds, core: LOAD_CORE });
        const sample = {
          ...measured,
          cpuUs: ((server.cpuMs() - cpuBefore) * 1_000) / measured.requests,
          rssMb: server.rssMb(),
        };
        if (measured.errors > 0) throw new Error(`${contestant.name}: ${measured.errors} failed requests`);
        if (contestant.stored && storedBefore !== undefined) {
          checkStored(contestant.name, measured, (await contestant.stored()) - storedBefore, connections);
        }
        const key = `${contestant.name}/${connections}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        done++;
        process.stderr.write(
          `[${done}/${total}] round ${round_}, ${contestant.name}, ${connections} connections: ${Math.round(measured.perSecond)}/s\n`,
        );
      }
      await server.stop();
    }
  }
  return samples;
}

/** Each connection may hold one answered click that the generator no longer read when it ended. */
function checkStored(name: string, load: Load, stored: number, connections: number): void {
  if (stored < load.requests || stored > load.requests + connections) {
    throw new Error(`${name}: ${load.requests} redirects received, ${stored} clicks stored`);
  }
}

function summarize(contestants: readonly Contestant[], samples: ReadonlyMap<string, Sample[]>): BenchRow[] {
  return contestants.flatMap(({ name }) =>
    connectionCounts.map((connections) => {
      const all = samples.get(`${name}/${connections}`) ?? [];
      const of = (read: (sample: Sample) => number): number => round(median(all.map(read)));
      return {
        server: name,
        connections,
        requests_per_s: of((s) => s.perSecond),
        p50_ms: of((s) => s.p50Ms),
        p99_ms: of((s) => s.p99Ms),
        cpu_us_per_request: of((s) => s.cpuUs),
        rss_mb: of((s) => s.rssMb),
      };
    }),
  );
}

/** Each time also as a multiple of the bare server's at the same number of connections. */
function besideBare(rows: readonly BenchRow[]): BenchRow[] {
  return rows.map((row) => {
    const bare = rows.find(
      ({ server, connections }) => server === BARE_UWS && connections === row.connections,
    );
    if (!bare) return row;
    const ratio = (field: string): number => round(Number(row[field]) / Number(bare[field]));
    return {
      ...row,
      [`p50 ÷ ${BARE_UWS}`]: ratio('p50_ms'),
      [`p99 ÷ ${BARE_UWS}`]: ratio('p99_ms'),
      [`CPU ÷ ${BARE_UWS}`]: ratio('cpu_us_per_request'),
    };
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function targets(rows: readonly BenchRow[]): BenchTarget[] {
  const value = (server: string, connections: number, field: string): number =>
    Number(rows.find((row) => row.server === server && row.connections === connections)?.[field]);
  const insert = 'Fastify + pg, one INSERT a click';
  const names = ['collector', 'collector, sync_interval: always'].filter((name) =>
    rows.some((row) => row.server === name),
  );
  return names.flatMap((name) => [
    atLeast(
      `${name}: throughput at 256 connections ÷ bare`,
      value(name, 256, 'requests_per_s') / value(BARE_UWS, 256, 'requests_per_s'),
      0.65,
    ),
    atMost(
      `${name}: CPU per click at 256 connections ÷ bare`,
      value(name, 256, 'cpu_us_per_request') / value(BARE_UWS, 256, 'cpu_us_per_request'),
      1.6,
    ),
    atMost(`${name}: p50 at 8 connections, ms`, value(name, 8, 'p50_ms'), 0.4),
    atMost(
      `${name}: p99 at 64 connections above bare, ms`,
      value(name, 64, 'p99_ms') - value(BARE_UWS, 64, 'p99_ms'),
      3,
    ),
    atLeast(
      `${name}: throughput at 256 connections ÷ one INSERT a click`,
      value(name, 256, 'requests_per_s') / value(insert, 256, 'requests_per_s'),
      12,
    ),
  ]);
}

function loadVersion(load: LoadGenerator): string {
  return load.name === 'wrk' ? version('wrk', ['-v']) : 'as in package-lock.json';
}

function version(program: string, args: string[]): string {
  try {
    return (
      execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0] ??
      ''
    );
  } catch (error) {
    return String((error as { stdout?: string }).stdout).split('\n')[0] ?? '';
  }
}
