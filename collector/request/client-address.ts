import type { HttpRequest } from 'uWebSockets.js';
import { createNetworkMatcher, mapIpv4, parseIp } from '../../core/ip.ts';

/** The addresses of a connection: its peer, and the PROXY protocol's source (empty when there is none). */
export interface PeerAddress {
  getRemoteAddress(): ArrayBuffer;
  getProxiedRemoteAddress(): ArrayBuffer;
}

export type ClientAddressReader = (peer: PeerAddress, request: Pick<HttpRequest, 'getHeader'>) => Uint8Array;

/**
 * Finds the visitor's address, 16 bytes. Headers count only from a peer inside `trustedProxies`: its PROXY protocol
 * header, else its X-Forwarded-For, read from the right up to the first address that is not itself trusted.
 */
export function createClientAddressReader(trustedProxies: readonly string[]): ClientAddressReader {
  if (trustedProxies.length === 0) return (peer) => to16(peer.getRemoteAddress());
  const isTrusted = createNetworkMatcher(trustedProxies);
  return (peer, request) => {
    const socket = to16(peer.getRemoteAddress());
    if (!isTrusted(socket)) return socket;
    const proxied = peer.getProxiedRemoteAddress();
    if (proxied.byteLength > 0) return to16(proxied);
    let client = socket;
    for (const part of request.getHeader('x-forwarded-for').split(',').reverse()) {
      const address = parseIp(part.trim());
      if (!address) break;
      client = address;
      if (!isTrusted(address)) break;
    }
    return client;
  };
}

function to16(address: ArrayBuffer): Uint8Array {
  const bytes = new Uint8Array(address);
  return bytes.length === 4 ? mapIpv4(bytes) : bytes;
}
