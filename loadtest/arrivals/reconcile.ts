import {
  CLICK_ID_BLOCK_BYTES,
  type ClickIdCodec,
  clickIdAt,
  writeClickIdBlock,
} from '../../core/clicks/click-id.ts';
import { HOUR_MS } from '../../core/time.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { runReport } from '../../warehouse/reports/reports.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { atLeast, type BenchRow, type BenchTarget, none } from '../bench.ts';
import { addClick, type RunFile, TOTALS, type Total } from '../traffic/run.ts';
import { isTrueWithin } from '../wait.ts';

/** What was seen from outside, and what is stored of it. */
export interface Reconciliation {
  readonly rows: readonly BenchRow[];
  readonly targets: readonly BenchTarget[];
}

export interface Stores {
  readonly warehouse: Warehouse;
  readonly ledger: Database;
  readonly codec: ClickIdCodec;
}

/** The stored clicks are read in windows of so long: some hundred thousand at the rates of one machine. */
const WINDOW_MS = 10_000;
/** Clocks of generator and collectors. */
const SKEW_MS = 60_000;
const DRAIN_MS = 120_000;
const LOOK_MS = 100;

/** Waits until every click up to now is counted. @throws Error when that does not come true. */
export async function drain(warehouse: Warehouse): Promise<void> {
  const now = Date.now();
  await expectTrue('the clicks are counted', async () => ((await readWatermark(warehouse)) ?? 0) > now);
}

/**
 * Waits until clicks and orders are settled, and compares what the generator has received with what is stored: exactly,
 * whatever else the platform was given meanwhile.
 */
export async function reconcile(stores: Stores, file: RunFile): Promise<Reconciliation> {
  const { warehouse, ledger } = stores;
  await drain(warehouse);
  await expectTrue('the orders are decided', async () => (await readOrders(ledger, file)).undecided === 0);
  const [clicks, report, orders] = [
    await readClicks(stores, file),
    await compareReport(warehouse, file),
    await readOrders(ledger, file),
  ];
  const { totals } = file;
  const sums = TOTALS.filter((total) => total.startsWith('click_id_sum'));
  return {
    rows: [
      { what: 'redirects received', count: totals.clicks },
      { what: 'clicks stored', count: clicks.totals.clicks },
      { what: 'clicks in the report', count: report.reported },
      { what: 'orders accepted', count: totals.orders },
      { what: 'orders recorded', count: orders.recorded },
      { what: 'orders with an affiliate', count: orders.attributed },
    ],
    targets: [
      atLeast('redirects received', totals.clicks, 1),
      none('clicks stored, less redirects received', clicks.totals.clicks - totals.clicks),
      none('clicks stored twice', clicks.twice),
      none(
        'sums of click ids that differ from those received',
        sums.filter((name) => totals[name] !== clicks.totals[name]).length,
      ),
      none('clicks in the reports, less those stored', report.difference),
      none('orders recorded, less orders accepted', orders.recorded - totals.orders),
      none('their amounts, minor units', orders.amountMinor - totals.orders_minor),
      none('orders without an affiliate', orders.recorded - orders.attributed),
    ],
  };
}

/** The same sums as the generator's, of the click ids of all rows that the run's name is in. */
async function readClicks({ warehouse, codec }: Stores, { run, startedAt }: RunFile) {
  const totals = Object.fromEntries(TOTALS.map((total) => [total, 0])) as Record<Total, number>;
  const add = (total: Total, value: number): void => {
    totals[total] += value;
  };
  let twice = 0;
  for (let from = startedAt - SKEW_MS; from < Date.now() + SKEW_MS; from += WINDOW_MS) {
    const { rows } = await warehouse.query<{ ms: string; node: number; seq: number; rows: string }>(
      `SELECT toString(toUnixTimestamp64Milli(ts)) AS ms, node, seq, toString(count()) AS rows FROM clicks
       WHERE sub3 = {run:String} AND ts >= fromUnixTimestamp64Milli({from:Int64})
         AND ts < fromUnixTimestamp64Milli({to:Int64}) GROUP BY ts, node, seq`,
      { run, from, to: from + WINDOW_MS },
    );
    const blocks = Buffer.alloc(rows.length * CLICK_ID_BLOCK_BYTES);
    rows.forEach(({ ms, node, seq, rows: stored }, i) => {
      writeClickIdBlock(blocks, i * CLICK_ID_BLOCK_BYTES, { ts: Number(ms), node, seq });
      twice += Number(stored) - 1;
    });
    const ids = codec.encodeBlocks(blocks, rows.length);
    for (let i = 0; i < rows.length; i++) addClick(clickIdAt(ids, i), add);
  }
  // A row too many is stored as well.
  totals.clicks += twice;
  return { totals, twice };
}

/**
 * The clicks of the run's hours in the report, which reads rollups, lie between the rows that were complete before it and
 * the rows that are there after it. Without other traffic these are the same number.
 */
async function compareReport(warehouse: Warehouse, { startedAt }: RunFile) {
  const from = Math.floor((startedAt - SKEW_MS) / HOUR_MS) * HOUR_MS;
  const to = Math.ceil((Date.now() + SKEW_MS) / HOUR_MS) * HOUR_MS;
  const count = async (until: number): Promise<number> => {
    const { rows } = await warehouse.query<{ clicks: string }>(
      `SELECT toString(count()) AS clicks FROM clicks WHERE ts >= fromUnixTimestamp64Milli({from:Int64})
         AND ts < fromUnixTimestamp64Milli({until:Int64})`,
      { from, until },
    );
    return Number(rows[0]?.clicks ?? 0);
  };
  const least = await count((await readWatermark(warehouse)) ?? 0);
  const report = await runReport(warehouse, {
    from: new Date(from),
    to: new Date(to),
    groupBy: [],
    metrics: ['clicks'],
    limit: 1,
  });
  const most = await count(to);
  const reported = Number(report.rows[0]?.clicks ?? 0);
  return { reported, difference: Math.min(reported - least, 0) + Math.max(reported - most, 0) };
}

async function readOrders(ledger: Database, { run }: RunFile) {
  const [row] = await ledger<
    { orders: bigint; amountMinor: bigint; attributed: bigint; undecided: bigint }[]
  >`
    select count(*) as orders, coalesce(sum(amount_minor), 0)::bigint as amount_minor,
      count(*) filter (where affiliate_id is not null) as attributed,
      count(*) filter (where state in ('received', 'awaiting_click')) as undecided
    from conversions where order_id like ${`${run}-%`}`;
  return {
    recorded: Number(row?.orders),
    amountMinor: Number(row?.amountMinor),
    attributed: Number(row?.attributed),
    undecided: Number(row?.undecided),
  };
}

async function expectTrue(what: string, condition: () => Promise<boolean>): Promise<void> {
  if (!(await isTrueWithin(DRAIN_MS, condition, LOOK_MS))) {
    throw new Error(`${DRAIN_MS / 1_000} s later it is not true that ${what}`);
  }
}
