import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { createLogger } from '../../core/service/log.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { findNatsServer, startNats } from '../../engines/nats.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { createLedgerLinks, makeLinks } from '../collector/links.ts';
import { createLoadGenerator, type LoadGenerator, makeRequests } from '../collector/load.ts';
import { type Measured, pin, startMeasured } from '../collector/process.ts';
import { readConfigFor } from '../collector/settings.ts';

/** The server has core 0; load generator, NATS and PostgreSQL have core 1. */
const SERVER_CORE = 0;
export const LOAD_CORE = 1;

const LINKS = 100_000;
const REQUEST_VARIETY = 20_000;
const USER_AGENTS = 1_000;

/** What a collector needs to be measured: engines of its own, links, and a load generator that knows them. */
export interface ProfileFixture {
  readonly load: LoadGenerator;
  startCollector(options: { port: number; nodeFlags: readonly string[] }): Promise<Measured>;
  stop(): Promise<void>;
}

export async function createProfileFixture(): Promise<ProfileFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-profile-'));
  const engines: Engine[] = [];
  async function stop(): Promise<void> {
    for (const engine of engines.splice(0).reverse()) await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    const { databaseUrl, natsUrl } = await startEngines(folder, engines);
    const links = makeLinks(LINKS);
    await createLedgerLinks(databaseUrl, links);
    const codes = links.map(({ code }) => code);
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
    password: 'bench',
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
  for (const { pid } of engines) pin(pid, LOAD_CORE);
  return { databaseUrl: database.url, natsUrl: nats.url };
}
