import { type FileHandle, mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlockRow } from '../../core/blocks/block.ts';
import { crc32c } from '../../core/crc32c.ts';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { LinkSet, Parties } from './link-set.ts';
import { CHUNK_BYTES } from './link-table.ts';

/**
 * The links on the local disk, so that a collector can start while PostgreSQL is unavailable.
 *
 * A file is the magic and then sections `kind u32 | bytes u32 | crc32c u32 | content`, little-endian: chunks of the
 * table's rows, block list entries as JSON, and last the other parties as JSON. Without that last section the file is not
 * whole.
 */

const MAGIC = Buffer.from('AFXLNK02', 'latin1');
const SECTION_HEADER_BYTES = 12;
const ROWS = 1;
const PARTIES = 2;
const BLOCKS = 3;
/** Of one section: to write them as one text would hold up clicks. */
const BLOCKS_A_SECTION = 1_000;
/** More than any set of programs, campaigns and affiliates takes; a damaged length must not allocate all memory. */
const MAX_PARTIES_BYTES = 256 * 1024 * 1024;

interface Trailer extends Parties {
  /** Unix milliseconds at which this was the state of PostgreSQL. */
  readonly freshAtMs: number;
}

/** Writes a new file beside the old one and renames it, so that there is always a whole one. */
export async function writeLinkSnapshot(options: {
  file: string;
  set: Pick<LinkSet, 'table' | 'parties' | 'blocks'>;
  freshAtMs: number;
}): Promise<void> {
  const { file, set, freshAtMs } = options;
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(`${file}.new`, 'w');
  try {
    await handle.write(MAGIC);
    // A copy, because links may change during the write. A changed link is newer than freshAtMs, never older.
    const copy = Buffer.allocUnsafe(CHUNK_BYTES);
    for (const chunk of set.table.chunks()) {
      const bytes = chunk.copy(copy);
      await writeSection(handle, ROWS, copy.subarray(0, bytes));
    }
    const blocks = [...set.blocks.rows()];
    for (let at = 0; at < blocks.length; at += BLOCKS_A_SECTION) {
      const part = JSON.stringify(blocks.slice(at, at + BLOCKS_A_SECTION));
      await writeSection(handle, BLOCKS, Buffer.from(part));
    }
    const trailer: Trailer = { ...set.parties(), freshAtMs };
    await writeSection(handle, PARTIES, Buffer.from(JSON.stringify(trailer)));
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.new`, file);
}

async function writeSection(handle: FileHandle, kind: number, content: Buffer): Promise<void> {
  const header = Buffer.allocUnsafe(SECTION_HEADER_BYTES);
  header.writeUInt32LE(kind, 0);
  header.writeUInt32LE(content.length, 4);
  header.writeUInt32LE(crc32c(content, crc32c(header.subarray(0, 8))), 8);
  await handle.writev([header, content]);
}

/**
 * Reads a snapshot into an empty set; returns its age, or undefined when there is no file.
 * @throws OperatingError `snapshot_damaged`; the set is then of no use.
 */
export async function readLinkSnapshot(options: {
  file: string;
  set: LinkSet;
}): Promise<{ freshAtMs: number } | undefined> {
  const { file, set } = options;
  let handle: FileHandle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw damaged(file, errorText(error));
  }
  try {
    const magic = await readExactly(handle, MAGIC.length, file);
    if (!magic.equals(MAGIC)) throw damaged(file, 'wrong magic bytes');
    for (;;) {
      const { kind, content } = await readSection(handle, file);
      if (kind === ROWS) {
        set.table.addRows(content);
        continue;
      }
      if (kind === BLOCKS) {
        for (const row of JSON.parse(content.toString()) as BlockRow[]) set.blocks.put(row);
        continue;
      }
      const trailer = JSON.parse(content.toString()) as Trailer;
      for (const row of trailer.programs) set.putProgram(row);
      for (const row of trailer.campaigns) set.putCampaign(row);
      for (const row of trailer.affiliates) set.putAffiliate(row);
      return { freshAtMs: trailer.freshAtMs };
    }
  } finally {
    await handle.close();
  }
}

async function readSection(handle: FileHandle, file: string): Promise<{ kind: number; content: Buffer }> {
  const header = await readExactly(handle, SECTION_HEADER_BYTES, file);
  const kind = header.readUInt32LE(0);
  const bytes = header.readUInt32LE(4);
  const limit = kind === ROWS ? CHUNK_BYTES : MAX_PARTIES_BYTES;
  if (![ROWS, PARTIES, BLOCKS].includes(kind) || bytes > limit) throw damaged(file, 'invalid section header');
  const content = await readExactly(handle, bytes, file);
  if (crc32c(content, crc32c(header.subarray(0, 8))) !== header.readUInt32LE(8)) {
    throw damaged(file, 'checksum mismatch');
  }
  return { kind, content };
}

async function readExactly(handle: FileHandle, bytes: number, file: string): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  for (let read = 0; read < bytes; ) {
    const { bytesRead } = await handle.read(buffer, read, bytes - read);
    if (bytesRead === 0) throw damaged(file, 'truncated');
    read += bytesRead;
  }
  return buffer;
}

function damaged(file: string, reason: string): OperatingError {
  return new OperatingError('snapshot_damaged', `cannot use ${file}: ${reason}`);
}
