import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { MINUTE_MS } from '../../core/time.ts';
import { clickRecord, countingRows, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { listedNetwork } from './subjects.ts';
import { velocityOf } from './velocity.ts';
import {
  LISTED_KEYS,
  type ListedKey,
  listVelocity,
  type VelocityCursor,
  type VelocitySort,
} from './velocity-list.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const NOW = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - MINUTE_MS / 2;
const now = new Date(NOW);
const bytes = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);

/** Clicks and orders of each address; the last one is new. */
const ADDRESSES = [
  { ip: '198.51.100.1', clicks: 40, orders: 1, age: 600, affiliate: 10 },
  { ip: '198.51.100.2', clicks: 3, orders: 17, age: 300, affiliate: 11 },
  { ip: '203.0.113.5', clicks: 0, orders: 2, age: 200, affiliate: 12 },
  { ip: '2001:db8::5', clicks: 8, orders: 0, age: 5, affiliate: 13 },
] as const;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  const given = ADDRESSES.flatMap(({ ip, clicks, age, affiliate }, place) =>
    Array.from(
      { length: clicks },
      (_, i): Partial<ClickRecord> => ({
        ts: NOW - (i === 0 ? age : 1) * MINUTE_MS,
        ip: bytes(ip),
        fingerprint: BigInt(70 + place),
        program_id: place === 3 ? 2 : 1,
        campaign_id: place === 3 ? 9 : 1 + (i % 2),
        affiliate_id: affiliate,
        link_id: 100 + affiliate,
      }),
    ),
  );
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(given.map((one, seq) => clickRecord({ seq, flags: 0, ...one })))],
    settings: { async_insert: 0 },
  });
  const orders = ADDRESSES.flatMap(({ ip, orders: count, affiliate }, place) =>
    Array.from({ length: count }, (_, i) => ({
      conversion_id: 100 * place + i,
      version: 1,
      program_id: 1,
      campaign_id: 1,
      affiliate_id: affiliate,
      link_id: 100 + affiliate,
      ip: ip.includes(':') ? ip : `::ffff:${ip}`,
      fingerprint: 70 + place,
      occurred_at: timeText(NOW - 30 * MINUTE_MS),
    })),
  );
  const unknown = { conversion_id: 999, version: 1, program_id: 1, ip: '::', occurred_at: timeText(NOW) };
  await warehouse.insertRows('conversions', [...orders, unknown]);
  await warehouse.insertRows('names', [
    { kind: 'affiliate', id: 11, program_id: 1, name: 'Deals & Düsen', version: '1' },
    { kind: 'affiliate', id: 13, program_id: 2, name: 'Deals elsewhere', version: '1' },
  ]);
});
afterAll(() => warehouse.drop());

const list = async (key: ListedKey, sort: VelocitySort, more: object = {}) =>
  (await listVelocity(warehouse, { key, sort, minutes: 1_440, limit: 100, now, ...more })).rows;

describe('the list of velocity', () => {
  it.each([
    ['clicks', [0, 3, 1, 2]],
    ['orders', [1, 2, 0, 3]],
    ['ratio', [1, 2, 0, 3]],
    ['first_seen', [3, 2, 1, 0]],
  ] as const)('by %s', async (sort, places) => {
    const rows = await list('ip', sort);
    expect(rows.map(({ value, clicks, orders }) => [value, clicks, orders])).toEqual(
      places.map((place) => {
        const { ip, clicks, orders } = ADDRESSES[place];
        return [ip, clicks, orders];
      }),
    );
  });

  it('says when a key was seen first, and of how many campaigns', async () => {
    const [row] = await list('ip', 'clicks', { minutes: 5 });
    expect(row).toMatchObject({
      value: '198.51.100.1',
      clicks: 39,
      orders: 0,
      campaigns: 2,
      firstSeen: new Date(NOW - 600 * MINUTE_MS),
      lastSeen: new Date(NOW - MINUTE_MS),
    });
  });

  it.each(LISTED_KEYS.filter((key) => key !== 'asn'))(
    'counts the same clicks and orders by %s',
    async (key) => {
      const rows = await list(key, 'orders');
      const sum = (of: 'clicks' | 'orders') => rows.reduce((total, row) => total + row[of], 0);
      expect([sum('clicks'), sum('orders')]).toEqual([51, 20]);
    },
  );

  it('pages through keys of equal figures, each once', async () => {
    const found: string[] = [];
    for (let after: VelocityCursor | undefined; ; ) {
      const page = await listVelocity(warehouse, {
        key: 'ip',
        sort: 'clicks',
        minutes: 1_440,
        limit: 1,
        now,
        after,
      });
      found.push(...page.rows.map(({ value }) => value));
      after = page.next;
      if (!after) break;
    }
    expect(found).toEqual([0, 3, 1, 2].map((place) => ADDRESSES[place]?.ip));
  });

  it('finds what is typed', async () => {
    const values = async (key: ListedKey, search: string, more: object = {}) =>
      (await list(key, 'clicks', { search, ...more })).map(({ value }) => value);
    expect(await values('ip', '198.51.')).toEqual(['198.51.100.1', '198.51.100.2']);
    expect(await values('ip', '198.51.100.0/24')).toEqual(['198.51.100.1', '198.51.100.2']);
    expect(await values('ip', '2001:DB8')).toEqual(['2001:db8::5']);
    expect(await values('subnet', '203.0.113')).toEqual(['203.0.113.0']);
    expect(await values('fingerprint', '71')).toEqual(['71']);
    expect(await values('affiliate', 'düsen')).toEqual(['11']);
    expect(await values('affiliate', 'aff_13')).toEqual(['13']);
    expect(await values('affiliate', 'deals', { program: { id: 1, campaignIds: [1, 2] } })).toEqual(['11']);
    expect(await values('link', '112')).toEqual(['112']);
  });

  it('of one program: nothing of another', async () => {
    const mine = await list('ip', 'clicks', { program: { id: 1, campaignIds: [1, 2] } });
    expect(mine.map(({ value }) => value)).toEqual(['198.51.100.1', '198.51.100.2', '203.0.113.5']);
    const foreign = await list('ip', 'clicks', { program: { id: 2, campaignIds: [9] } });
    expect(foreign).toMatchObject([{ value: '2001:db8::5', clicks: 8, orders: 0, campaigns: 1 }]);
    expect(await list('ip', 'orders', { program: { id: 3, campaignIds: [] } })).toEqual([]);
  });

  it('keeps to the numbers that are asked for', async () => {
    const rows = await list('ip', 'orders', { orders: 1, clicks: 2 });
    expect(rows.map(({ value }) => value)).toEqual(['198.51.100.2']);
    await expect(list('ip', 'clicks', { minutes: 1_441 })).rejects.toMatchObject({ field: 'minutes' });
  });

  it('names the newest that the whole day did not know, page after page', async () => {
    const query = { key: 'ip', sort: 'first_seen', minutes: 60, limit: 1, now } as const;
    // The first ones of 198.51.100.1 and .2 are older than the hour, their latest in it.
    const first = await listVelocity(warehouse, query);
    expect(first.rows.map(({ value }) => value)).toEqual(['2001:db8::5']);
    const next = await listVelocity(warehouse, { ...query, after: first.next });
    expect(next.rows.map(({ value }) => value)).toEqual(['203.0.113.5']);
    expect(next.next).toBe(undefined);
  });

  it('lists no shortened address, and the network that is known of it', async () => {
    const program = { id: 7, campaignIds: [70, 71] };
    const given = ['192.0.2.0', '192.0.2.9', '2001:db8:1::', '2001:db8:1::', '2001:db8:1::9', '::'].map(
      (ip, seq) =>
        clickRecord({ node: 8, seq, ip: bytes(ip), ts: NOW, program_id: 7, campaign_id: 70, flags: 0 }),
    );
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [encodeClicks(given)],
      settings: { async_insert: 0 },
    });
    const order = (conversion_id: number, ip: string, campaign_id: number) => ({
      conversion_id,
      version: 1,
      program_id: 7,
      campaign_id,
      ip,
      occurred_at: timeText(NOW),
    });
    await warehouse.insertRows('conversions', [
      order(2_001, '2001:db8:1::', 71),
      order(2_002, '::ffff:192.0.2.9', 71),
      order(2_003, '::ffff:192.0.2.9', 0),
    ]);
    const rows = await list('ip', 'clicks', { program });
    // A campaign of clicks and another of orders are two; an order without one has none.
    expect(rows.map(({ value, clicks, campaigns }) => [value, clicks, campaigns])).toEqual([
      ['2001:db8:1::9', 1, 1],
      ['192.0.2.9', 1, 2],
    ]);
    const networks = await list('subnet', 'clicks', { program });
    expect(networks.map(({ value, clicks, orders }) => [listedNetwork(value).text, clicks, orders])).toEqual([
      ['2001:db8:1::/48', 2, 1],
      ['192.0.2.0/24', 2, 2],
      ['2001:db8:1::/64', 1, 0],
    ]);
    const found = await list('subnet', 'clicks', { program, search: '2001:db8:1::/64' });
    expect(found.map(({ clicks }) => clicks)).toEqual([1]);
    for (const [value, clicks, campaigns] of [
      ['2001:db8:1::/48', 3, 2],
      ['2001:db8:1::/64', 1, 1],
      ['192.0.2.9', 2, 2],
    ] as const) {
      const seen = await velocityOf(warehouse, { key: 'subnet', value, now, program });
      expect([value, seen.clicks.h24, seen.campaigns]).toEqual([value, clicks, campaigns]);
    }
    for (const value of ['192.0.2.0', '2001:db8:1::', '::']) {
      await expect(velocityOf(warehouse, { key: 'ip', value, now })).rejects.toMatchObject({
        field: 'value',
      });
    }
  });

  it('reads the orders of everybody once, where keys are found by their clicks', async () => {
    const others = 60_000;
    await warehouse.command(
      `INSERT INTO conversions (conversion_id, version, program_id, ip, occurred_at)
       SELECT 1000000 + number, 1, 20, toIPv6('::ffff:192.0.2.200'), fromUnixTimestamp64Milli(toInt64(${NOW}), 'UTC') FROM numbers(${others})`,
    );
    const { watched, readRows } = countingRows(warehouse);
    const exceeding = { key: 'ip', sort: 'clicks', clicks: 2, minutes: 1_440, limit: 100, now } as const;
    const { rows } = await listVelocity(watched, exceeding);
    expect(rows.map(({ value, clicks, orders }) => [value, clicks, orders])).toEqual(
      [0, 3, 1].map((place) => [ADDRESSES[place]?.ip, ADDRESSES[place]?.clicks, ADDRESSES[place]?.orders]),
    );
    expect(readRows()).toBeGreaterThan(51);
    expect(readRows()).toBeLessThan(1.5 * others);
  });
});
