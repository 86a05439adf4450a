import { assert } from '../errors.ts';

/**
 * SQL as tagged templates: sql`select ${sql(COLUMNS)} from links where id = ${id}`. A value becomes a parameter, a
 * fragment becomes part of the text, and nothing else of a template does. Columns are snake_case in SQL and camelCase in
 * JavaScript.
 */

/** What JSON can say. `undefined` members of an object are left out. */
export type JsonValue =
  | null
  | string
  | number
  | boolean
  | Date
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined };

/** A parameter. An array becomes an array of PostgreSQL; JSON is made by `sql.json`. */
export type SqlParameter =
  | null
  | string
  | number
  | bigint
  | boolean
  | Date
  | Uint8Array
  | Json
  | readonly SqlParameter[];

/** The number of parameters is 16 bits in the protocol. */
const MAX_PARAMETERS = 65_535;

/** A value that goes to PostgreSQL as json or jsonb, whichever is needed there. */
export class Json {
  readonly text: string;

  constructor(value: JsonValue) {
    this.text = JSON.stringify(value);
  }
}

/** A part of a statement: texts, with a value or a fragment between each two. */
export class Fragment {
  readonly texts: readonly string[];
  readonly values: readonly (SqlParameter | Fragment)[];

  constructor(texts: readonly string[], values: readonly (SqlParameter | Fragment)[] = []) {
    this.texts = texts;
    this.values = values;
  }
}

/** A statement as it is sent: `$1` in the text is the first parameter. */
export interface CompiledSql {
  readonly text: string;
  readonly parameters: readonly unknown[];
}

/** @throws TypeError for a value that is no {@link SqlParameter}, `undefined` above all. */
export function compile(fragment: Fragment): CompiledSql {
  const parameters: unknown[] = [];
  const text = append(fragment, parameters);
  assert(parameters.length <= MAX_PARAMETERS, `a statement has at most ${MAX_PARAMETERS} parameters`);
  return { text, parameters };
}

function append({ texts, values }: Fragment, parameters: unknown[]): string {
  let text = texts[0] ?? '';
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    text += value instanceof Fragment ? append(value, parameters) : addParameter(value, parameters);
    text += texts[i + 1];
  }
  return text;
}

/**
 * Its place in the text. A type that JavaScript has is stated: PostgreSQL would guess it from the context, and takes
 * `$1 - interval '1 day'` for the difference of two intervals.
 */
function addParameter(value: SqlParameter | undefined, parameters: unknown[]): string {
  const place = `$${parameters.push(encode(value))}`;
  if (typeof value === 'bigint') return `${place}::bigint`;
  if (typeof value === 'boolean') return `${place}::boolean`;
  if (value instanceof Date) return `${place}::timestamptz`;
  if (value instanceof Uint8Array) return `${place}::bytea`;
  return place;
}

/** A value as the client sends it. */
export function encode(value: SqlParameter | undefined): unknown {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
  }
  if (value === null || value instanceof Uint8Array) return value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Json) return value.text;
  if (Array.isArray(value)) return value.map(encode);
  throw new TypeError(`no parameter of a statement: ${value === undefined ? 'undefined' : typeof value}`);
}

/** Names of columns or tables as in `a, b`; `c.programId` is `"c"."program_id"`. */
export function identifiers(names: string | readonly string[]): Fragment {
  const all = typeof names === 'string' ? [names] : names;
  return new Fragment([all.map(identifier).join(', ')]);
}

function identifier(name: string): string {
  const parts = name.split('.').map((part) => `"${toSnakeCase(part).replaceAll('"', '""')}"`);
  return parts.join('.');
}

/** `(a, b) values ($1, $2), ($3, $4)`: the rows of an insert, which all have the columns of the first. */
export function insertedValues(rows: object | readonly object[]): Fragment {
  const all = (Array.isArray(rows) ? rows : [rows]) as readonly Record<string, SqlParameter>[];
  const columns = Object.keys(all[0] ?? {});
  assert(columns.length > 0, 'an insert has a row with a column');
  const texts: string[] = [];
  let text = `(${columns.map(identifier).join(', ')}) values (`;
  for (const _ of all) {
    for (const _column of columns) {
      texts.push(text);
      text = ', ';
    }
    text = '), (';
  }
  return new Fragment(
    [...texts, ')'],
    all.flatMap((row) => columns.map((column) => row[column] as SqlParameter)),
  );
}

/** `a = $1, b = $2`: the columns of an update. */
export function setValues(row: object): Fragment {
  const columns = Object.keys(row);
  assert(columns.length > 0, 'an update sets a column');
  const texts = columns.map((column, i) => `${i === 0 ? '' : ', '}${identifier(column)} = `);
  return new Fragment([...texts, ''], Object.values(row));
}

const camelCase = new Map<string, string>();

/** `program_id` is `programId`. Kept, because it is asked for each column of each result. */
export function toCamelCase(name: string): string {
  let known = camelCase.get(name);
  if (known === undefined) {
    known = name.replace(/(?!^)_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    camelCase.set(name, known);
  }
  return known;
}

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
