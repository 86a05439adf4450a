import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeRevision } from './revision.ts';

/** What the engine itself writes is the model: version 0, with the types as texts. */

const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
const TABLES = 150;
const SETTINGS = [
  'allow_experimental_nullable_tuple_type = 1',
  'allow_suspicious_low_cardinality_types = 1',
  'allow_experimental_bfloat16_type = 1',
  'enable_time_time64_type = 1',
].join(', ');

let folder: string;
let engine: Session;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-native-'));
  engine = new Session(folder);
});
afterAll(() => {
  engine.close();
  rmSync(folder, { recursive: true });
});

async function native(query: string, types: 'text' | 'binary'): Promise<Buffer> {
  const binary = types === 'binary' ? 1 : 0;
  const result = await engine.queryAsync(
    `SET ${SETTINGS}, output_format_native_encode_types_in_binary_format = ${binary}; ${query}`,
    { format: 'Native' },
  );
  return Buffer.from(result.bytes());
}

/** In chunks of the given sizes, over and over. */
async function rewritten(bytes: Buffer, revision: number, sizes: readonly number[] = [65_536]) {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length] as number;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  }
  const written: Buffer[] = [];
  for await (const chunk of writeRevision(chunks(), revision)) written.push(chunk);
  return Buffer.concat(written);
}

const PLAIN = [
  ...[8, 16, 32, 64, 128, 256].flatMap((bits) => [`Int${bits}`, `UInt${bits}`]),
  'Float32',
  'Float64',
  'Bool',
  'String',
  'FixedString(3)',
  'Date',
  'Date32',
  'DateTime',
  'DateTime64(3)',
  "DateTime64(6, 'Asia/Kolkata')",
  'UUID',
  'IPv4',
  'IPv6',
  'Decimal(9, 2)',
  'Decimal(18, 4)',
  'Decimal(38, 10)',
  'Decimal(76, 20)',
  "Enum8('a' = 1, 'it\\'s \\n`é`' = -3)",
  "Enum16('' = 1000, 'x' = -300)",
];
const KEYS = ['String', 'UInt16', 'LowCardinality(String)', 'Date'];
const DISTINCT = [
  'String',
  'FixedString(2)',
  'UInt64',
  'Date',
  'DateTime',
  'Nullable(String)',
  'Nullable(Int32)',
];
const NAMES = ['a', 'b1', '_c', '`d e`', '`select`', '`Values`', "`it's`", '`é`', '`1st`'];

const { type } = fc.letrec<{ type: string; plain: string }>((tie) => ({
  plain: fc.constantFrom(...PLAIN),
  type: fc.oneof(
    { depthSize: 'small' },
    tie('plain'),
    tie('plain').map((of) => `Nullable(${of})`),
    fc.constantFrom(...DISTINCT).map((of) => `LowCardinality(${of})`),
    tie('type').map((of) => `Array(${of})`),
    // At the top of a table a Nested is several columns.
    tie('type').map((of) => `Array(Nested(a ${of}, \`b c\` UInt8))`),
    fc.tuple(fc.constantFrom(...KEYS), tie('type')).map(([key, of]) => `Map(${key}, ${of})`),
    fc.array(tie('type'), { minLength: 1, maxLength: 3 }).map((of) => `Tuple(${of.join(', ')})`),
    fc
      .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), tie('type')), {
        minLength: 1,
        maxLength: 3,
        selector: ([name]) => name,
      })
      .map((of) => `Tuple(${of.map((element) => element.join(' ')).join(', ')})`),
  ),
}));

test('random tables are those that the engine writes, with what a version adds', async () => {
  process.stdout.write(`${TABLES} tables, AFFLUX_TEST_SEED=${SEED}\n`);
  const tables = fc.record({
    types: fc.array(type, { minLength: 1, maxLength: 4 }),
    rows: fc.constantFrom(1, 3, 200),
    blockRows: fc.constantFrom(1, 7, 1_000),
    seed: fc.nat(),
    sizes: fc.array(fc.constantFrom(1, 2, 9, 100, 5_000), { minLength: 1, maxLength: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(tables, async ({ types, rows, blockRows, seed, sizes }) => {
      const structure = types.map((of, i) => `c${i} ${of}`).join(', ');
      const escaped = structure.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
      const query =
        `SELECT * FROM generateRandom('${escaped}', ${seed}, 200, 3) LIMIT ${rows} ` +
        `SETTINGS max_block_size = ${blockRows}, max_threads = 1`;
      const [text, binary] = [await native(query, 'text'), await native(query, 'binary')];
      const same = await rewritten(binary, 0, sizes);
      expect(same.equals(text), structure).toBe(true);
      const later = await rewritten(binary, 54_460, sizes);
      const blocks = Math.ceil(rows / blockRows);
      expect(later.length).toBe(text.length + blocks * (8 + types.length));
      expect((await rewritten(binary, 54_480, sizes)).length).toBe(later.length + 2 * blocks);
    }),
    { numRuns: TABLES, seed: SEED },
  );
});

describe('what generateRandom does not make', () => {
  test.each([
    'NULL',
    '[]',
    '[NULL]',
    'tuple()',
    '[tuple()]',
    "map('a', [toLowCardinality('x')])",
    'CAST([] AS Array(LowCardinality(String)))',
    'INTERVAL 3 DAY',
    'INTERVAL 3 NANOSECOND',
    'CAST((1, 2) AS Point)',
    'CAST([(1, 2)] AS Ring)',
    'CAST([[(1, 2)]] AS Polygon)',
    'CAST([[[(1, 2)]]] AS MultiPolygon)',
    'CAST(1 AS SimpleAggregateFunction(sum, UInt64))',
    "CAST('x' AS SimpleAggregateFunction(anyLast, LowCardinality(Nullable(String))))",
    "CAST((1, 'x') AS Nullable(Tuple(UInt8, String)))",
    "repeat('é', 300)",
    "repeat('x', 70000)",
    'toLowCardinality(toString(number))',
    'CAST(1 AS Time64(3))',
    'CAST(1 AS Time)',
    'CAST(1.5 AS BFloat16)',
    "CAST((1, 1) AS Tuple(`a\\`b` UInt8, `\\\\''\\n` UInt8))",
  ])('%s', async (expression) => {
    const query = `SELECT ${expression} AS x, 7 AS y FROM numbers(70000) WHERE number % 100 = 0`;
    const [text, binary] = [await native(query, 'text'), await native(query, 'binary')];
    expect((await rewritten(binary, 0, [1_000, 1])).equals(text)).toBe(true);
  });
});

test('a block begins with its information, and a byte stands behind each type', async () => {
  const binary = await native("SELECT 1 AS a, 'x' AS b", 'binary');
  const text = Buffer.from('\x02\x01\x01a\x05UInt8\x01\x01b\x06String\x01x', 'latin1');
  const info = Buffer.from('0100 02ffffffff'.replaceAll(' ', ''), 'hex');
  expect(await rewritten(binary, 54_453)).toEqual(Buffer.concat([info, Buffer.from([0]), text]));
  const withByte = Buffer.from('\x02\x01\x01a\x05UInt8\0\x01\x01b\x06String\0\x01x', 'latin1');
  expect(await rewritten(binary, 54_454)).toEqual(Buffer.concat([info, Buffer.from([0]), withByte]));
  expect(await rewritten(binary, 54_480)).toEqual(Buffer.concat([info, Buffer.from([3, 0, 0]), withByte]));
});

test('a DateTime keeps its time zone, which version 0 leaves out', async () => {
  const query = "SELECT toDateTime(0, 'Europe/Berlin') AS t";
  expect((await native(query, 'text')).toString('latin1')).not.toContain('Berlin');
  const bytes = await rewritten(await native(query, 'binary'), 54_460);
  expect(bytes.toString('latin1')).toContain("DateTime('Europe/Berlin')");
});

test('nothing is written for no rows', async () => {
  expect(await rewritten(await native('SELECT 1 WHERE 0', 'binary'), 54_460)).toHaveLength(0);
});

test.each([
  ['AggregateFunction', 'uniqState(number)'],
  ['JSON', "CAST('{}' AS JSON)"],
  ['Dynamic', 'CAST(1 AS Dynamic)'],
  ['Variant', 'CAST(1 AS Variant(UInt8, String))'],
  ['Variant', '[CAST(1 AS Variant(UInt8, String))]'],
])('refuses %s, naming the column', async (name, expression) => {
  const binary = await native(`SELECT 1 AS first, ${expression} AS \`größe\` FROM numbers(1)`, 'binary');
  await expect(rewritten(binary, 54_460)).rejects.toMatchObject({
    code: 48,
    message: expect.stringMatching(
      new RegExp(`the type ${name} .*column \`größe\`\\. \\(NOT_IMPLEMENTED\\)$`),
    ),
  });
});
