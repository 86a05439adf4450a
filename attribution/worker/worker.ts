import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import {
  CLAIM_MS,
  type ClaimedConversion,
  claimConversions,
  giveBackConversions,
  postponeConversions,
  renewClaims,
} from '../../ledger/conversions/conversion-claims.ts';
import { type Decision, recordDecisions } from '../../ledger/decisions/decisions.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import type { Outcome } from '../decide/decide.ts';
import type { ClickSource } from './click-source.ts';
import { type CampaignSales, createCampaignSales } from './kept/campaign-sales.ts';
import { type ClickTimes, createClickTimes } from './kept/click-times.ts';
import { createOrderCounts, type OrderCounts } from './kept/order-counts.ts';
import { type Looking, lookAtQueue } from './look.ts';
import { makeDecisions } from './make-decisions.ts';
import { type PreparedConversion, prepareDecisions } from './prepare.ts';
import { nextAttempt } from './retries.ts';

export interface WorkerStats {
  decided: Record<Outcome, number>;
  postponed: number;
  failed: number;
}

export interface BatchResult {
  /** Conversions taken; 0 means that none can be decided now. */
  readonly claimed: number;
  /** As many as a batch holds: more may be due. */
  readonly isFull: boolean;
}

export interface AttributionWorker {
  readonly stats: Readonly<WorkerStats>;
  /**
   * Decides what is due at `now`, {@link BATCH_SIZE} conversions at the most. @throws OperatingError when PostgreSQL fails or
   * ClickHouse does not answer: then nothing is decided, and everything stays due.
   */
  runBatch(now: Date): Promise<BatchResult>;
}

interface WorkerOptions {
  readonly ledger: Database;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  readonly log: Logger;
  /** Called with each decision that was recorded, and the milliseconds since its batch began. */
  readonly onDecided?: (decision: Decision, tookMs: number) => void;
}

/** Conversions decided with one look-up and one transaction: large enough that the fixed costs of both do not count. */
export const BATCH_SIZE = 1_000;
/**
 * Batches that a process decides at once: while one waits for a store another computes. More than three only wait for
 * each other at the program's expense account.
 */
export const BATCHES_IN_FLIGHT = 3;
/** A claim outlives a renewal that fails, and clocks of workers that differ by as much. */
export const RENEW_MS = CLAIM_MS / 3;

/** Decides conversions batch by batch; calling it from several processes at once is safe. */
export function createAttributionWorker(options: WorkerOptions): AttributionWorker {
  const stats: WorkerStats = {
    decided: { attributed: 0, review: 0, rejected: 0, unattributed: 0 },
    postponed: 0,
    failed: 0,
  };
  const looking: Looking = { since: undefined };
  const kept = {
    ...{ counts: createOrderCounts(), sales: createCampaignSales(), times: createClickTimes() },
    ...{ looking, stats },
  };
  return {
    stats,
    runBatch(begun) {
      const startedAtMs = performance.now();
      const now = () => new Date(begun.getTime() + performance.now() - startedAtMs);
      return runBatch({ ...options, ...kept, now, startedAtMs });
    },
  };
}

interface Batch extends WorkerOptions {
  readonly counts: OrderCounts;
  readonly sales: CampaignSales;
  readonly times: ClickTimes;
  readonly looking: Looking;
  readonly stats: WorkerStats;
  readonly now: () => Date;
  /** On the monotonic clock. */
  readonly startedAtMs: number;
}

/**
 * Look, claim, prepare, decide and record. What was claimed and cannot be decided now is postponed, never dropped. Only what
 * the look has seen is claimed: an order that came after it may have a click that came after it.
 */
async function runBatch(batch: Batch): Promise<BatchResult> {
  const { ready, completeToMs } = await lookAtQueue({ ...batch, enough: BATCH_SIZE });
  if (ready.length === 0) return { claimed: 0, isFull: false };
  // More than are taken: those before them may be taken by another worker at this moment.
  const conversions = await claimConversions(batch.ledger, {
    ids: ready,
    limit: BATCH_SIZE,
    now: batch.now(),
  });
  if (conversions.length === 0) return { claimed: 0, isFull: false };
  // One reading for the whole batch.
  const asOfLook = { ...batch, clicks: { ...batch.clicks, completeToMs: async () => completeToMs } };
  await whileClaimed(asOfLook, conversions, async () => {
    await decideAll(asOfLook, await prepare(asOfLook, conversions));
  });
  return { claimed: conversions.length, isFull: conversions.length === BATCH_SIZE };
}

/** Renews the claims of a batch until its work is done, however long a store takes. */
async function whileClaimed(
  { ledger, log, now }: Batch,
  conversions: readonly ClaimedConversion[],
  work: () => Promise<void>,
): Promise<void> {
  const ids = conversions.map(({ id }) => id);
  const renew = async (): Promise<void> => {
    try {
      await renewClaims(ledger, { ids, now: now() });
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'renewing the claims of a batch failed; it goes on');
    }
  };
  let renewed = Promise.resolve();
  const timer = setInterval(() => {
    renewed = renewed.then(renew);
  }, RENEW_MS);
  try {
    await work();
  } finally {
    clearInterval(timer);
    await renewed;
  }
}

/** A warehouse that is unavailable delays decisions and loses none. */
async function prepare(
  batch: Batch,
  conversions: readonly ClaimedConversion[],
): Promise<PreparedConversion[]> {
  const { ledger, clicks, clickIds, counts, sales, times, log, looking } = batch;
  try {
    const sources = { sql: ledger, clicks, clickIds, counts, sales, times };
    const { prepared, waiting } = await prepareDecisions(sources, conversions, batch.now());
    await postpone(batch, waiting);
    return prepared;
  } catch (error) {
    // Of none of them it says anything: they were not tried.
    if (error instanceof OperatingError && error.code === 'clickhouse_unreachable') {
      looking.since = undefined;
      await giveBack(batch, conversions);
      throw error;
    }
    log.warn(
      { reason: errorText(error), conversions: conversions.length },
      'reading the facts of a batch failed; its conversions are postponed',
    );
    await postpone(batch, conversions);
    return [];
  }
}

/** One conversion that cannot be recorded must not hold up the others: then each is decided on its own. */
async function decideAll(batch: Batch, prepared: readonly PreparedConversion[]): Promise<void> {
  try {
    await decideTogether(batch, prepared);
  } catch (error) {
    batch.log.warn(
      { reason: errorText(error), conversions: prepared.length },
      'recording a batch failed; its conversions are decided one by one',
    );
    for (const one of prepared) await decideAlone(batch, one);
  }
}

/** Decides and records in one transaction. */
async function decideTogether(batch: Batch, prepared: readonly PreparedConversion[]): Promise<void> {
  if (prepared.length === 0) return;
  const { decisions, recorded } = await inTransaction(batch.ledger, async (tx) => {
    const made = await makeDecisions(tx, prepared, batch.now());
    return { decisions: made, recorded: await recordDecisions(tx, made) };
  });
  const tookMs = performance.now() - batch.startedAtMs;
  for (const [i, decision] of decisions.entries()) {
    if (recorded[i]?.outcome !== 'recorded') continue;
    batch.stats.decided[decision.outcome]++;
    batch.onDecided?.(decision, tookMs);
  }
  await postpone(batch, stillUnattributed(prepared, decisions));
  await giveBack(
    batch,
    prepared.flatMap(({ facts }, i) => (recorded[i]?.outcome === 'outdated' ? [facts.conversion] : [])),
  );
}

async function decideAlone(batch: Batch, one: PreparedConversion): Promise<void> {
  try {
    await decideTogether(batch, [one]);
  } catch (error) {
    batch.stats.failed++;
    const { conversion } = one.facts;
    batch.log.error(
      { conversion: String(conversion.id), reason: errorText(error) },
      'deciding a conversion failed; it is postponed',
    );
    await postpone(batch, [conversion]);
  }
}

async function postpone(batch: Batch, conversions: readonly ClaimedConversion[]): Promise<void> {
  if (conversions.length === 0) return;
  batch.stats.postponed += conversions.length;
  const now = batch.now();
  const time = { now, lookingSince: batch.looking.since ?? now };
  await postponeConversions(
    batch.ledger,
    conversions.map((conversion) => ({ conversion, nextAttemptAt: nextAttempt(conversion, time) })),
  );
}

/** To be decided with the next batch. */
async function giveBack({ ledger, now }: Batch, conversions: readonly ClaimedConversion[]): Promise<void> {
  if (conversions.length > 0) await giveBackConversions(ledger, { conversions, now: now() });
}

/** Conversions looked at again whose click is still missing: nothing was recorded, and the next look is put off. */
function stillUnattributed(
  prepared: readonly PreparedConversion[],
  decisions: readonly Decision[],
): ClaimedConversion[] {
  const unattributed = new Set(
    decisions.flatMap(({ conversionId, outcome }) => (outcome === 'unattributed' ? [conversionId] : [])),
  );
  return prepared
    .map(({ facts }) => facts.conversion)
    .filter(({ id, state }) => state === 'unattributed' && unattributed.has(id));
}
