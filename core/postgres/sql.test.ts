import { expect, test } from 'vitest';
import {
  compile,
  Fragment,
  identifiers,
  insertedValues,
  Json,
  type SqlParameter,
  setValues,
  toCamelCase,
} from './sql.ts';

function sql(texts: TemplateStringsArray, ...values: (SqlParameter | Fragment)[]): Fragment {
  return new Fragment(texts, values);
}

test('values become parameters and fragments text, however deep', () => {
  const inner = sql`b = ${2} or ${sql`c = ${'x'}`}`;
  expect(
    compile(
      sql`select ${identifiers(['id', 'programId'])} from t where a = ${1} and (${inner}) and d = ${3}`,
    ),
  ).toEqual({
    text: 'select "id", "program_id" from t where a = $1 and (b = $2 or c = $3) and d = $4',
    parameters: ['1', '2', 'x', '3'],
  });
});

test('a type that JavaScript has is stated', () => {
  const at = new Date(0);
  expect(compile(sql`${1n} ${true} ${at} ${new Json({ a: 1 })} ${null} ${[1n, at, null]}`)).toEqual({
    text: '$1::bigint $2::boolean $3::timestamptz $4 $5 $6',
    parameters: ['1', 'true', at.toISOString(), '{"a":1}', null, ['1', at.toISOString(), null]],
  });
});

test('no value becomes SQL text', () => {
  const hostile = `'; drop table t; --`;
  expect(compile(sql`select ${hostile}`)).toEqual({ text: 'select $1', parameters: [hostile] });
  expect(compile(sql`select ${identifiers('a"; drop table t')}`).text).toBe('select "a""; drop table t"');
});

test('rows of an insert, and columns of an update', () => {
  const rows = [
    { programId: 1, name: 'a' },
    { name: 'b', programId: 2 },
  ];
  expect(compile(sql`insert into t ${insertedValues(rows)} returning id`)).toEqual({
    text: 'insert into t ("program_id", "name") values ($1, $2), ($3, $4) returning id',
    parameters: ['1', 'a', '2', 'b'],
  });
  expect(compile(sql`update t set ${setValues({ programId: 1, name: null })}, x = ${5}`)).toEqual({
    text: 'update t set "program_id" = $1, "name" = $2, x = $3',
    parameters: ['1', null, '5'],
  });
  expect(() => insertedValues([])).toThrow('an insert has a row');
  expect(() => setValues({})).toThrow('an update sets a column');
});

test('what is no parameter is refused', () => {
  const bad: unknown[] = [undefined, { a: 1 }, Symbol('x'), [undefined], () => 1];
  for (const value of bad) expect(() => compile(sql`select ${value as SqlParameter}`)).toThrow(TypeError);
  expect(() => compile(sql`insert into t ${insertedValues([{ a: 1 }, { b: 2 }])}`)).toThrow(TypeError);
  expect(() => compile(sql`select ${new Date(Number.NaN)}`)).toThrow(RangeError);
  const many = Array.from({ length: 65_536 }, (_, a) => ({ a }));
  expect(() => compile(sql`insert into t ${insertedValues(many)}`)).toThrow('at most 65535 parameters');
});

test('columns are camelCase', () => {
  const names = ['id', 'program_id', 'm5', 'a_b_c', '?column?', '_x', 'click_24h'];
  expect(names.map(toCamelCase)).toEqual(['id', 'programId', 'm5', 'aBC', '?column?', '_x', 'click24h']);
});
