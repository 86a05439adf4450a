import { Chunks } from './chunks.ts';
import { packLz4, unpackLz4 } from './frames.ts';

/** The LZ4 frame format, as Content-Encoding: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md */
const MAGIC = 0x184d2204;
/** Version 1, blocks that do not refer to each other, of at most 64 KiB; then the header's checksum. */
const HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
const BLOCK_BYTES = 64 * 1024;
const END = Buffer.alloc(4);
/** In a block's size: its data is not compressed. */
const PLAIN = 0x80000000;
/** How far a block may refer back. */
const WINDOW_BYTES = 64 * 1024;
const FLAGS = {
  linked: 0x20,
  blockChecksum: 0x10,
  contentSize: 0x08,
  contentChecksum: 0x04,
  dictionary: 0x01,
};

/** One frame for the whole stream. */
export async function* packLz4Frame(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield HEADER;
  for await (const chunk of source) {
    const blocks: Buffer[] = [];
    for (let at = 0; at < chunk.length; at += BLOCK_BYTES)
      blocks.push(...packBlock(chunk.subarray(at, at + BLOCK_BYTES)));
    yield Buffer.concat(blocks);
  }
  yield END;
}

function packBlock(content: Buffer): [size: Buffer, data: Buffer] {
  const packed = packLz4(content);
  const [data, flag] = packed.length < content.length ? [packed, 0] : [content, PLAIN];
  const size = Buffer.alloc(4);
  size.writeUInt32LE(data.length + flag, 0);
  return [size, data];
}

/** Any number of frames, one behind the other. Checksums within are not compared: TCP has its own. */
export async function* unpackLz4Frames(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks = new Chunks(source);
  for (;;) {
    const magic = await chunks.take(4);
    if (magic.length === 0) return;
    if (magic.length < 4 || magic.readUInt32LE(0) !== MAGIC) throw new Error('no LZ4 frame');
    yield* unpackFrame(chunks);
  }
}

async function* unpackFrame(chunks: Chunks): AsyncGenerator<Buffer> {
  const [flags, sizes] = await exactly(chunks, 2);
  if (flags === undefined || sizes === undefined || flags >> 6 !== 1)
    throw new Error('unknown version of LZ4 frame');
  if (flags & FLAGS.dictionary) throw new Error('an LZ4 frame with a dictionary');
  // 4: 64 KiB, 5: 256 KiB, 6: 1 MiB, 7: 4 MiB.
  const maxBytes = 256 << (((sizes >> 4) & 7) * 2);
  await exactly(chunks, (flags & FLAGS.contentSize ? 8 : 0) + 1);
  const isLinked = (flags & FLAGS.linked) === 0;
  let before: Buffer = Buffer.alloc(0);
  for (;;) {
    const word = (await exactly(chunks, 4)).readUInt32LE(0);
    if (word === 0) break;
    const size = word % PLAIN;
    if (size > maxBytes) throw new Error(`an LZ4 block of ${size} bytes`);
    const data = await exactly(chunks, size);
    const content = word >= PLAIN ? data : unpackLz4(data, maxBytes, before);
    if (flags & FLAGS.blockChecksum) await exactly(chunks, 4);
    if (isLinked) before = Buffer.concat([before, content]).subarray(-WINDOW_BYTES);
    yield content;
  }
  if (flags & FLAGS.contentChecksum) await exactly(chunks, 4);
}

async function exactly(chunks: Chunks, count: number): Promise<Buffer> {
  const bytes = await chunks.take(count);
  if (bytes.length < count) throw new Error('it ends within an LZ4 frame');
  return bytes;
}
