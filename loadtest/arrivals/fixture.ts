import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import { connectDatabase, type Database } from '../../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { countUndecided } from '../chaos/compare-money.ts';
import { type Platform, startPlatform } from '../platform.ts';
import { isTrueWithin } from '../wait.ts';
import { type Client, createClient } from './client.ts';
import { createVisitors, type Visitors } from './visitors.ts';

/** A platform of its own with its clients. */
export interface LoadFixture {
  readonly platform: Platform;
  readonly ledger: Database;
  readonly warehouse: Warehouse;
  /** A client of the API. */
  readonly api: Client;
  readonly visitors: Visitors;
  /** The first few wrong answers, as text. */
  readonly problems: readonly string[];
  reportProblem(text: string): void;
  /** Until every click up to now is counted. @throws Error when that does not come true. */
  drain(): Promise<void>;
  /** Until every order is decided. @throws Error when that does not come true. */
  decide(): Promise<void>;
}

const MAX_PROBLEMS = 10;
const DRAIN_MS = 120_000;
const LOOK_MS = 100;

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
    const { config, demo } = platform;
    const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'load' });
    closers.push(() => ledger.end());
    const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'load' });
    closers.push(() => warehouse.close());
    const [collector, api] = [createClient(platform.collectorUrl), createClient(platform.apiUrl)];
    closers.push(async () => void (await Promise.all([collector.close(), api.close()])));
    const problems: string[] = [];
    const reportProblem = (text: string): void => {
      if (problems.length < MAX_PROBLEMS) problems.push(text);
    };
    const working = work({
      platform,
      ledger,
      warehouse,
      api,
      visitors: createVisitors({
        client: collector,
        links: demo.links,
        codec: createClickIdCodec(config.clickKeys),
        reportProblem,
      }),
      problems,
      reportProblem,
      async drain() {
        const now = Date.now();
        const isCounted = async () => ((await readWatermark(warehouse)) ?? 0) > now;
        await expectTrue('the clicks are counted', isCounted);
      },
      decide: () => expectTrue('the orders are decided', async () => (await countUndecided(ledger)) === 0),
    });
    return await Promise.race([working, interrupted]);
  } finally {
    for (const close of closers.reverse()) await close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function expectTrue(what: string, condition: () => Promise<boolean>): Promise<void> {
  if (!(await isTrueWithin(DRAIN_MS, condition, LOOK_MS))) {
    throw new Error(`${DRAIN_MS / 1_000} s later it is not true that ${what}`);
  }
}
