import { Decompress, decompress } from 'fzstd';
import { Chunks } from './chunks.ts';

/**
 * Zstandard, as Content-Encoding: https://datatracker.ietf.org/doc/html/rfc8878. The frames are taken apart here and given to the
 * library block by block, so that a small body cannot become a large piece of memory: a block has 128 KiB in it at most.
 */
const MAGIC = 0xfd2fb528;
/** Sixteen numbers, for frames of anything but content. */
const SKIPPABLE = { mask: 0xfffffff0, magic: 0x184d2a50 };
/** What a decoder has to keep. Levels up to 19 ask for 8 MiB. */
const MAX_WINDOW_BYTES = 32 * 1024 ** 2;
const MAX_BLOCK_BYTES = 128 * 1024;
const RLE_BLOCK = 1;

/** Any number of frames, one behind the other. */
export async function* unpackZstdFrames(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunks = new Chunks(source);
  for (;;) {
    const magic = await chunks.take(4);
    if (magic.length === 0) return;
    const number = magic.length < 4 ? 0 : magic.readUInt32LE(0);
    if ((number & SKIPPABLE.mask) >>> 0 === SKIPPABLE.magic) await skipFrame(chunks);
    else if (number === MAGIC) yield* unpackFrame(chunks, magic);
    else throw new Error('no Zstandard frame');
  }
}

async function skipFrame(chunks: Chunks): Promise<void> {
  for (let left = (await exactly(chunks, 4)).readUInt32LE(0); left > 0; left -= 65_536) {
    await exactly(chunks, Math.min(left, 65_536));
  }
}

async function* unpackFrame(chunks: Chunks, magic: Buffer): AsyncGenerator<Buffer> {
  const { header, size, hasChecksum } = await readHeader(chunks);
  const blocks = readBlocks(chunks, hasChecksum);
  if (size !== undefined && size <= MAX_WINDOW_BYTES) {
    // What fits in a window is unpacked at once, which is many times as fast.
    const parts = [magic, header];
    let bytes = 0;
    for await (const block of blocks) {
      bytes += block.length;
      if (bytes > 2 * MAX_WINDOW_BYTES) throw new Error(`a frame of more than ${bytes} bytes`);
      parts.push(block);
    }
    yield Buffer.from(decompress(Buffer.concat(parts), new Uint8Array(size)));
    return;
  }
  const unpacked: Uint8Array[] = [];
  const decoder = new Decompress((content) => unpacked.push(content));
  decoder.push(Buffer.concat([magic, header]));
  for await (const block of blocks) {
    decoder.push(block);
    yield Buffer.concat(unpacked.splice(0));
  }
  decoder.push(new Uint8Array(0), true);
  yield Buffer.concat(unpacked.splice(0));
}

/** The blocks of a frame with their heads, the last one with the frame's checksum. */
async function* readBlocks(chunks: Chunks, hasChecksum: boolean): AsyncGenerator<Buffer> {
  for (let isLast = false; !isLast; ) {
    const head = await exactly(chunks, 3);
    const bits = head.readUIntLE(0, 3);
    isLast = (bits & 1) === 1;
    const size = ((bits >> 1) & 3) === RLE_BLOCK ? 1 : bits >> 3;
    if (size > MAX_BLOCK_BYTES) throw new Error(`a block of ${size} bytes`);
    yield Buffer.concat([head, await exactly(chunks, size + (isLast && hasChecksum ? 4 : 0))]);
  }
}

interface Header {
  readonly header: Buffer;
  /** Bytes of the content, where the frame says it. */
  readonly size: number | undefined;
  readonly hasChecksum: boolean;
}

async function readHeader(chunks: Chunks): Promise<Header> {
  const first = await exactly(chunks, 1);
  const descriptor = first.readUInt8(0);
  const isSingle = (descriptor & 0x20) !== 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const rest = await exactly(chunks, (isSingle ? 0 : 1) + dictionaryBytes + sizeBytes);
  const size = sizeBytes === 0 ? undefined : contentSize(rest.subarray(-sizeBytes));
  // A frame in a single segment has no window: its content is one.
  const window = isSingle ? (size ?? 0) : windowSize(rest.readUInt8(0));
  if (window > MAX_WINDOW_BYTES) {
    throw new Error(`a window of ${window} bytes, and ${MAX_WINDOW_BYTES} is the most`);
  }
  return { header: Buffer.concat([first, rest]), size, hasChecksum: (descriptor & 4) !== 0 };
}

function windowSize(byte: number): number {
  const base = 2 ** (10 + (byte >> 3));
  return base + (base / 8) * (byte & 7);
}

function contentSize(bytes: Buffer): number {
  if (bytes.length === 8) return Number(bytes.readBigUInt64LE(0));
  return bytes.readUIntLE(0, bytes.length) + (bytes.length === 2 ? 256 : 0);
}

async function exactly(chunks: Chunks, count: number): Promise<Buffer> {
  const bytes = await chunks.take(count);
  if (bytes.length < count) throw new Error('it ends within a Zstandard frame');
  return bytes;
}
