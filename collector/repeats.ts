import { randomInt } from 'node:crypto';
import { FINGERPRINT_BYTES } from '../core/click-record.ts';

/**
 * Recognises a visitor who clicks a link again: the same address, fingerprint and link. Approximate, in bounded memory
 * (16 MiB): two generations of 64-bit hashes.
 *
 * A repeat is noticed for at least {@link REPEAT_WINDOW_MS} and at most twice as long, as long as fewer than
 * {@link GENERATION_CLICKS} distinct clicks come within the window; beyond that rate the window shrinks in proportion.
 * A full bucket forgets its oldest entry, and 2⁻⁶⁴ a comparison makes two visitors look like one.
 */
export interface Repeats {
  /** Notes a click, and says whether it had been noted before. Called for each click: no object is made. */
  note(linkId: number, ip: Uint8Array, encodedVisitor: Buffer, nowMs: number): boolean;
}

export const REPEAT_WINDOW_MS = 30_000;
/** Half of a generation's places, so that full buckets are rare. */
const GENERATION_CLICKS = 2 ** 19;
const PLACES = 2 * GENERATION_CLICKS;
const BUCKET_PLACES = 8;
const BUCKETS = PLACES / BUCKET_PLACES;
const WORDS_PER_PLACE = 2;
const MAX_SEED = 2 ** 32;

class Generation {
  readonly words = new Uint32Array(PLACES * WORDS_PER_PLACE);
  clicks = 0;
  startedAtMs = 0;

  has(a: number, b: number): boolean {
    const start = (a % BUCKETS) * BUCKET_PLACES * WORDS_PER_PLACE;
    const end = start + BUCKET_PLACES * WORDS_PER_PLACE;
    for (let i = start; i < end; i += WORDS_PER_PLACE) {
      if (this.words[i] === a && this.words[i + 1] === b) return true;
    }
    return false;
  }

  /** The newest of a bucket stands first. */
  add(a: number, b: number): void {
    const start = (a % BUCKETS) * BUCKET_PLACES * WORDS_PER_PLACE;
    const kept = (BUCKET_PLACES - 1) * WORDS_PER_PLACE;
    this.words.copyWithin(start + WORDS_PER_PLACE, start, start + kept);
    this.words[start] = a;
    this.words[start + 1] = b;
    this.clicks++;
  }

  restart(nowMs: number): void {
    this.words.fill(0);
    this.clicks = 0;
    this.startedAtMs = nowMs;
  }
}

export function createRepeats(): Repeats {
  // Drawn anew by each process, so that nobody can prepare collisions.
  const seedA = randomInt(MAX_SEED);
  const seedB = randomInt(MAX_SEED);
  let young = new Generation();
  let old = new Generation();

  function turn(nowMs: number): void {
    const elapsedMs = nowMs - young.startedAtMs;
    if (elapsedMs < REPEAT_WINDOW_MS && young.clicks < GENERATION_CLICKS) return;
    [young, old] = [old, young];
    young.restart(nowMs);
    if (elapsedMs >= 2 * REPEAT_WINDOW_MS) old.restart(nowMs);
  }

  return {
    note(linkId, ip, encodedVisitor, nowMs) {
      turn(nowMs);
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
      if (young.has(finish(a), finish(b))) return true;
      const isRepeat = old.has(finish(a), finish(b));
      young.add(finish(a), finish(b));
      return isRepeat;
    },
  };
}

function readWord(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)) >>>
    0
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
