import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANALYST_USER, programAnalyst, programAnalystPassword } from '../../../core/config/analysts.ts';
import { startClickHouse } from '../../../engines/clickhouse.ts';
import type { AnalystReads } from '../../../engines/clickhouse-server/users/config.ts';
import { freePort } from '../../../engines/engine.ts';
import { quietLog } from '../warehouse.ts';

export const ANALYST_PASSWORD = 'of an analyst';
const PROGRAM_KEY = 'of programs';

/** An embedded ClickHouse of a test's own that has analysts: what they may read is in its database `afflux`. */
export interface AnalystEngine {
  /** As the platform. */
  readonly url: string;
  readonly analystUrl: string;
  /** As the analyst of one program. */
  programUrl(programId: number): string;
  stop(): Promise<void>;
}

/** @param reads what of `afflux` analysts may read. */
export async function startAnalystEngine(reads: Omit<AnalystReads, 'database'>): Promise<AnalystEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-analysts-'));
  const engine = await startClickHouse({
    dataDir: join(folder, 'clickhouse'),
    port: await freePort(),
    password: 'test',
    database: 'afflux',
    analyst: { password: ANALYST_PASSWORD, programKey: PROGRAM_KEY, ...reads },
    log: quietLog,
  });
  function as(user: string, password: string): string {
    const url = new URL(engine.url);
    url.username = user;
    url.password = encodeURIComponent(password);
    return url.href;
  }
  return {
    url: engine.url,
    analystUrl: as(ANALYST_USER, ANALYST_PASSWORD),
    programUrl: (id) => as(programAnalyst(id), programAnalystPassword(PROGRAM_KEY, id)),
    async stop() {
      await engine.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
