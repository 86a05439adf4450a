import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import {
  type ClaimedConversion,
  claimConversions,
  dueConversions,
  postponeConversions,
} from '../../ledger/conversions/conversion-claims.ts';
import { type Decision, recordDecisions } from '../../ledger/decisions/decisions.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import type { Outcome } from '../decide/decide.ts';
import { type CampaignSales, createCampaignSales } from './campaign-sales.ts';
import type { ClickSource } from './click-source.ts';
import { makeDecisions } from './make-decisions.ts';
import { createOrderCounts, type OrderCounts } from './order-counts.ts';
import { type PreparedConversion, prepareDecisions } from './prepare.ts';
import { isTooEarly, nextAttempt } from './retries.ts';

export interface WorkerStats {
  decided: Record<Outcome, number>;
  postponed: number;
  failed: number;
}

export interface BatchResult {
  /** Conversions taken; 0 means nothing is due. */
  readonly claimed: number;
  /** As many as a batch holds: more may be due. */
  readonly isFull: boolean;
}

export interface AttributionWorker {
  readonly stats: Readonly<WorkerStats>;
  /** Decides what is due at `now`, {@link BATCH_SIZE} conversions at the most. Only PostgreSQL's failure throws. */
  runBatch(now: Date): Promise<BatchResult>;
}

interface WorkerOptions {
  readonly ledger: Database;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  readonly log: Logger;
  /** Called with each decision that was recorded, and the milliseconds since its batch was claimed. */
  readonly onDecided?: (decision: Decision, tookMs: number) => void;
}

/**
 * Conversions of one look at the queue. Beyond so many those whose click cannot be there yet are taken with the others, and
 * postponed.
 */
const MAX_DUE = 5_000;
/** Conversions decided with one look-up and one transaction: large enough that the fixed costs of both do not count. */
const BATCH_SIZE = 1_000;
/**
 * Batches that a process decides at once: while one waits for a store another computes. More than three only wait for
 * each other at the program's expense account.
 */
export const BATCHES_IN_FLIGHT = 3;

/** Decides conversions batch by batch; calling it from several processes at once is safe. */
export function createAttributionWorker(options: WorkerOptions): AttributionWorker {
  const stats: WorkerStats = {
    decided: { attributed: 0, review: 0, rejected: 0, unattributed: 0 },
    postponed: 0,
    failed: 0,
  };
  const kept = { counts: createOrderCounts(), sales: createCampaignSales() };
  return {
    stats,
    runBatch: (now) => runBatch({ ...options, ...kept, stats, now, startedAtMs: performance.now() }),
  };
}

interface Batch extends WorkerOptions {
  readonly counts: OrderCounts;
  readonly sales: CampaignSales;
  readonly stats: WorkerStats;
  readonly now: Date;
  /** On the monotonic clock. */
  readonly startedAtMs: number;
}

/**
 * Look, claim, prepare, decide and record. What cannot be decided now is postponed, never dropped. A new order mostly comes
 * seconds before its click is counted: until then a look leaves it as it is, where each claim and its postponement would
 * write it twice, and the last postponement would outlast the click's arrival.
 */
async function runBatch(batch: Batch): Promise<BatchResult> {
  const { ledger, clicks, clickIds, now } = batch;
  const due = await dueConversions(ledger, { limit: MAX_DUE, now });
  if (due.length === 0) return { claimed: 0, isFull: false };
  // One reading for the whole batch. Where it fails, reading the facts does.
  const completeTo = clicks.completeToMs();
  const early = await completeTo.then(
    (completeToMs) => due.filter((one) => isTooEarly(one, { clickIds, completeToMs, now })),
    () => [],
  );
  if (early.length === due.length && due.length < MAX_DUE) return { claimed: 0, isFull: false };
  const except = early.map(({ id }) => id);
  const conversions = await claimConversions(ledger, { limit: BATCH_SIZE, now, except });
  if (conversions.length === 0) return { claimed: 0, isFull: false };
  const asOfThen = { ...batch, clicks: { ...clicks, completeToMs: () => completeTo } };
  await decideAll(batch, await prepare(asOfThen, conversions));
  return { claimed: conversions.length, isFull: conversions.length === BATCH_SIZE };
}

/** A warehouse that is unavailable delays decisions and loses none. */
async function prepare(
  batch: Batch,
  conversions: readonly ClaimedConversion[],
): Promise<PreparedConversion[]> {
  const { ledger, clicks, clickIds, counts, sales, log, now } = batch;
  try {
    const sources = { sql: ledger, clicks, clickIds, counts, sales };
    const { prepared, waiting } = await prepareDecisions(sources, conversions, now);
    await postpone(batch, waiting);
    return prepared;
  } catch (error) {
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
    const made = await makeDecisions(tx, prepared, batch.now);
    return { decisions: made, recorded: await recordDecisions(tx, made) };
  });
  for (const { outcome } of decisions) batch.stats.decided[outcome]++;
  const tookMs = performance.now() - batch.startedAtMs;
  for (const [i, decision] of decisions.entries()) {
    if (recorded[i]?.outcome === 'recorded') batch.onDecided?.(decision, tookMs);
  }
  await postpone(batch, stillUnattributed(prepared, decisions));
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
  await postponeConversions(
    batch.ledger,
    conversions.map((conversion) => ({
      conversionId: conversion.id,
      nextAttemptAt: nextAttempt(conversion, batch.now),
    })),
  );
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
