import { appendAuditLog } from '../access/audit-log.ts';
import { takeBackWriteOffs } from '../books/debt.ts';
import { type Entry, type Journal, postJournals } from '../books/journals.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import {
  affiliateName,
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';
import type { DestinationKind } from './destinations.ts';

export const PAYOUT_STATES = [
  'awaiting_approval',
  'created',
  'submitting',
  'submitted',
  'unknown',
  'paid',
  'failed',
  'canceled',
  'returned',
] as const;
export type PayoutState = (typeof PAYOUT_STATES)[number];

export interface Payout {
  readonly id: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly state: PayoutState;
  readonly provider: string;
  /** What the provider knows this payout by; written before the provider is called, never changed. */
  readonly providerKey: string;
  /** Why it is in this state, in words for its affiliate as well. */
  readonly failure: string | null;
  /** What the provider said of it; for operators. */
  readonly providerFailure: string | null;
  /** Where it goes, as it was when it was built; null: it was not kept. */
  readonly destinationKind: DestinationKind | null;
  /** Enough to recognise it by, such as "DE … 3000". */
  readonly destinationHint: string | null;
  /** Of the payout method: each other account is a new version. */
  readonly methodVersion: number | null;
  readonly createdAt: Date;
  readonly submittedAt: Date | null;
  /** When it was paid, or ended otherwise. */
  readonly closedAt: Date | null;
}

export const PAYOUT_COLUMNS = [
  'id',
  'programId',
  'affiliateId',
  'currency',
  'amountMinor',
  'state',
  'provider',
  'providerKey',
  'failure',
  'providerFailure',
  'destinationKind',
  'destinationHint',
  'methodVersion',
  'createdAt',
  'submittedAt',
  'closedAt',
];

export const PAYOUT_ITEM_KINDS = [
  'commission',
  /** Debt that is netted; negative. */
  'debt',
  /** What is below the provider's smallest unit: negative where it stays available, else taken up again. */
  'rest',
  /** Bonuses less deductions. */
  'adjustment',
] as const;

export interface PayoutItem {
  readonly id: bigint;
  readonly payoutId: bigint;
  readonly kind: (typeof PAYOUT_ITEM_KINDS)[number];
  readonly commissionId: bigint | null;
  readonly amountMinor: bigint;
}

/** An item with what it pays; null of a rest and of adjustments. */
export type ListedPayoutItem = PayoutItem & {
  readonly conversionId: bigint | null;
  /** The shop's id of the order. */
  readonly orderId: string | null;
  readonly level: number | null;
};

export async function getPayout(sql: DatabaseSql, id: bigint): Promise<Payout | undefined> {
  const [payout] = await sql<Payout[]>`select ${sql(PAYOUT_COLUMNS)} from payouts where id = ${id}`;
  return payout;
}

export const PAYOUT_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    created_at: 'id',
    amount: { type: 'bigint', by: (sql) => sql`amount_minor` },
    state: { type: 'text', by: (sql) => sql`state` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, { text, pattern, id }) =>
    sql`${affiliateName(sql)} ilike ${pattern} or provider_key = ${text} or id = ${id}::bigint`,
};

/** Payouts, the newest first. */
export async function listPayouts(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    state?: PayoutState | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Payout, bigint>> {
  const { programId = null, affiliateId = null, state = null, from = null, to = null } = request;
  const page = listClauses(sql, PAYOUT_LIST, request);
  const rows = await sql<Payout[]>`
    select ${sql(PAYOUT_COLUMNS)}, ${page.key} from payouts
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${state}::text is null or state = ${state})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Every item of a payout, by id. */
export async function listPayoutItems(sql: DatabaseSql, payoutId: bigint): Promise<ListedPayoutItem[]> {
  return await sql<ListedPayoutItem[]>`
    select i.id, i.payout_id, i.kind, i.commission_id, i.amount_minor, m.conversion_id, c.order_id, m.level
    from payout_items i left join commissions m on m.id = i.commission_id left join conversions c on c.id = m.conversion_id
    where i.payout_id = ${payoutId} order by i.id`;
}

/** What a journal moves for an item: a commission, the debt of one that is netted, or a rest or adjustments, which are of none. */
export interface PayoutPart {
  readonly kind: PayoutItem['kind'];
  readonly commissionId: bigint | null;
  readonly amountMinor: bigint;
}

/** The parts of a payout as its building moved them. */
async function readPayoutParts(tx: DatabaseTransaction, payoutId: bigint): Promise<PayoutPart[]> {
  return await tx<PayoutPart[]>`
    select kind, commission_id, amount_minor from payout_items
    where payout_id = ${payoutId} and kind <> 'debt'
    union all
    select 'debt', e.commission_id, -e.amount_minor
    from journals j join entries e on e.journal_id = j.id join accounts a on a.id = e.account_id
    where j.payout_id = ${payoutId} and j.kind = 'payout_build' and a.kind = 'debt'
    order by commission_id, kind`;
}

export type ClosedPayout =
  | { readonly outcome: 'done'; readonly payout: Payout }
  | { readonly outcome: 'not_found' }
  /** The payout is not in a state in which this can be done: nothing was changed. */
  | { readonly outcome: 'wrong_state'; readonly state: PayoutState };

/** How a payout ends: the states it may end from, and where its money goes. */
interface Ending {
  readonly from: readonly PayoutState[];
  readonly to: PayoutState;
  readonly commissionState: 'paid' | 'available';
  readonly journalOf: (payout: Payout, parts: readonly PayoutPart[]) => Journal;
}

const PAID: Ending = {
  from: ['submitted', 'unknown'],
  to: 'paid',
  commissionState: 'paid',
  journalOf: (payout, parts) => ({
    ...journalHead(payout, 'paid', 'payout_paid'),
    entries: [
      ...parts.flatMap((part) => move(payout, part, 'in_transit', 'paid')),
      // The program's side of the same: an expense that was owed has left in cash.
      { affiliateId: null, account: 'commission_expense', amountMinor: payout.amountMinor },
      { affiliateId: null, account: 'cash_clearing', amountMinor: -payout.amountMinor },
    ],
  }),
};

const CANCELED: Ending = {
  from: ['awaiting_approval', 'created'],
  to: 'canceled',
  commissionState: 'available',
  journalOf: (payout, parts) => ({
    ...journalHead(payout, 'cancel', 'payout_cancellation'),
    entries: parts.flatMap((part) => move(payout, part, 'in_transit', sourceOf(part))),
  }),
};

const RETURNED: Ending = {
  from: ['paid'],
  to: 'returned',
  commissionState: 'available',
  journalOf: (payout, parts) => ({
    ...journalHead(payout, 'return', 'payout_return'),
    entries: [
      ...parts.flatMap((part) => move(payout, part, 'paid', sourceOf(part))),
      { affiliateId: null, account: 'commission_expense', amountMinor: -payout.amountMinor },
      { affiliateId: null, account: 'cash_clearing', amountMinor: payout.amountMinor },
    ],
  }),
};

const FAILED: Ending = {
  from: ['submitting', 'submitted', 'unknown'],
  to: 'failed',
  commissionState: 'available',
  journalOf: (payout, parts) => ({
    ...journalHead(payout, 'fail', 'payout_failure'),
    entries: parts.flatMap((part) => move(payout, part, 'in_transit', sourceOf(part))),
  }),
};

/** The journal that takes a payout's items out of the accounts they were in. */
export function buildJournal(payout: Payout, parts: readonly PayoutPart[]): Journal {
  return {
    ...journalHead(payout, 'build', 'payout_build'),
    entries: parts.flatMap((part) => move(payout, part, sourceOf(part), 'in_transit')),
  };
}

function sourceOf({ kind }: PayoutPart): 'available' | 'debt' | 'adjustments' {
  if (kind === 'adjustment') return 'adjustments';
  return kind === 'debt' ? 'debt' : 'available';
}

function journalHead<Kind extends Journal['kind']>(payout: Payout, event: string, kind: Kind) {
  const { id, programId, currency } = payout;
  return { key: `payout:${id}:${event}`, kind, programId, currency, payoutId: id };
}

function move(
  { affiliateId }: Payout,
  { kind, amountMinor, commissionId }: PayoutPart,
  from: Entry['account'],
  to: Entry['account'],
): Entry[] {
  // What is netted leaves the debt of its commission, and lessens the payout, not the commission's part of one.
  const of = (account: Entry['account']) =>
    kind === 'commission' || account === 'debt' ? (commissionId ?? undefined) : undefined;
  return [
    { affiliateId, account: from, amountMinor: -amountMinor, commissionId: of(from) },
    { affiliateId, account: to, amountMinor, commissionId: of(to) },
  ];
}

/** The money has arrived: submitted or unknown → paid. */
export async function markPayoutPaid(
  tx: DatabaseTransaction,
  options: { payoutId: bigint; now: Date; actor: string },
): Promise<ClosedPayout> {
  return await closePayout(tx, PAID, options);
}

/** How a payout is closed, and why: `failure` in words for its affiliate, `providerFailure` in the provider's. */
interface Closing {
  readonly payoutId: bigint;
  readonly now: Date;
  readonly actor: string;
  readonly failure?: string | undefined;
  readonly providerFailure?: string | undefined;
}

/** The money has not left, and never will: submitting, submitted or unknown → failed; commissions are available again. */
export async function failPayout(
  tx: DatabaseTransaction,
  options: Closing & { failure: string },
): Promise<ClosedPayout> {
  return await closePayout(tx, FAILED, options);
}

/** It was not submitted: awaiting approval or created → canceled; its commissions are available again, for the next payout. */
export async function cancelPayout(tx: DatabaseTransaction, options: Closing): Promise<ClosedPayout> {
  return await closePayout(tx, CANCELED, options);
}

/** The money came back: paid → returned; its commissions are available again. */
export async function returnPayout(
  tx: DatabaseTransaction,
  options: Closing & { failure: string },
): Promise<ClosedPayout> {
  return await closePayout(tx, RETURNED, options);
}

async function closePayout(tx: DatabaseTransaction, ending: Ending, options: Closing): Promise<ClosedPayout> {
  const { payoutId, now, actor, failure = null, providerFailure = null } = options;
  const parts = await readPayoutParts(tx, payoutId);
  const commissionIds = parts.flatMap(({ kind, commissionId }) =>
    kind === 'commission' && commissionId !== null ? [commissionId] : [],
  );
  // Commissions before the payout, as everywhere: a refund of one of them waits, or is waited for.
  await tx`
    select from commissions where id = any(${commissionIds}::bigint[]) order by id for no key update`;
  const [before] = await tx<Payout[]>`
    select ${tx(PAYOUT_COLUMNS)} from payouts where id = ${payoutId} for no key update`;
  if (!before) return { outcome: 'not_found' };
  if (!ending.from.includes(before.state)) return { outcome: 'wrong_state', state: before.state };
  const [payout] = await tx<[Payout]>`
    update payouts set state = ${ending.to}, failure = ${failure}, provider_failure = ${providerFailure}, closed_at = ${now}
    where id = ${payoutId} returning ${tx(PAYOUT_COLUMNS)}`;
  await tx`
    update commissions set state = ${ending.commissionState} where id = any(${commissionIds}::bigint[])`;
  await postJournals(tx, [ending.journalOf(payout, parts)]);
  if (ending.commissionState === 'available') {
    const { programId, currency } = payout;
    const key = `payout:${payoutId}:owed-again`;
    await takeBackWriteOffs(tx, { key, programId, currency, payoutId, commissionIds });
  }
  await appendAuditLog(tx, {
    actor,
    action: `payout.${ending.to}`,
    subject: `pay_${payoutId}`,
    before: { state: before.state },
    after: {
      state: ending.to,
      failure,
      ...(providerFailure !== null && { provider_failure: providerFailure }),
    },
  });
  return { outcome: 'done', payout };
}
