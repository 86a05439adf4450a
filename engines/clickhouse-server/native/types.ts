import { QueryError } from '../errors.ts';
import type { PassingBytes } from './bytes.ts';

/** How the values of a type lie in a block of the Native format. */
export type Layout =
  | { readonly kind: 'fixed'; readonly bytes: number }
  | { readonly kind: 'texts' }
  /** Ends of the arrays, then their values one behind the other; maps and Nested are arrays of tuples. */
  | { readonly kind: 'arrays'; readonly of: Layout }
  | { readonly kind: 'columns'; readonly of: readonly Layout[] }
  /** A byte for each value that says whether it is null, then the values. */
  | { readonly kind: 'nullable'; readonly of: Layout }
  /** Distinct values, then the number of each row's one: LowCardinality. */
  | { readonly kind: 'dictionary'; readonly of: Layout };

/** A type as the engine names it (a character a byte), and the layout of its values. */
export interface NativeType {
  readonly name: string;
  readonly layout: Layout;
}

type Reading = Generator<void, NativeType>;
type Reader = (bytes: PassingBytes) => Reading;

const TEXTS: Layout = { kind: 'texts' };
const fixed = (bytes: number): Layout => ({ kind: 'fixed', bytes });
const arrays = (of: Layout): Layout => ({ kind: 'arrays', of });
const columns = (of: readonly Layout[]): Layout => ({ kind: 'columns', of });

function simple(name: string, layout: Layout): Reader {
  // biome-ignore lint/correctness/useYield: there is nothing more to read.
  return function* () {
    return { name, layout };
  };
}

const INTERVALS = [
  'Nanosecond',
  'Microsecond',
  'Millisecond',
  'Second',
  'Minute',
  'Hour',
  'Day',
  'Week',
  'Month',
  'Quarter',
  'Year',
];

const POINT = columns([fixed(8), fixed(8)]);
/** Types that have a name of their own for another type. */
const CUSTOM: Readonly<Record<string, Layout>> = {
  Point: POINT,
  Ring: arrays(POINT),
  LineString: arrays(POINT),
  Polygon: arrays(arrays(POINT)),
  MultiLineString: arrays(arrays(POINT)),
  MultiPolygon: arrays(arrays(arrays(POINT))),
};

/**
 * Readers by the first byte of a type's binary encoding:
 * https://clickhouse.com/docs/sql-reference/data-types/data-types-binary-encoding
 */
const READERS = new Map<number, Reader>([
  [0x00, simple('Nothing', fixed(1))],
  [0x01, simple('UInt8', fixed(1))],
  [0x02, simple('UInt16', fixed(2))],
  [0x03, simple('UInt32', fixed(4))],
  [0x04, simple('UInt64', fixed(8))],
  [0x05, simple('UInt128', fixed(16))],
  [0x06, simple('UInt256', fixed(32))],
  [0x07, simple('Int8', fixed(1))],
  [0x08, simple('Int16', fixed(2))],
  [0x09, simple('Int32', fixed(4))],
  [0x0a, simple('Int64', fixed(8))],
  [0x0b, simple('Int128', fixed(16))],
  [0x0c, simple('Int256', fixed(32))],
  [0x0d, simple('Float32', fixed(4))],
  [0x0e, simple('Float64', fixed(8))],
  [0x0f, simple('Date', fixed(2))],
  [0x10, simple('Date32', fixed(4))],
  [0x11, simple('DateTime', fixed(4))],
  [0x12, (bytes) => readZoned(bytes, 'DateTime', 4)],
  [0x13, (bytes) => readScaled(bytes, 'DateTime64')],
  [0x14, (bytes) => readZoned(bytes, 'DateTime64', 8)],
  [0x15, simple('String', TEXTS)],
  [0x16, readFixedString],
  [0x17, (bytes) => readEnum(bytes, 'Enum8', 1)],
  [0x18, (bytes) => readEnum(bytes, 'Enum16', 2)],
  [0x19, (bytes) => readDecimal(bytes, 4)],
  [0x1a, (bytes) => readDecimal(bytes, 8)],
  [0x1b, (bytes) => readDecimal(bytes, 16)],
  [0x1c, (bytes) => readDecimal(bytes, 32)],
  [0x1d, simple('UUID', fixed(16))],
  [0x1e, readArray],
  [0x1f, (bytes) => readTuple(bytes, false)],
  [0x20, (bytes) => readTuple(bytes, true)],
  [0x22, readInterval],
  [0x23, readNullable],
  [0x26, readLowCardinality],
  [0x27, readMap],
  [0x28, simple('IPv4', fixed(4))],
  [0x29, simple('IPv6', fixed(16))],
  [0x2c, readCustom],
  [0x2d, simple('Bool', fixed(1))],
  [0x2e, readSimpleAggregate],
  [0x2f, readNested],
  [0x31, simple('BFloat16', fixed(2))],
  [0x32, simple('Time', fixed(4))],
  [0x34, (bytes) => readScaled(bytes, 'Time64')],
]);

/** Names of types whose layout is not known here, for their refusal. */
const UNKNOWN: Readonly<Record<number, string>> = {
  33: 'Set',
  36: 'Function',
  37: 'AggregateFunction',
  42: 'Variant',
  43: 'Dynamic',
  48: 'JSON',
};

/** Reads a type in its binary encoding. @throws QueryError 48 for one whose layout is not known here. */
export function* readType(bytes: PassingBytes): Reading {
  const index = yield* bytes.byte();
  const reader = READERS.get(index);
  if (!reader) throw unknownType(UNKNOWN[index] ?? `number ${index}`);
  return yield* reader(bytes);
}

const NOT_IMPLEMENTED = 48;

export function unknownType(name: string): QueryError {
  return new QueryError(
    NOT_IMPLEMENTED,
    `The embedded engine does not write the type ${name} in Native format of a protocol version`,
    'NOT_IMPLEMENTED',
  );
}

function* readZoned(bytes: PassingBytes, name: string, size: number): Reading {
  const scale = size === 8 ? `${yield* bytes.byte()}, ` : '';
  return { name: `${name}(${scale}${quoted(yield* bytes.text())})`, layout: fixed(size) };
}

function* readScaled(bytes: PassingBytes, name: string): Reading {
  return { name: `${name}(${yield* bytes.byte()})`, layout: fixed(8) };
}

function* readFixedString(bytes: PassingBytes): Reading {
  const size = yield* bytes.varint();
  return { name: `FixedString(${size})`, layout: fixed(size) };
}

function* readEnum(bytes: PassingBytes, name: string, size: 1 | 2): Reading {
  const values: string[] = [];
  for (let left = yield* bytes.varint(); left > 0; left--) {
    const value = quoted(yield* bytes.text());
    const low = yield* bytes.byte();
    const number = size === 1 ? (low << 24) >> 24 : ((low | ((yield* bytes.byte()) << 8)) << 16) >> 16;
    values.push(`${value} = ${number}`);
  }
  return { name: `${name}(${values.join(', ')})`, layout: fixed(size) };
}

function* readDecimal(bytes: PassingBytes, size: number): Reading {
  const precision = yield* bytes.byte();
  return { name: `Decimal(${precision}, ${yield* bytes.byte()})`, layout: fixed(size) };
}

function* readArray(bytes: PassingBytes): Reading {
  const { name, layout } = yield* readType(bytes);
  return { name: `Array(${name})`, layout: arrays(layout) };
}

function* readTuple(bytes: PassingBytes, named: boolean): Reading {
  const { names, layouts } = yield* readElements(bytes, named);
  // A tuple of nothing has a byte for each row.
  const layout = layouts.length === 0 ? fixed(1) : columns(layouts);
  return { name: `Tuple(${names.join(', ')})`, layout };
}

function* readNested(bytes: PassingBytes): Reading {
  const { names, layouts } = yield* readElements(bytes, true);
  return { name: `Nested(${names.join(', ')})`, layout: arrays(columns(layouts)) };
}

function* readElements(
  bytes: PassingBytes,
  named: boolean,
): Generator<void, { names: string[]; layouts: Layout[] }> {
  const names: string[] = [];
  const layouts: Layout[] = [];
  for (let left = yield* bytes.varint(); left > 0; left--) {
    const prefix = named ? `${identifier(yield* bytes.text())} ` : '';
    const { name, layout } = yield* readType(bytes);
    names.push(prefix + name);
    layouts.push(layout);
  }
  return { names, layouts };
}

function* readMap(bytes: PassingBytes): Reading {
  const key = yield* readType(bytes);
  const value = yield* readType(bytes);
  return { name: `Map(${key.name}, ${value.name})`, layout: arrays(columns([key.layout, value.layout])) };
}

function* readNullable(bytes: PassingBytes): Reading {
  const { name, layout } = yield* readType(bytes);
  return { name: `Nullable(${name})`, layout: { kind: 'nullable', of: layout } };
}

function* readLowCardinality(bytes: PassingBytes): Reading {
  const { name, layout } = yield* readType(bytes);
  // The distinct values begin with the null, as an ordinary value.
  const of = layout.kind === 'nullable' ? layout.of : layout;
  return { name: `LowCardinality(${name})`, layout: { kind: 'dictionary', of } };
}

function* readInterval(bytes: PassingBytes): Reading {
  const kind = yield* bytes.byte();
  const unit = INTERVALS[kind];
  if (unit === undefined) throw unknownType(`Interval number ${kind}`);
  return { name: `Interval${unit}`, layout: fixed(8) };
}

function* readCustom(bytes: PassingBytes): Reading {
  const name = yield* bytes.text();
  const layout = CUSTOM[name];
  if (!layout) throw unknownType(name);
  return { name, layout };
}

/** Values of the function's first argument, of which the state of such a function is one. */
function* readSimpleAggregate(bytes: PassingBytes): Reading {
  const name = yield* bytes.text();
  if ((yield* bytes.varint()) > 0) throw unknownType(`SimpleAggregateFunction(${name}(…))`);
  const { names, layouts } = yield* readElements(bytes, false);
  const [layout] = layouts;
  if (!layout) throw unknownType(`SimpleAggregateFunction(${name})`);
  return { name: `SimpleAggregateFunction(${[name, ...names].join(', ')})`, layout };
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\0': '\\0',
  "'": "\\'",
  '\\': '\\\\',
};

function quoted(text: string): string {
  return `'${text.replaceAll(/[\b\f\n\r\t\0'\\]/g, (character) => ESCAPES[character] ?? character)}'`;
}

/** An element's name; one that is no word, or a word of the language, in backquotes. */
function identifier(name: string): string {
  if (/^[a-z_]\w*$/i.test(name) && !/^(?:all|distinct|from|null|select|table|values)$/i.test(name))
    return name;
  const inner = quoted(name).slice(1, -1).replaceAll("\\'", "'").replaceAll('`', '\\`');
  return `\`${inner}\``;
}
