import { createNetworkMatcher, parseIp } from '../ip.ts';

/**
 * The one reader of the addresses that proxies forward, in `X-Forwarded-For` or in `Forwarded` (RFC 7239). What a
 * stranger wrote stands left of what the proxies added, so everything is read from the right, and only as far as needed.
 */

/** All lines of both headers, in the order in which they came. */
export interface ForwardedLines {
  readonly xForwardedFor: readonly string[];
  /** Counts only where no X-Forwarded-For names a hop: proxies that write that one pass a `Forwarded` of the visitor on. */
  readonly forwarded: readonly string[];
}

/**
 * The visitor's address, 16 bytes: the last hop that is no trusted proxy, or the first one where all are. Undefined where
 * the hop next to a trusted proxy is not an address ("unknown", "_hidden", anything that cannot be parsed): the
 * proxy's own address would make one visitor of all.
 * @param hops Of the connection, the nearest first: its peer, then the source in its PROXY protocol header.
 */
export type VisitorAddressReader = (
  hops: readonly Uint8Array[],
  lines: () => ForwardedLines,
) => Uint8Array | undefined;

/** Headers count only from peers inside `trustedProxies`. */
export function createVisitorAddressReader(trustedProxies: readonly string[]): VisitorAddressReader {
  const isTrusted = createNetworkMatcher(trustedProxies);
  return (hops, lines) => {
    let nearest: Uint8Array | undefined;
    for (const hop of hops) {
      nearest = hop;
      if (!isTrusted(hop)) return hop;
    }
    const { xForwardedFor, forwarded } = lines();
    let named = false;
    for (const element of elementsFromRight(xForwardedFor, COMMA)) {
      named = true;
      nearest = parseForwardedAddress(element);
      if (!nearest || !isTrusted(nearest)) return nearest;
    }
    if (named) return nearest;
    for (const element of elementsFromRight(forwarded, COMMA)) {
      nearest = addressOfForwarded(element);
      if (!nearest || !isTrusted(nearest)) return nearest;
    }
    return nearest;
  };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const SEMICOLON = 0x3b;

/** Elements that are not empty (RFC 9110, 5.6.1), the last first. A separator in a quoted string is none. */
function* elementsFromRight(lines: readonly string[], separator: number): Generator<string> {
  for (let line = lines.length - 1; line >= 0; line--) {
    const text = lines[line] ?? '';
    let end = text.length;
    let isQuoted = false;
    // Codes, not characters: the scan is half as long so.
    for (let at = text.length - 1; at >= -1; at--) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) isQuoted = !isQuoted;
      if (at >= 0 && (isQuoted || code !== separator)) continue;
      const element = text.slice(at + 1, end).trim();
      if (element !== '') yield element;
      end = at;
    }
  }
}

/** The `for` of an element; undefined where it has none or more than one. */
function addressOfForwarded(element: string): Uint8Array | undefined {
  const nodes = [...elementsFromRight([element], SEMICOLON)]
    .map((pair) => /^for\s*=\s*(.*)$/is.exec(pair)?.[1])
    .filter((node) => node !== undefined);
  return nodes.length === 1 ? parseForwardedAddress(nodes[0] ?? '') : undefined;
}

const QUOTED = /^"([^"\\]*)"$/;
/** An IPv6 address in brackets, or an IPv4 address; then maybe a port, which RFC 7239 lets a proxy obfuscate. */
const WITH_PORT = /^(?:\[([^\]]*:[^\]]*)\]|([\d.]+))(?::(?:\d{1,5}|_[\w.-]+))?$/;

/** An address as proxies write it: with a port, in brackets, in quotes, with a zone. Undefined for anything else. */
export function parseForwardedAddress(text: string): Uint8Array | undefined {
  const address = parseIp(text) ?? parseIp(undress(text));
  return address && !isUnspecified(address) ? address : undefined;
}

/** Without its quotes, brackets and port. */
function undress(text: string): string {
  const node = (QUOTED.exec(text)?.[1] ?? text).trim();
  const [, ipv6, ipv4] = WITH_PORT.exec(node) ?? [];
  return ipv6 ?? ipv4 ?? node;
}

/** "::" and 0.0.0.0: no host has them, and in the click record the first stands for no address. */
function isUnspecified(address: Uint8Array): boolean {
  for (let i = 0; i < address.length; i++) {
    if (address[i] !== 0 && !((i === 10 || i === 11) && address[i] === 0xff)) return false;
  }
  return true;
}
