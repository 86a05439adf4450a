import type { Config } from '../core/config.ts';
import type { Logger } from '../core/log.ts';
import { connectLedger } from '../ledger/db.ts';
import { ensureDemo } from './demo-data.ts';

/** What `afflux up` does with its stores once they are migrated, before any service runs: the demo program. */
export async function prepareStores(options: { config: Config; log: Logger }): Promise<void> {
  const { config, log } = options;
  const ledger = await connectLedger({ url: config.databaseUrl, max: 1, name: 'afflux-up' });
  try {
    const demo = await ensureDemo({ ledger, config });
    log.debug({ program: demo?.program.name }, 'demo program');
  } finally {
    await ledger.end();
  }
}

/** Lines that `afflux up` prints under its table. */
export async function firstSteps(_options: { config: Config }): Promise<string[]> {
  return [];
}
