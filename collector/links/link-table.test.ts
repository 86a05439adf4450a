import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, LinkTable, type StoredLink } from './link-table.ts';

const BASE62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';
const id = fc.integer({ min: 1, max: 2 ** 31 - 1 });
const code = fc.string({
  unit: fc.constantFrom(...BASE62),
  minLength: 1,
  maxLength: 3,
});
const storedLink = (codes: fc.Arbitrary<string> = code): fc.Arbitrary<StoredLink> =>
  fc.record({
    code: codes,
    programId: id,
    campaignId: id,
    affiliateId: id,
    linkId: id,
    landingUrl: fc.string({ unit: 'grapheme', maxLength: 300 }),
    routing: fc.string({ unit: 'grapheme', maxLength: 300 }),
    passParameters: fc.constantFrom('', '[]', '["gclid", "sub1"]'),
    isActive: fc.boolean(),
    expiresAtMs: fc.oneof(
      fc.constant(Number.POSITIVE_INFINITY),
      fc.nat().map((n) => n * 1_000),
    ),
    dailyClickCap: fc.integer({ min: 0, max: 1_000_000_000 }),
  });

function plainLink(n: number, changes: Partial<StoredLink> = {}): StoredLink {
  return {
    code: `c${n.toString(36)}`,
    programId: 1,
    campaignId: 2,
    affiliateId: 3,
    linkId: n,
    landingUrl: `https://shop.test/${n}`,
    routing: '',
    passParameters: '',
    isActive: true,
    expiresAtMs: Number.POSITIVE_INFINITY,
    dailyClickCap: 0,
    ...changes,
  };
}

describe('LinkTable', () => {
  it('is a map from codes to links, also after a copy through its chunks', () => {
    fc.assert(
      fc.property(fc.array(storedLink(), { maxLength: 200 }), (links) => {
        const model = new Map<string, StoredLink>();
        const table = new LinkTable();
        for (const link of links) {
          table.set(link);
          model.set(link.code, link);
        }
        const copy = new LinkTable();
        for (const chunk of table.chunks()) copy.addRows(Buffer.from(chunk));
        for (const each of [table, copy]) {
          expect(each.size).toBe(model.size);
          for (const [key, link] of model) expect(each.get(key)).toEqual(link);
          expect(each.get('unknown')).toBeUndefined();
        }
      }),
      { numRuns: 50 },
    );
  });

  it('tells codes apart by their case, and by all of their 64 characters', () => {
    const table = new LinkTable();
    const long = 'a'.repeat(63);
    const codes = ['Sale', 'sale', 'SALE', `${long}b`, `${long}c`, long];
    for (const [i, text] of codes.entries()) table.set(plainLink(i, { code: text }));
    expect(codes.map((text) => table.get(text)?.linkId)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('keeps every link while it grows, and while rows outgrow their places', () => {
    const table = new LinkTable();
    const count = 30_000;
    for (let n = 0; n < count; n++) table.set(plainLink(n));
    // Every other one moves, often enough that the dead rows are cleared out.
    for (let round = 1; round <= 6; round++) {
      for (let n = 0; n < count; n += 2) {
        table.set(plainLink(n, { landingUrl: `https://shop.test/${'x'.repeat(200 * round)}` }));
      }
    }
    expect(table.size).toBe(count);
    const bytes = [...table.chunks()].reduce((sum, chunk) => sum + chunk.length, 0);
    // 15,000 × 1.3 KB and 15,000 × 80 bytes live; without clearing, another 50 MB would be dead.
    expect(bytes).toBeLessThan(45 * 1024 * 1024);
    for (let n = 0; n < count; n++) {
      expect(table.get(plainLink(n).code)?.landingUrl.length).toBe(n % 2 === 0 ? 1_218 : `${n}`.length + 18);
    }
  });

  it('keeps a snapshot that began before it cleared its dead rows whole', () => {
    const table = new LinkTable();
    const count = 20_000;
    for (let n = 0; n < count; n++) table.set(plainLink(n));
    const copy = new LinkTable();
    let round = 0;
    for (const chunk of table.chunks()) {
      copy.addRows(Buffer.from(chunk));
      if (round++ > 0) continue;
      for (let size = 200; size <= 2_000; size += 200) {
        for (let n = 0; n < count; n++) table.set(plainLink(n, { landingUrl: 'x'.repeat(size) }));
      }
    }
    expect(copy.size).toBe(count);
  });

  it('takes the longest link there can be', () => {
    const table = new LinkTable();
    const longest = plainLink(1, {
      code: 'c'.repeat(64),
      landingUrl: 'x'.repeat(2_000),
      routing: 'ü'.repeat(32_768),
    });
    for (let n = 0; n < 40; n++) table.set({ ...longest, code: `${longest.code.slice(2)}${n + 10}` });
    expect(table.get(`${longest.code.slice(2)}33`)?.routing).toBe(longest.routing);
    expect([...table.chunks()].every((chunk) => chunk.length <= CHUNK_BYTES)).toBe(true);
  });
});
