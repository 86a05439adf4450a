import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { type ContextQuestion, MAX_QUESTIONS, readClickContexts } from './click-context.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const NOW = Date.now();

/** Every question another address, network and fingerprint. */
function question(index: number): ContextQuestion {
  const ip = `10.${index >> 8}.${index & 255}.7`;
  return {
    ts: NOW,
    node: 1,
    seq: index,
    ip,
    fingerprint: 2n ** 64n - 1n - BigInt(index),
    orderIp: '2001:db8::1',
  };
}

function addressBytes(index: number): Buffer {
  return Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, index >> 8, index & 255, 7]);
}

beforeAll(async () => {
  warehouse = await freshWarehouse();
  // The last one asked for clicked three times before, one of them longer ago than an hour.
  const records = [3, 40, 70].map((minutes, seq) =>
    clickRecord({
      ts: NOW - minutes * MINUTE_MS,
      node: 2,
      seq,
      ip: addressBytes(MAX_QUESTIONS - 1),
      fingerprint: question(MAX_QUESTIONS - 1).fingerprint,
    }),
  );
  await warehouse.insertBytes({
    sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
    data: [encodeClicks(records)],
    settings: { async_insert: 0 },
  });
});
afterAll(() => warehouse.drop());

describe('contexts of clicks', () => {
  it('do not take the clicks of unknown addresses for those of one', async () => {
    const clicks = [1, 2, 3].map((seq) =>
      clickRecord({ ts: NOW - 5 * MINUTE_MS, node: 3, seq, ip: Buffer.alloc(16), fingerprint: 77n }),
    );
    await warehouse.insertBytes({
      sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
      data: [encodeClicks(clicks)],
      settings: { async_insert: 0 },
    });
    const asked = { ...question(0), ip: '::', fingerprint: 77n };
    const [context] = await readClickContexts(warehouse, [asked]);
    expect(context?.clicksBefore).toEqual({ ip: null, subnet: null, fingerprint: 3 });
  });

  it('are read for as many clicks as may be asked for at once, all of them different', async () => {
    const contexts = await readClickContexts(
      warehouse,
      Array.from({ length: MAX_QUESTIONS }, (_, index) => question(index)),
    );
    expect(contexts).toHaveLength(MAX_QUESTIONS);
    const clicksBefore = contexts.map((context) => context.clicksBefore);
    expect(clicksBefore.at(-1)).toEqual({ ip: 2, subnet: 2, fingerprint: 2 });
    expect(new Set(clicksBefore.slice(0, -1).map((before) => JSON.stringify(before)))).toEqual(
      new Set(['{"ip":0,"subnet":0,"fingerprint":0}']),
    );
  });

  it('refuse what is no address', async () => {
    await expect(readClickContexts(warehouse, [{ ...question(1), ip: "' OR 1" }])).rejects.toThrow(/ip/);
  });
});
