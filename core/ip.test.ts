import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNetworkMatcher, formatIp, parseIp } from './ip.ts';

describe('addresses', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ])('reads %s', (text, canonical) => {
    expect(formatIp(parseIp(text) ?? Buffer.alloc(16))).toBe(canonical);
  });

  it.each([
    '',
    'x',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.4.5',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'g::',
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it('returns what went in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = formatIp(bytes);
        expect(isIPv6(text) || text.includes('.')).toBe(true);
        expect(parseIp(text)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('matches networks', () => {
    const inside = createNetworkMatcher(['10.0.0.0/8', '192.0.2.7', '2001:db8::/33']);
    const check = (text: string) => inside(parseIp(text) ?? Buffer.alloc(16));
    expect(['10.255.0.1', '192.0.2.7', '2001:db8:7fff::1'].map(check)).toEqual([true, true, true]);
    expect(['11.0.0.1', '192.0.2.8', '2001:db8:8000::1', '::1'].map(check)).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(createNetworkMatcher([])(parseIp('10.0.0.1') ?? Buffer.alloc(16))).toBe(false);
  });
});
