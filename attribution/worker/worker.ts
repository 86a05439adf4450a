import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import {
  type ClaimedConversion,
  claimConversions,
  postponeConversions,
} from '../../ledger/conversions/conversion-claims.ts';
import {
  countEarlier,
  type EarlierCounts,
  type RateQuestion,
} from '../../ledger/conversions/decision-facts.ts';
import { type Decision, recordDecisions } from '../../ledger/decisions/decisions.ts';
import { inTransaction, type Ledger, type LedgerTransaction } from '../../ledger/postgres/db.ts';
import { type Choice, type ClickFacts, chooseClick } from '../decide/choose.ts';
import { type DecidedChoice, decide, type Outcome, type Verdict } from '../decide/decide.ts';
import { observe, type RuleFacts } from '../decide/judge.ts';
import { waitForEarlier } from '../decide/pace.ts';
import type { ClickSource } from './click-source.ts';
import { gatherClickFacts, gatherRuleFacts } from './gather.ts';

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

/** Conversions decided with one look-up and one transaction: large enough that the fixed costs of both do not count. */
const BATCH_SIZE = 1_000;
/**
 * Batches that a process decides at once: while one waits for a store another computes. On 2 cores one decided 1,650
 * a second of 20,000 orders, two 2,800, three 3,050; more only wait for the program's expense account.
 */
export const BATCHES_IN_FLIGHT = 3;
/** A click that is not in the warehouse yet is waited for a quarter longer at each try, and at least for so long. */
const SHORTEST_WAIT_MS = 500;
const WAIT_GROWTH = 0.25;
/** Longest wait between two tries: the click may be in a spool for hours, and then must be found soon. */
const LONGEST_WAIT_MS = 60_000;
/** The stream keeps clicks for so long; what is not in the warehouse by then comes only from a spool on a dead disk. */
const GIVE_UP_MS = 72 * HOUR_MS;
/** A click that turns up later opens its order again for so long, looked for once an hour. */
const REOPEN_MS = 30 * DAY_MS;
const REOPEN_PAUSE_MS = HOUR_MS;

/** A conversion whose click was looked for, and what the rules have to look at where one was found. */
interface Prepared {
  readonly facts: ClickFacts;
  readonly choice: DecidedChoice;
  readonly ruleFacts: Omit<RuleFacts, 'earlier'> | undefined;
}

/** Decides conversions batch by batch; calling it from several processes at once is safe. */
export function createAttributionWorker(options: {
  ledger: Ledger;
  clicks: ClickSource;
  clickIds: ClickIdCodec;
  log: Logger;
}): { stats: WorkerStats; runBatch(now: Date): Promise<BatchResult> } {
  const { ledger, clicks, clickIds, log } = options;
  const sources = { sql: ledger, clicks, clickIds };
  const stats: WorkerStats = {
    decided: { attributed: 0, review: 0, rejected: 0, unattributed: 0 },
    postponed: 0,
    failed: 0,
  };

  async function runBatch(now: Date): Promise<BatchResult> {
    const conversions = await claimConversions(ledger, { limit: BATCH_SIZE, now });
    if (conversions.length === 0) return { claimed: 0, isFull: false };
    const prepared = await prepare(conversions, now).catch(async (error: unknown) => {
      // The warehouse being away delays decisions and loses none.
      log.warn({ reason: errorText(error), conversions: conversions.length }, 'the warehouse gave no answer');
      await postpone(conversions, now);
      return [];
    });
    try {
      await decideTogether(prepared, now);
    } catch (error) {
      // One bad row must not hold up the others: each on its own now.
      log.warn({ reason: errorText(error), conversions: prepared.length }, 'a batch failed; one by one');
      for (const one of prepared) await decideAlone(one, now);
    }
    return { claimed: conversions.length, isFull: conversions.length === BATCH_SIZE };
  }

  /** Looks the clicks up and reads everything else that needs no lock, outside any transaction. */
  async function prepare(conversions: readonly ClaimedConversion[], now: Date): Promise<Prepared[]> {
    const gaveUp = ({ receivedAt }: ClaimedConversion) => now.getTime() - receivedAt.getTime() > GIVE_UP_MS;
    const facts = await gatherClickFacts(sources, { conversions, gaveUp });
    const chosen = facts.map((fact) => ({ facts: fact, choice: chooseClick(fact) }));
    const won = chosen.flatMap(({ facts: { conversion }, choice }) =>
      choice.kind === 'won' ? [{ conversion, winner: choice.winner }] : [],
    );
    const decided = chosen.flatMap(({ facts: { conversion }, choice }) =>
      choice.kind === 'awaiting_click' ? [] : [conversion.id],
    );
    // Before the paces are read: an earlier order that is decided in between is counted in them.
    const early = await waitForEarlier(ledger, { won, decided, now });
    const ready = chosen.flatMap(({ facts: fact, choice }) =>
      choice.kind === 'awaiting_click' || early.has(fact.conversion.id) ? [] : [{ facts: fact, choice }],
    );
    const readyIds = new Set(ready.map(({ facts: { conversion } }) => conversion.id));
    await postpone(
      conversions.filter(({ id }) => !readyIds.has(id)),
      now,
    );
    const judged = won.filter(({ conversion }) => readyIds.has(conversion.id));
    const ruleFacts = (await gatherRuleFacts(sources, judged, now)).values();
    return ready.map(({ facts: fact, choice }) => ({
      facts: fact,
      choice,
      ruleFacts: choice.kind === 'won' ? ruleFacts.next().value : undefined,
    }));
  }

  async function decideTogether(prepared: readonly Prepared[], now: Date): Promise<void> {
    if (prepared.length === 0) return;
    const decisions = await inTransaction(ledger, async (tx) => {
      const made = await makeDecisions(tx, prepared, now);
      await recordDecisions(tx, made);
      return made;
    });
    for (const { outcome } of decisions) stats.decided[outcome]++;
    // Looked for again and still not found: nothing was recorded, and the next look is put off.
    const stillUnattributed = prepared
      .map(({ facts }, i) => ({ conversion: facts.conversion, outcome: decisions[i]?.outcome }))
      .filter(({ conversion, outcome }) => conversion.state === 'unattributed' && outcome === 'unattributed');
    await postpone(
      stillUnattributed.map(({ conversion }) => conversion),
      now,
    );
  }

  async function decideAlone(one: Prepared, now: Date): Promise<void> {
    try {
      await decideTogether([one], now);
    } catch (error) {
      stats.failed++;
      const { conversion } = one.facts;
      log.error({ conversion: String(conversion.id), reason: errorText(error) }, 'could not be decided');
      await postpone([conversion], now);
    }
  }

  async function postpone(conversions: readonly ClaimedConversion[], now: Date): Promise<void> {
    if (conversions.length === 0) return;
    stats.postponed += conversions.length;
    await postponeConversions(
      ledger,
      conversions.map((conversion) => ({
        conversionId: conversion.id,
        nextAttemptAt: nextAttempt(conversion, now),
      })),
    );
  }

  return { stats, runBatch };
}

/** When an undecided conversion is tried again, or an unattributed one is looked at again; null: never. */
function nextAttempt(conversion: ClaimedConversion, now: Date): Date | null {
  if (conversion.state === 'unattributed') {
    const isOver = now.getTime() - conversion.receivedAt.getTime() > REOPEN_MS;
    return isOver ? null : new Date(now.getTime() + REOPEN_PAUSE_MS);
  }
  const waitedMs = now.getTime() - conversion.receivedAt.getTime();
  const waitMs = Math.min(Math.max(WAIT_GROWTH * waitedMs, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
  return new Date(now.getTime() + waitMs);
}

/** Decides a batch, each order counting for the next one. */
async function makeDecisions(
  tx: LedgerTransaction,
  prepared: readonly Prepared[],
  now: Date,
): Promise<Decision[]> {
  const questions = prepared.flatMap(({ facts: { conversion }, choice }): RateQuestion[] => {
    if (choice.kind !== 'won') return [];
    const { id: conversionId, programId, receivedAt, customerId } = conversion;
    return [{ conversionId, programId, receivedAt, customerId, ip: choice.winner.click.ip }];
  });
  const counts = questions.length === 0 ? [] : await countEarlier(tx, questions);
  const before = new Map(questions.map(({ conversionId }, i) => [conversionId, counts[i]]));
  const inBatch = createTally();
  return prepared.map(({ facts, choice, ruleFacts }) => {
    const { conversion } = facts;
    const earlier = inBatch.add(facts, choice, before.get(conversion.id));
    const observations =
      choice.kind === 'won' && ruleFacts
        ? observe({ ...ruleFacts, earlier, conversion, winner: choice.winner })
        : undefined;
    const verdict = decide(facts, choice, observations);
    return decisionOf(facts, choice, verdict, now);
  });
}

/** Counts the orders of one batch by address and customer, as the books count those before it. */
function createTally() {
  const seen = new Map<string, number>();
  const count = (key: string): number => {
    const known = seen.get(key) ?? 0;
    seen.set(key, known + 1);
    return known;
  };
  return {
    add(
      { conversion }: ClickFacts,
      choice: Choice,
      before: EarlierCounts = { fromIp: 0, fromCustomer: 0 },
    ): EarlierCounts {
      if (choice.kind !== 'won') return before;
      const { programId, customerId } = conversion;
      const fromIp = before.fromIp + count(`ip ${programId} ${choice.winner.click.ip}`);
      const fromCustomer =
        customerId === null ? 0 : before.fromCustomer + count(`customer ${programId} ${customerId}`);
      return { fromIp, fromCustomer };
    },
  };
}

function decisionOf(
  { conversion, given }: ClickFacts,
  choice: Choice,
  { outcome, reason, evidence }: Verdict,
  now: Date,
): Decision {
  const winner = choice.kind === 'won' ? choice.winner : undefined;
  const mayReturn = outcome === 'unattributed' && reason === 'click_not_found';
  return {
    conversionId: conversion.id,
    outcome,
    reason,
    evidence,
    click: winner?.click ?? (given.kind === 'found' ? given.click : undefined),
    termsId: winner?.terms.id ?? null,
    recurringOf: winner?.recurringOf,
    firstInReview: winner?.firstInReview,
    nextAttemptAt: mayReturn ? new Date(now.getTime() + REOPEN_PAUSE_MS) : undefined,
    now,
  };
}
