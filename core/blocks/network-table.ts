import { isMappedIpv4 } from '../ip.ts';

const IPV4_OFFSET = 96;
const IPV4_BITS = 32;
/** The head of an IPv6 address, as a number that JavaScript holds exactly. */
const HEAD_BYTES = 6;
const HEAD_BITS = 8 * HEAD_BYTES;

/**
 * Values by network, found by any address in it. One hash map for each length of a prefix that is there, and for each range
 * of addresses the lengths that its networks have: a look-up takes a step for each of these lengths, however many networks
 * and lengths there are elsewhere. IPv6 networks longer than /48 lie below their first 48 bits. IPv4 networks hold IPv4
 * addresses alone, and IPv6 networks none.
 */
export class NetworkTable<Value> {
  /** By prefix length, the first bits as a number. */
  readonly #ipv4: (Map<number, Value> | undefined)[] = [];
  readonly #ipv4Lengths = new LengthsByRange(16);
  readonly #ipv6: (Map<number, Value> | undefined)[] = [];
  readonly #ipv6Lengths = new LengthsByRange(24);
  /** By the first 48 bits, then by prefix length, the first bits as a text of bytes. */
  readonly #longIpv6 = new Map<number, Map<number, Map<string, Value>>>();

  get(address: Uint8Array, bits: number): Value | undefined {
    if (isIpv4(address, bits)) {
      const length = bits - IPV4_OFFSET;
      return this.#ipv4[length]?.get(ipv4Key(ipv4Of(address), length));
    }
    const head = headOf(address);
    if (bits <= HEAD_BITS) return this.#ipv6[bits]?.get(ipv6Key(head, bits));
    return this.#longIpv6.get(head)?.get(bits)?.get(longKey(address, bits));
  }

  /** Undefined removes it. */
  set(address: Uint8Array, bits: number, value: Value | undefined): void {
    if (isIpv4(address, bits)) {
      const length = bits - IPV4_OFFSET;
      if (value !== undefined) this.#ipv4Lengths.add(ipv4Range(address), length);
      change(this.#ipv4, length, ipv4Key(ipv4Of(address), length), value);
      return;
    }
    const head = headOf(address);
    if (bits <= HEAD_BITS) {
      if (value !== undefined) this.#ipv6Lengths.add(ipv6Range(address), bits);
      change(this.#ipv6, bits, ipv6Key(head, bits), value);
      return;
    }
    const long = this.#longIpv6.get(head) ?? new Map<number, Map<string, Value>>();
    changeLong(long, bits, longKey(address, bits), value);
    if (long.size === 0) this.#longIpv6.delete(head);
    else this.#longIpv6.set(head, long);
  }

  /** Adds the values of every network that holds the address to `found`. */
  find(address: Uint8Array, found: Value[]): void {
    if (isMappedIpv4(address)) {
      const lengths = this.#ipv4Lengths.of(ipv4Range(address));
      if (lengths === undefined) return;
      const number = ipv4Of(address);
      for (const length of lengths) add(found, this.#ipv4[length]?.get(ipv4Key(number, length)));
      return;
    }
    const lengths = this.#ipv6Lengths.of(ipv6Range(address));
    if (lengths === undefined && this.#longIpv6.size === 0) return;
    const head = headOf(address);
    if (lengths) for (const bits of lengths) add(found, this.#ipv6[bits]?.get(ipv6Key(head, bits)));
    const long = this.#longIpv6.get(head);
    if (long) for (const [bits, networks] of long) add(found, networks.get(longKey(address, bits)));
  }
}

/**
 * By the first bits of an address, which name a range: the lengths of the prefixes in it or around it. A prefix that is
 * removed leaves its length there, which costs a step and finds nothing.
 */
class LengthsByRange {
  readonly #bits: number;
  readonly #lengths = new Map<number, number[]>();

  constructor(bits: number) {
    this.#bits = bits;
  }

  of(range: number): readonly number[] | undefined {
    return this.#lengths.get(range);
  }

  /** A prefix shorter than a range's lies in several: in 256 at most, by the widest networks that block.ts allows. */
  add(range: number, length: number): void {
    const count = 1 << Math.max(0, this.#bits - length);
    const first = range - (range % count);
    for (let at = first; at < first + count; at++) {
      const lengths = this.#lengths.get(at);
      if (lengths === undefined) this.#lengths.set(at, [length]);
      else if (!lengths.includes(length)) lengths.push(length);
    }
  }
}

function isIpv4(address: Uint8Array, bits: number): boolean {
  return bits >= IPV4_OFFSET && isMappedIpv4(address);
}

function add<Value>(found: Value[], value: Value | undefined): void {
  if (value !== undefined) found.push(value);
}

function change<Value>(
  byLength: (Map<number, Value> | undefined)[],
  length: number,
  key: number,
  value: Value | undefined,
): void {
  const networks = byLength[length] ?? new Map<number, Value>();
  if (value === undefined) networks.delete(key);
  else networks.set(key, value);
  byLength[length] = networks.size === 0 ? undefined : networks;
}

function changeLong<Value>(
  byBits: Map<number, Map<string, Value>>,
  bits: number,
  key: string,
  value: Value | undefined,
): void {
  const networks = byBits.get(bits) ?? new Map<string, Value>();
  if (value === undefined) networks.delete(key);
  else networks.set(key, value);
  if (networks.size === 0) byBits.delete(bits);
  else byBits.set(bits, networks);
}

function ipv4Of(address: Uint8Array): number {
  return (
    ((address[12] ?? 0) << 24) | ((address[13] ?? 0) << 16) | ((address[14] ?? 0) << 8) | (address[15] ?? 0)
  );
}

function ipv4Range(address: Uint8Array): number {
  return ((address[12] ?? 0) << 8) | (address[13] ?? 0);
}

function ipv6Range(address: Uint8Array): number {
  return ((address[0] ?? 0) << 16) | ((address[1] ?? 0) << 8) | (address[2] ?? 0);
}

function ipv4Key(number: number, length: number): number {
  // A shift by 32 would shift by 0.
  return length === 0 ? 0 : number >> (IPV4_BITS - length);
}

function headOf(address: Uint8Array): number {
  let head = 0;
  for (let i = 0; i < HEAD_BYTES; i++) head = head * 0x100 + (address[i] ?? 0);
  return head;
}

function ipv6Key(head: number, bits: number): number {
  return Math.floor(head / 2 ** (HEAD_BITS - bits));
}

function longKey(address: Uint8Array, bits: number): string {
  const whole = bits >> 3;
  const rest = bits & 7;
  const text = String.fromCharCode(...address.subarray(0, whole));
  return rest === 0 ? text : text + String.fromCharCode((address[whole] ?? 0) & (0xff << (8 - rest)));
}
