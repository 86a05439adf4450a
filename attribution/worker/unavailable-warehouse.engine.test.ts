import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';
import type { Running } from '../../core/service/service.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { type AttributionFixture, startAttributionFixture } from '../../test/support/attribution.ts';
import { waitFor } from '../../test/support/engines.ts';
import type { TestParties } from '../../test/support/ledger.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { startAttribution } from '../main.ts';

/** A warehouse that is unavailable or behind: decisions are later, and the same. */

const ORDERS = 300;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An address of its own for each, so that no rule counts them together. */
const ipOf = (i: number) => Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 9, i >> 8, i & 255]);

async function statesOf(
  { ledger }: AttributionFixture,
  { programId }: TestParties,
): Promise<Record<string, number>> {
  const rows = await ledger<{ state: string; count: bigint }[]>`
    select state, count(*) from conversions where program_id = ${programId} group by state`;
  return Object.fromEntries(rows.map(({ state, count }) => [state, Number(count)]));
}

async function commissionsOf({ ledger }: AttributionFixture, { programId }: TestParties) {
  return await ledger<{ orderId: string; level: number; amountMinor: bigint; state: string }[]>`
    select order_id, level, m.amount_minor, m.state from commissions m join conversions c on c.id = m.conversion_id
    where c.program_id = ${programId} order by order_id, level`;
}

test('orders wait while ClickHouse is down, and are decided once it is back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-unavailable-'));
  cleanups.push(async () => rmSync(folder, { recursive: true, force: true }));
  const port = await freePort();
  const start = async (): Promise<Engine> =>
    await startClickHouse({
      dataDir: join(folder, 'clickhouse'),
      port,
      password: 'test',
      database: 'afflux',
      log: quietLog,
    });
  let clickhouse = await start();
  cleanups.push(async () => await clickhouse.stop());
  const connected = await connectWarehouse({ url: clickhouse.url, name: 'test' });
  await migrateWarehouse({ warehouse: connected, log: quietLog });
  const warehouse = { ...connected, url: clickhouse.url, drop: () => connected.close() };
  const fixture = await startAttributionFixture({ warehouse });
  cleanups.push(() => fixture.close());
  const { parties, clickIds } = fixture;
  const clicks = await fixture.addClicks(Array.from({ length: ORDERS }, (_, i) => ({ ip: ipOf(i) })));
  await fixture.completeTo(Date.now());

  const config = withGeneratedSecrets(
    loadConfig({
      AFFLUX_HOME: folder,
      DATABASE_URL: fixture.books.appUrl,
      CLICKHOUSE_URL: clickhouse.url,
      CLICK_KEYS: fixture.clickKey.toString('hex'),
      ATTRIBUTION_PORT: String(await freePort()),
      PAYOUT_HOUR: 'off',
    }),
  );
  const attribution: Running = await startAttribution({ config, log: quietLog });
  cleanups.push(() => attribution.stop());

  process.kill(clickhouse.pid, 'SIGKILL');
  await clickhouse.exited;
  for (const [i, click] of clicks.entries()) {
    await fixture.order({ orderId: `unavailable-${i}`, clickId: clickIds.encode(click) });
  }
  const saysWhy = async (): Promise<boolean> => {
    const response = await fetch(`http://127.0.0.1:${config.attributionPort}/readyz`);
    return response.status === 503 && (await response.text()).includes('cannot reach ClickHouse');
  };
  await waitFor(saysWhy, { deadlineMs: 60_000, what: 'a look in vain' });
  expect(await statesOf(fixture, parties)).toEqual({ received: ORDERS });

  clickhouse = await start();
  await waitFor(async () => (await statesOf(fixture, parties)).attributed === ORDERS, {
    deadlineMs: 90_000,
    what: 'every order to be decided',
  });
  const [tried] = await fixture.ledger<{ count: bigint }[]>`
    select count(*) from conversions where program_id = ${parties.programId} and attempts > 0`;
  expect(Number(tried?.count)).toBe(0);
  expect(await saysWhy()).toBe(false);
  const commissions = await commissionsOf(fixture, parties);
  expect(commissions).toHaveLength(3 * ORDERS);
  expect((await auditLedger(fixture.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});

test('while ClickHouse is ten minutes behind, nothing is decided that might come out otherwise', async () => {
  const now = Date.now();
  const behind = now - 10 * MINUTE_MS;
  // A click every four seconds of the last twenty minutes; a third of the later ones is stored.
  const clicks = Array.from({ length: ORDERS }, (_, seq) => ({
    ts: now - 20 * MINUTE_MS + seq * 4_000,
    node: 60_001,
    seq,
    ip: ipOf(seq),
  }));
  const stored = clicks.filter(({ ts, seq }) => ts < behind || seq % 3 === 0);
  const missing = clicks.filter((click) => !stored.includes(click));
  const old = clicks.filter(({ ts }) => ts < behind).length;

  async function fixtureWith(first: typeof clicks, completeTo: number): Promise<AttributionFixture> {
    const fixture = await startAttributionFixture();
    cleanups.push(() => fixture.close());
    await fixture.addClicks(first);
    await fixture.completeTo(completeTo);
    for (const { ts, node, seq } of clicks) {
      const occurredAt = new Date(ts + 5 * MINUTE_MS);
      await fixture.order({
        orderId: String(seq),
        clickId: fixture.clickIds.encode({ ts, node, seq }),
        occurredAt,
      });
    }
    await fixture.decideAll();
    return fixture;
  }
  const complete = await fixtureWith(clicks, now + MINUTE_MS);
  expect(await statesOf(complete, complete.parties)).toEqual({ attributed: ORDERS });

  const late = await fixtureWith(stored, behind);
  expect(await statesOf(late, late.parties)).toEqual({ attributed: old, received: ORDERS - old });
  await late.addClicks(missing);
  await late.completeTo(now + MINUTE_MS);
  await late.decideAll(new Date(now + 60 * MINUTE_MS));
  expect(await commissionsOf(late, late.parties)).toEqual(await commissionsOf(complete, complete.parties));
  expect(await statesOf(late, late.parties)).toEqual({ attributed: ORDERS });
  expect((await auditLedger(late.ledger)).filter(({ ok }) => !ok)).toEqual([]);
});
