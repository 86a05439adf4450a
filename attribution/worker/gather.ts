import { type ClickIdCodec, clickIdentityKey } from '../../core/clicks/click-id.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import type { ClaimedConversion } from '../../ledger/conversions/conversion-claims.ts';
import {
  findFirstOrders,
  fromOwnSessions,
  haveUndecidedBefore,
} from '../../ledger/conversions/decision-facts.ts';
import { readAccountHashes } from '../../ledger/payouts/methods.ts';
import type { LedgerSql } from '../../ledger/postgres/db.ts';
import { type Affiliate, getAffiliates } from '../../ledger/programs/affiliates.ts';
import { type AttributionModel, getTerms, type Terms, termsInForce } from '../../ledger/programs/terms.ts';
import { type ClickContext, CONTEXT_HOURS } from '../../warehouse/lookups/click-context.ts';
import type { CandidateRequest } from '../../warehouse/lookups/lookups.ts';
import {
  type ClickFacts,
  type ClickWithTerms,
  FINGERPRINT_DAYS,
  type GivenClick,
  isKnownUpTo,
  type KnownClick,
  losesBecause,
  visitEndMs,
  type Won,
} from '../decide/choose.ts';
import type { RuleFacts } from '../decide/judge.ts';
import { gatherPaces } from '../decide/pace.ts';
import type { ClickSource } from './click-source.ts';

/** Reads what a batch of decisions is made of: a handful of queries, however many conversions. */

export interface FactSources {
  readonly sql: LedgerSql;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  /** Instead of the model of the terms. */
  readonly model?: AttributionModel | undefined;
}

/** What {@link chooseClick} needs of each conversion, in the same order. */
export async function gatherClickFacts(
  sources: FactSources,
  options: { conversions: readonly ClaimedConversion[]; gaveUp: (conversion: ClaimedConversion) => boolean },
): Promise<ClickFacts[]> {
  const { sql, clicks, model } = sources;
  const { conversions, gaveUp } = options;
  const completeToMs = await clicks.completeToMs();
  const given = await readGivenClicks(sources, {
    conversions,
    isKnown: (conversion, clickMs) => isKnownUpTo({ completeToMs, gaveUp: gaveUp(conversion) }, clickMs),
  });
  const terms = await termsOfClicks(
    sql,
    given.map((answer) => (answer.kind === 'found' ? answer.click : undefined)),
  );
  const bare = conversions.map((conversion, i) => ({
    conversion,
    given: given[i] ?? { kind: 'none_given' as const },
    terms: terms[i],
  }));
  const { subscriptions, undecidedBefore } = await readSubscriptions(sources, bare);
  const visits = await readVisits(sources, bare);
  return bare.map((facts, i) => ({
    ...facts,
    visitorClicks: visits[i] ?? [],
    subscription: subscriptions[i],
    undecidedBefore: undecidedBefore[i] ?? false,
    completeToMs,
    gaveUp: gaveUp(facts.conversion),
    model,
  }));
}

type BareFacts = Pick<ClickFacts, 'conversion' | 'given' | 'terms'>;

/** A click that has to be waited for anyway is not looked for: under load that would be most look-ups. */
async function readGivenClicks(
  { clicks, clickIds }: FactSources,
  options: {
    conversions: readonly ClaimedConversion[];
    isKnown: (conversion: ClaimedConversion, clickMs: number) => boolean;
  },
): Promise<GivenClick[]> {
  const { conversions, isKnown } = options;
  const identities = conversions.map(({ clickId }) =>
    clickId === null ? undefined : clickIds.decode(clickId),
  );
  const known = await clicks.lookUp(
    conversions.flatMap((conversion, i) => {
      const identity = identities[i];
      return identity && isKnown(conversion, identity.ts) ? [identity] : [];
    }),
  );
  return conversions.map(({ clickId }, i) => {
    const identity = identities[i];
    if (clickId === null) return { kind: 'none_given' };
    if (identity === undefined) return { kind: 'not_an_id' };
    const click = known.get(clickIdentityKey(identity));
    return click ? { kind: 'found', click } : { kind: 'missing', identity };
  });
}

async function termsOfClicks(
  sql: LedgerSql,
  clicks: readonly (KnownClick | undefined)[],
): Promise<(Terms | undefined)[]> {
  const asked = clicks.flatMap((click) => (click ? [{ ...click, at: new Date(click.ts) }] : []));
  if (asked.length === 0) return clicks.map(() => undefined);
  const answers = (await termsInForce(sql, asked)).values();
  return clicks.map((click) => (click ? answers.next().value : undefined));
}

/** Earlier orders of the customers whose order has no click that can win: the first one, and whether one is undecided. */
async function readSubscriptions(
  { sql, clicks }: FactSources,
  bare: readonly BareFacts[],
): Promise<{ subscriptions: ClickFacts['subscription'][]; undecidedBefore: boolean[] }> {
  const asked = bare.flatMap(({ conversion, given, terms }, index) => {
    const { customerId, programId, id: conversionId, occurredAt } = conversion;
    const stands =
      given.kind === 'found' && losesBecause(conversion, { click: given.click, terms }) === undefined;
    return customerId === null || stands ? [] : [{ index, customerId, programId, conversionId, occurredAt }];
  });
  const subscriptions: ClickFacts['subscription'][] = bare.map(() => undefined);
  const undecidedBefore = bare.map(() => false);
  // Before the first orders are read: one that is decided in between is found by that.
  for (const [i, waits] of (await haveUndecidedBefore(sql, asked)).entries()) {
    undecidedBefore[asked[i]?.index ?? 0] = waits;
  }
  const firsts = await findFirstOrders(sql, asked);
  const found = firsts.flatMap((first, i) => (first ? [{ first, index: asked[i]?.index ?? 0 }] : []));
  if (found.length === 0) return { subscriptions, undecidedBefore };
  const identityOf = ({ clickTs, clickNode, clickSeq }: (typeof found)[number]['first']) => ({
    ts: clickTs.getTime(),
    node: clickNode,
    seq: clickSeq,
  });
  const known = await clicks.lookUp(found.map(({ first }) => identityOf(first)));
  const terms = await getTerms(
    sql,
    found.map(({ first }) => first.termsId),
  );
  const termsById = new Map(terms.map((version) => [version.id, version]));
  for (const { first, index } of found) {
    const click = known.get(clickIdentityKey(identityOf(first)));
    if (!click) continue;
    const { conversionId, occurredAt: startedAt, inReview } = first;
    subscriptions[index] = { click, terms: termsById.get(first.termsId), conversionId, startedAt, inReview };
  }
  return { subscriptions, undecidedBefore };
}

/** Other clicks of the visitor, for the orders where they matter: without a usable id, or under the first-click model. */
async function readVisits(
  { sql, clicks, model }: FactSources,
  bare: readonly BareFacts[],
): Promise<ClickWithTerms[][]> {
  const visits: ClickWithTerms[][] = bare.map(() => []);
  const requests = bare.flatMap((facts, index) => {
    const request = visitRequest(facts, model);
    return request ? [{ ...request, index }] : [];
  });
  if (requests.length === 0) return visits;
  const answers = await clicks.sameVisitor(requests);
  const found = answers.flatMap((visit, i) =>
    visit.map((click) => ({ click, index: requests[i]?.index ?? 0 })),
  );
  const terms = await termsOfClicks(
    sql,
    found.map(({ click }) => click),
  );
  for (const [i, { click, index }] of found.entries()) visits[index]?.push({ click, terms: terms[i] });
  return visits;
}

function visitRequest(
  { conversion, given, terms }: BareFacts,
  model: AttributionModel | undefined,
): CandidateRequest | undefined {
  if (given.kind === 'found') {
    if (!terms || (model ?? terms.attributionModel) !== 'first_click') return undefined;
    const { fingerprint, ip, ts: toMs } = given.click;
    const days = Math.min(FINGERPRINT_DAYS, terms.cookieDays);
    return { fingerprint, ip, fromMs: conversion.occurredAt.getTime() - days * DAY_MS, toMs };
  }
  const { fingerprint, ip, fingerprintMatch } = conversion;
  const isUsable =
    given.kind !== 'missing' && fingerprintMatch !== 'off' && fingerprint !== null && ip !== null;
  if (!isUsable) return undefined;
  const toMs = visitEndMs(conversion);
  return { fingerprint, ip, fromMs: toMs - FINGERPRINT_DAYS * DAY_MS, toMs };
}

/** What {@link judge} needs of each winner but the counts, which are read under locks; undefined: no such affiliate. */
export async function gatherRuleFacts(
  { sql, clicks }: FactSources,
  won: readonly Won[],
  now: Date,
): Promise<(Omit<RuleFacts, 'earlier'> | undefined)[]> {
  if (won.length === 0) return [];
  const affiliateIds = [...new Set(won.map(({ winner }) => winner.click.affiliateId))];
  const affiliates = byKey(await getAffiliates(sql, affiliateIds), ({ id }: Affiliate) => id);
  const paces = await gatherPaces(sql, won);
  const hasAccount = won.some(({ conversion }) => conversion.paymentAccountHash !== null);
  const accounts = hasAccount ? await readAccountHashes(sql, affiliateIds) : new Map<number, string>();
  const sessions = await fromOwnSessions(
    sql,
    won.map(({ conversion, winner }) => ({
      affiliateId: winner.click.affiliateId,
      ip: conversion.ip ?? winner.click.ip,
      fingerprint: conversion.fingerprint ?? winner.click.fingerprint,
      at: conversion.receivedAt,
    })),
  );
  const contexts = await readContexts(clicks, won, now);
  return won.map(({ conversion, winner }, i) => {
    const affiliate = affiliates.get(winner.click.affiliateId);
    return (
      affiliate && {
        affiliate,
        payoutAccountHash: accounts.get(affiliate.id),
        fromOwnSession: sessions[i] ?? false,
        context: contexts[i],
        pace: paces.get(conversion.id),
      }
    );
  });
}

async function readContexts(
  clicks: ClickSource,
  won: readonly Won[],
  now: Date,
): Promise<(ClickContext | undefined)[]> {
  const oldestMs = now.getTime() - CONTEXT_HOURS * HOUR_MS + HOUR_MS;
  const asked = won.flatMap(({ conversion, winner }, index) => {
    const { click, source } = winner;
    return source === 'recurring' || click.ts < oldestMs ? [] : [{ ...click, orderIp: conversion.ip, index }];
  });
  const contexts: (ClickContext | undefined)[] = won.map(() => undefined);
  for (const [i, context] of (await clicks.contexts(asked)).entries()) {
    contexts[asked[i]?.index ?? 0] = context;
  }
  return contexts;
}

function byKey<Row, Key>(rows: readonly Row[], keyOf: (row: Row) => Key): Map<Key, Row> {
  return new Map(rows.map((row) => [keyOf(row), row]));
}
