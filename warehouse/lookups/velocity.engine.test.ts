import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClickFlag, type ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { affiliatesSharingAddresses, timeToConvert, velocityOf } from './velocity.ts';
import { listVelocity } from './velocity-list.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const MINUTE = 60_000;
/** In the middle of a minute, so that "a minute ago" is one and the same minute everywhere. */
const NOW = Math.floor(Date.now() / MINUTE) * MINUTE - MINUTE / 2;
const now = new Date(NOW);
const ip = (text: string): Buffer => parseIp(text) ?? Buffer.alloc(16);

/** Ages in minutes of the clicks of one fast address: 1 in the last minute, 4 in five, 6 in an hour, 8 in a day. */
const AGES = [0, 2, 3, 4, 20, 50, 300, 1_000, 1_500];

beforeAll(async () => {
  warehouse = await freshWarehouse();
  const given: Partial<ClickRecord>[] = [
    ...AGES.map((age, i) => ({
      ts: NOW - age * MINUTE,
      ip: ip('198.51.100.7'),
      fingerprint: 7n,
      campaign_id: 1 + (i % 3),
      user_agent: `agent ${i % 2}`,
      affiliate_id: 10 + (i % 2),
      flags: i === 0 ? ClickFlag.bot : 0,
    })),
    { ts: NOW, ip: ip('198.51.100.8'), fingerprint: 8n, campaign_id: 9, affiliate_id: 10 },
    { ts: NOW - MINUTE, ip: ip('198.51.100.8'), fingerprint: 8n, campaign_id: 9, affiliate_id: 11 },
    { ts: NOW, ip: ip('198.51.100.8'), fingerprint: 8n, flags: ClickFlag.impression },
    ...[1, 2, 3].map((i) => ({ ts: NOW, ip: ip(`203.0.${i}.0`), fingerprint: 0n })),
    { ts: NOW, ip: ip('2001:db8:1:2::1'), fingerprint: 2n ** 64n - 1n, affiliate_id: 12 },
    { ts: NOW, ip: ip('2001:db8:1:2:ffff::1'), fingerprint: 2n ** 64n - 1n, affiliate_id: 12 },
  ];
  const clicks = given.map((one, seq) => clickRecord({ seq, flags: 0, ...one }));
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(clicks)],
    settings: { async_insert: 0 },
  });
  const order = (id: number, age: number, delay: number) => ({
    conversion_id: id,
    version: 1,
    affiliate_id: 10,
    ip: '::ffff:198.51.100.7',
    fingerprint: 7,
    occurred_at: timeText(NOW - age * MINUTE),
    click_ts: timeText(NOW - age * MINUTE - delay * 1_000),
  });
  await warehouse.insertRows('conversions', [order(1, 0, 5), order(2, 3, 29), order(3, 120, 1_000_000)]);
});
afterAll(() => warehouse.drop());

describe('velocity', () => {
  it('is not measured of those who opted out, as if they were one fingerprint', async () => {
    const { clicks } = await velocityOf(warehouse, { key: 'fingerprint', value: '0', now });
    expect(clicks).toEqual({ m1: 0, m5: 0, m60: 0, h24: 0 });
    const { rows } = await listVelocity(warehouse, {
      key: 'fingerprint',
      sort: 'clicks',
      minutes: 60,
      now,
      limit: 100,
    });
    expect(rows.map(({ value }) => value)).not.toContain('0');
  });

  it('of an address: clicks and orders by span, campaigns, user agents, first and last', async () => {
    expect(await velocityOf(warehouse, { key: 'ip', value: '198.51.100.7', now })).toEqual({
      clicks: { m1: 1, m5: 4, m60: 6, h24: 8 },
      conversions: { m1: 1, m5: 2, m60: 2, h24: 3 },
      campaigns: 3,
      userAgents: 2,
      firstSeen: new Date(NOW - 1_000 * MINUTE),
      lastSeen: now,
      completeTo: undefined,
    });
  });

  it('of a network and of a fingerprint', async () => {
    const subnet = await velocityOf(warehouse, { key: 'subnet', value: '198.51.100.200', now });
    expect(subnet.clicks).toEqual({ m1: 3, m5: 6, m60: 8, h24: 10 });
    expect(subnet.conversions.h24).toBe(3);
    const six = await velocityOf(warehouse, { key: 'subnet', value: '2001:db8:1:2::ffff', now });
    expect(six.clicks.m1).toBe(2);
    const other = await velocityOf(warehouse, { key: 'subnet', value: '2001:db8:1:3::1', now });
    expect(other).toMatchObject({ clicks: { h24: 0 }, firstSeen: undefined });
    const print = await velocityOf(warehouse, { key: 'fingerprint', value: '18446744073709551615', now });
    expect(print.clicks.h24).toBe(2);
  });

  it('who exceeds a number now', async () => {
    const sort = 'clicks';
    const fast = await listVelocity(warehouse, { key: 'ip', sort, clicks: 1, minutes: 5, now, limit: 10 });
    expect(fast.rows.map(({ value, clicks, orders }) => [value, clicks, orders])).toEqual([
      ['198.51.100.7', 4, 2],
      ['198.51.100.8', 2, 0],
    ]);
    const nets = await listVelocity(warehouse, {
      key: 'subnet',
      sort,
      clicks: 2,
      minutes: 60,
      now,
      limit: 1,
    });
    expect(nets.rows).toMatchObject([{ value: '198.51.100.0', clicks: 8, orders: 2 }]);
  });

  it('time from click to order by class, and affiliates that share addresses', async () => {
    const range = { from: new Date(NOW - 1_440 * MINUTE), to: new Date(NOW + MINUTE) };
    const classes = await timeToConvert(warehouse, { affiliateId: 10, ...range });
    expect(classes.map((one) => one.conversions)).toEqual([1, 1, 0, 0, 0, 0, 0, 1]);
    const shared = await affiliatesSharingAddresses(warehouse, {
      programId: 1,
      minAddresses: 1,
      limit: 10,
      ...range,
    });
    expect(shared).toEqual([{ affiliates: [10, 11], addresses: 2, clicks: 9 }]);
  });

  it.each([
    ['ip', '1.2.3'],
    ['subnet', "1.1.1.1') OR 1 --"],
    ['fingerprint', '18446744073709551616'],
    ['fingerprint', '-1'],
  ] as const)('refuses %s %s', async (key, value) => {
    await expect(velocityOf(warehouse, { key, value, now })).rejects.toMatchObject({ field: 'value' });
  });
});
