import { isMappedIpv4 } from '../ip.ts';

const IPV4_OFFSET = 96;
const IPV4_BITS = 32;
/** The head of an IPv6 address, as a number that JavaScript holds exactly. */
const HEAD_BYTES = 6;
const HEAD_BITS = 8 * HEAD_BYTES;

/**
 * Values by network, found by any address in it. One hash map for each length of a prefix that is there: a look-up takes as
 * many steps as there are different lengths, however many networks. IPv6 networks longer than /48 lie below their first 48
 * bits, so that an address elsewhere takes one step for all of them. IPv4 networks hold IPv4 addresses alone, and IPv6
 * networks none.
 */
export class NetworkTable<Value> {
  /** By prefix length, the first bits as a number. */
  readonly #ipv4 = new Map<number, Map<number, Value>>();
  readonly #ipv6 = new Map<number, Map<number, Value>>();
  /** By the first 48 bits, then by prefix length, the first bits as a text of bytes. */
  readonly #longIpv6 = new Map<number, Map<number, Map<string, Value>>>();

  get(address: Uint8Array, bits: number): Value | undefined {
    if (isIpv4(address, bits)) return this.#ipv4.get(bits)?.get(ipv4Key(ipv4Of(address), bits));
    const head = headOf(address);
    if (bits <= HEAD_BITS) return this.#ipv6.get(bits)?.get(ipv6Key(head, bits));
    return this.#longIpv6.get(head)?.get(bits)?.get(longKey(address, bits));
  }

  /** Undefined removes it. */
  set(address: Uint8Array, bits: number, value: Value | undefined): void {
    if (isIpv4(address, bits)) {
      change(this.#ipv4, bits, ipv4Key(ipv4Of(address), bits), value);
      return;
    }
    const head = headOf(address);
    if (bits <= HEAD_BITS) {
      change(this.#ipv6, bits, ipv6Key(head, bits), value);
      return;
    }
    const long = this.#longIpv6.get(head) ?? new Map<number, Map<string, Value>>();
    change(long, bits, longKey(address, bits), value);
    if (long.size === 0) this.#longIpv6.delete(head);
    else this.#longIpv6.set(head, long);
  }

  /** Adds the values of every network that holds the address to `found`. */
  find(address: Uint8Array, found: Value[]): void {
    if (isMappedIpv4(address)) {
      const number = ipv4Of(address);
      for (const [bits, networks] of this.#ipv4) add(found, networks.get(ipv4Key(number, bits)));
      return;
    }
    const head = headOf(address);
    for (const [bits, networks] of this.#ipv6) add(found, networks.get(ipv6Key(head, bits)));
    const long = this.#longIpv6.get(head);
    if (long) for (const [bits, networks] of long) add(found, networks.get(longKey(address, bits)));
  }
}

function isIpv4(address: Uint8Array, bits: number): boolean {
  return bits >= IPV4_OFFSET && isMappedIpv4(address);
}

function add<Value>(found: Value[], value: Value | undefined): void {
  if (value !== undefined) found.push(value);
}

function change<Key, Value>(
  byBits: Map<number, Map<Key, Value>>,
  bits: number,
  key: Key,
  value: Value | undefined,
): void {
  const networks = byBits.get(bits);
  if (value !== undefined) {
    if (networks) networks.set(key, value);
    else byBits.set(bits, new Map([[key, value]]));
    return;
  }
  networks?.delete(key);
  if (networks?.size === 0) byBits.delete(bits);
}

function ipv4Of(address: Uint8Array): number {
  return (
    ((address[12] ?? 0) << 24) | ((address[13] ?? 0) << 16) | ((address[14] ?? 0) << 8) | (address[15] ?? 0)
  );
}

function ipv4Key(number: number, bits: number): number {
  const host = IPV4_OFFSET + IPV4_BITS - bits;
  // A shift by 32 would shift by 0.
  return host === IPV4_BITS ? 0 : number >> host;
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
