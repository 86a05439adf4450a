import { domainToASCII } from 'node:url';
import { InputError } from '../errors.ts';
import { formatNetwork, isMappedIpv4, parseNetwork, UNKNOWN_IP } from '../ip.ts';
import { MAX_REFERENCE_LENGTH } from '../text-limits.ts';

/**
 * Entries of the block lists: one definition for the API, the ledger and the collectors. A value has one canonical text, so
 * that the same thing is one entry however it was written.
 */

export const BLOCK_KINDS = [
  'address',
  'network',
  'asn',
  'country',
  'user_agent',
  'referrer',
  'sub_id',
] as const;
export type BlockKind = (typeof BLOCK_KINDS)[number];

/** Where a blocked click is sent: on to its destination, or to the fallback. It is flagged either way. */
export const BLOCK_ACTIONS = ['redirect', 'fallback'] as const;
export type BlockAction = (typeof BLOCK_ACTIONS)[number];

/** An entry as the click path needs it. */
export interface BlockRow {
  readonly id: number;
  /** Null: of every program. */
  readonly programId: number | null;
  readonly kind: BlockKind;
  /** Canonical: see {@link canonicalValue}. */
  readonly value: string;
  /** Of a `sub_id` alone. */
  readonly affiliateId: number | null;
  /** Which of sub1 to sub5; of a `sub_id` alone. */
  readonly sub: number | null;
  readonly action: BlockAction;
  /** Unix milliseconds; null: in force until somebody ends it. */
  readonly endsAtMs: number | null;
}

/** The widest networks: a slip of the hand must not block half of the internet. A registry gives an operator no more. */
export const WIDEST_IPV4_PREFIX = 8;
export const WIDEST_IPV6_PREFIX = 20;
const IPV4_OFFSET = 96;
/** Fewer characters are in nearly every User-Agent. */
export const MIN_PATTERN_CHARACTERS = 4;
/** As long as the sub ids, references and patterns that people write. */
export const MAX_BLOCK_VALUE_LENGTH = MAX_REFERENCE_LENGTH;
const MAX_ASN = 0xffff_ffff;
/** Of a host by RFC 1035: no domain is longer, and a referrer that names a longer one names none. */
export const MAX_DOMAIN_LENGTH = 253;

/**
 * The canonical text of a value: "192.0.2.1", "192.0.2.0/24", "AS680", "DE", a pattern in lower case, a domain in ASCII; a sub
 * id as it is. @throws InputError `value`.
 */
export function canonicalValue(kind: BlockKind, text: string): string {
  if (text === '') throw invalid('must not be empty');
  if (text.length > MAX_BLOCK_VALUE_LENGTH)
    throw invalid(`must not exceed ${MAX_BLOCK_VALUE_LENGTH} characters`);
  return CANONICAL[kind](text);
}

const CANONICAL: Readonly<Record<BlockKind, (text: string) => string>> = {
  address(text) {
    const network = text.includes('/') ? undefined : parseNetwork(text);
    if (!network) throw invalid('must be an IPv4 or IPv6 address');
    if (network.address.every((byte) => byte === 0)) throw invalid('must not be the unknown address');
    return formatNetwork(network);
  },
  network(text) {
    const network = text.includes('/') ? parseNetwork(text) : undefined;
    if (!network) throw invalid('must be a network such as 192.0.2.0/24 or 2001:db8::/32');
    const isIpv4 = isMappedIpv4(network.address) && network.bits >= IPV4_OFFSET;
    const bits = isIpv4 ? network.bits - IPV4_OFFSET : network.bits;
    const widest = isIpv4 ? WIDEST_IPV4_PREFIX : WIDEST_IPV6_PREFIX;
    if (bits < widest)
      throw invalid(`must not be wider than /${widest}: /${bits} holds too many addresses to mean them all`);
    if (network.bits === 128) throw invalid('is one address: that is the kind address');
    const canonical = formatNetwork(network);
    if (canonical.startsWith(`${UNKNOWN_IP}/`))
      throw invalid('must not hold ::, which stands for every address that is not known');
    return canonical;
  },
  asn(text) {
    const [, digits] = /^(?:AS)?(\d{1,10})$/i.exec(text) ?? [];
    const asn = Number(digits);
    if (digits === undefined || asn < 1 || asn > MAX_ASN)
      throw invalid('must be the number of an autonomous system, such as AS680');
    return `AS${asn}`;
  },
  country(text) {
    if (!/^[A-Z]{2}$/i.test(text)) throw invalid('must be an ISO 3166 code such as DE');
    return text.toUpperCase();
  },
  user_agent(text) {
    const pattern = text.toLowerCase().replace(/\*+/g, '*');
    if (pattern.replaceAll('*', '').trim().length < MIN_PATTERN_CHARACTERS)
      throw invalid(`must have at least ${MIN_PATTERN_CHARACTERS} characters beside *`);
    return pattern;
  },
  referrer(text) {
    const domain = domainToASCII(text.replace(/\.$/, ''));
    const isDomain = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)+$/.test(domain) && domain.length <= MAX_DOMAIN_LENGTH;
    if (!isDomain) throw invalid('must be a domain such as example.com');
    return domain;
  },
  sub_id: (text) => text,
};

function invalid(reason: string): InputError {
  return new InputError('value', reason);
}

/** The number of a canonical `asn`. */
export function asnOf(value: string): number {
  return Number(value.slice('AS'.length));
}

/**
 * Whether a User-Agent fits a canonical pattern, in any case. Without `*` the pattern occurs anywhere; with it, it is the whole
 * text, and `*` stands for anything. The pieces are looked for from left to right, once: the time is linear in the text.
 */
export function matchesPattern(pattern: string, lowerUserAgent: string): boolean {
  const pieces = pattern.split('*');
  if (pieces.length === 1) return lowerUserAgent.includes(pattern);
  const [head = ''] = pieces;
  const tail = pieces.at(-1) ?? '';
  const end = lowerUserAgent.length - tail.length;
  let at = head.length;
  if (end < at || !lowerUserAgent.startsWith(head) || !lowerUserAgent.endsWith(tail)) return false;
  for (const piece of pieces.slice(1, -1)) {
    const found = lowerUserAgent.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

/** The host of a URL in lower case; '' where there is none. Costs no parser: it runs on every click with a referrer. */
export function hostOf(url: string): string {
  const scheme = url.indexOf('://');
  if (scheme < 0) return '';
  const start = scheme + 3;
  let end = start;
  for (; end < url.length; end++) {
    const code = url.charCodeAt(end);
    if (code === SLASH || code === QUESTION || code === HASH || code === COLON) break;
  }
  const host = url.slice(start, end).toLowerCase();
  return host.endsWith('.') ? host.slice(0, -1) : host;
}
const SLASH = 0x2f;
const QUESTION = 0x3f;
const HASH = 0x23;
const COLON = 0x3a;
