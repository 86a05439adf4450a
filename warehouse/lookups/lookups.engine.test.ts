import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countingRows, freshWarehouse } from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { fingerprintCandidates, lookupClicks } from './lookups.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

async function rowsReadBy(look: (watched: Warehouse) => Promise<unknown>): Promise<number> {
  const { watched, readRows } = countingRows(warehouse);
  await look(watched);
  return readRows();
}

const START = Date.UTC(2026, 10, 22, 12);
const ROWS = 400_000;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  // Two parts; every visitor comes back after 50,000 clicks.
  for (const part of [0, 1]) {
    await warehouse.command(
      `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, flags, fingerprint, user_agent, sub1)
       SELECT fromUnixTimestamp64Milli(toInt64(${START} + seq * 10), 'UTC'), 1, toUInt32(number + ${part * (ROWS / 2)}) AS seq, 1,
         cityHash64(seq) % 200, 10 + seq % 7, 100 + seq % 9,
         if(seq % 2 = 0, toIPv6(concat('10.', toString(intDiv(seq % 50000, 256)), '.', toString(seq % 256), '.', toString(seq % 11))),
           toIPv6(concat('2001:db8:', lower(hex(toUInt16(seq % 50000))), '::', lower(hex(toUInt16(seq % 13)))))),
         seq % 3, seq % 50000, concat('agent ', toString(seq)), concat('place ', toString(seq))
       FROM numbers(${ROWS / 2})`,
    );
  }
});
afterAll(() => warehouse.drop());

const identity = (seq: number) => ({ ts: START + seq * 10, node: 1, seq });

describe('clicks by identity', () => {
  it('come back whole, and those that are not stored do not', async () => {
    const wanted = [
      identity(20_000),
      identity(ROWS - 1),
      { ...identity(5), ts: START + 51 },
      { ...identity(6), node: 2 },
    ];
    const clicks = await lookupClicks(warehouse, wanted);
    expect(clicks.sort((a, b) => a.seq - b.seq)).toEqual([
      {
        ...identity(20_000),
        programId: 1,
        campaignId: expect.any(Number),
        affiliateId: 10 + (20_000 % 7),
        linkId: 100 + (20_000 % 9),
        ip: '10.78.32.2',
        fingerprint: 20_000n,
        flags: 2,
        subs: ['place 20000', '', '', '', ''],
      },
      expect.objectContaining({ ...identity(ROWS - 1), ip: `2001:db8:${(49_999).toString(16)}::2` }),
    ]);
  });

  it('read far fewer rows than the table has', async () => {
    const wanted = [7, 100_007, 250_000].map(identity);
    const readRows = await rowsReadBy((watched) => lookupClicks(watched, wanted));
    expect(readRows).toBeGreaterThanOrEqual(3);
    // Three granules of the projection and three of the table, of 8,192 rows each, and the values.
    expect(readRows).toBeLessThan(ROWS / 6);
  });

  it('are found 10,000 at once', async () => {
    const wanted = Array.from({ length: 10_000 }, (_, i) => identity(i * 40));
    const clicks = await lookupClicks(warehouse, wanted);
    expect(clicks).toHaveLength(10_000);
  });

  it('nothing asked, nothing read', async () => {
    expect(await lookupClicks(warehouse, [])).toEqual([]);
  });
});

describe('candidates by fingerprint and network', () => {
  const all = { fromMs: START, toMs: START + ROWS * 10 };

  it('share the fingerprint and the /24 or /48, newest first, inside the time range', async () => {
    const requests = [
      { fingerprint: 20_000n, ip: '10.78.32.99', ...all },
      { fingerprint: 20_000n, ip: '10.78.33.99', ...all },
      { fingerprint: 20_000n, ip: '10.78.32.1', fromMs: START, toMs: START + 70_000 * 10 },
      { fingerprint: 30_001n, ip: '2001:db8:7531:ffff::1', ...all },
      { fingerprint: 30_001n, ip: '2001:db8:7532::1', ...all },
    ];
    const candidates = await fingerprintCandidates(warehouse, requests);
    const seqs = candidates.map((clicks) => clicks.map((click) => click.seq));
    const everyFiftyThousand = (first: number) =>
      Array.from({ length: 8 }, (_, i) => first + (7 - i) * 50_000);
    // The third octet of the even clicks is seq % 256, which 50,000 does not divide.
    expect(seqs[0]?.every((seq) => seq % 256 === 32 && seq % 50_000 === 20_000)).toBe(true);
    expect(seqs[0]).toContain(20_000);
    expect(seqs[1]).not.toContain(20_000);
    expect(seqs[2]).toEqual([20_000]);
    expect(seqs[3]).toEqual(everyFiftyThousand(30_001));
    expect(seqs[4]).toEqual([]);
  });

  it('read far fewer rows than the table has', async () => {
    const request = { fingerprint: 20_000n, ip: '10.78.32.99', ...all };
    const readRows = await rowsReadBy((watched) => fingerprintCandidates(watched, [request]));
    expect(readRows).toBeGreaterThanOrEqual(1);
    // Of each of the parts a granule or two of the projection, and the granules of what it names.
    expect(readRows).toBeLessThan(ROWS / 6);
  });

  it.each(['1.2.3', "1.1.1.1'", 'fe80::1%eth0', '', '1.1.1.1\n'])('refuse the address %j', async (ip) => {
    const request = { fingerprint: 1n, ip, ...all };
    await expect(fingerprintCandidates(warehouse, [request])).rejects.toMatchObject({ field: 'ip' });
  });
});
