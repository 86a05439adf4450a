import { statfs } from 'node:fs/promises';
import type { Registry } from 'prom-client';
import { errorText } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import { startLoop } from '../core/service/loop.ts';
import { gaugeByLabelOnScrape } from '../core/service/metrics.ts';
import type { Running } from '../core/service/service.ts';
import type { Database } from '../ledger/postgres/db.ts';
import type { Warehouse } from '../warehouse/clickhouse/client.ts';

/**
 * What no process knows of itself, for Prometheus: the sizes of the stores, the disk, and what in the ledger waits for
 * somebody. Every scheduler exports it, so alerts take the largest.
 */

/** Alerts on it wait for minutes. */
const PAUSE_MS = 30_000;

/** Values by label; empty: not known now, so that no old value is taken for a present one. */
type Values = Readonly<Record<string, number>>;

const GAUGES = {
  storeDisk: {
    name: 'afflux_store_disk_bytes',
    label: 'store',
    help: 'Bytes that the database of the platform takes up in each store',
  },
  storeMemory: {
    name: 'afflux_store_memory_bytes',
    label: 'store',
    help: 'Memory that a store counts for itself',
  },
  diskFree: {
    name: 'afflux_disk_free_bytes',
    label: 'folder',
    help: 'Free bytes on the disk of the data folder, for accounts without privileges',
  },
  diskSize: {
    name: 'afflux_disk_size_bytes',
    label: 'folder',
    help: 'Size of the disk of the data folder',
  },
  payoutsOpen: {
    name: 'afflux_payouts_open',
    label: 'state',
    help: 'Payouts that somebody has to look at, by state: unknown, under way for a day, failed or returned without a later one, awaiting approval',
  },
  webhooks: {
    name: 'afflux_webhook_deliveries',
    label: 'state',
    help: 'Deliveries to webhooks that are pending, and that were given up (dead) in the last hour',
  },
  calls: {
    name: 'afflux_postback_calls_last_hour',
    label: 'outcome',
    help: 'Calls that reported orders in the last hour, by outcome; repetitions by an operator do not count',
  },
  undecided: {
    name: 'afflux_orders_undecided_seconds',
    label: 'state',
    help: 'Age of the oldest order that is not decided, by state: received (not tried yet) and awaiting_click (put off); 0: there is none',
  },
  audit: {
    name: 'afflux_audit_violations',
    label: 'store',
    help: 'Violated checks of the last audit by store',
  },
} as const;
type Gauge = keyof typeof GAUGES;
type Readings = Readonly<Record<Gauge, Values>>;

const UNKNOWN = Object.fromEntries(Object.keys(GAUGES).map((name) => [name, {}])) as Record<Gauge, Values>;

/** Exports the gauges and keeps them current until it is stopped. */
export function startPlatformMetrics(options: {
  ledger: Database;
  warehouse: Warehouse;
  home: string;
  metrics: Registry;
  log: Logger;
}): Running {
  const { metrics, log } = options;
  let readings: Readings = UNKNOWN;
  for (const [name, gauge] of Object.entries(GAUGES)) {
    gaugeByLabelOnScrape(metrics, gauge, () => readings[name as Gauge]);
  }
  return startLoop(async () => {
    const parts = await Promise.allSettled([
      readDisk(options.home),
      readLedger(options.ledger),
      readWarehouse(options.warehouse),
    ]);
    for (const part of parts) {
      if (part.status === 'rejected') log.warn({ reason: errorText(part.reason) }, 'a metric cannot be read');
    }
    const [disk, ledger, warehouse] = parts.map((part) => (part.status === 'fulfilled' ? part.value : {}));
    readings = {
      ...UNKNOWN,
      ...disk,
      ...ledger,
      storeMemory: warehouse?.storeMemory ?? {},
      storeDisk: { ...ledger?.storeDisk, ...warehouse?.storeDisk },
    };
    return PAUSE_MS;
  });
}

async function readDisk(home: string): Promise<Partial<Readings>> {
  const { bavail, blocks, bsize } = await statfs(home);
  return { diskFree: { home: bavail * bsize }, diskSize: { home: blocks * bsize } };
}

async function readLedger(ledger: Database): Promise<Partial<Readings>> {
  // One after the other: they take one connection of the pool.
  const [size] = await ledger<{ bytes: bigint }[]>`select pg_database_size(current_database()) as bytes`;
  const payouts = await ledger<Counted[]>`
    select state as key, count(*) as n from grafana_payouts_open group by state`;
  const [pending] = await ledger<{ n: bigint }[]>`
    select count(*) as n from webhook_deliveries where state = 'pending'`;
  const [dead] = await ledger<{ n: bigint }[]>`
    select count(*) as n from webhook_deliveries
    where state = 'dead' and done_at > clock_timestamp() - interval '1 hour'`;
  const calls = await ledger<Counted[]>`
    select outcome as key, count(*) as n from grafana_postback_calls
    where received_at > clock_timestamp() - interval '1 hour' and replay_of is null group by outcome`;
  // By the clock that dated them. An id tells when an order was reported first.
  const undecided = await ledger<{ key: string; seconds: number }[]>`
    select s.state as key, extract(epoch from clock_timestamp() - min(c.received_at))::float8 as seconds
    from programs p
    cross join unnest(array['received', 'awaiting_click']) as s (state)
    cross join lateral (
      select received_at from conversions
      where program_id = p.id and state between s.state and s.state order by state, id limit 1
    ) c
    group by s.state`;
  const audit = await ledger<Counted[]>`
    select store as key, count(*) filter (where not ok) as n from audit_checks
    where at = (select max(at) from audit_checks) group by store`;
  return {
    storeDisk: { postgres: Number(size?.bytes) },
    payoutsOpen: byKey(payouts, ['unknown', 'failed', 'returned']),
    webhooks: { pending: Number(pending?.n), dead: Number(dead?.n) },
    calls: byKey(calls, ['accepted', 'duplicate', 'rejected', 'ignored']),
    undecided: {
      ...{ received: 0, awaiting_click: 0 },
      ...Object.fromEntries(undecided.map(({ key, seconds }) => [key, seconds])),
    },
    audit: byKey(audit, []),
  };
}

interface Counted {
  readonly key: string;
  readonly n: bigint;
}

/** With a zero for what there is none of: an alert tells it from what is not known. */
function byKey(rows: readonly Counted[], always: readonly string[]): Values {
  return Object.fromEntries([
    ...always.map((key) => [key, 0]),
    ...rows.map(({ key, n }) => [key, Number(n)]),
  ]);
}

async function readWarehouse(warehouse: Warehouse): Promise<Partial<Readings>> {
  const { rows } = await warehouse.query<{ disk: string; memory: string }>(`
    SELECT (SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase()) AS disk,
      (SELECT sum(value) FROM system.metrics WHERE metric = 'MemoryTracking') AS memory`);
  return {
    storeDisk: { clickhouse: Number(rows[0]?.disk) },
    storeMemory: { clickhouse: Number(rows[0]?.memory) },
  };
}
