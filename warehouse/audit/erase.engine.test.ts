import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { clickCounts, clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { clickTotals, newestClicks } from '../lookups/explorer.ts';
import { fingerprintCandidates, lookupClicks } from '../lookups/lookups.ts';
import { select } from '../lookups/subjects.ts';
import { eraseAddress } from './erase.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
const ts = Date.now();

beforeAll(async () => {
  warehouse = await freshWarehouse();
  const clicks = Array.from({ length: 40 }, (_, seq) =>
    clickRecord({
      ts,
      seq,
      fingerprint: 5n,
      user_agent: 'Somebody/1.0',
      query: 'name=somebody',
      ip: parseIp(seq % 4 === 0 ? '198.51.100.7' : '198.51.100.8') ?? Buffer.alloc(16),
    }),
  );
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
  await warehouse.insertRows('conversions', [
    { conversion_id: 1, version: 1, ip: '::ffff:198.51.100.7', occurred_at: '2026-11-22 12:00:00' },
  ]);
});
afterAll(() => warehouse.drop());

it('removes an address and what came with it, proves it, and keeps the counts', async () => {
  expect(await eraseAddress(warehouse, '198.51.100.7')).toEqual([
    { table: 'clicks', before: 10, after: 0 },
    { table: 'conversions', before: 1, after: 0 },
    { table: 'velocity_ip', before: 10, after: 0 },
  ]);
  expect(await clickCounts(warehouse)).toMatchObject({ clicks: 40, distinct: 40, rolledUp: 40 });
  const clicks = await lookupClicks(warehouse, [
    { ts, node: 0, seq: 4 },
    { ts, node: 0, seq: 5 },
  ]);
  expect(clicks.map(({ seq, ip }) => [seq, ip]).sort()).toEqual([
    [4, '::'],
    [5, '198.51.100.8'],
  ]);
  const { rows } = await warehouse.query(
    `SELECT ip = toIPv6('::') AS erased, countIf(query != '' OR referrer != '' OR user_agent != '') AS left,
       countIf(user_agent = 'Somebody/1.0') AS agents
     FROM clicks GROUP BY erased ORDER BY erased`,
  );
  expect(rows).toEqual([
    { erased: 0, left: '30', agents: '30' },
    { erased: 1, left: '0', agents: '0' },
  ]);
  const range = { fromMs: ts - 1_000, toMs: ts + 1_000 };
  const [candidates = []] = await fingerprintCandidates(warehouse, [
    { fingerprint: 5n, ip: '198.51.100.9', ...range },
  ]);
  expect(candidates).not.toHaveLength(0);
  expect(candidates.every(({ ip }) => ip === '198.51.100.8')).toBe(true);
  const now = new Date(ts);
  const [erased, kept] = await Promise.all(
    ['198.51.100.7', '198.51.100.8'].map(async (ip) => {
      const selection = select({ kind: 'ip', ip }, undefined);
      const { byFlagGroup } = await clickTotals(warehouse, { selection, now });
      const newest = await newestClicks(warehouse, { selection, now, limit: 100 });
      return [Object.values(byFlagGroup).reduce((sum, count) => sum + count, 0), newest.length];
    }),
  );
  expect([erased, kept]).toEqual([
    [0, 0],
    [30, 30],
  ]);
});

it('refuses what is no address', async () => {
  await expect(eraseAddress(warehouse, "1.1.1.1' OR 1")).rejects.toMatchObject({ field: 'ip' });
});
