import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANALYST_USER } from '../../core/config/secrets.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { freePort } from '../../engines/engine.ts';
import { quietLog } from './warehouse.ts';

export const ANALYST_PASSWORD = 'of an analyst';

/** An embedded ClickHouse of a test's own that has analysts: what they may read is in its database `afflux`. */
export interface AnalystEngine {
  /** As the platform. */
  readonly url: string;
  readonly analystUrl: string;
  stop(): Promise<void>;
}

/** @param reads tables and dictionaries of `afflux` that an analyst may read. */
export async function startAnalystEngine(reads: {
  tables: readonly string[];
  dictionaries: readonly string[];
}): Promise<AnalystEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-analysts-'));
  const engine = await startClickHouse({
    dataDir: join(folder, 'clickhouse'),
    port: await freePort(),
    password: 'test',
    database: 'afflux',
    analyst: { password: ANALYST_PASSWORD, ...reads },
    log: quietLog,
  });
  const analystUrl = new URL(engine.url);
  analystUrl.username = ANALYST_USER;
  analystUrl.password = encodeURIComponent(ANALYST_PASSWORD);
  return {
    url: engine.url,
    analystUrl: analystUrl.href,
    async stop() {
      await engine.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
