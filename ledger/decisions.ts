import type { JSONValue } from 'postgres';
import { assert } from '../core/errors.ts';
import { COMMISSION_COLUMNS, type Commission } from './commissions.ts';
import type { ConversionReason, ConversionState } from './conversions.ts';
import type { LedgerTransaction } from './db.ts';
import { appendLines, balancingEntry, postJournals } from './journals.ts';
import { applyEarlierRefunds } from './reversals.ts';
import { type ChainMember, computeRewards, type Reward } from './rewards.ts';
import { getTerms, type Terms } from './terms.ts';

/** The click that won a conversion. */
export interface WinningClick {
  /** Unix milliseconds. */
  readonly ts: number;
  readonly node: number;
  readonly seq: number;
  /** Text form, IPv4 not mapped. */
  readonly ip: string;
  readonly linkId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
}

/** What attribution found. `attributed` and `review` need a click and terms; the others may have them. */
export interface Decision {
  readonly conversionId: bigint;
  readonly outcome: 'attributed' | 'review' | 'rejected' | 'unattributed';
  readonly click?: WinningClick | undefined;
  /** Needed by every outcome but `attributed`. */
  readonly reason: ConversionReason | null;
  /** Stored as JSON. */
  readonly evidence: object;
  readonly termsId: number | null;
  readonly now: Date;
}

export type RecordedDecision =
  | { readonly outcome: 'recorded'; readonly commissions: Commission[] }
  /** Somebody decided before: nothing was changed. */
  | { readonly outcome: 'already_decided'; readonly state: ConversionState };

interface UndecidedConversion {
  readonly id: bigint;
  readonly programId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly state: ConversionState;
  readonly receivedAt: Date;
}

/** What a decision may still change; an order found unattributed is reopened by a click that comes late. */
const UNDECIDED: ReadonlySet<ConversionState> = new Set(['received', 'awaiting_click', 'unattributed']);

/**
 * Writes a decision: the conversion, the commission of each level, the journal. Doing it again changes nothing.
 * Commissions of a conversion in review are held. What was refunded before the decision is taken back at once.
 */
export async function recordDecision(tx: LedgerTransaction, decision: Decision): Promise<RecordedDecision> {
  const { conversionId, outcome } = decision;
  const [conversion] = await tx<UndecidedConversion[]>`
    select id, program_id, currency, amount_minor, refunded_minor, state, received_at
    from conversions where id = ${conversionId} for no key update`;
  assert(conversion, `conversion ${conversionId} exists`);
  if (!UNDECIDED.has(conversion.state) || conversion.state === outcome) {
    return { outcome: 'already_decided', state: conversion.state };
  }
  await writeDecision(tx, decision);
  if (outcome === 'rejected' || outcome === 'unattributed') return { outcome: 'recorded', commissions: [] };

  const { click, termsId } = decision;
  assert(click && termsId !== null, 'a credited conversion has a click and terms');
  const terms = await getTerms(tx, termsId);
  assert(terms, `terms ${termsId} exist`);
  const chain = await readChain(tx, click.affiliateId, 1 + terms.levelRatesBps.length);
  const rewards = computeRewards({ orderMinor: conversion.amountMinor, terms, chain });
  const state = outcome === 'review' ? 'held' : 'pending';
  const commissions = await insertCommissions(tx, { conversion, terms, rewards, state });
  await postEarning(tx, conversion, commissions);
  await applyEarlierRefunds(tx, { ...conversion, state: outcome });
  return { outcome: 'recorded', commissions };
}

async function writeDecision(tx: LedgerTransaction, decision: Decision): Promise<void> {
  const { conversionId, outcome, click, reason, evidence, termsId, now } = decision;
  // A click that won nothing may be of another program: its identity is kept, nobody is credited.
  const credited = outcome === 'unattributed' ? undefined : click;
  await tx`
    update conversions set
      state = ${outcome}, reason = ${reason}, evidence = ${tx.json(evidence as JSONValue)}, decided_at = ${now},
      terms_id = ${termsId}, claimed_until = null,
      click_ts = ${click ? new Date(click.ts) : null}, click_node = ${click?.node ?? null},
      click_seq = ${click?.seq ?? null}, click_ip = ${click?.ip ?? null}, link_id = ${credited?.linkId ?? null},
      campaign_id = ${credited?.campaignId ?? null}, affiliate_id = ${credited?.affiliateId ?? null}
    where id = ${conversionId}`;
}

/** The affiliate and its ancestors, `levels` at the most. The tree has no cycle, so nobody comes twice. */
async function readChain(tx: LedgerTransaction, affiliateId: number, levels: number): Promise<ChainMember[]> {
  return await tx<ChainMember[]>`
    with recursive chain (id, parent_id, status, level) as (
      select id, parent_id, status, 1 from affiliates where id = ${affiliateId}
      union all
      select a.id, a.parent_id, a.status, chain.level + 1
      from chain join affiliates a on a.id = chain.parent_id where chain.level < ${levels}
    )
    select id as affiliate_id, level, status = 'active' as active from chain order by level`;
}

async function insertCommissions(
  tx: LedgerTransaction,
  options: {
    conversion: UndecidedConversion;
    terms: Terms;
    rewards: readonly Reward[];
    state: 'pending' | 'held';
  },
): Promise<Commission[]> {
  const { conversion, terms, rewards, state } = options;
  const rows = rewards.map(({ affiliateId, level, amountMinor }) => ({
    affiliate_id: affiliateId,
    level,
    amount_minor: amountMinor.toString(),
  }));
  // The hold counts from the report, not from the decision: a late decision delays nobody's money.
  return await tx<Commission[]>`
    insert into commissions (conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor,
      state, available_at)
    select ${conversion.id}::bigint, ${conversion.programId}::integer, affiliate_id, level, ${terms.id}::integer,
      ${conversion.currency}, amount_minor, ${state},
      ${conversion.receivedAt}::timestamptz + make_interval(days => ${terms.holdDays})
    from jsonb_to_recordset(${tx.json(rows)}::jsonb) as r (affiliate_id integer, level integer, amount_minor bigint)
    order by level
    returning ${tx(COMMISSION_COLUMNS)}`;
}

async function postEarning(
  tx: LedgerTransaction,
  conversion: UndecidedConversion,
  commissions: readonly Commission[],
): Promise<void> {
  if (commissions.length === 0) return;
  const earned = commissions.map(({ id, affiliateId, amountMinor }) => ({
    affiliateId,
    account: 'pending' as const,
    amountMinor,
    commissionId: id,
  }));
  const key = `earn:${conversion.id}`;
  const posted = await postJournals(tx, [
    {
      key,
      kind: 'earning',
      programId: conversion.programId,
      currency: conversion.currency,
      conversionId: conversion.id,
      entries: [...earned, balancingEntry('commission_expense', earned)],
    },
  ]);
  const journalId = posted.get(key);
  assert(journalId !== undefined, 'a conversion earns once');
  await appendLines(
    tx,
    journalId,
    commissions.map(({ id, amountMinor }) => ({ commissionId: id, kind: 'earning', amountMinor })),
  );
}

/**
 * How many conversions of the program, received since then, were decided for a click from this ip.
 * Holds a lock until the transaction ends, so that of concurrent decisions each sees the ones before it; a transaction
 * that asks for several addresses asks in their order, or risks being tried again after a deadlock.
 */
export async function conversionsFromIp(
  tx: LedgerTransaction,
  options: { programId: number; ip: string; since: Date },
): Promise<number> {
  const { programId, ip, since } = options;
  await tx`select pg_advisory_xact_lock(hashtextextended(${`conversions.ip:${ip}`}, ${programId}))`;
  const [row] = await tx<[{ count: bigint }]>`
    select count(*) from conversions
    where program_id = ${programId} and click_ip = ${ip} and received_at >= ${since}`;
  return Number(row.count);
}
