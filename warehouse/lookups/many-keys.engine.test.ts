import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOUR_MS } from '../../core/time.ts';
import { countingRows, freshWarehouse } from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { newestClicks } from './explorer.ts';
import { fingerprintCandidates, lookupClicks } from './lookups.ts';
import { type Subject, select } from './subjects.ts';

/** Look-ups of many keys at once read far fewer rows than a large table has: they find their clicks by its projections. */

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const ROWS = 3_200_000;
const PARTS = 2;
/** Some 8 s on an idle machine. */
const FILL_MS = 180_000;
/** Each comes back three times. */
const VISITORS = ROWS / 4;
const STEP_MS = 3;
const NOW = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
const START = NOW - ROWS * STEP_MS;
/** Of a granule of `clicks`. */
const GRANULE = 1_024;

const ipOf = (visitor: number): string => `10.${visitor >> 16}.${(visitor >> 8) & 255}.${visitor & 255}`;
const identity = (seq: number) => ({ ts: START + seq * STEP_MS, node: 1, seq });
/** So many of the numbers up to `below`, all over them. */
const spread = (count: number, below: number): number[] =>
  Array.from({ length: count }, (_, i) => (i * 7_919_317) % below);

async function rowsReadBy(look: (watched: Warehouse) => Promise<unknown>): Promise<number> {
  const { watched, readRows } = countingRows(warehouse);
  await look(watched);
  return readRows();
}

beforeAll(async () => {
  warehouse = await freshWarehouse();
  // What is read here is in `clicks` alone, and feeding the others takes most of the time.
  for (const feed of ['clicks_grouped_feed', 'velocity_ip_feed', 'velocity_fingerprint_feed']) {
    await warehouse.command(`DROP VIEW ${feed}`);
  }
  for (let part = 0; part < PARTS; part++) {
    await warehouse.command(
      `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
       SELECT fromUnixTimestamp64Milli(toInt64(${START} + seq * ${STEP_MS}), 'UTC'), 1,
         toUInt32(number + ${(part * ROWS) / PARTS}) AS seq, 1, 1 + cityHash64(seq) % 200, 10 + seq % 7, 100 + seq % 9,
         toIPv6(IPv4NumToString(toUInt32(167772160 + seq % ${VISITORS}))), 1 + seq % ${VISITORS}
       FROM numbers(${ROWS / PARTS})`,
      {},
      // A part of one insert, as merges make them.
      {
        max_block_size: ROWS,
        min_insert_block_size_rows: ROWS,
        min_insert_block_size_bytes: 0,
        max_threads: 1,
      },
    );
  }
}, FILL_MS);
afterAll(() => warehouse.drop());

describe('many keys at once', () => {
  it('candidates of 50 visitors', async () => {
    const visitors = spread(50, VISITORS);
    const requests = visitors.map((visitor) => ({
      fingerprint: BigInt(visitor + 1),
      ip: ipOf(visitor),
      fromMs: START,
      toMs: NOW,
    }));
    const found = await fingerprintCandidates(warehouse, requests);
    expect(found.map((clicks) => clicks.map(({ seq }) => seq))).toEqual(
      visitors.map((visitor) => [3, 2, 1, 0].map((round) => visitor + round * VISITORS)),
    );
    const readRows = await rowsReadBy((watched) => fingerprintCandidates(watched, requests));
    expect(readRows).toBeGreaterThan(200);
    // The granules of 200 clicks, and those of the projection that names them, of 128 rows.
    expect(readRows).toBeLessThan(200 * GRANULE * 1.5);
  });

  it('1,000 clicks by identity', async () => {
    const wanted = spread(1_000, ROWS).map(identity);
    expect(await lookupClicks(warehouse, wanted)).toHaveLength(1_000);
    const readRows = await rowsReadBy((watched) => lookupClicks(watched, wanted));
    expect(readRows).toBeGreaterThan(1_000);
    expect(readRows).toBeLessThan(1_000 * GRANULE * 1.5);
  });

  it.each<Subject>([
    { kind: 'ip', ip: ipOf(123_456) },
    { kind: 'fingerprint', fingerprint: '123457' },
    { kind: 'orders', clicks: spread(200, ROWS).map(identity), conversionIds: [] },
  ])('the newest clicks of the explorer: $kind', async (subject) => {
    const how = { selection: select(subject, undefined), now: new Date(NOW), limit: 200 };
    const expected = subject.kind === 'orders' ? 200 : 4;
    expect(await newestClicks(warehouse, how)).toHaveLength(expected);
    const readRows = await rowsReadBy((watched) => newestClicks(watched, how));
    expect(readRows).toBeGreaterThan(expected);
    // Of each click a granule of its key, one of its time, and one of the table.
    expect(readRows).toBeLessThan(expected * GRANULE * 3);
  });
});
