import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import type { Config } from '../../core/config/config.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import type { Run } from '../ending.ts';
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

/** Does `work` on a platform in a temporary folder, both of which end with the run. */
export async function withLoadFixture<T>(run: Run, work: (fixture: LoadFixture) => Promise<T>): Promise<T> {
  const folder = run.makeFolder('afflux-load-');
  const platform = await run.start((signal) => startPlatform({ folder, smallDisk: undefined, signal }));
  const { stores, close } = await connectStores(platform.config);
  const client = createClient({ collector: platform.collectorUrl, api: platform.apiUrl });
  const problems: string[] = [];
  const generator = createGenerator({
    client,
    demo: platform.demo,
    reportProblem: (text) => void (problems.length < MAX_PROBLEMS && problems.push(text)),
  });
  try {
    return await work({ platform, stores, generator, problems });
  } finally {
    await client.close();
    await close();
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
