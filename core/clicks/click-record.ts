import { Buffer } from 'node:buffer';
import { OperatingError } from '../errors.ts';

/**
 * The click record: one definition gives the column order, the ClickHouse types and codecs, the RowBinary encoder
 * and the decoder. The collector writes each click once as the row ClickHouse will read; nothing re-encodes it.
 *
 * RowBinary: https://clickhouse.com/docs/interfaces/formats/RowBinary. Integers are little-endian, a String is a
 * LEB128 length and its bytes, IPv6 is 16 bytes in network order, DateTime64(3) is a signed 64-bit millisecond count.
 */

/**
 * Version of this record in the header of every batch. A change of columns is a new version, and the columns before
 * the change become the loader's previous layout (warehouse/loader/layouts.ts).
 */
export const CLICK_RECORD_VERSION = 1;

/** Bits of the `flags` column. What is redirected is always recorded; the flags say what it was. */
export const ClickFlag = {
  /** The User-Agent names a robot. */
  bot: 1 << 0,
  /** Fetched ahead of a click: a HEAD request or a pixel; links refuse it, and did not in 1.0.0-alpha.1. */
  prefetch: 1 << 1,
  /** A HEAD request: a link preview or a checker. */
  head: 1 << 2,
  /** The same visitor clicked the same link moments ago. */
  repeat: 1 << 3,
  /** The link or its campaign is paused. */
  paused: 1 << 4,
  /** The link or its campaign has expired. */
  expired: 1 << 5,
  /** The affiliate is not active. */
  suspended: 1 << 6,
  /** The visitor was sent to the fallback URL instead of the landing page. */
  fallback: 1 << 7,
  /** Not a click at all: the impression pixel was loaded. */
  impression: 1 << 8,
  /** The link or its campaign has reached its daily cap. */
  capped: 1 << 9,
  /** `DNT` or `Sec-GPC` was set and the program honours it: no cookie, address shortened. */
  optedOut: 1 << 10,
  /** `Sec-Fetch-Dest`, `Sec-Fetch-Mode`: a page loaded the link as an image, a frame or the like; no person clicked. */
  forced: 1 << 11,
  /** Its address had more clicks in the minute than people make; stored with its texts cut. */
  flood: 1 << 12,
  /** An entry of the block lists was in force for it (core/blocks). */
  blocked: 1 << 13,
} as const;

/** Flags that make a click invalid in reports: it is stored and shown, and never paid. */
export const INVALID_CLICK_FLAGS =
  ClickFlag.bot |
  ClickFlag.prefetch |
  ClickFlag.head |
  ClickFlag.paused |
  ClickFlag.expired |
  ClickFlag.suspended |
  ClickFlag.impression |
  ClickFlag.capped |
  ClickFlag.forced |
  ClickFlag.flood |
  ClickFlag.blocked;

/** One click with every column as a JavaScript value. */
export interface ClickRecord {
  /** Unix milliseconds at the collector. */
  ts: number;
  /** Number of the collector's node lease, 16 bits. */
  node: number;
  /** Count within the lease from 0, without gaps, 32 bits. */
  seq: number;
  program_id: number;
  campaign_id: number;
  affiliate_id: number;
  link_id: number;
  /** 16 bytes in network order; IPv4 is mapped (::ffff:a.b.c.d). */
  ip: Buffer;
  /** Bits of {@link ClickFlag}. */
  flags: number;
  /** Number of the routing rule that chose the destination, counting from 1; 0: none, the link's own landing page. */
  rule: number;
  /** Which of several weighted destinations was drawn, counting from 0. */
  destination: number;
  /** First 64 bits of SHA-256 of `User-Agent:Accept-Language`. */
  fingerprint: bigint;
  user_agent: string;
  /** desktop, mobile, tablet, tv, bot or unknown. */
  device: string;
  os: string;
  browser: string;
  /** First tag of Accept-Language, such as "en-GB". */
  language: string;
  referrer: string;
  sub1: string;
  sub2: string;
  sub3: string;
  sub4: string;
  sub5: string;
  utm_source: string;
  utm_medium: string;
  utm_campaign: string;
  utm_term: string;
  utm_content: string;
  /** What remains of the query string after sub1–5 and UTM, still encoded. */
  query: string;
}

type Kind = 'ms' | 'u16' | 'u32' | 'u64' | 'ip' | 'string';

/** What the bytes of a row say about one column. */
export interface ColumnLayout {
  readonly name: string;
  readonly kind: Kind;
}

interface ClickColumn extends ColumnLayout {
  readonly name: keyof ClickRecord;
  readonly type: string;
  readonly codec: string;
}

const column = (name: keyof ClickRecord, kind: Kind, type: string, codec: string): ClickColumn => ({
  name,
  kind,
  type,
  codec,
});
const text = (name: keyof ClickRecord): ClickColumn => column(name, 'string', 'String', 'ZSTD(1)');
const word = (name: keyof ClickRecord): ClickColumn =>
  column(name, 'string', 'LowCardinality(String)', 'ZSTD(1)');

/** Time, and place within the lease: written for each click. */
const IDENTITY = [
  column('ts', 'ms', "DateTime64(3, 'UTC')", 'Delta, ZSTD(1)'),
  column('node', 'u16', 'UInt16', 'ZSTD(1)'),
  column('seq', 'u32', 'UInt32', 'Delta, ZSTD(1)'),
];
/** Who is credited: {@link ClickOwner}. */
const OWNER = [
  column('program_id', 'u32', 'UInt32', 'ZSTD(1)'),
  column('campaign_id', 'u32', 'UInt32', 'ZSTD(1)'),
  column('affiliate_id', 'u32', 'UInt32', 'T64, ZSTD(1)'),
  column('link_id', 'u32', 'UInt32', 'T64, ZSTD(1)'),
];
const REQUEST = [
  column('ip', 'ip', 'IPv6', 'ZSTD(1)'),
  column('flags', 'u32', 'UInt32', 'T64, ZSTD(1)'),
  column('rule', 'u16', 'UInt16', 'ZSTD(1)'),
  column('destination', 'u16', 'UInt16', 'ZSTD(1)'),
];
/** Derived from User-Agent and Accept-Language: the same bytes for every click with these headers. */
const VISITOR = [
  column('fingerprint', 'u64', 'UInt64', 'ZSTD(1)'),
  word('user_agent'),
  word('device'),
  word('os'),
  word('browser'),
  word('language'),
];
const TRAFFIC = [
  text('referrer'),
  text('sub1'),
  text('sub2'),
  text('sub3'),
  text('sub4'),
  text('sub5'),
  word('utm_source'),
  word('utm_medium'),
  word('utm_campaign'),
  text('utm_term'),
  text('utm_content'),
  text('query'),
];

/** The columns of a row, in the order of its bytes. */
export const CLICK_COLUMNS: readonly ClickColumn[] = [
  ...IDENTITY,
  ...OWNER,
  ...REQUEST,
  ...VISITOR,
  ...TRAFFIC,
];

/** `(ts, node, …)` for INSERT. */
export const CLICK_COLUMN_LIST = `(${CLICK_COLUMNS.map((c) => c.name).join(', ')})`;

const ROW_TYPES: Readonly<Record<Kind, string>> = {
  ms: "DateTime64(3, 'UTC')",
  u16: 'UInt16',
  u32: 'UInt32',
  u64: 'UInt64',
  ip: 'IPv6',
  string: 'String',
};

/** `ts DateTime64(3, 'UTC'), node UInt16, …`: the types of a row's bytes, for ClickHouse's `input()`. */
export const CLICK_ROW_STRUCTURE = CLICK_COLUMNS.map((c) => `${c.name} ${ROW_TYPES[c.kind]}`).join(', ');

const FIXED_BYTES: Readonly<Record<Kind, number>> = { ms: 8, u16: 2, u32: 4, u64: 8, ip: 16, string: 0 };

const TWO_POW_32 = 0x1_0000_0000;

/** Longest text whose LEB128 length takes one byte. */
const ONE_BYTE_LENGTH = 0x7f;

function writeString(target: Buffer, offset: number, value: string): number {
  const chars = value.length;
  if (chars === 0) {
    target[offset] = 0;
    return offset + 1;
  }
  if (chars <= ONE_BYTE_LENGTH) {
    // For a short ASCII text a loop is faster than the two calls into the runtime below.
    let i = 0;
    for (; i < chars; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) break;
      target[offset + 1 + i] = code;
    }
    if (i === chars) {
      target[offset] = chars;
      return offset + 1 + chars;
    }
  }
  let length = Buffer.byteLength(value);
  let at = offset;
  while (length > ONE_BYTE_LENGTH) {
    target[at++] = (length & 0x7f) | 0x80;
    length >>>= 7;
  }
  target[at++] = length;
  return at + target.write(value, at);
}

function writeIdentity(target: Buffer, offset: number, ts: number, node: number, seq: number): number {
  target.writeUInt32LE(ts % TWO_POW_32, offset);
  target.writeUInt32LE(Math.floor(ts / TWO_POW_32), offset + 4);
  target.writeUInt16LE(node, offset + 8);
  target.writeUInt32LE(seq, offset + 10);
  return offset + 14;
}

/** The fingerprint is the head of a visitor segment, little-endian. */
export const FINGERPRINT_BYTES = 8;

/** The link of a click, and who is credited for it. */
export interface ClickOwner {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
}

/** What {@link writeClick} writes: {@link ClickRecord} as the collector has it, the visitor's columns encoded already. */
export interface ClickRow {
  readonly ts: number;
  /** Node and seq are given when the click joins its batch. */
  node: number;
  seq: number;
  readonly link: ClickOwner;
  /** 16 bytes in network order. */
  readonly ip: Uint8Array;
  readonly flags: number;
  readonly rule: number;
  readonly destination: number;
  /** From {@link encodeVisitor}. */
  readonly encodedVisitor: Buffer;
  /** The strings of the last columns in order: referrer, sub1–5, UTM ×5, query. */
  readonly traffic: readonly string[];
}

export const TRAFFIC_COLUMN_COUNT = TRAFFIC.length;

const OWNER_BYTES = 4 * 4;
const IP_BYTES = 16;

/** Bytes a row can take at the most beside its visitor segment and traffic strings. */
export const CLICK_FIXED_BYTES = 14 + OWNER_BYTES + IP_BYTES + 4 + 2 + 2;

/** An upper bound of a click's encoded size, cheap to compute: 3 bytes a UTF-16 unit and 3 of length a string. */
export function clickSizeBound(visitor: Buffer, traffic: readonly string[]): number {
  let chars = 0;
  for (let i = 0; i < traffic.length; i++) chars += traffic[i]?.length ?? 0;
  return CLICK_FIXED_BYTES + visitor.length + 3 * chars + 3 * traffic.length;
}

/** The bytes of the columns that follow from the User-Agent and Accept-Language headers. */
export function encodeVisitor(
  visitor: Pick<ClickRecord, 'fingerprint' | 'user_agent' | 'device' | 'os' | 'browser' | 'language'>,
): Buffer {
  return encodeColumns(VISITOR, visitor as ClickRecord);
}

/**
 * Writes one row at `offset` and returns the offset behind it.
 * The caller has checked, with {@link clickSizeBound}, that it fits.
 */
export function writeClick(target: Buffer, offset: number, click: ClickRow): number {
  let at = writeIdentity(target, offset, click.ts, click.node, click.seq);
  const { link, ip, encodedVisitor, traffic } = click;
  target.writeUInt32LE(link.programId, at);
  target.writeUInt32LE(link.campaignId, at + 4);
  target.writeUInt32LE(link.affiliateId, at + 8);
  target.writeUInt32LE(link.linkId, at + 12);
  at += OWNER_BYTES;
  // For so few bytes a loop is faster than a call into the runtime.
  for (let i = 0; i < IP_BYTES; i++) target[at + i] = ip[i] ?? 0;
  at += IP_BYTES;
  target.writeUInt32LE(click.flags, at);
  target.writeUInt16LE(click.rule, at + 4);
  target.writeUInt16LE(click.destination, at + 6);
  at += 8;
  target.set(encodedVisitor, at);
  at += encodedVisitor.length;
  for (let i = 0; i < traffic.length; i++) at = writeString(target, at, traffic[i] ?? '');
  return at;
}

function encodeColumns(columns: readonly ClickColumn[], record: ClickRecord): Buffer {
  let size = 0;
  for (const { name, kind } of columns) {
    size += kind === 'string' ? 5 + 3 * (record[name] as string).length : FIXED_BYTES[kind];
  }
  const target = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { name, kind } of columns) {
    const value = record[name];
    if (kind === 'string') {
      at = writeString(target, at, value as string);
      continue;
    }
    if (kind === 'ms') target.writeBigInt64LE(BigInt(value as number), at);
    else if (kind === 'u16') target.writeUInt16LE(value as number, at);
    else if (kind === 'u32') target.writeUInt32LE(value as number, at);
    else if (kind === 'u64') target.writeBigUInt64LE(value as bigint, at);
    else target.set(value as Buffer, at);
    at += FIXED_BYTES[kind];
  }
  return Buffer.from(target.subarray(0, at));
}

/** One whole row from a record: for tests, generators and dead letters; the collector uses {@link writeClick}. */
export function encodeClick(record: ClickRecord): Buffer {
  return encodeColumns(CLICK_COLUMNS, record);
}

function malformed(reason: string): OperatingError {
  return new OperatingError('malformed_batch', `the batch does not decode: ${reason}`);
}

/** Walks RowBinary bytes; every read checks the bounds. */
class RowReader {
  readonly #bytes: Buffer;
  offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Moves over `length` bytes and returns where they began. */
  skip(length: number): number {
    const start = this.offset;
    if (start + length > this.#bytes.length) {
      throw malformed(`${length} bytes wanted at offset ${start} of ${this.#bytes.length}`);
    }
    this.offset = start + length;
    return start;
  }

  stringLength(): number {
    let length = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.skip(1)] ?? 0;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return length;
    }
    throw malformed(`a string length of more than 4 bytes at offset ${this.offset}`);
  }

  value(kind: Kind): number | bigint | Buffer | string {
    const bytes = this.#bytes;
    if (kind === 'string') {
      const length = this.stringLength();
      const start = this.skip(length);
      return bytes.toString('utf8', start, start + length);
    }
    const start = this.skip(FIXED_BYTES[kind]);
    if (kind === 'ms') return Number(bytes.readBigInt64LE(start));
    if (kind === 'u16') return bytes.readUInt16LE(start);
    if (kind === 'u32') return bytes.readUInt32LE(start);
    if (kind === 'u64') return bytes.readBigUInt64LE(start);
    return Buffer.from(bytes.subarray(start, start + 16));
  }
}

/**
 * Decodes a batch's payload of exactly `rows` rows.
 * @throws OperatingError `malformed_batch` when bytes are missing or left over.
 */
export function decodeClicks(payload: Buffer, rows: number): ClickRecord[] {
  return decodeColumns(CLICK_COLUMNS, payload, rows) as unknown as ClickRecord[];
}

/** {@link decodeClicks} for any layout of a row: the values by column name. */
export function decodeColumns(
  columns: readonly ColumnLayout[],
  payload: Buffer,
  rows: number,
): Record<string, unknown>[] {
  const reader = new RowReader(payload);
  const decoded: Record<string, unknown>[] = [];
  for (let row = 0; row < rows; row++) {
    const values: Record<string, unknown> = {};
    for (const { name, kind } of columns) values[name] = reader.value(kind);
    decoded.push(values);
  }
  if (reader.offset !== payload.length) throw malformed(`${payload.length - reader.offset} bytes left over`);
  return decoded;
}

/** What follows the identity in a row, as pairs: bytes of fixed columns, then how many strings. */
const ROW_RUNS: readonly (readonly [fixedBytes: number, strings: number])[] = (() => {
  const runs: [number, number][] = [[0, 0]];
  for (const { kind } of CLICK_COLUMNS.slice(IDENTITY.length)) {
    const last = runs.at(-1) as [number, number];
    if (kind === 'string') last[1]++;
    else if (last[1] === 0) last[0] += FIXED_BYTES[kind];
    else runs.push([FIXED_BYTES[kind], 0]);
  }
  return runs;
})();

/**
 * Checks, without building records, that a payload holds exactly `rows` rows of one lease that count up from `firstSeq`.
 * Returns the least and the greatest click time in it, Unix milliseconds.
 * It is the loader's hottest loop: whole runs of fixed columns are skipped at once, and only a length of more than one
 * byte leaves it.
 * @throws OperatingError `malformed_batch`.
 */
export function checkBatch(
  payload: Buffer,
  expected: { node: number; firstSeq: number; rows: number },
): { minTs: number; maxTs: number } {
  const reader = new RowReader(payload);
  const end = payload.length;
  let minTs = Number.POSITIVE_INFINITY;
  let maxTs = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < expected.rows; row++) {
    const start = reader.skip(14);
    const ts = payload.readInt32LE(start + 4) * TWO_POW_32 + payload.readUInt32LE(start);
    if (ts < minTs) minTs = ts;
    if (ts > maxTs) maxTs = ts;
    const node = payload.readUInt16LE(start + 8);
    const seq = payload.readUInt32LE(start + 10);
    if (node !== expected.node || seq !== expected.firstSeq + row) {
      throw malformed(`row ${row} is ${node}:${seq}, not ${expected.node}:${expected.firstSeq + row}`);
    }
    for (const [fixedBytes, strings] of ROW_RUNS) {
      let at = reader.skip(fixedBytes) + fixedBytes;
      for (let i = 0; i < strings; i++) {
        // Undefined behind the end, which the reader detects.
        const length = payload[at] as number;
        if (length < 0x80) at += 1 + length;
        else {
          reader.offset = at;
          reader.skip(reader.stringLength());
          at = reader.offset;
        }
      }
      if (at > end) throw malformed(`row ${row} ends ${at - end} bytes behind the batch`);
      reader.offset = at;
    }
  }
  if (reader.offset !== payload.length) throw malformed(`${payload.length - reader.offset} bytes left over`);
  return { minTs, maxTs };
}
