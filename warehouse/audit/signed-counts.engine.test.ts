import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { clickRecords, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { checkSignedCounts, signDailyCounts } from './signed-counts.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const YESTERDAY = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 3_600_000;

async function insert(firstSeq: number, count: number, ts: number): Promise<void> {
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clickRecords(1, firstSeq, count, { ts }))],
    settings: { async_insert: 0 },
  });
}

beforeEach(async () => {
  warehouse = await freshWarehouse();
  await insert(0, 20, YESTERDAY);
  await insert(20, 5, Date.now());
  await warehouse.insertRows('watermarks', [{ shard: 0, complete_to: timeText(Date.now()) }]);
});
afterEach(() => warehouse.drop());

it('signs each complete day once, and finds its counts again', async () => {
  expect(await signDailyCounts(warehouse, { key: privateKey, now: Date.now() })).toBe(2);
  expect(await signDailyCounts(warehouse, { key: privateKey, now: Date.now() })).toBe(0);
  expect(await checkSignedCounts(warehouse, { key: publicKey })).toEqual({ compared: 2, fault: undefined });
});

it('notices clicks that came or went after the signature, and a signature that was changed', async () => {
  await signDailyCounts(warehouse, { key: privateKey, now: Date.now() });
  await insert(100, 2, YESTERDAY);
  const late = await checkSignedCounts(warehouse, { key: publicKey });
  expect(late.fault).toMatch(/signed 10 \(9 valid\), now 11|signed 10 \(\d+ valid\), now/);
  await warehouse.command(
    'ALTER TABLE signed_counts UPDATE clicks = clicks + 1 WHERE affiliate_id = 10 SETTINGS mutations_sync = 1',
  );
  const forged = await checkSignedCounts(warehouse, { key: publicKey });
  expect(forged.fault).toContain('affiliate 10');
  expect(forged.fault).toContain('the signature is not valid');
});
