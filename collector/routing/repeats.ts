import { randomInt } from 'node:crypto';
import { FINGERPRINT_BYTES } from '../../core/clicks/click-record.ts';
import { finish, MAX_SEED, mix, readWord } from '../request/hash.ts';

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

export function createRepeats(): Repeats {
  const seedA = randomInt(MAX_SEED);
  const seedB = randomInt(MAX_SEED);
  /** By place: tag, and the low 32 bits of the milliseconds. */
  const words = new Uint32Array(BUCKETS * BUCKET_WORDS);

  return {
    note(linkId, ip, encodedVisitor, nowMs) {
      let a = mix(seedA, linkId);
      let b = mix(seedB, linkId);
      for (let at = 0; at < ip.length; at += 4) {
        const word = readWord(ip, at, ip.length);
        a = mix(a, word);
        b = mix(b, word);
      }
      for (let at = 0; at < FINGERPRINT_BYTES; at += 4) {
        const word = readWord(encodedVisitor, at, FINGERPRINT_BYTES);
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
