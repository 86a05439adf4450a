import { asQueryError, QueryError } from '../errors.ts';
import { PassingBytes, unreadable } from './bytes.ts';
import { type Layout, type NativeType, readType } from './types.ts';

/**
 * Native format as a client asks for it with `client_protocol_version`. The engine writes protocol version 0, and which
 * version it writes is no setting; so what the versions add is put in here.
 *
 * A block of version 0 is: number of columns, number of rows, then for each column its name, its type and its values. What a
 * client of a later version reads differently, by ClickHouse's src/Formats/NativeWriter.cpp and src/Core/BlockInfo.cpp:
 */
const REVISION_OF = {
  /** A block begins with its BlockInfo. */
  blockInfo: 1,
  /** Behind each type a byte says whether the values lie in a serialisation of their own; 0 if not. */
  customSerialization: 54454,
  /** BlockInfo has a third field. */
  outOfOrderBuckets: 54480,
} as const;

/**
 * What the session has to be set to: types are written in the binary encoding. Their text at version 0 has no time zone
 * of DateTime.
 */
export const NATIVE_SETTING = ['output_format_native_encode_types_in_binary_format', '1'] as const;

/** Fields by number: 1, no block of overflows; 2, bucket −1; 3, a list of none; then 0. */
const BLOCK_INFO = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);
const BLOCK_INFO_WITH_BUCKETS = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 3, 0, 0]);
const NO_CUSTOM_SERIALIZATION = Buffer.from([0]);

const LOW_CARDINALITY_VERSION = 1;
/** The only flags of LowCardinality in this format: the block has a dictionary of its own. */
const OWN_DICTIONARY = 0x06;
const INDEX_BYTES = [1, 2, 4, 8];

/**
 * Turns a stream of Native format with {@link NATIVE_SETTING} into that of a client's protocol version, in constant memory.
 * @param revision above 0.
 * @throws QueryError 48 naming a column and its type, whose layout is not known here.
 */
export async function* writeRevision(
  rows: AsyncIterable<Buffer>,
  revision: number,
): AsyncGenerator<Buffer, void> {
  const bytes = new PassingBytes();
  const rewriting = rewrite(bytes, revision);
  rewriting.next();
  for await (const chunk of rows) {
    bytes.feed(chunk);
    rewriting.next();
    yield bytes.take();
  }
}

function* rewrite(bytes: PassingBytes, revision: number): Generator<void, never> {
  const info = revision >= REVISION_OF.outOfOrderBuckets ? BLOCK_INFO_WITH_BUCKETS : BLOCK_INFO;
  for (;;) {
    yield* bytes.more();
    if (revision >= REVISION_OF.blockInfo) bytes.put(info);
    const columns = yield* bytes.varint();
    const rows = yield* bytes.varint();
    for (let i = 0; i < columns; i++) {
      const { layout } = yield* rewriteHead(bytes, revision);
      // Of no rows, nothing is written.
      if (rows === 0) continue;
      yield* skipPrefix(bytes, layout);
      yield* skipValues(bytes, layout, rows);
    }
  }
}

/** A column's name and type. */
function* rewriteHead(bytes: PassingBytes, revision: number): Generator<void, NativeType> {
  const column = yield* bytes.text();
  bytes.drop();
  let type: NativeType;
  try {
    type = yield* readType(bytes);
  } catch (error) {
    throw naming(column, error);
  }
  const name = Buffer.from(type.name, 'latin1');
  bytes.put(Buffer.concat([varint(name.length), name]));
  if (revision >= REVISION_OF.customSerialization) bytes.put(NO_CUSTOM_SERIALIZATION);
  return type;
}

function naming(column: string, error: unknown): Error {
  const { code, message } = asQueryError(error);
  const name = Buffer.from(column, 'latin1').toString();
  return new QueryError(code, message.replace(/\. \((\w+)\)$/, `: column \`${name}\`. ($1)`), '');
}

function varint(number: number): Buffer {
  const bytes: number[] = [];
  let left = number;
  for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  bytes.push(left);
  return Buffer.from(bytes);
}

/** What stands before a column's values, once for all types in it. */
function* skipPrefix(bytes: PassingBytes, layout: Layout): Generator<void, void> {
  if (layout.kind === 'columns') {
    for (const of of layout.of) yield* skipPrefix(bytes, of);
  } else if (layout.kind === 'arrays' || layout.kind === 'nullable') {
    yield* skipPrefix(bytes, layout.of);
  } else if (layout.kind === 'dictionary') {
    const version = yield* bytes.uint64();
    if (version !== LOW_CARDINALITY_VERSION) throw unreadable(`version ${version} of LowCardinality`);
  }
}

function* skipValues(bytes: PassingBytes, layout: Layout, count: number): Generator<void, void> {
  if (count === 0) return;
  switch (layout.kind) {
    case 'fixed':
      yield* bytes.skip(count * layout.bytes);
      return;
    case 'texts':
      yield* bytes.skipTexts(count);
      return;
    case 'columns':
      for (const of of layout.of) yield* skipValues(bytes, of, count);
      return;
    case 'nullable':
      yield* bytes.skip(count);
      yield* skipValues(bytes, layout.of, count);
      return;
    case 'arrays': {
      // Where each array ends; the last one ends where all do.
      yield* bytes.skip((count - 1) * 8);
      yield* skipValues(bytes, layout.of, yield* bytes.uint64());
      return;
    }
    case 'dictionary':
      yield* skipDictionary(bytes, layout.of);
      return;
  }
}

function* skipDictionary(bytes: PassingBytes, of: Layout): Generator<void, void> {
  const kind = yield* bytes.uint64();
  const indexBytes = INDEX_BYTES[kind & 0xff];
  if (indexBytes === undefined || kind >> 8 !== OWN_DICTIONARY) throw unreadable(`LowCardinality ${kind}`);
  yield* skipValues(bytes, of, yield* bytes.uint64());
  yield* bytes.skip((yield* bytes.uint64()) * indexBytes);
}
