import { assert } from './errors.ts';

/**
 * Addresses and networks: the one parser and the one matcher of the platform. An address is 16 bytes in network order:
 * IPv6, with IPv4 mapped into ::ffff:0:0/96.
 */

const IP_BYTES = 16;
const MAPPED_PREFIX_BITS = 96;

/**
 * Reads the text of an IPv4 or IPv6 address; undefined when it is neither. A zone ("%eth0") is dropped. An octet with a
 * leading zero is refused, because some programs read it as octal.
 */
export function parseIp(text: string): Buffer | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

const IPV4 = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

function parseIpv4(text: string): Buffer | undefined {
  const match = IPV4.exec(text);
  if (!match) return undefined;
  const bytes = Buffer.alloc(IP_BYTES);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  for (let i = 0; i < 4; i++) {
    const octet = Number(match[i + 1]);
    if (octet > 255) return undefined;
    bytes[12 + i] = octet;
  }
  return bytes;
}

/** 4 address bytes as 16. */
export function mapIpv4(octets: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(IP_BYTES);
  bytes[10] = 0xff;
  bytes[11] = 0xff;
  for (let i = 0; i < 4; i++) bytes[12 + i] = octets[i] ?? 0;
  return bytes;
}

function parseIpv6(text: string): Buffer | undefined {
  const [, address = '', ...more] = /^([^%]*)(?:%[0-9a-z.:-]+)?$/i.exec(text) ?? [];
  const halves = address.split('::');
  if (more.length > 0 || halves.length > 2) return undefined;
  const [start = '', end] = halves;
  const head = groups(start, { mayEndInIpv4: end === undefined });
  const tail = end === undefined ? [] : groups(end, { mayEndInIpv4: true });
  if (!head || !tail) return undefined;
  const missing = IP_BYTES / 2 - head.length - tail.length;
  if (end === undefined ? missing !== 0 : missing < 1) return undefined;
  const bytes = Buffer.alloc(IP_BYTES);
  for (const [i, group] of head.entries()) bytes.writeUInt16BE(group, 2 * i);
  for (const [i, group] of tail.entries()) bytes.writeUInt16BE(group, 2 * (head.length + missing + i));
  return bytes;
}

function groups(text: string, { mayEndInIpv4 }: { mayEndInIpv4: boolean }): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const embedded = mayEndInIpv4 ? parseIpv4(parts.at(-1) ?? '') : undefined;
  if (embedded) parts.splice(-1, 1, embedded.toString('hex', 12, 14), embedded.toString('hex', 14, 16));
  return parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))
    ? parts.map((part) => Number.parseInt(part, 16))
    : undefined;
}

/** The address "::", as a click has it whose visitor's address is not known: it says nothing of who two visitors are. */
export const UNKNOWN_IP = '::';

/** The text of 16 address bytes: dotted for a mapped IPv4, else hexadecimal groups with the longest zeros cut out. */
export function formatIp(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isMappedIpv4(view)) return view.subarray(12).join('.');
  const hex = Array.from({ length: 8 }, (_, i) => view.readUInt16BE(2 * i).toString(16)).join(':');
  // The URL parser writes an IPv6 host in its canonical form (RFC 5952).
  return new URL(`http://[${hex}]/`).hostname.slice(1, -1);
}

/** Bytes of IPv6 that a provider gives to one customer; what is below them is theirs to choose. */
const CUSTOMER_BYTES = 8;

/** Whom a limit by address counts: an IPv4 address, or the /64 of an IPv6 address. A text that is neither stands for itself. */
export function networkOf(text: string): string {
  const bytes = parseIp(text);
  if (!bytes || isMappedIpv4(bytes)) return bytes ? formatIp(bytes) : text;
  return `${formatIp(Buffer.concat([bytes.subarray(0, CUSTOMER_BYTES)], IP_BYTES))}/${8 * CUSTOMER_BYTES}`;
}

/** Bytes of the 16 that name the network of an address, which is all that is kept of a shortened one: a /24, of IPv6 a /48. */
export function networkBytes(ip: Uint8Array): number {
  return isMappedIpv4(ip) ? IPV4_NETWORK_BYTES : IPV6_NETWORK_BYTES;
}
const IPV4_NETWORK_BYTES = 15;
const IPV6_NETWORK_BYTES = 6;

export function isMappedIpv4(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Addresses that share their first `bits` bits with `address`. */
export interface Network {
  readonly address: Buffer;
  /** From 0 to 128; of an IPv4 network from 96. */
  readonly bits: number;
}

/** Whether a 16-byte address lies in one of the networks. */
export type NetworkMatcher = (address: Uint8Array) => boolean;

/** Whether a text is an address, or a network such as "10.0.0.0/8", named by any address in it. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined;
}

/** Reads the text of an address or a network; undefined when it is neither. */
export function parseNetwork(text: string): Network | undefined {
  const [address = '', bits = '', ...more] = text.split('/');
  const bytes = parseIp(address);
  if (!bytes || more.length > 0) return undefined;
  if (!text.includes('/')) return { address: bytes, bits: 8 * IP_BYTES };
  const offset = address.includes(':') ? 0 : MAPPED_PREFIX_BITS;
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) + offset : Number.NaN;
  return prefix <= 8 * IP_BYTES ? { address: bytes, bits: prefix } : undefined;
}

/** The text of a network by its first address: "10.0.0.0/8"; of one address without a prefix. */
export function formatNetwork({ address, bits }: Network): string {
  const first = Buffer.from(address);
  for (let bit = bits; bit < 8 * IP_BYTES; bit++) {
    const byte = bit >> 3;
    first[byte] = (first[byte] ?? 0) & ~(0x80 >> (bit & 7));
  }
  if (bits === 8 * IP_BYTES) return formatIp(first);
  const isIpv4 = bits >= MAPPED_PREFIX_BITS && isMappedIpv4(first);
  return `${formatIp(first)}/${isIpv4 ? bits - MAPPED_PREFIX_BITS : bits}`;
}

/** Matches texts that {@link isNetwork} accepts. An IPv6 network holds no IPv4 address: "::/0" is IPv6 only. */
export function createNetworkMatcher(texts: readonly string[]): NetworkMatcher {
  const networks = texts.map((text) => {
    const network = parseNetwork(text);
    assert(network, `${text} is a network`);
    return network;
  });
  return (address) => {
    const leastBits = isMappedIpv4(address) ? MAPPED_PREFIX_BITS : 0;
    for (const network of networks) {
      if (network.bits >= leastBits && sharePrefix(network.address, address, network.bits)) return true;
    }
    return false;
  };
}

function sharePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((a[whole] ?? 0) ^ (b[whole] ?? 0)) >> (8 - rest) === 0;
}
