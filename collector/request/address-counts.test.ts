import { describe, expect, it } from 'vitest';
import { parseIp } from '../../core/ip.ts';
import { AddressCounts, isPrivateAddress } from './address-counts.ts';

const ip = (text: string): Buffer => {
  const bytes = parseIp(text);
  if (!bytes) throw new Error(`${text} is an address`);
  return bytes;
};
const address = (n: number): Buffer => ip(`${1 + (n % 200)}.${(n >> 16) % 256}.${(n >> 8) % 256}.${n % 256}`);

describe('counts of addresses', () => {
  it('are of one subscriber or one network, one subject and one period', () => {
    const subscribers = new AddressCounts({ part: 'subscriber', buckets: 64 });
    expect([1, 2, 3].map(() => subscribers.add(7, ip('192.0.2.1'), 100))).toEqual([1, 2, 3]);
    expect(subscribers.count(7, ip('192.0.2.1'), 100)).toBe(3);
    expect(subscribers.count(7, ip('192.0.2.2'), 100)).toBe(0);
    expect(subscribers.count(8, ip('192.0.2.1'), 100)).toBe(0);
    expect(subscribers.add(7, ip('192.0.2.1'), 101)).toBe(1);
    expect(subscribers.add(7, ip('2001:db8:0:1::1'), 100)).toBe(1);
    expect(subscribers.add(7, ip('2001:db8:0:1:ff::2'), 100)).toBe(2);
    expect(subscribers.add(7, ip('2001:db8:0:2::1'), 100)).toBe(1);
    const networks = new AddressCounts({ part: 'network', buckets: 64 });
    expect([networks.add(7, ip('192.0.2.1'), 1), networks.add(7, ip('192.0.2.99'), 1)]).toEqual([1, 2]);
    expect(networks.add(7, ip('192.0.3.1'), 1)).toBe(1);
    expect([networks.add(7, ip('2001:db8:1:2::'), 1), networks.add(7, ip('2001:db8:1:3::'), 1)]).toEqual([
      1, 2,
    ]);
    expect(networks.add(7, ip('2001:db8:2::'), 1)).toBe(1);
  });

  it('keep those that come often, however many others there are', () => {
    const counts = new AddressCounts({ part: 'subscriber', buckets: 256 });
    let counted = 0;
    for (let n = 0; n < 100_000; n++) {
      counts.add(0, address(n), 5);
      if (n % 20 === 0) counted = counts.add(0, ip('203.0.113.7'), 5);
    }
    expect(counted).toBe(5_000);
    // Those of an earlier period make room.
    expect(counts.add(0, ip('198.51.100.1'), 6)).toBe(1);
    expect(counts.count(0, ip('198.51.100.1'), 6)).toBe(1);
  });

  it('say nothing of addresses behind which anybody may be', () => {
    for (const text of ['127.0.0.1', '10.1.2.3', '172.31.0.1', '192.168.0.1', '::1', 'fd00::1', 'fe80::1']) {
      expect([text, isPrivateAddress(ip(text))]).toEqual([text, true]);
    }
    for (const text of ['8.8.8.8', '172.32.0.1', '2001:db8::1']) {
      expect([text, isPrivateAddress(ip(text))]).toEqual([text, false]);
    }
  });
});
