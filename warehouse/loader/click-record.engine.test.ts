import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CLICK_COLUMNS, type ClickRecord, decodeClicks } from '../../core/clicks/click-record.ts';
import { encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from './inserter.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

beforeAll(async () => {
  warehouse = await freshWarehouse();
  // The records are of any time, and what is old would expire before it is read.
  await warehouse.command('ALTER TABLE clicks REMOVE TTL');
  for (const column of ['ip', 'user_agent', 'referrer', 'query']) {
    await warehouse.command(`ALTER TABLE clicks MODIFY COLUMN ${column} REMOVE TTL`);
  }
  // Their rollups are tested elsewhere; here each would make partitions of every century.
  await warehouse.command('DROP VIEW clicks_hourly_feed');
  await warehouse.command('DROP VIEW campaigns_hourly_feed');
});
afterAll(() => warehouse.drop());

const uint = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
const text = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: 'grapheme', maxLength: 80 }) },
  fc.constant(''),
  // Around the borders of the encoder's one-byte and two-byte lengths.
  fc.constantFrom(...[41, 42, 43, 127, 128, 16_383, 16_384].map((length) => 'x'.repeat(length))),
  fc.constantFrom(
    '€'.repeat(42),
    '\u{1F600}'.repeat(21),
    '\0\t\n\r\\\'"`',
    'y'.repeat(8_192),
    'ü'.repeat(8_192),
  ),
);
const ipv4 = fc
  .uint8Array({ minLength: 4, maxLength: 4 })
  .map((bytes) => Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes]));
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));

const records: fc.Arbitrary<ClickRecord> = fc.record({
  ts: fc.integer({ min: Date.UTC(2020, 0, 1), max: Date.UTC(2199, 0, 1) }),
  node: uint(16),
  seq: uint(32),
  program_id: uint(32),
  campaign_id: uint(32),
  affiliate_id: uint(32),
  link_id: uint(32),
  ip: fc.oneof(ipv4, ipv6),
  flags: uint(32),
  rule: uint(16),
  destination: uint(16),
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

it('every column comes back from ClickHouse as it was encoded', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(records, { minLength: 1, maxLength: 40 }), async (clicks) => {
      await warehouse.command('TRUNCATE TABLE clicks');
      await warehouse.insertBytes({
        sql: INSERT_CLICKS_SQL,
        data: [encodeClicks(clicks)],
        settings: { max_partitions_per_insert_block: 0 },
      });
      const stored = await storedRecords();
      expect(stored).toEqual([...clicks].sort(byText));
    }),
    { numRuns: 12 },
  );
});

it('the decoder reads what the encoder wrote', () => {
  fc.assert(
    fc.property(fc.array(records, { maxLength: 5 }), (clicks) => {
      expect(decodeClicks(encodeClicks(clicks), clicks.length)).toEqual(clicks);
    }),
    { numRuns: 50 },
  );
});

/** Rows in hexadecimal, so that no text format stands between the two ends. */
async function storedRecords(): Promise<ClickRecord[]> {
  const columns = CLICK_COLUMNS.map(({ name, kind }) => {
    if (kind === 'string') return `hex(${name}) AS ${name}_out`;
    if (kind === 'ip') return `hex(${name}) AS ${name}_out`;
    if (kind === 'ms') return `toUnixTimestamp64Milli(${name}) AS ${name}_out`;
    return `toString(${name}) AS ${name}_out`;
  });
  const { rows } = await warehouse.query<Record<string, string>>(`SELECT ${columns.join(', ')} FROM clicks`);
  return rows
    .map((row) => {
      const record: Record<string, unknown> = {};
      for (const { name, kind } of CLICK_COLUMNS) {
        const value = row[`${name}_out`] ?? '';
        if (kind === 'string') record[name] = Buffer.from(value, 'hex').toString('utf8');
        else if (kind === 'ip') record[name] = Buffer.from(value, 'hex');
        else record[name] = kind === 'u64' ? BigInt(value) : Number(value);
      }
      return record as unknown as ClickRecord;
    })
    .sort(byText);
}

function byText(a: ClickRecord, b: ClickRecord): number {
  const [left, right] = [a, b].map((click) => encodeClicks([click]));
  return Buffer.compare(left ?? Buffer.alloc(0), right ?? Buffer.alloc(0));
}
