import { join } from 'node:path';
import type { Config } from '../../core/config/config.ts';
import type { Logger } from '../../core/service/log.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import type { Cancellation, Engine } from '../../engines/engine.ts';
import { findNatsServer, startNats } from '../../engines/nats.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { ANALYST_READS } from '../../warehouse/analysts/reads.ts';

/** Name of the database in both stores, as core/config/config.ts has it in its default URLs. */
const DATABASE = 'afflux';

/** An engine of the platform: embedded, or a server that a URL names. */
export interface EngineChoice {
  readonly name: 'PostgreSQL' | 'ClickHouse' | 'NATS';
  readonly url: string;
  /** Starts it here; undefined when a URL names a server instead. */
  readonly start: ((log: Logger, cancellation: Cancellation) => Promise<Engine>) | undefined;
  /** Where its data are, when it is embedded. */
  readonly dataDir: string;
}

/** The three engines as configured. */
export function chooseEngines(config: Config): EngineChoice[] {
  const postgresDir = join(config.home, 'postgres');
  const clickhouseDir = join(config.home, 'clickhouse');
  const natsDir = join(config.home, 'nats');
  return [
    {
      name: 'PostgreSQL',
      url: config.databaseUrl,
      dataDir: postgresDir,
      start: config.embedded.postgres
        ? (log, cancellation) =>
            startPostgres({
              dataDir: postgresDir,
              port: config.postgresPort,
              password: config.postgresPassword,
              database: DATABASE,
              log,
              ...cancellation,
            })
        : undefined,
    },
    {
      name: 'ClickHouse',
      url: config.clickhouseUrl,
      dataDir: clickhouseDir,
      start: config.embedded.clickhouse
        ? (log, cancellation) =>
            startClickHouse({
              dataDir: clickhouseDir,
              port: config.clickhousePort,
              password: config.clickhousePassword,
              database: DATABASE,
              analyst: {
                password: config.analystPassword,
                programKey: config.programAnalystKey,
                ...ANALYST_READS,
              },
              log,
              ...cancellation,
            })
        : undefined,
    },
    {
      name: 'NATS',
      url: config.natsUrl,
      dataDir: natsDir,
      start: config.embedded.nats
        ? async (log, cancellation) =>
            startNats({
              server: await findNatsServer({ explicit: config.natsServer, home: config.home }),
              dataDir: natsDir,
              port: config.natsPort,
              password: config.natsPassword,
              sync: config.natsSync,
              log,
              ...cancellation,
            })
        : undefined,
    },
  ];
}
