import { join } from 'node:path';
import { fromProject } from '../core/config/paths.ts';
import type { Logger } from '../core/service/log.ts';
import { startClickHouse } from '../engines/clickhouse.ts';
import { type Engine, freePort } from '../engines/engine.ts';
import { findNatsServer, type NatsServer, startNats } from '../engines/nats.ts';
import { startPostgres } from '../engines/postgres.ts';
import type { Run } from './ending.ts';

const PASSWORD = 'bench';

/** Engines of a run's own, with data below its folder, that end with the run. */
export interface OwnEngines {
  postgres(options?: { database?: string; settings?: Readonly<Record<string, string>> }): Promise<Engine>;
  clickhouse(options?: { database?: string }): Promise<Engine>;
  /** With its data in `<folder>/<name>`. */
  nats(options: { sync: 'always' | 'interval'; name?: string; server?: NatsServer }): Promise<Engine>;
}

export function ownEngines(run: Run, { folder, log }: { folder: string; log: Logger }): OwnEngines {
  return {
    postgres: ({ database = 'afflux', settings = {} } = {}) =>
      run.start(async (signal) =>
        startPostgres({
          dataDir: join(folder, 'postgres'),
          port: await freePort(),
          password: PASSWORD,
          database,
          log,
          settings,
          signal,
        }),
      ),
    clickhouse: ({ database = 'afflux' } = {}) =>
      run.start(async (signal) =>
        startClickHouse({
          dataDir: join(folder, 'clickhouse'),
          port: await freePort(),
          password: PASSWORD,
          database,
          log,
          signal,
        }),
      ),
    nats: ({ sync, name = 'nats', server }) =>
      run.start(async (signal) =>
        startNats({
          server: server ?? (await findOwnNats()),
          dataDir: join(folder, name),
          port: await freePort(),
          password: PASSWORD,
          sync,
          log,
          signal,
        }),
      ),
  };
}

/** `NATS_SERVER`, or the one of this checkout. */
export function findOwnNats(): Promise<NatsServer> {
  return findNatsServer({ explicit: process.env.NATS_SERVER ?? '', home: fromProject('.afflux') });
}
