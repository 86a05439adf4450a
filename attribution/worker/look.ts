import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { dueConversions } from '../../ledger/conversions/conversion-claims.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { ClickSource } from './click-source.ts';
import { isTooEarly } from './retries.ts';

/**
 * A look at the queue, which takes nothing: a new order mostly comes seconds before its click is counted. Until then it is
 * left as it is, where each claim and its postponement would write it twice, and the last postponement would outlast the
 * click's arrival.
 */

/** Orders of one question to the ledger. */
export const PAGE_SIZE = 5_000;
/**
 * Pages of one look. Orders behind so many whose clicks are not counted yet wait for these, at most as long as an order is
 * new: as many come in 15 s at 1,300 a second.
 */
export const MAX_PAGES = 4;

/** Since when the warehouse has answered every look of a worker; undefined: it did not answer the last one, or there was none. */
export interface Looking {
  since: Date | undefined;
}

/** What a look found. */
export interface Look {
  /** Orders that can be taken, the longest waiting first. */
  readonly ready: readonly bigint[];
  /** The watermark, Unix ms: read after all of them, so that it can have seen what came before they did. */
  readonly completeToMs: number;
}

/** Looks until there are `enough` orders to take, or no more are due. @throws OperatingError of either store. */
export async function lookAtQueue(options: {
  ledger: Database;
  clicks: Pick<ClickSource, 'completeToMs'>;
  clickIds: ClickIdCodec;
  looking: Looking;
  enough: number;
  now: () => Date;
}): Promise<Look> {
  const { ledger, clickIds, looking, enough, now } = options;
  const ready: bigint[] = [];
  let after: bigint | undefined;
  let completeToMs = 0;
  for (let page = 0; page < MAX_PAGES && ready.length < enough; page++) {
    const at = now();
    const due = await dueConversions(ledger, { limit: PAGE_SIZE, now: at, after });
    if (due.length === 0) break;
    completeToMs = await readCompleteTo(options);
    const time = { now: at, lookingSince: looking.since ?? at };
    for (const conversion of due) {
      if (!isTooEarly(conversion, { clickIds, completeToMs, time })) ready.push(conversion.id);
    }
    if (due.length < PAGE_SIZE) break;
    after = due.at(-1)?.id;
  }
  return { ready, completeToMs };
}

async function readCompleteTo({
  clicks,
  looking,
  now,
}: Pick<Parameters<typeof lookAtQueue>[0], 'clicks' | 'looking' | 'now'>): Promise<number> {
  try {
    const completeToMs = await clicks.completeToMs();
    looking.since ??= now();
    return completeToMs;
  } catch (error) {
    looking.since = undefined;
    throw error;
  }
}
