import { assert } from '../../core/errors.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import { DAY_MS } from '../../core/time.ts';
import { type ChainMember, computeCommissions, partsOfItems } from '../books/commission-amounts.ts';
import type { Commission, CommissionState } from '../books/commissions.ts';
import { appendLines, balancingEntry, type Journal, postJournals } from '../books/journals.ts';
import type { Conversion, ConversionReason, ConversionState } from '../conversions/conversions.ts';
import { itemFromStored, type StoredItem } from '../conversions/items.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import type { CommissionBase } from '../programs/programs.ts';
import { type CustomerKind, termsFor } from '../programs/special-rates.ts';
import { getTerms, type Terms } from '../programs/terms.ts';
import { adjustCommissions, writeChange } from './adjustments.ts';
import { earningLines } from './earning-lines.ts';

/** The click that won a conversion; without a click whom it is credited to, and when it occurred. */
export interface WinningClick {
  /** Unix milliseconds. */
  readonly ts: number;
  readonly node: number | null;
  readonly seq: number | null;
  /** Text form, IPv4 not mapped. */
  readonly ip: string | null;
  /** Null: it came by no link. */
  readonly linkId: number | null;
  readonly campaignId: number;
  readonly affiliateId: number;
  /** sub1 to sub5 of the click, '' where it has none; null or missing: no click is known, or it is one of before they were kept. */
  readonly subs?: readonly string[] | null;
}

/** What attribution found. `attributed` and `review` need a click and terms; the others may have them. */
export interface Decision {
  readonly conversionId: bigint;
  readonly outcome: 'attributed' | 'review' | 'rejected' | 'unattributed';
  readonly click?: WinningClick | undefined;
  /** Needed by every outcome but `attributed`. */
  readonly reason: ConversionReason | null;
  /** Stored as JSON, with what is known only when it is written: `amountMinor`, and under tiers `volumeBeforeMinor`. */
  readonly evidence: object;
  readonly termsId: number | null;
  /** The coupon that credits it. */
  readonly couponId?: number | undefined;
  /** The first order of the subscription that credits this one. */
  readonly recurringOf?: bigint | undefined;
  /** That first order was found in review: this one waits for it. */
  readonly firstInReview?: boolean | undefined;
  /** By which rates of the terms; default: as the shop reported the customer. */
  readonly customerKind?: CustomerKind | null | undefined;
  /** Of an imported order: its commissions were paid before, outside these books. They are booked as paid, and never paid. */
  readonly paidOutside?: boolean | undefined;
  /** When an unattributed conversion is looked at again; default never. */
  readonly nextAttemptAt?: Date | undefined;
  readonly now: Date;
}

/** What a decision credits somebody with. */
export type NewCommission = Pick<Commission, 'id' | 'conversionId' | 'affiliateId' | 'level' | 'amountMinor'>;

export type RecordedDecision =
  | { readonly outcome: 'recorded'; readonly commissions: readonly NewCommission[] }
  /** Somebody decided before: nothing was changed. */
  | { readonly outcome: 'already_decided'; readonly state: ConversionState }
  /** Somebody reviewed the first order of the subscription meanwhile: nothing was changed, it is to be decided again. */
  | { readonly outcome: 'outdated' };

type UndecidedConversion = Pick<
  Conversion,
  | 'id'
  | 'programId'
  | 'currency'
  | 'amountMinor'
  | 'refundedMinor'
  | 'cancelledAt'
  | 'awaitsShop'
  | 'state'
  | 'occurredAt'
  | 'receivedAt'
  | 'customerStatus'
> & {
  readonly items: readonly StoredItem[] | null;
  /** As its program has it now. */
  readonly commissionBase: CommissionBase;
};

/** A decision that is written, with its conversion as it was then. */
interface Taken {
  readonly conversion: UndecidedConversion;
  readonly decision: Decision;
}

/** A decision that credits somebody, with everything its commissions are computed from. */
interface Credit extends Taken {
  readonly terms: Terms;
  readonly chain: readonly ChainMember[];
}

/** What a decision may still change; an order found unattributed is reopened by a click that comes late. */
const UNDECIDED: ReadonlySet<ConversionState> = new Set(['received', 'awaiting_click', 'unattributed']);

/**
 * Writes decisions: the conversions, the commissions of each level, the journals; an answer for each, in their order.
 * Writing one again changes nothing. Commissions of a conversion that is in review, or that its shop has not
 * approved, are held. What was refunded before the decision is taken back at once. A batch takes as many statements as one decision does.
 */
export async function recordDecisions(
  tx: DatabaseTransaction,
  decisions: readonly Decision[],
): Promise<RecordedDecision[]> {
  const firsts = decisions.flatMap(({ recurringOf }) => (recurringOf === undefined ? [] : [recurringOf]));
  const ids = [...decisions.map(({ conversionId }) => conversionId), ...firsts];
  const locked = await tx<UndecidedConversion[]>`
    select c.id, program_id, c.currency, amount_minor, refunded_minor, cancelled_at, awaits_shop, state, occurred_at,
      received_at, customer_status, items, p.commission_base
    from conversions c join programs p on p.id = c.program_id
    where c.id = any(${ids}::bigint[])
    order by c.id for no key update of c`;
  const conversions = new Map(locked.map((conversion) => [conversion.id, conversion]));
  const isOutdated = ({ recurringOf, firstInReview = false }: Decision): boolean => {
    const first = recurringOf === undefined ? undefined : conversions.get(recurringOf);
    return (
      first !== undefined && (first.state === 'rejected' || (first.state === 'review') !== firstInReview)
    );
  };
  const taken = decisions.flatMap((decision) => {
    const conversion = conversions.get(decision.conversionId);
    assert(conversion, `conversion ${decision.conversionId} exists`);
    const { state } = conversion;
    const isDue = UNDECIDED.has(state) && state !== decision.outcome && !isOutdated(decision);
    return isDue ? [{ decision, conversion }] : [];
  });
  const credits = await gatherCredits(tx, taken);
  // Batches wait for each other at an affiliate's volume until they commit, so it is locked first only where tiers read
  // it. It is locked before any account, whatever the batch: two batches could deadlock otherwise.
  const hasTiers = credits.some(({ terms }) => terms.tiers.length > 0);
  const volumes: Volumes = hasTiers ? await addVolumes(tx, credits) : new Map();
  await writeDecisions(tx, taken, volumes);
  const commissions = await insertCommissions(tx, credits, volumes);
  if (!hasTiers) await addVolumes(tx, credits);
  await postEarnings(tx, credits, commissions);
  for (const { conversion } of credits) {
    const { id, refundedMinor, cancelledAt } = conversion;
    if (refundedMinor === 0n && cancelledAt === null) continue;
    await adjustCommissions(tx, await writeChange(tx, id), `decision:${id}`);
  }
  const recorded = new Set(taken.map(({ conversion }) => conversion.id));
  return decisions.map((decision) => {
    const { conversionId } = decision;
    if (recorded.has(conversionId)) {
      return { outcome: 'recorded', commissions: commissions.get(conversionId) ?? [] };
    }
    const state = conversions.get(conversionId)?.state ?? 'received';
    return UNDECIDED.has(state) && isOutdated(decision)
      ? { outcome: 'outdated' }
      : { outcome: 'already_decided', state };
  });
}

async function writeDecisions(
  tx: DatabaseTransaction,
  taken: readonly Taken[],
  volumes: Volumes,
): Promise<void> {
  if (taken.length === 0) return;
  const rows = taken.map(({ decision, conversion }) => {
    const { conversionId, outcome, click, reason, evidence, termsId, recurringOf, nextAttemptAt } = decision;
    // A click that won nothing may be of another program: its identity is kept, no affiliate is credited.
    const credited = outcome === 'unattributed' ? undefined : click;
    const volumeBeforeMinor = volumes.get(conversionId)?.toString();
    return {
      id: conversionId.toString(),
      state: outcome,
      reason,
      evidence: {
        ...evidence,
        amountMinor: conversion.amountMinor.toString(),
        ...(volumeBeforeMinor && { volumeBeforeMinor }),
      } as JsonValue,
      at: decision.now.toISOString(),
      next: nextAttemptAt?.toISOString() ?? null,
      terms_id: termsId,
      recurring_of: recurringOf?.toString() ?? null,
      coupon_id: decision.couponId ?? null,
      customer_kind: kindOf({ decision, conversion }),
      commission_base: conversion.commissionBase,
      click_ts: click ? new Date(click.ts).toISOString() : null,
      click_node: click?.node ?? null,
      click_seq: click?.seq ?? null,
      click_ip: click?.ip ?? null,
      link_id: credited?.linkId ?? null,
      campaign_id: credited?.campaignId ?? null,
      affiliate_id: credited?.affiliateId ?? null,
      click_subs: credited?.subs?.map(storable) ?? null,
    };
  });
  await tx`
    update conversions c set
      state = d.state, reason = d.reason, evidence = d.evidence, decided_at = d.at, terms_id = d.terms_id,
      recurring_of = d.recurring_of, coupon_id = d.coupon_id, customer_kind = d.customer_kind,
      commission_base = d.commission_base, claimed_until = null, next_attempt_at = d.next,
      click_ts = d.click_ts, click_node = d.click_node, click_seq = d.click_seq, click_ip = d.click_ip,
      link_id = d.link_id, campaign_id = d.campaign_id, affiliate_id = d.affiliate_id, click_subs = d.click_subs
    from json_to_recordset(${tx.json(rows)}::json) as d (
      id bigint, state text, reason text, evidence json, at timestamptz, next timestamptz, terms_id integer,
      recurring_of bigint, coupon_id integer, customer_kind text, commission_base text, click_ts timestamptz,
      click_node integer, click_seq bigint, click_ip inet,
      link_id integer, campaign_id integer, affiliate_id integer, click_subs text[]
    )
    where c.id = d.id`;
}

/** Far above what trackers use, so that no visitor fills the books with the query string of a link. */
const MAX_SUB_LENGTH = 2_000;

/** A text of a query string as PostgreSQL takes it: without NUL, and without the half of a character at a cut. */
function storable(sub: string): string {
  return sub.slice(0, MAX_SUB_LENGTH).replaceAll('\0', '\ufffd').toWellFormed();
}

/** Who bought, as far as it is known. */
function kindOf({ decision: { customerKind, recurringOf }, conversion }: Taken): CustomerKind | null {
  if (recurringOf !== undefined) return 'renewal';
  return customerKind === undefined ? conversion.customerStatus : customerKind;
}

/** The crediting ones among the decisions, with their terms and whom they may credit: two statements for all. */
async function gatherCredits(tx: DatabaseTransaction, taken: readonly Taken[]): Promise<Credit[]> {
  const crediting = taken.filter(
    ({ decision: { outcome } }) => outcome === 'attributed' || outcome === 'review',
  );
  if (crediting.length === 0) return [];
  const termsIds = new Set(
    crediting.flatMap(({ decision: { termsId } }) => (termsId === null ? [] : [termsId])),
  );
  const termsById = new Map((await getTerms(tx, [...termsIds])).map((terms) => [terms.id, terms]));
  const affiliateIds = new Set(crediting.map(({ decision: { click } }) => click?.affiliateId ?? 0));
  const levels = 1 + Math.max(...[...termsById.values()].map(({ levelRatesBps }) => levelRatesBps.length));
  const chains = await readChains(tx, { affiliateIds: [...affiliateIds], levels });
  return crediting.map(({ decision, conversion }) => {
    const { click, termsId } = decision;
    assert(click && termsId !== null, 'a credited conversion has a click and terms');
    const terms = termsById.get(termsId);
    assert(terms, `terms ${termsId} exist`);
    const chain = chains.get(click.affiliateId)?.slice(0, 1 + terms.levelRatesBps.length);
    assert(chain, `affiliate ${click.affiliateId} exists`);
    return { decision, conversion, terms, chain };
  });
}

/** Each affiliate and its ancestors, at most `levels`. The tree has no cycle: an affiliate occurs once in a chain. */
export async function readChains(
  sql: DatabaseSql,
  options: { affiliateIds: readonly number[]; levels: number },
): Promise<Map<number, ChainMember[]>> {
  const rows = await sql<(ChainMember & { startId: number })[]>`
    with recursive chain (start_id, id, parent_id, status, level) as (
      select id, id, parent_id, status, 1 from affiliates where id = any(${[...options.affiliateIds]}::integer[])
      union all
      select chain.start_id, a.id, a.parent_id, a.status, chain.level + 1
      from chain join affiliates a on a.id = chain.parent_id where chain.level < ${options.levels}
    )
    select start_id, id as affiliate_id, level, status = 'active' as active from chain order by start_id, level`;
  const chains = new Map<number, ChainMember[]>();
  for (const { startId, ...member } of rows) {
    const chain = chains.get(startId);
    if (chain) chain.push(member);
    else chains.set(startId, [member]);
  }
  return chains;
}

async function insertCommissions(
  tx: DatabaseTransaction,
  credits: readonly Credit[],
  volumes: Volumes,
): Promise<Map<bigint, NewCommission[]>> {
  const rows = credits.flatMap((credit) => {
    const { conversion, decision, terms, chain } = credit;
    const { amountMinor, commissionBase } = conversion;
    const items = conversion.items?.map(itemFromStored) ?? null;
    const customerKind = kindOf(credit);
    const volumeBeforeMinor = volumes.get(conversion.id);
    const earning = {
      lines: earningLines({ amountMinor, items, commissionBase }, terms),
      terms: termsFor(terms, customerKind),
      volumeBeforeMinor,
    };
    return computeCommissions({ ...earning, chain }).map((earned) => {
      const { affiliateId, level } = earned;
      return {
        conversion_id: conversion.id.toString(),
        program_id: conversion.programId,
        currency: conversion.currency,
        affiliate_id: affiliateId,
        level,
        terms_id: terms.id,
        amount_minor: earned.amountMinor.toString(),
        item_minor: items && partsOfItems(earning, earned).map(String),
        volume_before_minor: level === 1 ? (volumeBeforeMinor?.toString() ?? null) : null,
        state: firstState(decision, conversion),
        paid_outside: decision.paidOutside ?? false,
        // The hold counts from the report, not from the decision: a late decision delays no payout.
        available_at: addDays(conversion.receivedAt, terms.holdDays).toISOString(),
      };
    });
  });
  const byConversion = new Map<bigint, NewCommission[]>();
  if (rows.length === 0) return byConversion;
  const commissions = await tx<NewCommission[]>`
    insert into commissions (conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor,
      item_minor, volume_before_minor, state, paid_outside, available_at)
    select conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor,
      item_minor, volume_before_minor, state, paid_outside, available_at
    from json_to_recordset(${tx.json(rows)}::json) as r (
      conversion_id bigint, program_id integer, currency text, affiliate_id integer, level integer, terms_id integer,
      amount_minor bigint, item_minor bigint[], volume_before_minor bigint, state text, paid_outside boolean, available_at timestamptz
    )
    order by conversion_id, level
    returning id, conversion_id, affiliate_id, level, amount_minor`;
  for (const commission of commissions) {
    const known = byConversion.get(commission.conversionId);
    if (known) known.push(commission);
    else byConversion.set(commission.conversionId, [commission]);
  }
  return byConversion;
}

function firstState(
  { outcome, paidOutside = false }: Decision,
  { awaitsShop }: Pick<UndecidedConversion, 'awaitsShop'>,
): CommissionState {
  if (paidOutside) return 'paid';
  return outcome === 'review' || awaitsShop ? 'held' : 'pending';
}

function addDays(time: Date, days: number): Date {
  return new Date(time.getTime() + days * DAY_MS);
}

/** By conversion under tiers: the affiliate's volume of the month before it, minor units. */
type Volumes = ReadonlyMap<bigint, bigint>;

/**
 * Counts every credited order in the volume of its affiliate's month, whatever its terms, and reads what each order under
 * tiers finds there. The rows are locked in one order, and an order counts for the next one, so that of orders decided at
 * once each finds the ones before it. An order in review earns by what was reached before it, and counts when it is
 * approved.
 */
async function addVolumes(tx: DatabaseTransaction, credits: readonly Credit[]): Promise<Volumes> {
  if (credits.length === 0) return new Map();
  const orders = credits.map(({ conversion, decision, terms }) => ({
    conversion,
    hasTiers: terms.tiers.length > 0,
    countedMinor: decision.outcome === 'attributed' ? conversion.amountMinor : 0n,
    affiliateId: decision.click?.affiliateId ?? 0,
    month: `${conversion.occurredAt.toISOString().slice(0, 7)}-01`,
  }));
  const sums = new Map<string, { affiliate_id: number; month: string; volume: bigint }>();
  for (const { affiliateId, month, countedMinor } of orders) {
    const key = `${affiliateId} ${month}`;
    const before = sums.get(key)?.volume ?? 0n;
    sums.set(key, { affiliate_id: affiliateId, month, volume: before + countedMinor });
  }
  const added = [...sums.values()].map((sum) => ({ ...sum, volume: sum.volume.toString() }));
  const after = await tx<{ affiliateId: number; month: string; volumeMinor: bigint }[]>`
    insert into affiliate_volumes (affiliate_id, month, volume_minor)
    select affiliate_id, month, volume
    from json_to_recordset(${tx.json(added)}::json) as v (affiliate_id integer, month date, volume bigint)
    order by affiliate_id, month
    on conflict (affiliate_id, month) do update
      set volume_minor = affiliate_volumes.volume_minor + excluded.volume_minor
    returning affiliate_id, month::text, volume_minor`;
  const running = new Map(
    after.map(({ affiliateId, month, volumeMinor }) => {
      const key = `${affiliateId} ${month}`;
      return [key, volumeMinor - (sums.get(key)?.volume ?? 0n)];
    }),
  );
  return new Map(
    orders.flatMap(({ affiliateId, month, conversion, hasTiers, countedMinor }): [bigint, bigint][] => {
      const key = `${affiliateId} ${month}`;
      const before = running.get(key) ?? 0n;
      running.set(key, before + countedMinor);
      return hasTiers ? [[conversion.id, before]] : [];
    }),
  );
}

/**
 * Counts an order that a reviewer has approved, or what was added to one, for the orders after it. The caller has locked
 * the conversion.
 */
export async function countVolume(
  tx: DatabaseTransaction,
  { id, amountMinor }: { id: bigint; amountMinor: bigint },
): Promise<void> {
  await tx`
    insert into affiliate_volumes (affiliate_id, month, volume_minor)
    select c.affiliate_id, date_trunc('month', c.occurred_at at time zone 'UTC')::date, ${amountMinor}::bigint
    from conversions c where c.id = ${id}
    on conflict (affiliate_id, month) do update
      set volume_minor = affiliate_volumes.volume_minor + excluded.volume_minor`;
}

async function postEarnings(
  tx: DatabaseTransaction,
  credits: readonly Credit[],
  commissions: ReadonlyMap<bigint, readonly NewCommission[]>,
): Promise<void> {
  const journals = credits.flatMap(({ conversion, decision: { paidOutside = false } }): Journal[] => {
    const earned = (commissions.get(conversion.id) ?? []).map(({ id, affiliateId, amountMinor }) => ({
      affiliateId,
      account: paidOutside ? ('paid' as const) : ('pending' as const),
      amountMinor,
      commissionId: id,
    }));
    if (earned.length === 0) return [];
    return [
      {
        key: `earn:${conversion.id}`,
        kind: 'earning',
        programId: conversion.programId,
        currency: conversion.currency,
        conversionId: conversion.id,
        entries: [...earned, balancingEntry(paidOutside ? 'cash_clearing' : 'commission_expense', earned)],
      },
    ];
  });
  const posted = await postJournals(tx, journals);
  assert(posted.size === journals.length, 'a conversion earns once');
  await appendLines(
    tx,
    [...commissions.values()].flat().map(({ id, conversionId, amountMinor }) => {
      const journalId = posted.get(`earn:${conversionId}`);
      assert(journalId !== undefined, 'what earns is posted');
      return { commissionId: id, kind: 'earning', amountMinor, journalId };
    }),
  );
}
