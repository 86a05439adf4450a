/** Addresses as 16 bytes in network order: IPv6, with IPv4 mapped into ::ffff:0:0/96. */

const IP_BYTES = 16;
const MAPPED_PREFIX_BITS = 96;

/** Reads the text of an IPv4 or IPv6 address into 16 bytes; undefined when it is neither. */
export function parseIp(text: string): Buffer | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Buffer | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  const octets = match.slice(1).map(Number);
  return octets.some((octet) => octet > 255) ? undefined : Buffer.from(mapIpv4(octets));
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
  const [address = ''] = text.split('%');
  const halves = address.split('::');
  if (halves.length > 2) return undefined;
  const head = groups(halves[0] ?? '');
  const tail = halves.length === 2 ? groups(halves[1] ?? '') : [];
  if (!head || !tail) return undefined;
  const missing = IP_BYTES / 2 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const bytes = Buffer.alloc(IP_BYTES);
  for (const [i, group] of head.entries()) bytes.writeUInt16BE(group, 2 * i);
  for (const [i, group] of tail.entries()) bytes.writeUInt16BE(group, 2 * (head.length + missing + i));
  return bytes;
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const embedded = parseIpv4(parts.at(-1) ?? '');
  if (embedded) parts.splice(-1, 1, embedded.toString('hex', 12, 14), embedded.toString('hex', 14, 16));
  return parts.every((part) => /^[0-9a-f]{1,4}$/i.test(part))
    ? parts.map((part) => Number.parseInt(part, 16))
    : undefined;
}

/** The text of 16 address bytes: dotted for a mapped IPv4, else hexadecimal groups with the longest zeros cut out. */
export function formatIp(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isMappedIpv4(view)) return view.subarray(12).join('.');
  const hex = Array.from({ length: 8 }, (_, i) => view.readUInt16BE(2 * i).toString(16)).join(':');
  // The URL parser writes an IPv6 host in its canonical form (RFC 5952).
  return new URL(`http://[${hex}]/`).hostname.slice(1, -1);
}

export function isMappedIpv4(bytes: Buffer): boolean {
  return bytes.readUInt32BE(0) === 0 && bytes.readUInt32BE(4) === 0 && bytes.readUInt32BE(8) === 0xffff;
}

/** A matcher for a list of addresses and networks such as "10.0.0.0/8" (already checked by the configuration). */
export function createNetworkMatcher(networks: readonly string[]): (address: Uint8Array) => boolean {
  const parsed = networks.map((text) => {
    const [address = '', bits] = text.split('/');
    const bytes = parseIp(address);
    if (!bytes) throw new TypeError(`${text} is not a network`);
    const offset = address.includes(':') ? 0 : MAPPED_PREFIX_BITS;
    return { bytes, bits: bits === undefined ? 8 * IP_BYTES : Number(bits) + offset };
  });
  return (address) => parsed.some(({ bytes, bits }) => sharePrefix(bytes, address, bits));
}

function sharePrefix(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((a[whole] ?? 0) ^ (b[whole] ?? 0)) >> (8 - rest) === 0;
}
