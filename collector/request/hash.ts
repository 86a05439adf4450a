/** Hashes of the keys of fixed tables, 32 bits: steps and end of MurmurHash3 (x86), https://github.com/aappleby/smhasher. */

/** Seeds are drawn below this by each process, so that collisions cannot be prepared. */
export const MAX_SEED = 2 ** 32;

/** Four bytes from `at`, little-endian; 0 for those at or behind `end`. */
export function readWord(bytes: Uint8Array, at: number, end: number): number {
  return (
    (at < end ? (bytes[at] ?? 0) : 0) |
    ((at + 1 < end ? (bytes[at + 1] ?? 0) : 0) << 8) |
    ((at + 2 < end ? (bytes[at + 2] ?? 0) : 0) << 16) |
    ((at + 3 < end ? (bytes[at + 3] ?? 0) : 0) << 24)
  );
}

export function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  let h = hash ^ Math.imul(k, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
