import { randomInt } from 'node:crypto';
import { FINGERPRINT_BYTES } from '../../core/clicks/click-record.ts';

/**
 * Recognises a visitor who clicks a link again: the same address, fingerprint and link as a click at most
 * {@link REPEAT_WINDOW_MS} ago. Approximate, in bounded memory (8 MiB) that is read in one place per click.
 *
 * A full bucket forgets its oldest entry: above some 17,000 distinct clicks a second the window shrinks. Two visitors
 * look like one with a probability of 2⁻⁴⁹ a comparison.
 */
export interface Repeats {
  /** Notes a click; returns whether it repeats an earlier one. Called for each click, so it allocates nothing. */
  note(linkId: number, ip: Uint8Array, encodedVisitor: Buffer, nowMs: number): boolean;
}

export const REPEAT_WINDOW_MS = 30_000;
/** A bucket is one cache line: 8 places of a tag and a time. */
const BUCKETS = 2 ** 17;
const BUCKET_PLACES = 8;
const WORDS_PER_PLACE = 2;
const BUCKET_WORDS = BUCKET_PLACES * WORDS_PER_PLACE;
const MAX_SEED = 2 ** 32;

export function createRepeats(): Repeats {
  // Drawn by each process, so that collisions cannot be prepared.
  const seedA = randomInt(MAX_SEED);
  const seedB = randomInt(MAX_SEED);
  /** By place: tag, and the low 32 bits of the milliseconds. */
  const words = new Uint32Array(BUCKETS * BUCKET_WORDS);

  return {
    note(linkId, ip, encodedVisitor, nowMs) {
      let a = mix(seedA, linkId);
      let b = mix(seedB, linkId);
      for (let at = 0; at < ip.length; at += 4) {
        const word = readWord(ip, at);
        a = mix(a, word);
        b = mix(b, word);
      }
      for (let at = 0; at < FINGERPRINT_BYTES; at += 4) {
        const word = readWord(encodedVisitor, at);
        a = mix(a, word);
        b = mix(b, word);
      }
      const tag = finish(b);
      const now = nowMs >>> 0;
      const start = (finish(a) % BUCKETS) * BUCKET_WORDS;
      let place = start;
      let greatestAge = -1;
      for (let at = start; at < start + BUCKET_WORDS; at += WORDS_PER_PLACE) {
        // Unsigned, so that it stays right when the 32 bits wrap.
        const age = (now - (words[at + 1] ?? 0)) >>> 0;
        if (words[at] === tag && age <= REPEAT_WINDOW_MS) {
          words[at + 1] = now;
          return true;
        }
        if (age > greatestAge) {
          greatestAge = age;
          place = at;
        }
      }
      words[place] = tag;
      words[place + 1] = now;
      return false;
    },
  };
}

function readWord(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

/** A step and the end of MurmurHash3 (x86, 32 bits): https://github.com/aappleby/smhasher. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  let h = hash ^ Math.imul(k, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
