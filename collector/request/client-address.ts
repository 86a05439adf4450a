import type { HttpRequest } from 'uWebSockets.js';
import { mapIpv4 } from '../../core/ip.ts';
import { createVisitorAddressReader, type ForwardedLines } from '../../core/net/forwarded.ts';

/** The addresses of a connection: its peer, and the PROXY protocol's source (empty when there is none). */
export interface PeerAddress {
  getRemoteAddress(): ArrayBuffer;
  getProxiedRemoteAddress(): ArrayBuffer;
}

export type ClientAddressReader = (peer: PeerAddress, request: Pick<HttpRequest, 'forEach'>) => Uint8Array;

/** "::" of the click record: a trusted proxy names no address. Never changed. */
const NO_ADDRESS = new Uint8Array(16);

/** Visitors without an address cannot be distinguished: none of them is another one's repetition. */
export const isUnknownAddress = (ip: Uint8Array): boolean => ip === NO_ADDRESS;

/**
 * Finds the visitor's address, 16 bytes; "::" when it is unknown. Headers count only from a peer inside
 * `trustedProxies`: its PROXY protocol header, and where that names a trusted proxy too or no source, its forwarded addresses.
 */
export function createClientAddressReader(trustedProxies: readonly string[]): ClientAddressReader {
  if (trustedProxies.length === 0) return (peer) => to16(peer.getRemoteAddress());
  const visitorAddress = createVisitorAddressReader(trustedProxies);
  return (peer, request) => {
    const hops = [to16(peer.getRemoteAddress())];
    const proxied = peer.getProxiedRemoteAddress();
    if (proxied.byteLength > 0) hops.push(to16(proxied));
    const address = visitorAddress(hops, () => forwardedLines(request));
    // A proxy that knows no address may say so with "::".
    return address?.some((byte) => byte !== 0) ? address : NO_ADDRESS;
  };
}

/** getHeader() would give the first line only, which is the visitor's own where a proxy adds a second one. */
function forwardedLines(request: Pick<HttpRequest, 'forEach'>): ForwardedLines {
  const xForwardedFor: string[] = [];
  const forwarded: string[] = [];
  request.forEach((name, value) => {
    if (name === 'x-forwarded-for') xForwardedFor.push(value);
    else if (name === 'forwarded') forwarded.push(value);
  });
  return { xForwardedFor, forwarded };
}

function to16(address: ArrayBuffer): Uint8Array {
  const bytes = new Uint8Array(address);
  return bytes.length === 4 ? mapIpv4(bytes) : bytes;
}
