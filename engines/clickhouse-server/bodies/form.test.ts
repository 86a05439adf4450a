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
