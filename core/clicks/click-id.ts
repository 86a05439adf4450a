import { createCipheriv, createDecipheriv } from 'node:crypto';

/**
 * The click id is the public form of a click's identity: one AES-128 block
 * `ts:48 | node:16 | seq:32 | check:32` (big-endian), encrypted under a click key, in base64url: 22 characters.
 * It cannot be guessed or enumerated, and it proves itself without a look-up.
 */

/** A click's identity: Unix milliseconds, the node lease's number, the count within the lease. */
export interface ClickIdentity {
  readonly ts: number;
  readonly node: number;
  readonly seq: number;
}

/** `ts:node:seq`: a click's identity as the key of a map and in evidence. */
export function clickIdentityKey(id: ClickIdentity): string {
  return `${id.ts}:${id.node}:${id.seq}`;
}

export const CLICK_ID_BLOCK_BYTES = 16;
export const CLICK_ID_LENGTH = 22;

/** Fixed last word of the plain block: a forged id decrypts to it with probability 2⁻³². */
const CHECK = 0xaff1c1dc;
const TWO_POW_32 = 0x1_0000_0000;

/** Writes the plain 16-byte block of one click at `offset`. */
export function writeClickIdBlock(target: Buffer, offset: number, id: ClickIdentity): void {
  target.writeUInt16BE(Math.floor(id.ts / TWO_POW_32), offset);
  target.writeUInt32BE(id.ts % TWO_POW_32, offset + 2);
  target.writeUInt16BE(id.node, offset + 6);
  target.writeUInt32BE(id.seq, offset + 8);
  target.writeUInt32BE(CHECK, offset + 12);
}

/** Base64 writes 3 bytes as 4 characters: a block with 2 bytes of 0 behind it begins and ends with a character. */
const PADDED_BLOCK_BYTES = 18;
const PADDED_ID_LENGTH = 24;

/** The id of block `index` in what {@link ClickIdCodec.encodeBlocks} made. */
export function clickIdAt(ids: string, index: number): string {
  const start = index * PADDED_ID_LENGTH;
  return ids.slice(start, start + CLICK_ID_LENGTH);
}

/** Click keys: 16 bytes each, the newest first. The newest encrypts, all decrypt. */
export type ClickKeys = readonly [Buffer, ...Buffer[]];

export interface ClickIdCodec {
  /**
   * The ids of `count` plain blocks, in one text: block `i`'s is {@link clickIdAt}. Encrypted and written as base64 at
   * once, because a call for each block costs many times the encryption.
   */
  encodeBlocks(blocks: Buffer, count: number): string;
  /** One id, for everything but the click path. */
  encode(id: ClickIdentity): string;
  /** The identity inside an id, or undefined when no key decrypts it: forged, damaged, or not an id at all. */
  decode(text: string): ClickIdentity | undefined;
}

export function createClickIdCodec(keys: ClickKeys): ClickIdCodec {
  const [newest] = keys;
  // ECB over independent single blocks is the block cipher itself: every plain block is unique by construction.
  const cipher = createCipheriv('aes-128-ecb', newest, null).setAutoPadding(false);
  const deciphers = keys.map((key) => createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false));

  function encodeBlocks(blocks: Buffer, count: number): string {
    const encrypted = cipher.update(blocks.subarray(0, count * CLICK_ID_BLOCK_BYTES));
    const padded = Buffer.alloc(count * PADDED_BLOCK_BYTES);
    for (let i = 0; i < count; i++) {
      const from = i * CLICK_ID_BLOCK_BYTES;
      const to = i * PADDED_BLOCK_BYTES;
      for (let at = 0; at < CLICK_ID_BLOCK_BYTES; at++) padded[to + at] = encrypted[from + at] ?? 0;
    }
    return padded.toString('base64url');
  }

  function encode(id: ClickIdentity): string {
    const block = Buffer.allocUnsafe(CLICK_ID_BLOCK_BYTES);
    writeClickIdBlock(block, 0, id);
    return clickIdAt(encodeBlocks(block, 1), 0);
  }

  function decode(text: string): ClickIdentity | undefined {
    if (text.length !== CLICK_ID_LENGTH) return undefined;
    const encrypted = Buffer.from(text, 'base64url');
    // Base64 has several spellings of 16 bytes (unused bits, other alphabet); only the canonical one is an id.
    if (encrypted.length !== CLICK_ID_BLOCK_BYTES || encrypted.toString('base64url') !== text)
      return undefined;
    for (const decipher of deciphers) {
      const block = decipher.update(encrypted);
      if (block.readUInt32BE(12) === CHECK) {
        return {
          ts: block.readUInt16BE(0) * TWO_POW_32 + block.readUInt32BE(2),
          node: block.readUInt16BE(6),
          seq: block.readUInt32BE(8),
        };
      }
    }
    return undefined;
  }

  return { encodeBlocks, encode, decode };
}
