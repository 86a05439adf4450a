import { HOUR_MS } from '../../core/time.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { runReport } from '../../warehouse/reports/reports.ts';
import { atLeast, type BenchRow, type BenchTarget } from '../bench.ts';
import { countUndecided } from '../chaos/compare-money.ts';
import type { Accepted } from './shop.ts';
import type { Received } from './visitors.ts';

/** What was seen from outside, and what is stored of it. */
export interface Reconciliation {
  readonly rows: readonly BenchRow[];
  readonly targets: readonly BenchTarget[];
}

interface StoredLease {
  readonly node: number;
  readonly clicks: string;
  readonly identities: string;
  readonly seq_sum: string;
  readonly ts_sum: string;
}

/**
 * The redirects received against the rows stored, and against the clicks that a report counts: exactly. Per node
 * lease, the number of clicks and the sums over their identities must be the same on both sides.
 */
export async function reconcileClicks(warehouse: Warehouse, received: Received): Promise<Reconciliation> {
  const { rows: leases } = await warehouse.query<StoredLease>(
    `SELECT node, toString(count()) AS clicks, toString(uniqExact(ts, seq)) AS identities, toString(sum(seq)) AS seq_sum,
       toString(sum(toUnixTimestamp64Milli(ts) - {since:Int64})) AS ts_sum
     FROM clicks GROUP BY node`,
    { since: received.since },
  );
  const now = Date.now();
  const report = await runReport(warehouse, {
    from: new Date(received.since - HOUR_MS),
    to: new Date(now + HOUR_MS),
    groupBy: [],
    metrics: ['clicks'],
    limit: 1,
  });
  const stored = sum(leases.map(({ clicks }) => Number(clicks)));
  const reported = Number(report.rows[0]?.clicks ?? 0);
  const nodes = new Set([...received.leases.keys(), ...leases.map(({ node }) => node)]);
  const different = [...nodes].filter((node) => {
    const theirs = received.leases.get(node);
    const ours = leases.find((lease) => lease.node === node);
    return (
      theirs?.clicks !== Number(ours?.clicks) ||
      theirs.seqSum !== Number(ours?.seq_sum) ||
      theirs.tsSum !== Number(ours?.ts_sum)
    );
  });
  return {
    rows: [
      { what: 'redirects received', count: received.clicks },
      { what: 'clicks stored', count: stored },
      { what: 'clicks in the report', count: reported },
    ],
    targets: [
      atLeast('redirects received', received.clicks, 1),
      none('clicks stored, less redirects received', stored - received.clicks),
      none('clicks in the report, less redirects received', reported - received.clicks),
      none('clicks stored twice', stored - sum(leases.map(({ identities }) => Number(identities)))),
      none('node leases whose clicks are others than those received', different.length),
    ],
  };
}

/** The orders accepted against the conversions recorded: exactly, to the minor unit. */
export async function reconcileOrders(ledger: Database, accepted: Accepted): Promise<Reconciliation> {
  const [row] = await ledger<{ orders: bigint; amountMinor: bigint; attributed: bigint }[]>`
    select count(*) as orders, coalesce(sum(amount_minor), 0)::bigint as amount_minor,
      count(*) filter (where affiliate_id is not null) as attributed from conversions`;
  const recorded = Number(row?.orders);
  return {
    rows: [
      { what: 'orders accepted', count: accepted.orders },
      { what: 'orders recorded', count: recorded },
      { what: 'orders with an affiliate', count: Number(row?.attributed) },
    ],
    targets: [
      atLeast('orders accepted', accepted.orders, 1),
      none('orders recorded, less orders accepted', recorded - accepted.orders),
      none('their amounts, minor units', Number(row?.amountMinor) - accepted.amountMinor),
      none('orders undecided', await countUndecided(ledger)),
    ],
  };
}

/** A difference, in either direction, that must not be. */
export function none(name: string, value: number): BenchTarget {
  return { name, value, bound: '= 0', ok: value === 0 };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
