import { HOUR_MS } from '../../core/time.ts';
import { fromOwnSessions } from '../../ledger/conversions/decision-facts.ts';
import { readAccountHashes } from '../../ledger/payouts/methods.ts';
import { getAffiliates } from '../../ledger/programs/affiliates.ts';
import { CONTEXT_HOURS, type ContextQuestion } from '../../warehouse/lookups/click-context.ts';
import type { RuleFacts } from '../decide/apply-fraud-rules.ts';
import type { Won } from '../decide/choose.ts';
import { askEach } from './ask-each.ts';
import type { FactSources } from './click-facts.ts';
import { gatherPaces } from './pace.ts';

/**
 * The second half of the facts of a batch: reads what the fraud rules look at, by conversion id. Conversions whose
 * affiliate does not exist are missing. Counts of earlier orders are not here, because they are read under locks.
 */
export async function gatherRuleFacts(
  { sql, clicks }: Pick<FactSources, 'sql' | 'clicks'>,
  won: readonly Won[],
  now: Date,
): Promise<Map<bigint, RuleFacts>> {
  if (won.length === 0) return new Map();
  const affiliateIds = [...new Set(won.map(({ winner }) => winner.click.affiliateId))];
  const rows = await getAffiliates(sql, affiliateIds);
  const affiliates = new Map(rows.map((affiliate) => [affiliate.id, affiliate]));
  const paces = await gatherPaces(sql, won);
  const hasAccount = won.some(({ conversion }) => conversion.paymentAccountHash !== null);
  const accounts = hasAccount ? await readAccountHashes(sql, affiliateIds) : new Map<number, string>();
  const ownSessions = await askEach(won, sessionQuestion, (questions) => fromOwnSessions(sql, questions));
  const oldestMs = now.getTime() - CONTEXT_HOURS * HOUR_MS + HOUR_MS;
  const contexts = await askEach(
    won,
    (one) => contextQuestion(one, oldestMs),
    (questions) => clicks.contexts(questions),
  );
  return new Map(
    won.flatMap((one): [bigint, RuleFacts][] => {
      const { conversion, winner } = one;
      const affiliate = affiliates.get(winner.click.affiliateId);
      if (!affiliate) return [];
      const facts = {
        affiliate,
        payoutAccountHash: accounts.get(affiliate.id),
        fromOwnSession: ownSessions.get(one) ?? false,
        context: contexts.get(one),
        pace: paces.get(conversion.id),
      };
      return [[conversion.id, facts]];
    }),
  );
}

function sessionQuestion({ conversion, winner }: Won) {
  const own = winner.source === 'recurring' ? undefined : winner.click;
  return {
    affiliateId: winner.click.affiliateId,
    ip: conversion.ip ?? own?.ip ?? null,
    fingerprint: conversion.fingerprint ?? own?.fingerprint ?? null,
    at: conversion.receivedAt,
  };
}

/** Undefined for clicks older than the velocity tables, and for later orders of a subscription, which have none of their own. */
function contextQuestion({ conversion, winner }: Won, oldestMs: number): ContextQuestion | undefined {
  if (winner.source === 'recurring' || winner.click.ts < oldestMs) return undefined;
  return { ...winner.click, orderIp: conversion.ip };
}
