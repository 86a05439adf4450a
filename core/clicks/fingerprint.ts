import { createHash } from 'node:crypto';

/** Of a visitor who opted out: matches nothing, not even itself. */
export const NO_FINGERPRINT = 0n;

/**
 * The fingerprint of a visitor: first 64 bits, big-endian, of SHA-256 of `User-Agent:Accept-Language`.
 * The collector makes it of the click's headers, the API of those a shop reports with an order.
 */
export function fingerprint(userAgent: string, acceptLanguage: string): bigint {
  return createHash('sha256').update(`${userAgent}:${acceptLanguage}`).digest().readBigUInt64BE(0);
}
