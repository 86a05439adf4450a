import type { HttpRequest } from 'uWebSockets.js';
import { FINGERPRINT_BYTES } from '../../core/clicks/click-record.ts';
import { isMappedIpv4 } from '../../core/ip.ts';

/** How a program treats the data of its visitors. */
export interface Privacy {
  readonly anonymiseIp: boolean;
  readonly cookies: boolean;
  readonly honourOptOut: boolean;
}

/** Bytes of the 16 that name a network: 96 + 24 bits of a mapped IPv4 address, 48 bits of an IPv6 address. */
export const IPV4_NETWORK_BYTES = 15;
export const IPV6_NETWORK_BYTES = 6;

/** A copy of a 16-byte address cut to /24 (IPv4) or /48 (IPv6). */
export function cutIp(ip: Uint8Array): Uint8Array {
  return Uint8Array.from(ip).fill(0, isMappedIpv4(ip) ? IPV4_NETWORK_BYTES : IPV6_NETWORK_BYTES);
}

/** A copy of a visitor segment whose fingerprint is 0: no fingerprint. */
export function withoutFingerprint(encodedVisitor: Buffer): Buffer {
  return Buffer.from(encodedVisitor).fill(0, 0, FINGERPRINT_BYTES);
}

/** Whether the visitor has opted out of tracking: `DNT: 1` or `Sec-GPC: 1`. */
export function hasOptedOut(request: Pick<HttpRequest, 'getHeader'>): boolean {
  return request.getHeader('sec-gpc') === '1' || request.getHeader('dnt') === '1';
}
