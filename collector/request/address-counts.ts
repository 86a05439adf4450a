import { randomInt } from 'node:crypto';
import { createNetworkMatcher, isMappedIpv4, networkBytes } from '../../core/ip.ts';
import { finish, MAX_SEED, mix, readWord } from './hash.ts';

/** How much of an address is counted: one subscriber (IPv4 whole, IPv6 /64), or one network (/24, /48). */
export type AddressPart = 'subscriber' | 'network';

const IPV4_BYTES = 16;
const IPV6_SUBSCRIBER_BYTES = 8;

/** A bucket is one cache line: 5 places of tag, period and count, and a word that stays empty. */
const BUCKET_PLACES = 5;
const WORDS_PER_PLACE = 3;
const BUCKET_WORDS = 16;

/**
 * Counts what comes from addresses within a period, in fixed memory (64 bytes a bucket). A full bucket forgets a count
 * of an earlier period, else its smallest: those that come often are kept. Two keys are taken for one with a probability
 * of 2⁻³² a comparison. Called for each click, so it allocates nothing.
 */
export class AddressCounts {
  readonly #part: AddressPart;
  readonly #buckets: number;
  readonly #words: Uint32Array;
  readonly #seedA = randomInt(MAX_SEED);
  readonly #seedB = randomInt(MAX_SEED);
  /** Of the key that was looked for last. */
  #tag = 0;

  constructor(options: { part: AddressPart; buckets: number }) {
    this.#part = options.part;
    this.#buckets = options.buckets;
    this.#words = new Uint32Array(options.buckets * BUCKET_WORDS);
  }

  /**
   * Counts one more from an address (16 bytes) for `subject`; returns how many there are in the period. Subject and
   * period are whole numbers of 32 bits.
   */
  add(subject: number, ip: Uint8Array, period: number): number {
    const words = this.#words;
    const at = this.#find(subject, ip, period);
    if (words[at] !== this.#tag || words[at + 1] !== period) {
      words[at] = this.#tag;
      words[at + 1] = period;
      words[at + 2] = 0;
    }
    const count = (words[at + 2] ?? 0) + 1;
    words[at + 2] = count;
    return count;
  }

  /** How many were counted in the period. */
  count(subject: number, ip: Uint8Array, period: number): number {
    const at = this.#find(subject, ip, period);
    const isKnown = this.#words[at] === this.#tag && this.#words[at + 1] === period;
    return isKnown ? (this.#words[at + 2] ?? 0) : 0;
  }

  /** The place of a key, or the one that it would take. */
  #find(subject: number, ip: Uint8Array, period: number): number {
    const words = this.#words;
    const bytes = this.#bytesOf(ip);
    let a = mix(this.#seedA, subject);
    let b = mix(this.#seedB, subject);
    for (let at = 0; at < bytes; at += 4) {
      const word = readWord(ip, at, bytes);
      a = mix(a, word);
      b = mix(b, word);
    }
    this.#tag = finish(b);
    const start = (finish(a) % this.#buckets) * BUCKET_WORDS;
    let place = start;
    let least = Number.POSITIVE_INFINITY;
    for (let at = start; at < start + BUCKET_PLACES * WORDS_PER_PLACE; at += WORDS_PER_PLACE) {
      const isCurrent = words[at + 1] === period;
      if (isCurrent && words[at] === this.#tag) return at;
      const worth = isCurrent ? (words[at + 2] ?? 0) : 0;
      if (worth < least) {
        least = worth;
        place = at;
      }
    }
    return place;
  }

  #bytesOf(ip: Uint8Array): number {
    if (this.#part === 'network') return networkBytes(ip);
    return isMappedIpv4(ip) ? IPV4_BYTES : IPV6_SUBSCRIBER_BYTES;
  }
}

/**
 * Whether an address is unknown ("::"), of this machine or of a private network. A private one is a proxy of one's own
 * that `TRUSTED_PROXIES` does not name, with all visitors behind it, or a test; none of these is one visitor's.
 */
export const isPrivateAddress = createNetworkMatcher([
  '::',
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::1',
  'fc00::/7',
  'fe80::/10',
]);
