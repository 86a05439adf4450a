import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { readForm, readTables } from './form.ts';

test('a form that is too large is refused before all of it has come', { tags: ['attack'] }, async () => {
  let sent = 0;
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      sent += 1;
      yield Buffer.alloc(1024 ** 2);
    }
  }
  const message = { headers: { 'content-type': 'multipart/form-data; boundary=x' } } as IncomingMessage;
  await expect(readForm(message, endless())).rejects.toMatchObject({ code: 307 });
  expect(sent).toBe(17);
});

test('types become a structure, whatever brackets and quotes they have', () => {
  const types = "UInt8,Tuple(a Array(String), b Enum8('x,y' = 1)),Map(String, UInt8)";
  const [table] = readTables(new Map([['t', Buffer.alloc(0)]]), new URLSearchParams({ t_types: types }));
  expect(table).toMatchObject({
    name: '`t`',
    structure: "_1 UInt8, _2 Tuple(a Array(String), b Enum8('x,y' = 1)), _3 Map(String, UInt8)",
    format: 'TabSeparated',
  });
});

const structureOf = (structure: string) =>
  readTables(new Map([['t', Buffer.alloc(0)]]), new URLSearchParams({ t_structure: structure }))[0]
    ?.structure;

test.each([
  "a UInt8, `b c` Enum8('DEFAULT' = -1, '(' = 2),",
  'default String, alias Nullable(String), n.a Array(UInt8), "ü" DateTime64(3, \'UTC\')',
  'a INT UNSIGNED NOT NULL, b Tuple(comment String, ttl AggregateFunction(quantile(0.5), UInt8))',
])('the structure %s is names and types', (structure) => {
  expect(structureOf(structure)).toBe(structure);
});

test.each([
  "a UInt64 DEFAULT toUInt64(file('/etc/hostname'))",
  "a default (toUInt64(file('/etc/hostname')))",
  "a UInt64, b/**/UInt64/**/Materialized file('/etc/hostname')",
  'a UInt64 ALIAS 1 + 1',
  'a Ephemeral (1)',
  'a Date TTL (a + 1)',
  "a UInt8 COMMENT 'x'",
  'a UInt8 CODEC(NONE)',
  "a UInt8 = file('/etc/hostname')",
  'a UInt8) ENGINE = Memory AS SELECT (1',
  "'a' UInt8",
  'a UInt8; SELECT 1',
  'a UInt8 {x:String}',
])('the structure %s is refused: it has more than types', { tags: ['attack'] }, (structure) => {
  expect(() => structureOf(structure)).toThrow('is not allowed');
});
