import { randomInt } from 'node:crypto';
import { assert } from '../../core/errors.ts';

/**
 * Links by code in flat memory: a sixth of the bytes they take as objects, and nothing for the garbage collector to
 * walk. Rows lie one behind another in chunks; an open-addressing table of their places finds them.
 */

/** A link as it is stored. */
export interface StoredLink {
  readonly code: string;
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  readonly landingUrl: string;
  /** The routing as JSON; '': none. */
  readonly routing: string;
  /** The names that it passes on as JSON; '': those of its program. */
  readonly passParameters: string;
  readonly isActive: boolean;
  /** Unix milliseconds, or Infinity. */
  readonly expiresAtMs: number;
  /** 0: none. */
  readonly dailyClickCap: number;
}

/** Rows lie within one chunk, so the longest row (42 bytes, code, URL, routing, names) must fit one. */
export const CHUNK_BYTES = 1024 * 1024;

/** A row's fixed part, little-endian; then code, landing URL, routing and the names of
 * parameters in UTF-8, then padding to a multiple of 8. */
const Row = {
  size: 0,
  dailyClickCap: 4,
  /** program, campaign, affiliate, link: as in a click's row. */
  owner: 8,
  expiresAtMs: 24,
  flags: 32,
  codeBytes: 33,
  landingBytes: 34,
  routingBytes: 36,
  passBytes: 40,
  text: 42,
} as const;
const ACTIVE = 1;
/** Replaced by a longer row elsewhere. */
const DEAD = 2;

/** Places count units of 8 bytes over all chunks; 0 in the table is an empty slot, so a place is stored plus one. */
const UNIT = 8;
const UNITS_PER_CHUNK = CHUNK_BYTES / UNIT;
const FIRST_SLOTS = 1024;
/** Share of the slots in use at which the table doubles. */
const MAX_LOAD = 0.6;
/** Chunks are rewritten without their dead rows when these take this much, and half of all bytes. */
const COMPACT_FROM_BYTES = 16 * CHUNK_BYTES;

export class LinkTable {
  #chunks: Buffer[] = [];
  /** Bytes used of the last chunk. */
  #used = CHUNK_BYTES;
  #deadBytes = 0;
  #slots = new Uint32Array(FIRST_SLOTS);
  #size = 0;
  /** Drawn by each process, so that codes cannot be chosen to fall on one slot. */
  readonly #seed = randomInt(2 ** 32);

  get size(): number {
    return this.#size;
  }

  get(code: string): StoredLink | undefined {
    const place = this.#slots[this.#slotOf(code)] ?? 0;
    if (place === 0) return undefined;
    const { chunk, at } = this.#rowAt(place);
    const codeBytes = chunk[at + Row.codeBytes] ?? 0;
    const landingAt = at + Row.text + codeBytes;
    const routingAt = landingAt + chunk.readUInt16LE(at + Row.landingBytes);
    const passAt = routingAt + chunk.readUInt32LE(at + Row.routingBytes);
    return {
      code,
      programId: chunk.readUInt32LE(at + Row.owner),
      campaignId: chunk.readUInt32LE(at + Row.owner + 4),
      affiliateId: chunk.readUInt32LE(at + Row.owner + 8),
      linkId: chunk.readUInt32LE(at + Row.owner + 12),
      landingUrl: chunk.toString('utf8', landingAt, routingAt),
      routing: chunk.toString('utf8', routingAt, passAt),
      passParameters: chunk.toString('latin1', passAt, passAt + chunk.readUInt16LE(at + Row.passBytes)),
      isActive: ((chunk[at + Row.flags] ?? 0) & ACTIVE) !== 0,
      expiresAtMs: chunk.readDoubleLE(at + Row.expiresAtMs),
      dailyClickCap: chunk.readUInt32LE(at + Row.dailyClickCap),
    };
  }

  /** Adds a link, or replaces the one with its code. */
  set(link: StoredLink): void {
    const slot = this.#slotOf(link.code);
    const place = this.#slots[slot] ?? 0;
    const size = rowSize(link);
    if (place === 0) {
      this.#insert(slot, this.#append(size));
      this.#writeRow(this.#slots[slot] ?? 0, link, size);
      this.#growIfFull();
      return;
    }
    const { chunk, at } = this.#rowAt(place);
    const room = chunk.readUInt32LE(at);
    if (size <= room) {
      this.#writeRow(place, link, room);
      return;
    }
    chunk[at + Row.flags] = DEAD;
    this.#deadBytes += room;
    this.#slots[slot] = this.#append(size);
    this.#writeRow(this.#slots[slot] ?? 0, link, size);
    if (this.#deadBytes >= COMPACT_FROM_BYTES && this.#deadBytes >= (this.#chunks.length * CHUNK_BYTES) / 2) {
      this.#compact();
    }
  }

  /** The rows as they lie in memory, chunk by chunk; each is valid until the next change. */
  *chunks(): Generator<Buffer> {
    // A rewrite meanwhile leaves these chunks alone; chunks that are added meanwhile are seen.
    const chunks = this.#chunks;
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i] as Buffer;
      yield chunks === this.#chunks && i === chunks.length - 1 ? chunk.subarray(0, this.#used) : chunk;
    }
  }

  /** Adds the rows of a chunk of a table: what {@link chunks} gave. */
  addRows(rows: Buffer): void {
    for (let at = 0; at + Row.text <= rows.length; ) {
      const size = rows.readUInt32LE(at);
      if (size === 0) break;
      assert(size % UNIT === 0 && at + size <= rows.length, 'a row of links ends within its chunk');
      if (((rows[at + Row.flags] ?? 0) & DEAD) === 0) this.#addRow(rows.subarray(at, at + size));
      at += size;
    }
  }

  #addRow(row: Buffer): void {
    const code = row.toString('latin1', Row.text, Row.text + (row[Row.codeBytes] ?? 0));
    const slot = this.#slotOf(code);
    if (this.#slots[slot] !== 0) return;
    const place = this.#append(row.length);
    const { chunk, at } = this.#rowAt(place);
    row.copy(chunk, at);
    this.#insert(slot, place);
    this.#growIfFull();
  }

  #insert(slot: number, place: number): void {
    this.#slots[slot] = place;
    this.#size++;
  }

  /** Reserves `size` bytes and returns their place. */
  #append(size: number): number {
    if (this.#used + size > CHUNK_BYTES) {
      // Zeros: a size of 0 ends the rows of a chunk.
      this.#chunks.push(Buffer.alloc(CHUNK_BYTES));
      this.#used = 0;
    }
    const place = (this.#chunks.length - 1) * UNITS_PER_CHUNK + this.#used / UNIT + 1;
    this.#used += size;
    return place;
  }

  #rowAt(place: number): { chunk: Buffer; at: number } {
    const unit = place - 1;
    const chunk = this.#chunks[Math.floor(unit / UNITS_PER_CHUNK)];
    assert(chunk, 'a place of a link lies in a chunk');
    return { chunk, at: (unit % UNITS_PER_CHUNK) * UNIT };
  }

  #writeRow(place: number, link: StoredLink, size: number): void {
    const { chunk, at } = this.#rowAt(place);
    chunk.writeUInt32LE(size, at);
    chunk.writeUInt32LE(link.dailyClickCap, at + Row.dailyClickCap);
    chunk.writeUInt32LE(link.programId, at + Row.owner);
    chunk.writeUInt32LE(link.campaignId, at + Row.owner + 4);
    chunk.writeUInt32LE(link.affiliateId, at + Row.owner + 8);
    chunk.writeUInt32LE(link.linkId, at + Row.owner + 12);
    chunk.writeDoubleLE(link.expiresAtMs, at + Row.expiresAtMs);
    chunk[at + Row.flags] = link.isActive ? ACTIVE : 0;
    const codeBytes = chunk.write(link.code, at + Row.text, 'latin1');
    const landingBytes = chunk.write(link.landingUrl, at + Row.text + codeBytes);
    chunk[at + Row.codeBytes] = codeBytes;
    chunk.writeUInt16LE(landingBytes, at + Row.landingBytes);
    const routingAt = at + Row.text + codeBytes + landingBytes;
    const routingBytes = chunk.write(link.routing, routingAt);
    chunk.writeUInt32LE(routingBytes, at + Row.routingBytes);
    const passBytes = chunk.write(link.passParameters, routingAt + routingBytes, 'latin1');
    chunk.writeUInt16LE(passBytes, at + Row.passBytes);
  }

  /** The slot of a code, or the empty one where it belongs. */
  #slotOf(code: string): number {
    const mask = this.#slots.length - 1;
    for (let slot = hashOf(code, this.#seed) & mask; ; slot = (slot + 1) & mask) {
      const place = this.#slots[slot] ?? 0;
      if (place === 0 || this.#holds(place, code)) return slot;
    }
  }

  #holds(place: number, code: string): boolean {
    const { chunk, at } = this.#rowAt(place);
    if (chunk[at + Row.codeBytes] !== code.length) return false;
    for (let i = 0; i < code.length; i++) {
      if (chunk[at + Row.text + i] !== code.charCodeAt(i)) return false;
    }
    return true;
  }

  #growIfFull(): void {
    if (this.#size < this.#slots.length * MAX_LOAD) return;
    const places = this.#slots.filter((place) => place !== 0);
    this.#slots = new Uint32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (const place of places) {
      const { chunk, at } = this.#rowAt(place);
      const textAt = at + Row.text;
      const code = chunk.toString('latin1', textAt, textAt + (chunk[at + Row.codeBytes] ?? 0));
      let slot = hashOf(code, this.#seed) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = place;
    }
  }

  #compact(): void {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#used = CHUNK_BYTES;
    this.#slots = new Uint32Array(this.#slots.length);
    this.#size = 0;
    this.#deadBytes = 0;
    for (const chunk of chunks) this.addRows(chunk);
  }
}

function rowSize(link: StoredLink): number {
  const { code, landingUrl, routing, passParameters } = link;
  const texts = code.length + Buffer.byteLength(landingUrl) + Buffer.byteLength(routing);
  const bytes = Row.text + texts + passParameters.length;
  assert(bytes <= CHUNK_BYTES, 'a link fits a chunk');
  return Math.ceil(bytes / UNIT) * UNIT;
}

/** FNV-1a with a seed, and the end of MurmurHash3, so that the low bits depend on every character. */
function hashOf(code: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < code.length; i++) hash = Math.imul(hash ^ code.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  return hash >>> 0;
}
