import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditReport } from '../bin/commands/audit.ts';
import { INVALID_CLICK_FLAGS } from '../core/clicks/click-record.ts';
import { fromProject } from '../core/config/paths.ts';
import { readMigrations } from '../core/migrations.ts';
import { connectOwner, type Database } from '../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../warehouse/clickhouse/client.ts';
import { PACKED, unpackDataFolder } from './support/data-folder.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { clickCounts } from './support/warehouse.ts';

/** The data folder of an earlier version (test/fixtures/data-folder), opened by the platform of this checkout. */

const TOTAL = PACKED.clicks.loaded + PACKED.clicks.inStream + PACKED.clicks.inSpool;

let platform: TestPlatform;
let warehouse: Warehouse;
let owner: Database;
let spooledBefore: string[];

const spooled = (home: string) =>
  readdirSync(join(home, 'collector/0/spool')).filter((name) => name.endsWith('.spool'));

beforeAll(async () => {
  platform = await startPlatform({
    demo: false,
    async prepare(home) {
      unpackDataFolder(home);
      spooledBefore = spooled(home);
    },
  });
  warehouse = await connectWarehouse({ url: platform.config.clickhouseUrl, name: 'test' });
  owner = await connectOwner({ url: platform.config.databaseOwnerUrl, name: 'test' });
});
afterAll(async () => {
  await owner?.end({ timeoutMs: 1_000 });
  await warehouse?.close();
  await platform?.stop();
});

describe('the data folder of an earlier version', () => {
  test('is migrated to the newest schema', async () => {
    expect(platform.output()).toContain('existing data');
    const names = await owner<{ name: string }[]>`select name from schema_migrations order by name`;
    expect(names.map(({ name }) => name)).toEqual(
      readMigrations(fromProject('ledger/migrations')).map(({ name }) => name),
    );
    const { rows } = await warehouse.query<{ count: number }>(
      'SELECT toUInt32(uniqExact(number)) AS count FROM migrations',
    );
    expect(rows).toEqual([{ count: readMigrations(fromProject('warehouse/migrations')).length }]);
  });

  test('has its clicks loaded, those in the stream and in the spool too, each once', async () => {
    expect(spooledBefore.length).toBeGreaterThan(0);
    await waitFor(async () => (await clickCounts(warehouse)).clicks >= TOTAL, {
      deadlineMs: 30_000,
      what: `${TOTAL} clicks`,
    });
    expect(await clickCounts(warehouse)).toEqual({
      clicks: TOTAL,
      distinct: TOTAL,
      rolledUp: TOTAL,
      rolledUpValid: TOTAL,
    });
    await waitFor(() => spooled(platform.config.home).length === 0, {
      deadlineMs: 10_000,
      what: 'the spool to be empty',
    });
  });

  test('has the visitors of its clicks counted, each rollup as the clicks themselves', async () => {
    const since = '(SELECT max(since) FROM visitors_known)';
    const { rows } = await warehouse.query<Record<string, number>>(
      `SELECT
         (SELECT toUInt32(uniqExact(visitor)) FROM clicks WHERE ts >= ${since}) AS clicks,
         (SELECT toUInt32(uniqCombinedMerge(14)(distinct_visitors)) FROM clicks_hourly WHERE hour >= ${since}) AS hourly,
         (SELECT toUInt32(uniqExactIf(visitor, bitAnd(flags, ${INVALID_CLICK_FLAGS}) = 0)) FROM clicks WHERE ts >= ${since}) AS valid,
         (SELECT toUInt32(uniqCombinedMerge(14)(distinct_visitors)) FROM campaigns_hourly WHERE hour >= ${since}) AS campaigns,
         (SELECT toUInt32(uniqCombinedMerge(14)(distinct_visitors)) FROM campaigns_daily WHERE day >= ${since}) AS days`,
    );
    const [counted] = rows;
    expect(counted).toMatchObject({
      hourly: counted?.clicks,
      campaigns: counted?.valid,
      days: counted?.valid,
    });
  });

  test('has the same books', async () => {
    const [books] = await owner`
      select (select count(*)::integer from conversions) as conversions,
        (select count(*)::integer from commissions) as commissions,
        (select sum(balance_minor)::integer from accounts where kind = 'paid') as "paidMinor",
        (select sum(balance_minor)::integer from accounts
          where kind in ('pending', 'available', 'in_transit', 'debt')) as "owedMinor"`;
    expect(books).toEqual(PACKED.books);
  });

  test('passes every check of the audit', async () => {
    // The clicks of a lease count once the watermark has passed its end.
    const audit = await waitFor(
      async () => {
        const report = JSON.parse(await platform.afflux('audit', '--json')) as AuditReport;
        return report.checks.some(({ detail }) => detail.startsWith(`${TOTAL} clicks of `)) && report;
      },
      { deadlineMs: 30_000, what: `an audit of ${TOTAL} clicks` },
    );
    expect(audit.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(audit.ok).toBe(true);
  });

  test('has its decisions made again by the rules of their version, without a difference', async () => {
    const [first, last] = ['2020-01-01', '2100-01-01'];
    const said = await platform.afflux('attribution', 'replay', '--from', first, '--to', last);
    const { conversions } = PACKED.books;
    expect(said).toContain(
      `${conversions} conversions decided again, 0 without evidence, 0 would be decided`,
    );
  });

  test('is used as before: a new click is redirected and loaded', async () => {
    const [link] = await owner<{ code: string }[]>`select code from links`;
    const url = `http://127.0.0.1:${platform.config.collectorPort}/c/${link?.code}`;
    expect((await fetch(url, { redirect: 'manual' })).status).toBe(302);
    await waitFor(async () => (await clickCounts(warehouse)).clicks === TOTAL + 1, {
      deadlineMs: 20_000,
      what: 'the new click',
    });
  });
});
