import type { FileHandle } from 'node:fs/promises';
import { MAX_BATCH_BYTES } from '../../core/clicks/stream.ts';
import { crc32c } from '../../core/crc32c.ts';

/**
 * The bytes of a spool segment: records one after another, each a header of 32 bytes and a batch's payload.
 *
 * | offset | type | field |
 * |---|---|---|
 * | 0 | u32 | magic |
 * | 4 | u32 | CRC-32C of everything behind it |
 * | 8 | u32 | payload bytes |
 * | 12 | u32 | first seq |
 * | 16 | u64 | Unix milliseconds of the oldest click |
 * | 24 | u16 | click record version |
 * | 26 | u16 | node |
 * | 28 | u16 | rows |
 * | 30 | u16 | zero |
 */

/** A batch on its way to the stream, directly or through the spool. */
export interface Batch {
  readonly version: number;
  readonly node: number;
  readonly firstSeq: number;
  readonly rows: number;
  /** Unix milliseconds of its oldest click. */
  readonly oldestTs: number;
  readonly payload: Buffer;
}

const MAGIC = 0x50534641;
const MAGIC_BYTES = Buffer.from('AFSP', 'latin1');
export const RECORD_HEADER_BYTES = 32;

/** The header of a batch's record; the payload follows unchanged. */
export function encodeRecordHeader(batch: Batch): Buffer {
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(batch.payload.length, 8);
  header.writeUInt32LE(batch.firstSeq, 12);
  header.writeBigUInt64LE(BigInt(batch.oldestTs), 16);
  header.writeUInt16LE(batch.version, 24);
  header.writeUInt16LE(batch.node, 26);
  header.writeUInt16LE(batch.rows, 28);
  header.writeUInt32LE(crc32c(batch.payload, crc32c(header.subarray(8))), 4);
  return header;
}

/** A part of a segment, in the order of its bytes. */
export type SegmentPart =
  | { readonly kind: 'record'; readonly batch: Batch; readonly end: number }
  /** Bytes that are no whole record, up to the next one or to the end. */
  | { readonly kind: 'damage'; readonly offset: number; readonly length: number; readonly atEnd: boolean };

/**
 * Reads a segment from a record that begins at `from` up to `to`. Damaged bytes are reported and skipped: no whole record behind
 * them is lost. Zeros at the end are room that was written ahead.
 */
export async function* readSegment(file: FileHandle, from: number, to: number): AsyncGenerator<SegmentPart> {
  let offset = from;
  while (offset < to) {
    const batch = await readRecord(file, offset, to);
    if (batch) {
      offset += RECORD_HEADER_BYTES + batch.payload.length;
      yield { kind: 'record', batch, end: offset };
      continue;
    }
    const rest = await readAt(file, offset, to - offset);
    const written = lengthWithoutZeros(rest);
    if (written === 0) return;
    const next = await findRecord(file, { rest, offset, to });
    yield { kind: 'damage', offset, length: next ?? written, atEnd: next === undefined };
    if (next === undefined) return;
    offset += next;
  }
}

function lengthWithoutZeros(bytes: Buffer): number {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  return length;
}

async function readRecord(file: FileHandle, offset: number, to: number): Promise<Batch | undefined> {
  if (offset + RECORD_HEADER_BYTES > to) return undefined;
  const header = await readAt(file, offset, RECORD_HEADER_BYTES);
  const length = header.readUInt32LE(8);
  if (header.readUInt32LE(0) !== MAGIC || length > MAX_BATCH_BYTES) return undefined;
  if (offset + RECORD_HEADER_BYTES + length > to) return undefined;
  const payload = await readAt(file, offset + RECORD_HEADER_BYTES, length);
  if (crc32c(payload, crc32c(header.subarray(8))) !== header.readUInt32LE(4)) return undefined;
  return {
    version: header.readUInt16LE(24),
    node: header.readUInt16LE(26),
    firstSeq: header.readUInt32LE(12),
    rows: header.readUInt16LE(28),
    oldestTs: Number(header.readBigUInt64LE(16)),
    payload,
  };
}

/** Where in `rest`, the bytes from `offset` on, the next whole record begins. */
async function findRecord(
  file: FileHandle,
  { rest, offset, to }: { rest: Buffer; offset: number; to: number },
): Promise<number | undefined> {
  for (let at = rest.indexOf(MAGIC_BYTES, 1); at >= 0; at = rest.indexOf(MAGIC_BYTES, at + 1)) {
    if (await readRecord(file, offset + at, to)) return at;
  }
  return undefined;
}

/** @throws Error where the disk gives fewer bytes: taken for the end of the file, they would be damage, and cut off. */
async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  for (let have = 0; have < length; ) {
    const { bytesRead } = await file.read(buffer, have, length - have, offset + have);
    if (bytesRead === 0) throw new Error(`the disk gave ${have} of ${length} bytes at ${offset}`);
    have += bytesRead;
  }
  return buffer;
}
