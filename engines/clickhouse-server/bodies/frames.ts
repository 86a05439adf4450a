import { decompress as unpackZstd } from 'fzstd';
import { compressSync, uncompressSync } from 'lz4-napi';
import { QueryError } from '../errors.ts';
import { Chunks } from './chunks.ts';
import { cityHash128 } from './city-hash.ts';

/**
 * The compressed frames of ClickHouse's native protocol, which `compress=1` asks for in answers and `decompress=1` announces
 * in bodies: checksum (16 bytes), method (1), size of the frame without the checksum (4), size of its content (4), data.
 * https://clickhouse.com/docs/native-protocol/compression
 */
const CHECKSUM_BYTES = 16;
const HEAD_BYTES = 9;
const METHODS = { none: 0x02, lz4: 0x82, zstd: 0x90 } as const;

/** As ClickHouse's max_compress_block_size. */
const CONTENT_BYTES = 1024 ** 2;
/** A client may send a whole block of rows in one frame. */
export const MAX_FRAME_BYTES = 128 * 1024 ** 2;

const CANNOT_DECOMPRESS = 271;
const CHECKSUM_DOESNT_MATCH = 40;
const TOO_LARGE_SIZE_COMPRESSED = 113;

/** Puts a stream into frames, by LZ4. */
export async function* packFrames(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += CONTENT_BYTES)
      yield packFrame(chunk.subarray(at, at + CONTENT_BYTES));
  }
}

function packFrame(content: Buffer): Buffer {
  const data = packLz4(content);
  const frame = Buffer.alloc(CHECKSUM_BYTES + HEAD_BYTES + data.length);
  frame.writeUInt8(METHODS.lz4, CHECKSUM_BYTES);
  frame.writeUInt32LE(HEAD_BYTES + data.length, CHECKSUM_BYTES + 1);
  frame.writeUInt32LE(content.length, CHECKSUM_BYTES + 5);
  data.copy(frame, CHECKSUM_BYTES + HEAD_BYTES);
  const [low, high] = cityHash128(frame.subarray(CHECKSUM_BYTES));
  frame.writeBigUInt64LE(low, 0);
  frame.writeBigUInt64LE(high, 8);
  return frame;
}

/**
 * Takes a stream out of its frames.
 * @param maxBytes the most that the next frame, and its content, may have.
 * @throws QueryError for what is no frame, damaged or too large.
 */
export async function* unpackFrames(
  source: AsyncIterable<Buffer>,
  maxBytes: () => number = () => MAX_FRAME_BYTES,
): AsyncGenerator<Buffer> {
  const chunks = new Chunks(source);
  for (;;) {
    const head = await chunks.take(CHECKSUM_BYTES + HEAD_BYTES);
    if (head.length === 0) return;
    if (head.length < CHECKSUM_BYTES + HEAD_BYTES) throw damaged('it ends within a frame');
    const method = head.readUInt8(CHECKSUM_BYTES);
    const size = head.readUInt32LE(CHECKSUM_BYTES + 1);
    const contentSize = head.readUInt32LE(CHECKSUM_BYTES + 5);
    if (size < HEAD_BYTES) throw damaged(`a frame of ${size} bytes`);
    const most = maxBytes();
    if (Math.max(size, contentSize) > most) {
      throw new QueryError(
        TOO_LARGE_SIZE_COMPRESSED,
        `Compressed frame of ${size} bytes, with ${contentSize} bytes in it; ${most} is the most`,
        'TOO_LARGE_SIZE_COMPRESSED',
      );
    }
    const data = await chunks.take(size - HEAD_BYTES);
    if (data.length < size - HEAD_BYTES) throw damaged('it ends within a frame');
    requireChecksum(head, data);
    yield unpack(method, data, contentSize);
  }
}

function requireChecksum(head: Buffer, data: Buffer): void {
  const [low, high] = cityHash128(Buffer.concat([head.subarray(CHECKSUM_BYTES), data]));
  if (head.readBigUInt64LE(0) === low && head.readBigUInt64LE(8) === high) return;
  throw new QueryError(
    CHECKSUM_DOESNT_MATCH,
    "Checksum doesn't match: corrupted data in a compressed frame of the request",
    'CHECKSUM_DOESNT_MATCH',
  );
}

function unpack(method: number, data: Buffer, size: number): Buffer {
  const content = decompress(method, data, size);
  if (content.length !== size) throw damaged(`a frame has ${content.length} bytes in it instead of ${size}`);
  return content;
}

function decompress(method: number, data: Buffer, size: number): Buffer {
  if (method === METHODS.none) return data;
  if (method !== METHODS.lz4 && method !== METHODS.zstd) {
    throw damaged(`unknown compression method 0x${method.toString(16)}`);
  }
  try {
    if (method === METHODS.lz4) return unpackLz4(data, size);
    return Buffer.from(unpackZstd(data, new Uint8Array(size)));
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : String(error));
  }
}

function damaged(reason: string): QueryError {
  return new QueryError(CANNOT_DECOMPRESS, `Cannot decompress the request: ${reason}`, 'CANNOT_DECOMPRESS');
}

/** The library puts the content's size before the data. */
const SIZE_BYTES = 4;

/** An LZ4 block. */
export function packLz4(content: Buffer): Buffer {
  return compressSync(content).subarray(SIZE_BYTES);
}

/** @param size the most that the block may have in it. @param before the bytes that it may refer to. */
export function unpackLz4(block: Buffer, size: number, before?: Buffer): Buffer {
  const sized = Buffer.alloc(SIZE_BYTES + block.length);
  sized.writeUInt32LE(size, 0);
  block.copy(sized, SIZE_BYTES);
  return uncompressSync(sized, before);
}
