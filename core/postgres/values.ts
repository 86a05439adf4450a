/**
 * What the code sees of a column: int8 as bigint (money, ids), timestamps as Date, JSON parsed, bytea as Buffer; every
 * other type, numeric among them, as PostgreSQL's text.
 */

type Parse = (text: string) => unknown;

const parseNumber: Parse = Number;
const parseText: Parse = (text) => text;
const parseDate: Parse = (text) => new Date(text);
const parseBoolean: Parse = (text) => text === 't';
const parseBytes: Parse = (text) => Buffer.from(text.slice(2), 'hex');
const parseJson: Parse = (text) => JSON.parse(text);

/** [type, array of it] by their numbers in pg_type; those of the types that PostgreSQL brings along never change. */
const TYPES: readonly (readonly [type: number, array: number, parse: Parse])[] = [
  [16, 1000, parseBoolean],
  [17, 1001, parseBytes],
  [20, 1016, BigInt],
  // int2, int4, oid, float4, float8
  [21, 1005, parseNumber],
  [23, 1007, parseNumber],
  [26, 1028, parseNumber],
  [700, 1021, parseNumber],
  [701, 1022, parseNumber],
  // json, jsonb
  [114, 199, parseJson],
  [3802, 3807, parseJson],
  // date, timestamp, timestamptz
  [1082, 1182, parseDate],
  [1114, 1115, parseDate],
  [1184, 1185, parseDate],
  // name, text, varchar, numeric, uuid, cidr, inet
  [19, 1003, parseText],
  [25, 1009, parseText],
  [1043, 1015, parseText],
  [1700, 1231, parseText],
  [2950, 2951, parseText],
  [650, 651, parseText],
  [869, 1041, parseText],
];

const ARRAY_TOKEN = /"((?:[^"\\]|\\.)*)"|[^,{}"]+|[{}]/gs;

/** `{1,NULL,"a,b"}`, also nested, also with bounds before it: `[0:1]={1,2}`. */
function parseArray(text: string, parse: Parse): unknown {
  const open: unknown[][] = [[]];
  for (const [token, quoted] of text.slice(text.indexOf('{')).matchAll(ARRAY_TOKEN)) {
    if (token === '{') open.push([]);
    else if (token === '}') open.at(-2)?.push(open.pop());
    else if (quoted !== undefined) open.at(-1)?.push(parse(quoted.replace(/\\(.)/gs, '$1')));
    else open.at(-1)?.push(token === 'NULL' ? null : parse(token));
  }
  return open[0]?.[0];
}

const PARSERS = new Map<number, Parse>(
  TYPES.flatMap(([type, array, parse]) => [
    [type, parse],
    [array, (text) => parseArray(text, parse)],
  ]),
);

/** In the form in which the client asks for it. */
export const COLUMN_TYPES = { getTypeParser: (type: number): Parse => PARSERS.get(type) ?? parseText };
