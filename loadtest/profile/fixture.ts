import { join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { createLogger } from '../../core/service/log.ts';
import { createLedgerLinks, makeLinks } from '../collector/links.ts';
import { createLoadGenerator, type LoadGenerator, makeRequests } from '../collector/load.ts';
import { type Measured, pin, startMeasured } from '../collector/process.ts';
import type { Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';

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
}

export async function createProfileFixture(run: Run): Promise<ProfileFixture> {
  const folder = run.makeFolder('afflux-profile-');
  const engines = ownEngines(run, { folder, log: createLogger({ name: 'profile', level: 'error' }) });
  const nats = await engines.nats({ sync: 'interval' });
  const database = await engines.postgres();
  for (const { pid } of [nats, database]) pin(pid, LOAD_CORE);
  const links = makeLinks(LINKS);
  const databaseUrl = await createLedgerLinks(database.url, links);
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
          NATS_URL: nats.url,
          COLLECTOR_PORT: String(port),
          HOST: '127.0.0.1',
          LOG_LEVEL: 'warn',
        },
        core: SERVER_CORE,
        url: `http://127.0.0.1:${port}/readyz`,
      }),
  };
}
