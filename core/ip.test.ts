import { isIP, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNetworkMatcher, formatIp, isNetwork, networkOf, parseIp } from './ip.ts';

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
    '010.0.0.1',
    '1.2.3.04',
    '1.2.3.4::',
    'fe80::1%',
    '10.0.0.1%eth0',
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

  it('accepts what Node accepts', () => {
    const part = fc.constantFrom(
      '',
      '0',
      '00',
      '09',
      '255',
      '256',
      'f',
      '12345',
      '.',
      ':',
      '::',
      '%',
      '%e',
      '1.2.3.4',
    );
    const almost = fc
      .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(40), part)
      .map(([text, at, inserted]) => text.slice(0, at) + inserted + text.slice(at));
    const any = fc.array(part, { maxLength: 17 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(almost, any), (text) => {
        expect([text, parseIp(text) !== undefined]).toEqual([text, isIP(text) !== 0]);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('networks', () => {
  const matches = (networks: string[], address: string) =>
    createNetworkMatcher(networks)(parseIp(address) ?? Buffer.alloc(16));

  it.each([
    '10.0.0.1',
    '10.0.0.0/8',
    '10.1.2.3/8',
    '0.0.0.0/0',
    '::/0',
    '2001:db8::/33',
    'fe80::1%eth0/64',
    '::1/128',
  ])('takes %s', (text) => expect(isNetwork(text)).toBe(true));

  it.each([
    '',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '010.0.0.0/8',
    '::/129',
    'x/8',
    '10/8',
  ])('refuses %j', (text) => expect(isNetwork(text)).toBe(false));

  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.1.2.3/8', '10.9.9.9', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['::ffff:10.0.0.0/104', '10.0.0.1', true],
    ['fe80::/64', 'fe80::1%eth0', true],
    ['0.0.0.0/0', '8.8.8.8', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '8.8.8.8', false],
  ])('%s holds %s: %s', (network, address, isInside) => {
    expect(matches([network], address)).toBe(isInside);
    expect(matches([], address)).toBe(false);
    expect(matches(['203.0.113.1', network], address)).toBe(isInside);
  });
});

it.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['::1', '::/64'],
  ['no address', 'no address'],
])('a limit by address counts %s as %s', (address, network) => expect(networkOf(address)).toBe(network));
