import { MINUTE_MS } from '../../core/time.ts';
import { AddressCounts, isPrivateAddress } from '../request/address-counts.ts';

/**
 * Recognises addresses that click faster than people do. Their clicks are redirected and stored like every other, so
 * that none is lost, but they are not valid, and their texts are cut: a program that clicks with 8 KB of parameters must
 * not fill the stream and the warehouse.
 */
export interface Floods {
  /** Notes a click; returns whether its address has had too many in this minute. Called for each click. */
  note(ip: Uint8Array, nowMs: number): boolean;
}

/**
 * Clicks of one subscriber in one minute at one collector: 5 a second. An office or a carrier's gateway, whose visitors
 * share an address, has tens of clicks a minute of all links together.
 */
export const MAX_CLICKS_A_MINUTE = 300;
/** 1 MiB: 80,000 addresses a minute, of which those with the fewest clicks are forgotten first. */
const BUCKETS = 2 ** 14;
/** One count for all links. */
const ALL_LINKS = 0;

export function createFloods(): Floods {
  const counts = new AddressCounts({ part: 'subscriber', buckets: BUCKETS });
  return {
    note(ip, nowMs) {
      const minute = Math.floor(nowMs / MINUTE_MS);
      return counts.add(ALL_LINKS, ip, minute) > MAX_CLICKS_A_MINUTE && !isPrivateAddress(ip);
    },
  };
}

/** Texts of such a click are cut to this: a campaign's name or an id still fits. */
export const FLOOD_TEXT_LENGTH = 64;

/** The texts of a click, cut. */
export function cutTexts(texts: readonly string[]): string[] {
  return texts.map((text) => text.slice(0, FLOOD_TEXT_LENGTH));
}
