import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ClickRecord,
  checkBatch,
  clickSizeBound,
  decodeClicks,
  encodeClick,
  encodeVisitor,
  TRAFFIC_COLUMN_COUNT,
  writeClick,
} from './click-record.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const text = fc.oneof(
  fc.constant(''),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(
    'a'.repeat(42),
    'a'.repeat(43),
    'é'.repeat(42),
    '€'.repeat(43),
    'x'.repeat(127),
    'x'.repeat(128),
  ),
  fc.constant('ü'.repeat(4_096)),
);

const records: fc.Arbitrary<ClickRecord> = fc.record({
  ts: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  node: fc.integer({ min: 0, max: 65_535 }),
  seq: u32,
  program_id: u32,
  campaign_id: u32,
  affiliate_id: u32,
  link_id: u32,
  ip: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
  flags: u32,
  rule: fc.integer({ min: 0, max: 65_535 }),
  destination: fc.integer({ min: 0, max: 65_535 }),
  fingerprint: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  user_agent: text,
  device: text,
  os: text,
  browser: text,
  language: text,
  referrer: text,
  sub1: text,
  sub2: text,
  sub3: text,
  sub4: text,
  sub5: text,
  utm_source: text,
  utm_medium: text,
  utm_campaign: text,
  utm_term: text,
  utm_content: text,
  query: text,
});

const traffic = (r: ClickRecord): string[] => [
  r.referrer,
  r.sub1,
  r.sub2,
  r.sub3,
  r.sub4,
  r.sub5,
  r.utm_source,
  r.utm_medium,
  r.utm_campaign,
  r.utm_term,
  r.utm_content,
  r.query,
];

describe('click record', () => {
  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(fc.array(records, { maxLength: 5 }), (clicks) => {
        const payload = Buffer.concat(clicks.map(encodeClick));
        expect(decodeClicks(payload, clicks.length)).toEqual(clicks);
      }),
    );
  });

  it('is written by the click path with the same bytes, within the announced size', () => {
    fc.assert(
      fc.property(records, fc.integer({ min: 0, max: 9 }), (record, offset) => {
        const visitor = encodeVisitor(record);
        const strings = traffic(record);
        expect(strings).toHaveLength(TRAFFIC_COLUMN_COUNT);
        const target = Buffer.alloc(offset + clickSizeBound(visitor, strings));
        const end = writeClick(target, offset, {
          ts: record.ts,
          node: record.node,
          seq: record.seq,
          link: {
            programId: record.program_id,
            campaignId: record.campaign_id,
            affiliateId: record.affiliate_id,
            linkId: record.link_id,
          },
          ip: record.ip,
          flags: record.flags,
          rule: record.rule,
          destination: record.destination,
          encodedVisitor: visitor,
          traffic: strings,
        });
        expect(target.subarray(offset, end).equals(encodeClick(record))).toBe(true);
      }),
    );
  });

  it('checks a batch as strictly as it decodes one', () => {
    const base: ClickRecord = fc.sample(records, 1).at(0) as ClickRecord;
    const rows = [0, 1, 2].map((i) => ({ ...base, node: 9, seq: 100 + i, ts: 1_000 - i }));
    const payload = Buffer.concat(rows.map(encodeClick));
    const expected = { node: 9, firstSeq: 100, rows: 3 };
    expect(checkBatch(payload, expected)).toEqual({ minTs: 998, maxTs: 1_000 });
    expect(() => checkBatch(payload, { ...expected, firstSeq: 101 })).toThrow(
      /does not decode: row 0 is 9:100/,
    );
    expect(() => checkBatch(payload, { ...expected, node: 8 })).toThrow(/does not decode/);
    expect(() => checkBatch(payload, { ...expected, rows: 2 })).toThrow(/left over/);
    expect(() => checkBatch(payload, { ...expected, rows: 4 })).toThrow(/wanted/);
    for (let length = 0; length < payload.length; length += Math.ceil(payload.length / 200)) {
      expect(() => checkBatch(payload.subarray(0, length), expected)).toThrow(/does not decode/);
      expect(() => decodeClicks(payload.subarray(0, length), 3)).toThrow(/does not decode/);
    }
    expect(() => checkBatch(Buffer.concat([payload, Buffer.of(0)]), expected)).toThrow(/1 bytes left over/);
    expect(() => decodeClicks(Buffer.alloc(200, 0xff), 1)).toThrow(/does not decode/);
  });
});
