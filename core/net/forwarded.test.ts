import { describe, expect, it } from 'vitest';
import { formatIp, parseIp } from '../ip.ts';
import { createVisitorAddressReader, type ForwardedLines } from './forwarded.ts';

const UNKNOWN = 'unknown';
const PROXY = '10.9.0.1';
const read = createVisitorAddressReader(['10.9.0.0/16', '2001:db8:9::/48']);

function visitor(lines: Partial<ForwardedLines>, ...hops: string[]): string {
  const all = { xForwardedFor: [], forwarded: [], ...lines };
  const bytes = (hops.length > 0 ? hops : [PROXY]).map((hop) => parseIp(hop) ?? Buffer.alloc(0));
  const address = read(bytes, () => all);
  return address ? formatIp(address) : UNKNOWN;
}

describe('X-Forwarded-For of a trusted proxy', () => {
  it.each<[string[], string]>([
    [[], PROXY],
    [[''], PROXY],
    [[' , ,'], PROXY],
    [['203.0.113.7'], '203.0.113.7'],
    [[' 203.0.113.7\t'], '203.0.113.7'],
    [['203.0.113.7:4711'], '203.0.113.7'],
    [['203.0.113.7:0'], '203.0.113.7'],
    [['"203.0.113.7"'], '203.0.113.7'],
    [['"203.0.113.7:4711"'], '203.0.113.7'],
    [['2a02:8388::7'], '2a02:8388::7'],
    [['2A02:8388:0:0:0:0:0:7'], '2a02:8388::7'],
    [['[2a02:8388::7]'], '2a02:8388::7'],
    [['[2a02:8388::7]:443'], '2a02:8388::7'],
    [['"[2a02:8388::7]:443"'], '2a02:8388::7'],
    [['fe80::1%eth0'], 'fe80::1'],
    [['[fe80::1%eth0]'], 'fe80::1'],
    [['[fe80::1%eth0]:80'], 'fe80::1'],
    [['::ffff:203.0.113.7'], '203.0.113.7'],
    [['[::ffff:203.0.113.7]:80'], '203.0.113.7'],
    [['127.0.0.1'], '127.0.0.1'],
    [['192.168.1.7'], '192.168.1.7'],
    [['unknown'], UNKNOWN],
    [['_hidden'], UNKNOWN],
    [['-'], UNKNOWN],
    [['""'], UNKNOWN],
    [['"'], UNKNOWN],
    [['"203.0.113.7'], UNKNOWN],
    [['999.1.1.1'], UNKNOWN],
    [['203.0.113.07'], UNKNOWN],
    [['203.0.113'], UNKNOWN],
    [['203.0.113.7:'], UNKNOWN],
    [['203.0.113.7:http'], UNKNOWN],
    [['203.0.113.7:123456'], UNKNOWN],
    [['203.0.113.7/32'], UNKNOWN],
    [['[203.0.113.7]'], UNKNOWN],
    [['[2a02:8388::7'], UNKNOWN],
    [['[2a02:8388::7]x'], UNKNOWN],
    [['2a02:8388::7]'], UNKNOWN],
    [['10.0.0.1%eth0'], UNKNOWN],
    [['::'], UNKNOWN],
    [['0.0.0.0'], UNKNOWN],
    [['shop.example'], UNKNOWN],
    [['1.1.1.1, 203.0.113.7'], '203.0.113.7'],
    [['1.1.1.1,203.0.113.7'], '203.0.113.7'],
    [['1.1.1.1, 203.0.113.7, 10.9.1.1'], '203.0.113.7'],
    [['203.0.113.7:5, 10.9.1.1:6'], '203.0.113.7'],
    [['203.0.113.7, [2001:db8:9::1]:6'], '203.0.113.7'],
    [['203.0.113.7, , 10.9.1.1'], '203.0.113.7'],
    [['203.0.113.7, 10.9.1.1,'], '203.0.113.7'],
    [[',203.0.113.7'], '203.0.113.7'],
    [['10.9.3.3, 10.9.2.2'], '10.9.3.3'],
    [['evil, 203.0.113.7'], '203.0.113.7'],
    [['", 203.0.113.7'], '203.0.113.7'],
    [['203.0.113.7, unknown'], UNKNOWN],
    [['203.0.113.7, unknown, 10.9.1.1'], UNKNOWN],
    [['1.2.3.4', '203.0.113.7'], '203.0.113.7'],
    [['1.2.3.4', '203.0.113.7', '10.9.1.1'], '203.0.113.7'],
    [['1.2.3.4', ''], '1.2.3.4'],
    [['"', '203.0.113.7'], '203.0.113.7'],
    [['evil', '10.9.1.1'], UNKNOWN],
  ])('%j is %s', (xForwardedFor, address) => expect(visitor({ xForwardedFor })).toBe(address));
});

describe('Forwarded (RFC 7239) of a trusted proxy', () => {
  it.each<[string[], string]>([
    [['for=203.0.113.7'], '203.0.113.7'],
    [['For="203.0.113.7:4711"'], '203.0.113.7'],
    [['for="[2a02:8388::7]:4711"'], '2a02:8388::7'],
    [['for="[2a02:8388::7]"'], '2a02:8388::7'],
    [['for=203.0.113.7;proto=https;by=10.9.0.1'], '203.0.113.7'],
    [['proto=https; FOR = 203.0.113.7 ; host="a,b;c"'], '203.0.113.7'],
    [['for="203.0.113.7:_port"'], '203.0.113.7'],
    [['for=1.1.1.1, for=203.0.113.7'], '203.0.113.7'],
    [['for=203.0.113.7, for=10.9.1.1'], '203.0.113.7'],
    [['for=1.1.1.1', 'for=203.0.113.7'], '203.0.113.7'],
    [['for="evil, for=203.0.113.7'], '203.0.113.7'],
    [['for=203.0.113.7;host="x, for=1.1.1.1"'], '203.0.113.7'],
    [['for=203.0.113.7, , '], '203.0.113.7'],
    [['for=unknown'], UNKNOWN],
    [['for=_hidden'], UNKNOWN],
    [['for="_hidden:_port"'], UNKNOWN],
    [['for='], UNKNOWN],
    [['proto=https'], UNKNOWN],
    [['203.0.113.7'], UNKNOWN],
    [['for=203.0.113.7;for=1.1.1.1'], UNKNOWN],
    [['for="203\\.0.113.7"'], UNKNOWN],
    [['for=203.0.113.7, for=unknown, for=10.9.1.1'], UNKNOWN],
  ])('%j is %s', (forwarded, address) => expect(visitor({ forwarded })).toBe(address));

  it('does not count beside X-Forwarded-For, unless that one is empty', () => {
    const forwarded = ['for=1.1.1.1'];
    expect(visitor({ forwarded, xForwardedFor: ['203.0.113.7'] })).toBe('203.0.113.7');
    expect(visitor({ forwarded, xForwardedFor: ['10.9.1.1'] })).toBe('10.9.1.1');
    expect(visitor({ forwarded, xForwardedFor: ['unknown'] })).toBe(UNKNOWN);
    expect(visitor({ forwarded, xForwardedFor: [' '] })).toBe('1.1.1.1');
  });
});

it('hops of the connection come first, and headers are not read when one of them is not trusted', () => {
  const xForwardedFor = ['1.1.1.1'];
  expect(visitor({ xForwardedFor }, '203.0.113.7')).toBe('203.0.113.7');
  expect(visitor({ xForwardedFor }, PROXY, '203.0.113.7')).toBe('203.0.113.7');
  expect(visitor({ xForwardedFor }, PROXY, '10.9.1.1')).toBe('1.1.1.1');
  expect(visitor({}, PROXY, '10.9.1.1')).toBe('10.9.1.1');
  expect(visitor({ xForwardedFor }, '203.0.113.7', '203.0.113.8')).toBe('203.0.113.7');
});
