import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { listStoredLeases } from '../../core/clicks/lease.ts';
import { LEASES_BUCKET, openBucket } from '../../core/clicks/stream.ts';
import { aheadMs, CLOCK_WARNING_MS } from '../../core/time.ts';
import { shopClocks } from '../../ledger/conversions/shop-clocks.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';

/** A stall makes a clock look wrong once; one that looks wrong every time is. */
const LOOKS = 3;
const PAUSE_MS = 500;

/**
 * Clocks that differ by more than a second, in words: those of PostgreSQL and ClickHouse from this machine's, those of
 * collectors from that of NATS, those of shops from PostgreSQL's as far as the orders of a day show. No promise hangs on
 * them, but times between clicks and orders are wrong by the difference.
 */
export async function clockWarnings(stores: {
  nc: NatsConnection;
  warehouse: Warehouse;
  ledger: Database;
}): Promise<string[]> {
  const least = new Map<string, number>();
  for (let look = 1; look <= LOOKS; look++) {
    if (look > 1) await sleep(PAUSE_MS);
    for (const [what, offMs] of await readClocks(stores)) {
      const before = least.get(what);
      if (before === undefined || Math.abs(offMs) < Math.abs(before)) least.set(what, offMs);
    }
  }
  const shops = (await shopClocks(stores.ledger)).map(({ programId, orders, offMs }): [string, number] => [
    `the clock of the shop of prg_${programId} (${orders} orders of the last 24 hours)`,
    offMs,
  ]);
  return [...least, ...shops]
    .filter(([, offMs]) => Math.abs(offMs) > CLOCK_WARNING_MS)
    .map(
      ([what, offMs]) =>
        `${what} is ${(Math.abs(offMs) / 1_000).toFixed(1)} s ${offMs > 0 ? 'ahead' : 'behind'}`,
    );
}

async function readClocks({
  nc,
  warehouse,
  ledger,
}: Parameters<typeof clockWarnings>[0]): Promise<[what: string, offMs: number][]> {
  const postgres = await aheadOf(async () => {
    const [row] = await ledger<[{ nowMs: number }]>`
      select (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms`;
    return row.nowMs;
  });
  const clickhouse = await aheadOf(async () => {
    const { rows } = await warehouse.query<{ now_ms: string }>(
      'SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms',
    );
    return Number(rows[0]?.now_ms);
  });
  const leases = await listStoredLeases(await openBucket(nc, LEASES_BUCKET));
  return [
    ["PostgreSQL's clock", postgres],
    ["ClickHouse's clock", clickhouse],
    ...leases
      .filter(({ lease }) => lease.state === 'open')
      .map(({ lease, storedAtMs }): [string, number] => [
        `the clock of the collector with node ${lease.node}`,
        lease.updatedAtMs - storedAtMs,
      ]),
  ];
}

async function aheadOf(readMs: () => Promise<number>): Promise<number> {
  const askedAtMs = Date.now();
  const serverMs = await readMs();
  return aheadMs({ askedAtMs, serverMs, answeredAtMs: Date.now() });
}
