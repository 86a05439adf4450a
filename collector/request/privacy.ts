import type { HttpRequest } from 'uWebSockets.js';
import { FINGERPRINT_BYTES } from '../../core/clicks/click-record.ts';
import { networkBytes } from '../../core/ip.ts';

/** How a program treats the data of its visitors. */
export interface Privacy {
  readonly anonymiseIp: boolean;
  readonly cookies: boolean;
  readonly honourOptOut: boolean;
}

/** A copy of a 16-byte address cut to /24 (IPv4) or /48 (IPv6). */
export function cutIp(ip: Uint8Array): Uint8Array {
  return Uint8Array.from(ip).fill(0, networkBytes(ip));
}

/** A copy of a visitor segment whose fingerprint is 0: no fingerprint. */
export function withoutFingerprint(encodedVisitor: Buffer): Buffer {
  return Buffer.from(encodedVisitor).fill(0, 0, FINGERPRINT_BYTES);
}

/** Whether the visitor has opted out of tracking: `DNT: 1` or `Sec-GPC: 1`. */
export function hasOptedOut(request: Pick<HttpRequest, 'getHeader'>): boolean {
  return request.getHeader('sec-gpc') === '1' || request.getHeader('dnt') === '1';
}
