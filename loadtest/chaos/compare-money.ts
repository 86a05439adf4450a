import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import type { Database } from '../../ledger/postgres/db.ts';
import type { DemoFile } from '../platform.ts';
import type { ClientRecord, ShopOrder } from './record.ts';

/** What became of the shop's orders. */
export interface OrderComparison {
  readonly sent: number;
  readonly accepted: number;
  readonly recorded: number;
  /** Accepted and not in the ledger. */
  readonly lost: number;
  /** Two conversions of one order, or one that was never sent. */
  readonly duplicated: number;
  readonly undecided: number;
  /** With other content, another affiliate or another state than the order calls for. */
  readonly wrong: number;
  readonly examples: readonly string[];
}

export interface MoneyComparison {
  /** What the terms give for the recorded orders less refunds, minor units. */
  readonly expectedMinor: bigint;
  /** Sum over affiliates and levels of the distance between what is due and what the ledger has. */
  readonly commissionDifferenceMinor: bigint;
  readonly paidMinor: bigint;
  /** Sum over payments of the distance between the provider's files and the ledger's payouts. */
  readonly payoutDifferenceMinor: bigint;
  readonly paymentsTwice: number;
}

/** The demo's terms: level 1, its recruiter, and his. */
const LEVEL_RATES_BPS = [1_000n, 300n, 100n];
const BPS = 10_000n;
const MAX_EXAMPLES = 10;

interface StoredOrder {
  readonly id: bigint;
  readonly orderId: string;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly state: string;
  readonly affiliateId: number | null;
}

const UNDECIDED = ['received', 'awaiting_click'];

/** How many recorded orders are not decided yet. */
export async function countUndecided(ledger: Database): Promise<number> {
  const [row] = await ledger<{ count: bigint }[]>`
    select count(*) from conversions where state = any(${UNDECIDED})`;
  return Number(row?.count);
}

/** Compares every order that the shop sent with the ledger's conversions. */
export async function compareOrders(options: {
  ledger: Database;
  record: ClientRecord;
}): Promise<OrderComparison> {
  const { ledger, record } = options;
  const stored = await ledger<StoredOrder[]>`
    select id, order_id, amount_minor, refunded_minor, state, affiliate_id from conversions`;
  const sent = new Map(record.orders.map((order) => [order.orderId, order]));
  const seen = new Set<string>();
  const examples: string[] = [];
  const counts = { duplicated: 0, undecided: 0, wrong: 0 };
  const say = (text: string): void => void (examples.length < MAX_EXAMPLES && examples.push(text));
  for (const conversion of stored) {
    const order = sent.get(conversion.orderId);
    if (!order || seen.has(conversion.orderId)) {
      counts.duplicated++;
      say(`${conversion.orderId} is there twice, or was never sent`);
      continue;
    }
    seen.add(conversion.orderId);
    if (UNDECIDED.includes(conversion.state)) {
      counts.undecided++;
      say(`${conversion.orderId} is ${conversion.state}`);
    } else if (!isAsSent(conversion, order)) {
      counts.wrong++;
      say(`${conversion.orderId}: sent ${describe(order)}, stored ${describe(conversion)}`);
    }
  }
  const accepted = record.orders.filter(({ conversionId }) => conversionId !== undefined);
  const lost = accepted.filter(({ orderId }) => !seen.has(orderId));
  for (const { orderId } of lost) say(`${orderId} was accepted and is not there`);
  return {
    sent: sent.size,
    accepted: accepted.length,
    recorded: stored.length,
    lost: lost.length,
    ...counts,
    examples,
  };
}

function isAsSent(conversion: StoredOrder, order: ShopOrder): boolean {
  const refunded = order.refundedMinor;
  const state = !order.click
    ? 'unattributed'
    : refunded === 0
      ? 'attributed'
      : refunded === order.amountMinor
        ? 'refunded'
        : 'partially_refunded';
  return (
    Number(conversion.amountMinor) === order.amountMinor &&
    Number(conversion.refundedMinor) === refunded &&
    conversion.affiliateId === (order.click?.affiliateId ?? null) &&
    // An order without an affiliate has no state of its own for a refund.
    (conversion.state === state || !order.click) &&
    (order.conversionId === undefined || order.conversionId === `cnv_${conversion.id}`)
  );
}

function describe(value: object): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'bigint' ? Number(member) : member,
  );
}

/** Compares what the terms give for the recorded orders with the commissions, and the provider's files with the payouts. */
export async function compareMoney(options: {
  ledger: Database;
  record: ClientRecord;
  demo: DemoFile;
  /** Where the bank's files are. */
  payoutFolder: string;
}): Promise<MoneyComparison> {
  const { ledger, record, demo, payoutFolder } = options;
  const recorded = await ledger<{ orderId: string }[]>`select order_id from conversions`;
  const expected = dueByLevel(record, demo, new Set(recorded.map(({ orderId }) => orderId)));
  const commissions = await ledger<{ affiliateId: number; level: number; netMinor: bigint }[]>`
    select affiliate_id, level, sum(amount_minor - reversed_minor)::bigint as net_minor
    from commissions group by affiliate_id, level`;
  const posted = new Map(
    commissions.map(({ affiliateId, level, netMinor }) => [`${affiliateId} ${level}`, netMinor]),
  );

  const payouts = await ledger<{ providerKey: string; amountMinor: bigint }[]>`
    select provider_key, amount_minor from payouts where state in ('submitted', 'paid')`;
  const owed = new Map(payouts.map(({ providerKey, amountMinor }) => [providerKey, amountMinor]));
  const payments = readPayments(payoutFolder);
  const paid = new Map<string, bigint>();
  for (const { key, minor } of payments) paid.set(key, (paid.get(key) ?? 0n) + minor);
  return {
    expectedMinor: sum(expected.values()),
    commissionDifferenceMinor: distance(expected, posted),
    paidMinor: sum(owed.values()),
    payoutDifferenceMinor: distance(owed, paid),
    paymentsTwice: payments.length - paid.size,
  };
}

/** Minor units by `affiliate level`. */
function dueByLevel(
  record: ClientRecord,
  demo: DemoFile,
  recorded: ReadonlySet<string>,
): Map<string, bigint> {
  const parents = new Map(demo.affiliates.map(({ id, parent_id }) => [id, parent_id]));
  const due = new Map<string, bigint>();
  for (const { orderId, click, amountMinor, refundedMinor } of record.orders) {
    if (!click || !recorded.has(orderId)) continue;
    let affiliateId: number | null | undefined = click.affiliateId;
    for (const [i, rate] of LEVEL_RATES_BPS.entries()) {
      if (typeof affiliateId !== 'number') break;
      const key = `${affiliateId} ${i + 1}`;
      due.set(key, (due.get(key) ?? 0n) + (BigInt(amountMinor - refundedMinor) * rate) / BPS);
      affiliateId = parents.get(affiliateId);
    }
  }
  return due;
}

function readPayments(folder: string): { key: string; minor: bigint }[] {
  // Made with the first file in it.
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.csv')) : [];
  return names.flatMap((name) => {
    const rows = parse(readFileSync(join(folder, name)), { columns: true }) as Record<string, string>[];
    return rows.map(({ payment_key: key = '', amount = '' }) => ({
      key,
      minor: BigInt(amount.replace('.', '')),
    }));
  });
}

function distance(a: ReadonlyMap<string, bigint>, b: ReadonlyMap<string, bigint>): bigint {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return sum([...keys].map((key) => magnitude((a.get(key) ?? 0n) - (b.get(key) ?? 0n))));
}

function magnitude(value: bigint): bigint {
  return value < 0n ? -value : value;
}

function sum(values: Iterable<bigint>): bigint {
  let total = 0n;
  for (const value of values) total += value;
  return total;
}
