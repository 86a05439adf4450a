import { HOUR_MS } from '../../core/time.ts';
import { fromOwnSessions } from '../../ledger/conversions/decision-facts.ts';
import { readChains } from '../../ledger/decisions/decisions.ts';
import { readAccountHashes } from '../../ledger/payouts/methods.ts';
import { type Affiliate, getAffiliates } from '../../ledger/programs/affiliates.ts';
import { CONTEXT_HOURS, type ContextQuestion } from '../../warehouse/lookups/click-context.ts';
import type { Earner, RuleFacts } from '../decide/apply-fraud-rules.ts';
import { ownClick, type Won } from '../decide/choose.ts';
import { askEach } from './ask-each.ts';
import type { FactSources } from './click-facts.ts';
import { gatherHistories } from './history.ts';
import { gatherPaces } from './pace.ts';

/** An affiliate that would earn by an order that is decided. */
interface Candidate {
  readonly won: Won;
  readonly affiliate: Affiliate;
  readonly level: number;
}

/**
 * The second half of the facts of a batch: reads what the fraud rules look at, by conversion id. Conversions whose
 * affiliate does not exist are missing. Counts of earlier orders are not here, because they are read under locks.
 */
export async function gatherRuleFacts(
  { sql, clicks, counts, sales, times }: Pick<FactSources, 'sql' | 'clicks' | 'counts' | 'sales' | 'times'>,
  won: readonly Won[],
  { now, mergesOf }: { now: Date; mergesOf: (one: Won) => number },
): Promise<Map<bigint, RuleFacts>> {
  if (won.length === 0) return new Map();
  const earners = await gatherEarners(sql, won);
  const paces = await gatherPaces(sql, won);
  const histories = await gatherHistories({ sql, clicks, counts, sales, times }, won, mergesOf);
  const oldestMs = now.getTime() - CONTEXT_HOURS * HOUR_MS + HOUR_MS;
  const contexts = await askEach(
    won,
    (one) => contextQuestion(one, oldestMs),
    (questions) => clicks.contexts(questions),
  );
  return new Map(
    won.flatMap((one): [bigint, RuleFacts][] => {
      const [own, ...ancestors] = earners.get(one) ?? [];
      if (own?.level !== 1) return [];
      const { id } = one.conversion;
      const read = { context: contexts.get(one), pace: paces.get(id), history: histories.get(id) };
      return [[id, { ...own, ancestors, ...read }]];
    }),
  );
}

/** Who would earn by each order, the affiliate of the click first: ancestors that are active and have a rate. */
async function gatherEarners(
  sql: FactSources['sql'],
  won: readonly Won[],
): Promise<Map<Won, (Earner & { level: number })[]>> {
  const winners = [...new Set(won.map(({ winner }) => winner.click.affiliateId))];
  const levels = 1 + Math.max(...won.map(({ winner }) => winner.terms.levelRatesBps.length));
  const chains = await readChains(sql, { affiliateIds: winners, levels });
  const ids = [...new Set([...chains.values()].flat().map(({ affiliateId }) => affiliateId))];
  const affiliates = new Map((await getAffiliates(sql, ids)).map((affiliate) => [affiliate.id, affiliate]));
  const candidates = won.flatMap((one): Candidate[] => {
    const { click, terms } = one.winner;
    const earning = (chains.get(click.affiliateId) ?? []).filter(
      ({ level, active }) => level === 1 || (active && (terms.levelRatesBps[level - 2] ?? 0) > 0),
    );
    return earning.flatMap(({ affiliateId, level }) => {
      const affiliate = affiliates.get(affiliateId);
      return affiliate ? [{ won: one, affiliate, level }] : [];
    });
  });
  const hasMark = won.some(
    ({ conversion }) => conversion.paymentAccountHash !== null || conversion.customerEmailHash !== null,
  );
  const accounts = hasMark ? await readAccountHashes(sql, ids) : new Map<number, string>();
  const sessions = await askEach(candidates, sessionQuestion, (questions) => fromOwnSessions(sql, questions));
  const earners = new Map<Won, (Earner & { level: number })[]>();
  for (const candidate of candidates) {
    const { won: one, affiliate, level } = candidate;
    const payoutAccountHash = accounts.get(affiliate.id);
    const earner = { affiliate, level, payoutAccountHash, fromOwnSession: sessions.get(candidate) ?? false };
    earners.set(one, [...(earners.get(one) ?? []), earner]);
  }
  return earners;
}

function sessionQuestion({ won: { conversion, winner }, affiliate }: Candidate) {
  const own = ownClick(winner);
  return {
    affiliateId: affiliate.id,
    ip: conversion.ip ?? own?.ip ?? null,
    fingerprint: conversion.fingerprint ?? own?.fingerprint ?? null,
    at: conversion.receivedAt,
  };
}

/** Undefined for clicks older than the velocity tables, and for orders without a click of their own. */
function contextQuestion({ conversion, winner }: Won, oldestMs: number): ContextQuestion | undefined {
  const click = ownClick(winner);
  return click && click.ts >= oldestMs ? { ...click, orderIp: conversion.ip } : undefined;
}
