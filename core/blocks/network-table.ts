import { isMappedIpv4 } from '../ip.ts';

const IPV4_OFFSET = 96;
const IPV4_BITS = 32;

/**
 * Values by network, found by any address in it. One hash map for each length of a prefix that is there: a look-up takes as
 * many steps as there are different lengths, however many networks. IPv4 networks hold IPv4 addresses alone, and IPv6
 * networks none.
 */
export class NetworkTable<Value> {
  /** By prefix length, the first 32 bits as a number. */
  readonly #ipv4 = new Map<number, Map<number, Value>>();
  /** By prefix length, the first bits as a text of bytes. */
  readonly #ipv6 = new Map<number, Map<string, Value>>();

  get(address: Uint8Array, bits: number): Value | undefined {
    return this.#isIpv4(address, bits)
      ? this.#ipv4.get(bits)?.get(ipv4Key(address, bits))
      : this.#ipv6.get(bits)?.get(ipv6Key(textOf(address), bits));
  }

  /** Undefined removes it. */
  set(address: Uint8Array, bits: number, value: Value | undefined): void {
    if (this.#isIpv4(address, bits)) change(this.#ipv4, bits, ipv4Key(address, bits), value);
    else change(this.#ipv6, bits, ipv6Key(textOf(address), bits), value);
  }

  /** The values of every network that holds the address. */
  find(address: Uint8Array, found: Value[]): void {
    if (isMappedIpv4(address)) {
      for (const [bits, networks] of this.#ipv4) {
        const value = networks.get(ipv4Key(address, bits));
        if (value !== undefined) found.push(value);
      }
      return;
    }
    if (this.#ipv6.size === 0) return;
    const text = textOf(address);
    for (const [bits, networks] of this.#ipv6) {
      const value = networks.get(ipv6Key(text, bits));
      if (value !== undefined) found.push(value);
    }
  }

  #isIpv4(address: Uint8Array, bits: number): boolean {
    return bits >= IPV4_OFFSET && isMappedIpv4(address);
  }
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

function ipv4Key(address: Uint8Array, bits: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [address[12], address[13], address[14], address[15]];
  const number = (a << 24) | (b << 16) | (c << 8) | d;
  // A shift by 32 would shift by 0.
  const host = IPV4_OFFSET + IPV4_BITS - bits;
  return host === IPV4_BITS ? 0 : (number >>> host) << 0;
}

function textOf(address: Uint8Array): string {
  return String.fromCharCode(...address);
}

function ipv6Key(text: string, bits: number): string {
  const whole = bits >> 3;
  const rest = bits & 7;
  if (rest === 0) return text.slice(0, whole);
  return text.slice(0, whole) + String.fromCharCode(text.charCodeAt(whole) & (0xff << (8 - rest)));
}
