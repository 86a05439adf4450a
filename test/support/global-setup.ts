import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { readConfig } from '../../bin/environment.ts';
import { fromProject, projectRoot } from '../../core/config/paths.ts';
import { createLogger } from '../../core/service/log.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { findNatsServer, type NatsServer } from '../../engines/nats.ts';
import { startPostgres } from '../../engines/postgres.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A superuser's URL of the run's PostgreSQL. */
    postgresUrl: string;
    /** URL of the run's ClickHouse. */
    clickhouseUrl: string;
    natsServer: NatsServer;
  }
}

/** Starts one PostgreSQL and one ClickHouse for the whole run; what it returns ends them, also after failures. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  buildServer();
  const folder = mkdtempSync(join(tmpdir(), 'afflux-test-'));
  // PostgreSQL may run under another account.
  chmodSync(folder, 0o711);
  const log = createLogger({ name: 'test', level: 'warn' });
  const engines: Engine[] = [];
  async function teardown(): Promise<void> {
    await Promise.allSettled(engines.map((engine) => engine.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
  async function start(name: string, starting: Promise<Engine>): Promise<Engine> {
    const startedAt = Date.now();
    const engine = await starting;
    engines.push(engine);
    process.stderr.write(`${name} is up (${((Date.now() - startedAt) / 1000).toFixed(1)} s)\n`);
    return engine;
  }
  try {
    const config = readConfig();
    const natsServer = await findNatsServer({ explicit: config.natsServer, home: config.home });
    project.provide('natsServer', natsServer);
    const [postgresPort, clickhousePort] = [await freePort(), await freePort()];
    const [postgres, clickhouse] = await Promise.all([
      start(
        'PostgreSQL',
        startPostgres({
          dataDir: join(folder, 'postgres'),
          port: postgresPort,
          password: 'test',
          database: 'afflux',
          log,
          // Tests restart nothing after a power cut; many small databases are made quicker.
          settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
        }),
      ),
      start(
        'ClickHouse',
        startClickHouse({
          dataDir: join(folder, 'clickhouse'),
          port: clickhousePort,
          database: 'afflux',
          log,
        }),
      ),
    ]);
    project.provide('postgresUrl', postgres.url);
    project.provide('clickhouseUrl', clickhouse.url);
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

/** The ClickHouse server is a process that runs compiled files; types are checked elsewhere. */
function buildServer(): void {
  const { status } = spawnSync(
    process.execPath,
    [fromProject('node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--noCheck'],
    { cwd: projectRoot, stdio: 'inherit' },
  );
  if (status !== 0) throw new Error('the sources do not compile');
}
