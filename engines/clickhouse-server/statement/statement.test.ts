import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readStatement } from './statement.ts';

const noCheck = () => undefined;

const quoted = (mark: string): fc.Arbitrary<string> =>
  fc
    .string({ unit: fc.constantFrom(...'aZ09 \n();,{}`"\'\\-#/*', 'FORMAT CSV', ' VALUES ', '; SELECT') })
    .map((text) => mark + text.replaceAll('\\', '\\\\').replaceAll(mark, mark + mark) + mark);

const comment = fc.constantFrom(' ', '\n', '/* FORMAT x; */', '-- VALUES ;\n', '# INSERT\n', '#! (\n', '\t');

test('finds where the rows of an INSERT begin, whatever stands in quotes and comments', () => {
  fc.assert(
    fc.property(
      quoted('`'),
      quoted('"'),
      comment,
      quoted("'"),
      fc.string(),
      (table, column, blank, setting, rows) => {
        const head = `INSERT${blank} INTO ${table}.t (${column})`;
        const tail = `SETTINGS log_comment = ${setting}${blank} FORMAT RowBinary`;
        const text = `${head} ${tail}\n${rows}`;
        expect(readStatement(text, noCheck)).toEqual({
          kind: 'insert-rows',
          format: 'RowBinary',
          fileAt: head.length + 1,
          end: head.length + 1 + tail.length,
          isValues: false,
          rowsAt: head.length + tail.length + 2,
        });
      },
    ),
  );
});

test('finds the table that an INSERT reads its rows as, whatever stands in quotes and comments', () => {
  fc.assert(
    fc.property(quoted('`'), comment, quoted("'"), fc.string(), (table, blank, structure, rows) => {
      const head = `INSERT INTO ${table} (a)${blank} SELECT a, (SELECT 1) FROM `;
      const call = `input(${structure})`;
      const tail = `${blank} WHERE a > 1 `;
      const text = `${head}${call}${tail}FORMAT RowBinary\n${rows}`;
      const statement = readStatement(text, noCheck);
      expect(statement).toEqual({
        kind: 'insert-input',
        format: 'RowBinary',
        inputAt: head.length,
        inputEnd: head.length + call.length,
        structure: [head.length + 'input('.length, head.length + call.length - 1],
        end: head.length + call.length + tail.length,
        rowsAt: text.length - rows.length,
      });
    }),
  );
});

test.each([
  'INSERT INTO t SELECT * FROM input FORMAT CSV',
  "INSERT INTO t SELECT * FROM input('a UInt8', 1) FORMAT CSV",
  "INSERT INTO t SELECT input('a UInt8') FORMAT CSV",
  "INSERT INTO t SELECT * FROM input('a UInt8')",
])('leaves %s to the engine', (query) => {
  expect(readStatement(query, noCheck).kind).toBe('command');
});

test('finds the format of a query, whatever stands in quotes, comments and brackets', () => {
  fc.assert(
    fc.property(quoted("'"), quoted('`'), comment, (text, name, blank) => {
      const head = `SELECT${blank} ${text} AS ${name}, (SELECT 1 FORMAT${blank} CSV) FROM t${blank} `;
      const query = `${head}FORMAT${blank} JSON SETTINGS a = ${text}`;
      expect(readStatement(`${query}${blank};${blank}`, noCheck)).toEqual({
        kind: 'rows',
        format: 'JSON',
        fileAt: head.length,
        end: query.length,
      });
    }),
  );
});

test('a second statement is refused, a semicolon in quotes is not one', () => {
  fc.assert(
    fc.property(quoted("'"), (text) => {
      expect(readStatement(`SELECT ${text};`, noCheck)).toMatchObject({ kind: 'rows', format: undefined });
      expect(() => readStatement(`SELECT ${text}; DROP TABLE t`, noCheck)).toThrow('Multi-statements');
      expect(() => readStatement(`INSERT INTO t SELECT ${text}; DROP TABLE t`, noCheck)).toThrow(
        'Multi-statements',
      );
      expect(() => readStatement(`DROP TABLE ${'`t`'}; ${text}`, noCheck)).toThrow('Multi-statements');
    }),
  );
});

test('never fails in a way of its own on any text', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'IiFS\'"`\\$ ;(){}-/*#\0\n', 'INSERT INTO ', 'FORMAT ') }),
      (text) => {
        try {
          readStatement(text, noCheck);
        } catch (error) {
          expect(error).toMatchObject({ name: 'QueryError' });
        }
      },
    ),
  );
});

test('reads strings of megabytes', () => {
  expect(readStatement(`SELECT '${'x\\n'.repeat(3_000_000)}' FORMAT CSV`, noCheck)).toMatchObject({
    format: 'CSV',
  });
});
