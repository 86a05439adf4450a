import { type ClickIdCodec, type ClickIdentity, clickIdentityKey } from '../core/click-id.ts';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { getAffiliates } from '../ledger/affiliates.ts';
import { type ClaimedConversion, claimConversions, postponeConversion } from '../ledger/conversions.ts';
import { inTransaction, type Ledger } from '../ledger/db.ts';
import { conversionsFromIp, recordDecision } from '../ledger/decisions.ts';
import { termsInForce } from '../ledger/terms.ts';
import { type ClickAnswer, decide, type Facts, type KnownClick } from './decide.ts';

/** What the worker asks the warehouse. */
export interface ClickSource {
  /** The stored clicks among these identities, by {@link clickIdentityKey}. */
  lookUp(identities: readonly ClickIdentity[]): Promise<Map<string, KnownClick>>;
  /** Unix ms up to which every click is stored. Read it before a look-up, never after. */
  completeToMs(): Promise<number>;
}

export interface WorkerStats {
  decided: Record<'attributed' | 'review' | 'rejected' | 'unattributed', number>;
  postponed: number;
  failed: number;
}

export interface BatchResult {
  /** Conversions taken; 0 means nothing is due. */
  readonly claimed: number;
}

/** Conversions decided with one warehouse query. */
const BATCH_SIZE = 500;
const HOUR_MS = 3_600_000;
/** First wait for a click that is not in the warehouse yet; doubled at each further try. */
const FIRST_WAIT_MS = 500;
/** Longest wait between two tries: the click may be in a spool for hours, and then must be found soon. */
const LONGEST_WAIT_MS = 60_000;

/** Decides conversions batch by batch; calling it from several processes at once is safe. */
export function createAttributionWorker(options: {
  ledger: Ledger;
  clicks: ClickSource;
  clickIds: ClickIdCodec;
  log: Logger;
}): { stats: WorkerStats; runBatch(now: Date): Promise<BatchResult> } {
  const { ledger, clicks, clickIds, log } = options;
  const stats: WorkerStats = {
    decided: { attributed: 0, review: 0, rejected: 0, unattributed: 0 },
    postponed: 0,
    failed: 0,
  };

  async function runBatch(now: Date): Promise<BatchResult> {
    const conversions = await claimConversions(ledger, { limit: BATCH_SIZE, now });
    if (conversions.length === 0) return { claimed: 0 };
    const facts = await gatherFacts(conversions).catch(async (error: unknown) => {
      // The warehouse being away delays decisions and loses none.
      log.warn({ reason: errorText(error), conversions: conversions.length }, 'the warehouse gave no answer');
      for (const conversion of conversions) await postpone(conversion, now);
      return [];
    });
    for (const fact of facts) {
      await decideOne(fact, now).catch(async (error: unknown) => {
        stats.failed++;
        log.error(
          { conversion: String(fact.conversion.id), reason: errorText(error) },
          'could not be decided',
        );
        await postpone(fact.conversion, now);
      });
    }
    return { claimed: conversions.length };
  }

  /** One warehouse query and two ledger queries for the whole batch, outside any transaction. */
  async function gatherFacts(conversions: readonly ClaimedConversion[]): Promise<Facts[]> {
    const identities = conversions.map((c) => (c.clickId === null ? undefined : clickIds.decode(c.clickId)));
    const completeToMs = await clicks.completeToMs();
    const known = await clicks.lookUp(identities.filter((id) => id !== undefined));
    const answers = conversions.map((conversion, i) => answerOf(conversion, identities[i], known));
    const found = answers.flatMap((answer) => (answer.kind === 'found' ? [answer.click] : []));
    const terms = await termsInForce(
      ledger,
      found.map((click) => ({ ...click, at: new Date(click.ts) })),
    );
    const termsOf = new Map(found.map((click, i) => [click, terms[i]]));
    const affiliates = await getAffiliates(ledger, [...new Set(found.map((click) => click.affiliateId))]);
    const affiliateOf = new Map(affiliates.map((affiliate) => [affiliate.id, affiliate]));
    return conversions.map((conversion, i) => {
      const click = answers[i] ?? { kind: 'none_given' };
      return {
        conversion,
        click,
        terms: click.kind === 'found' ? termsOf.get(click.click) : undefined,
        affiliate: click.kind === 'found' ? affiliateOf.get(click.click.affiliateId) : undefined,
        completeToMs,
        conversionsFromIp: 0,
      };
    });
  }

  async function decideOne(facts: Facts, now: Date): Promise<void> {
    const { conversion, click, terms } = facts;
    const outcome = await inTransaction(ledger, async (tx) => {
      const fromIp =
        click.kind === 'found'
          ? await conversionsFromIp(tx, {
              programId: conversion.programId,
              ip: click.click.ip,
              since: new Date(now.getTime() - HOUR_MS),
            })
          : 0;
      const verdict = decide({ ...facts, conversionsFromIp: fromIp });
      if (verdict.outcome === 'awaiting_click') return verdict.outcome;
      await recordDecision(tx, {
        conversionId: conversion.id,
        outcome: verdict.outcome,
        click: click.kind === 'found' ? click.click : undefined,
        reason: verdict.reason,
        evidence: verdict.evidence,
        termsId: terms?.id ?? null,
        now,
      });
      return verdict.outcome;
    });
    if (outcome === 'awaiting_click') await postpone(conversion, now);
    else stats.decided[outcome]++;
  }

  async function postpone(conversion: ClaimedConversion, now: Date): Promise<void> {
    stats.postponed++;
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** Math.min(conversion.attempts, 16), LONGEST_WAIT_MS);
    await postponeConversion(ledger, {
      conversionId: conversion.id,
      nextAttemptAt: new Date(now.getTime() + waitMs),
    });
  }

  return { stats, runBatch };
}

function answerOf(
  conversion: ClaimedConversion,
  identity: ClickIdentity | undefined,
  known: ReadonlyMap<string, KnownClick>,
): ClickAnswer {
  if (conversion.clickId === null) return { kind: 'none_given' };
  if (identity === undefined) return { kind: 'not_an_id' };
  const click = known.get(clickIdentityKey(identity));
  return click ? { kind: 'found', click } : { kind: 'missing', identity };
}
