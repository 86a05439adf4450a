import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { createLogger } from '../../core/log.ts';
import { fromProject } from '../../core/paths.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { findNatsServer, startNats } from '../../engines/nats.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { migrateLedger } from '../../ledger/migrate.ts';
import { createLoadGenerator, type LoadGenerator, makeRequests } from '../collector/load.ts';
import { type Measured, startMeasured } from '../collector/process.ts';
import { readConfigFor } from '../collector/settings.ts';

/** The server has core 0; load generator, NATS and PostgreSQL have core 1. */
const SERVER_CORE = 0;
export const LOAD_CORE = 1;

const LINKS = 100_000;
const REQUEST_VARIETY = 20_000;
const USER_AGENTS = 1_000;

/** What a collector needs to be measured: engines of its own, links, and a load generator that knows them. */
export interface Bed {
  readonly load: LoadGenerator;
  startCollector(options: { port: number; nodeFlags: readonly string[] }): Promise<Measured>;
  stop(): Promise<void>;
}

export async function makeBed(): Promise<Bed> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-profile-'));
  const engines: Engine[] = [];
  async function stop(): Promise<void> {
    for (const engine of engines.splice(0).reverse()) await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    const { databaseUrl, natsUrl } = await startEngines(folder, engines);
    const codes = await createLinks(databaseUrl);
    return {
      load: createLoadGenerator({
        folder,
        name: 'requests',
        requests: makeRequests({ codes, variety: REQUEST_VARIETY, userAgents: USER_AGENTS }),
      }),
      startCollector: ({ port, nodeFlags }) =>
        startMeasured({
          command: [process.execPath, ...nodeFlags, fromProject('dist/bin/afflux.js'), 'collector'],
          env: {
            AFFLUX_HOME: join(folder, 'home'),
            DATABASE_URL: databaseUrl,
            NATS_URL: natsUrl,
            COLLECTOR_PORT: String(port),
            HOST: '127.0.0.1',
            LOG_LEVEL: 'warn',
          },
          core: SERVER_CORE,
          url: `http://127.0.0.1:${port}/readyz`,
        }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startEngines(
  folder: string,
  engines: Engine[],
): Promise<{ databaseUrl: string; natsUrl: string }> {
  const log = createLogger({ name: 'profile', level: 'error' });
  const config = readConfigFor(folder);
  const nats = await startNats({
    server: await findNatsServer({ explicit: config.natsServer, home: fromProject('.afflux') }),
    dataDir: join(folder, 'nats'),
    port: await freePort(),
    sync: 'interval',
    log,
  });
  engines.push(nats);
  const database = await startPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    password: 'profile',
    database: 'afflux',
    log,
  });
  engines.push(database);
  for (const { pid } of engines) pin(pid);
  return { databaseUrl: database.url, natsUrl: nats.url };
}

function pin(pid: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(LOAD_CORE), String(pid)]);
}

async function createLinks(databaseUrl: string): Promise<string[]> {
  // ClickHouse plays no part here, and `afflux migrate` wants both stores.
  await migrateLedger({ url: databaseUrl, log: createLogger({ name: 'bench', level: 'error' }) });
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined });
  await sql`insert into programs (name, currency) values ('Bench', 'EUR')`;
  await sql`insert into campaigns (program_id, name) select 1, 'Campaign ' || n from generate_series(1, 100) n`;
  await sql`insert into affiliates (program_id, ref_code, name, email, status)
    select 1, 'a' || n, 'Affiliate ' || n, n || '@affiliates.example', 'active' from generate_series(1, 1000) n`;
  await sql`insert into links (code, program_id, campaign_id, affiliate_id, landing_url)
    select 'l' || to_hex(n * 7919), 1, 1 + n % 100, 1 + n % 1000, 'https://shop.example/landing/' || n % 1000 || '?campaign=summer'
    from generate_series(1, ${LINKS}) n`;
  const rows = await sql<{ code: string }[]>`select code from links`;
  await sql.end();
  return rows.map((row) => row.code);
}
