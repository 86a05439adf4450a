import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import type { Config } from '../../core/config/config.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { type Platform, startPlatform } from '../platform.ts';
import { createClient } from './client.ts';
import { createGenerator, type Generator } from './generator.ts';
import type { Stores } from './reconcile.ts';

/** A platform of its own with its clients. */
export interface LoadFixture {
  readonly platform: Platform;
  readonly stores: Stores;
  readonly generator: Generator;
  /** The first few wrong answers, as text. */
  readonly problems: readonly string[];
}

const MAX_PROBLEMS = 10;

/**
 * Runs `work` on a platform in a temporary folder, which is ended and removed afterwards, also when `interrupted`
 * rejects before.
 */
export async function withLoadFixture<T>(
  work: (fixture: LoadFixture) => Promise<T>,
  interrupted: Promise<never> = new Promise(() => undefined),
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-load-'));
  const closers: (() => Promise<void>)[] = [];
  try {
    const platform = await startPlatform({ folder, smallDisk: undefined });
    closers.push(() => platform.stop());
    const { stores, close } = await connectStores(platform.config);
    closers.push(close);
    const client = createClient({ collector: platform.collectorUrl, api: platform.apiUrl });
    closers.push(() => client.close());
    const problems: string[] = [];
    const generator = createGenerator({
      client,
      demo: platform.demo,
      reportProblem: (text) => void (problems.length < MAX_PROBLEMS && problems.push(text)),
    });
    return await Promise.race([work({ platform, stores, generator, problems }), interrupted]);
  } finally {
    for (const close of closers.reverse()) await close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The stores of a platform that runs, and how to let go of them. */
export async function connectStores(config: Config): Promise<{ stores: Stores; close(): Promise<void> }> {
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'load' });
  const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'load' }).catch(
    async (error: unknown) => {
      await ledger.end();
      throw error;
    },
  );
  return {
    stores: { ledger, warehouse, codec: createClickIdCodec(config.clickKeys) },
    async close() {
      await Promise.all([ledger.end(), warehouse.close()]);
    },
  };
}
