import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createNetworkMatcher, formatIp, formatNetwork, parseIp } from '../ip.ts';
import { type BlockKind, type BlockRow, canonicalValue, matchesPattern } from './block.ts';
import { type BlockedVisit, BlockSet } from './block-set.ts';

const NOW = 1_800_000_000_000;
const LISTS = { countryOf: () => 'DE', asnOf: () => 680 };

let ids = 0;
function row(kind: BlockKind, value: string, extra: Partial<BlockRow> = {}): BlockRow {
  return {
    id: ++ids,
    programId: 1,
    kind,
    value: canonicalValue(kind, value),
    affiliateId: null,
    sub: null,
    action: 'redirect',
    endsAtMs: null,
    ...extra,
  };
}

function setOf(...rows: BlockRow[]): BlockSet {
  const set = new BlockSet();
  for (const entry of rows) set.put(entry);
  return set;
}

function visit(extra: { ip?: string; userAgent?: string; traffic?: string[]; programId?: number } = {}) {
  const { ip = '192.0.2.7', userAgent = 'curl/8.5.0', traffic = [], programId = 1 } = extra;
  const bytes = parseIp(ip);
  if (!bytes) throw new Error(`${ip} is no address`);
  return {
    ts: NOW,
    ip: bytes,
    visitor: { userAgent },
    traffic,
    link: { programId, affiliateId: 3 },
  } satisfies BlockedVisit;
}

const isBlocked = (set: BlockSet, at: BlockedVisit) => set.find(at, LISTS) !== undefined;

describe('block lists', () => {
  it.each<[BlockKind, string, Partial<BlockRow>, Parameters<typeof visit>[0], Parameters<typeof visit>[0]]>([
    ['address', '::ffff:192.0.2.7', {}, {}, { ip: '192.0.2.8' }],
    ['address', '2001:DB8::1', {}, { ip: '2001:db8::1' }, { ip: '2001:db8::2' }],
    ['network', '192.0.2.9/28', {}, { ip: '192.0.2.15' }, { ip: '192.0.2.16' }],
    ['network', '2001:db8::/29', {}, { ip: '2001:dbf::1' }, { ip: '2001:dc0::1' }],
    ['user_agent', 'CURL/', {}, {}, { userAgent: 'Wget/1.2' }],
    ['user_agent', 'curl/*.0', {}, {}, { userAgent: 'x curl/8.5.0' }],
    [
      'referrer',
      'Example.com',
      {},
      { traffic: ['https://www.example.com:8443/x?y'] },
      { traffic: ['https://notexample.com/'] },
    ],
    [
      'sub_id',
      'Zone 9',
      { affiliateId: 3, sub: 2 },
      { traffic: ['', '', 'Zone 9'] },
      { traffic: ['', 'Zone 9'] },
    ],
    ['sub_id', 'z', { affiliateId: 3, sub: 5 }, { traffic: ['', '', '', '', '', 'z'] }, { programId: 2 }],
    ['address', '192.0.2.7', { programId: null }, { programId: 2 }, { ip: '192.0.2.8' }],
    ['network', '192.0.2.0/24', { endsAtMs: NOW + 1 }, {}, { programId: 2 }],
  ])('have %s %s', (kind, value, extra, inside, outside) => {
    const set = setOf(row(kind, value, extra));
    expect(isBlocked(set, visit(inside))).toBe(true);
    expect(isBlocked(set, visit(outside))).toBe(false);
  });

  it('ask for the country and the autonomous system only when an entry needs them', () => {
    const none = () => {
      throw new Error('was asked for');
    };
    const set = setOf(row('network', '10.0.0.0/8'));
    expect(set.find(visit(), { countryOf: none, asnOf: none })).toBeUndefined();
    const known = { countryOf: () => 'FR', asnOf: () => 3320 };
    expect(setOf(row('country', 'fr')).find(visit(), known)?.value).toBe('FR');
    expect(setOf(row('country', 'de')).find(visit(), known)).toBeUndefined();
    const asns = setOf(row('asn', '3320'));
    expect(asns.needsAsns).toBe(true);
    expect(asns.find(visit(), known)?.value).toBe('AS3320');
  });

  it('take the fallback of several entries, whichever list it is in', () => {
    const gentle = row('country', 'DE');
    const strict = row('address', '192.0.2.7', { programId: null, action: 'fallback' });
    expect(setOf(gentle, strict).find(visit(), LISTS)?.id).toBe(strict.id);
    expect(setOf(strict, gentle).find(visit({ ip: '192.0.2.8' }), LISTS)?.id).toBe(gentle.id);
  });

  it('end by their date without a notice, and are removed', () => {
    const set = setOf(row('address', '192.0.2.7', { endsAtMs: NOW + 10 }), row('asn', '1'));
    expect(isBlocked(set, { ...visit(), ts: NOW + 9 })).toBe(true);
    expect(isBlocked(set, { ...visit(), ts: NOW + 10 })).toBe(false);
    set.removeEnded(NOW + 9);
    expect(set.size).toBe(2);
    set.removeEnded(NOW + 10);
    expect(set.size).toBe(1);
    const open = row('user_agent', 'curl');
    const at = visit();
    set.put(open);
    expect(isBlocked(set, at)).toBe(true);
    set.remove(open.id);
    expect(isBlocked(set, at)).toBe(false);
    for (const { id } of [...set.rows()]) set.remove(id);
    expect([set.size, set.needsAsns]).toEqual([0, false]);
  });

  it('match a domain however many labels lie below it, and take no time for a host that a visitor made up', () => {
    const set = setOf(row('referrer', 'spam.test'), row('referrer', 'a.b.c.example.com'));
    const from = (host: string) => visit({ traffic: [`https://${host}/`] });
    expect(isBlocked(set, from(`${'x.'.repeat(100)}spam.test`))).toBe(true);
    expect(isBlocked(set, from('x.a.b.c.example.com'))).toBe(true);
    expect(isBlocked(set, from('b.c.example.com'))).toBe(false);
    const deep = setOf(row('referrer', `${'a.'.repeat(98)}test`));
    const hostile = ['a.'.repeat(1_010), '.'.repeat(2_020), 'a.'.repeat(126)].map(from);
    const started = performance.now();
    for (let n = 0; n < 1_000; n++) for (const at of hostile) expect(isBlocked(deep, at)).toBe(false);
    // With every suffix tried it was some 10 s.
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  it('match networks as the plain matcher does', () => {
    const randomAddress = (): Buffer => {
      // Few different bytes, so that networks overlap and addresses lie in them.
      const bytes = Buffer.from(Array.from({ length: 16 }, () => randomInt(4) * 0x55));
      return randomInt(2) === 0
        ? bytes
        : Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255]), bytes.subarray(12)]);
    };
    for (let round = 0; round < 200; round++) {
      const networks = Array.from({ length: randomInt(1, 12) }, () => {
        const address = randomAddress();
        const least = address[10] === 255 && address.subarray(0, 10).every((b) => b === 0) ? 104 : 20;
        return formatNetwork({ address, bits: randomInt(least, 128) });
      });
      // One that holds the unknown address is no entry.
      const rows = networks.filter((value) => !value.startsWith('::/')).map((value) => row('network', value));
      const set = setOf(...rows);
      const gone = rows.splice(0, randomInt(rows.length + 1));
      for (const { id } of gone) set.remove(id);
      const plain = createNetworkMatcher(rows.map(({ value }) => value));
      for (let n = 0; n < 50; n++) {
        const ip = randomAddress();
        const found = isBlocked(set, { ...visit(), ip });
        expect(found, `${formatIp(ip)} in ${rows.map(({ value }) => value)}`).toBe(plain(ip));
      }
    }
  });
});

describe('a value of a block list', () => {
  it.each<[BlockKind, string, string]>([
    ['address', '::ffff:192.0.2.7', '192.0.2.7'],
    ['address', '2001:0DB8:0::1', '2001:db8::1'],
    ['network', '192.0.2.77/24', '192.0.2.0/24'],
    ['network', '::ffff:192.0.2.77/120', '192.0.2.0/24'],
    ['network', '10.1.2.3/8', '10.0.0.0/8'],
    ['network', '2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['asn', 'as680', 'AS680'],
    ['country', 'de', 'DE'],
    ['user_agent', 'HeadlessChrome**', 'headlesschrome*'],
    ['referrer', 'Bücher.Example.', 'xn--bcher-kva.example'],
    ['sub_id', 'Zone 9', 'Zone 9'],
  ])('is of one form: %s %s', (kind, text, expected) => {
    expect(canonicalValue(kind, text)).toBe(expected);
    expect(canonicalValue(kind, expected)).toBe(expected);
  });

  it.each<[BlockKind, string]>([
    ['address', ''],
    ['address', '192.0.2.0/24'],
    ['address', '::'],
    ['network', '192.0.2.1'],
    ['network', '192.0.2.1/32'],
    ['network', '0.0.0.0/0'],
    ['network', '8.0.0.0/7'],
    ['network', '2000::/19'],
    ['network', '::/0'],
    ['network', '::/64'],
    ['network', '::1.2.3.4/100'],
    ['network', '0:0:0fff::/21'],
    ['network', '::ffff:0:0/96'],
    ['asn', 'AS0'],
    ['asn', '4294967296'],
    ['country', 'DEU'],
    ['user_agent', '*a*b*c*'],
    ['user_agent', '***'],
    ['referrer', 'com'],
    ['referrer', 'https://example.com/'],
    ['sub_id', 'x'.repeat(201)],
  ])('is refused: %s %s', (kind, text) => {
    expect(() => canonicalValue(kind, text)).toThrow(/^value: /);
  });
});

describe('a pattern of User-Agents', () => {
  it.each([
    ['bot', 'some bot here', true],
    ['*bot*', 'some bot here', true],
    ['bot*', 'some bot', false],
    ['*bot', 'some bot', true],
    ['ab*ba', 'aba', false],
    ['ab*ba', 'abba', true],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'a-c-b', false],
    ['a*bc*bc', 'abcbc', true],
    ['a*bc*bc', 'abc', false],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(matchesPattern(pattern, text)).toBe(expected);
  });

  it('takes time in proportion to the text, whatever the pattern', () => {
    const pattern = `${'a*'.repeat(90)}b`;
    const started = performance.now();
    for (let n = 0; n < 100; n++) expect(matchesPattern(pattern, 'a'.repeat(1_024))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});
