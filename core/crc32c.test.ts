import { expect, it } from 'vitest';
import { crc32c } from './crc32c.ts';

/** Test vectors of RFC 3720, appendix B.4, and the usual check value. */
it.each([
  [Buffer.alloc(32), 0x8a9136aa],
  [Buffer.alloc(32, 0xff), 0x62a8ab43],
  [Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
  [Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
  [Buffer.from('123456789'), 0xe3069283],
  [Buffer.alloc(0), 0],
])('the published checksum of vector %#', (bytes, checksum) => {
  expect(crc32c(bytes)).toBe(checksum);
  for (const cut of [0, 1, 5, 8, 13]) {
    expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(checksum);
  }
});
