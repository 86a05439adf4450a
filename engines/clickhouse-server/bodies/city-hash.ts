/**
 * CityHash128 of version 1.0.2, which the checksums of ClickHouse's compressed frames are (its contrib/cityhash102). Later
 * versions of CityHash, which npm's libraries have, give other values. Names are those of the original.
 */

import { hashRounds } from './city-hash-rounds.ts';

const K0 = 0xc3a5c85c97cb3127n;
const K1 = 0xb492b66fbe98f273n;
const K2 = 0x9ae16a3b2f90404fn;
const K3 = 0xc949d7c7509e6557n;
const MUL = 0x9ddfea08eb382d69n;

/** To 64 bits: what the compiler turns into machine words. */
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate = (value: bigint, by: bigint): bigint => u64((value >> by) | (value << (64n - by)));
const shiftMix = (value: bigint): bigint => value ^ (value >> 47n);

/** HashLen16 */
function mix(u: bigint, v: bigint): bigint {
  const a = shiftMix(u64((u ^ v) * MUL));
  const b = shiftMix(u64((v ^ a) * MUL));
  return u64(b * MUL);
}

/** The low and the high half of the hash, as a frame has them. */
export type Hash = readonly [low: bigint, high: bigint];

/** @param bytes at least 8; a frame's checksum covers 9 and more. */
export function cityHash128(bytes: Buffer): Hash {
  const { length } = bytes;
  if (length < 16) {
    const low = bytes.readBigUInt64LE(0) ^ u64(BigInt(length) * K0);
    return murmur(bytes.subarray(length), low, bytes.readBigUInt64LE(length - 8) ^ K1);
  }
  const [low, high] = [bytes.readBigUInt64LE(0) ^ K3, bytes.readBigUInt64LE(8)];
  const rest = bytes.subarray(16);
  return rest.length < 128 ? murmur(rest, low, high) : hashLong(rest, low, high);
}

/** CityMurmur */
function murmur(bytes: Buffer, low: bigint, high: bigint): Hash {
  const { length } = bytes;
  let [a, b, c, d] = [low, high, 0n, 0n];
  if (length <= 16) {
    a = u64(shiftMix(u64(a * K1)) * K1);
    c = u64(b * K1 + hashShort(bytes));
    d = shiftMix(u64(a + (length >= 8 ? bytes.readBigUInt64LE(0) : c)));
  } else {
    c = mix(u64(bytes.readBigUInt64LE(length - 8) + K1), a);
    d = mix(u64(b + BigInt(length)), u64(c + bytes.readBigUInt64LE(length - 16)));
    a = u64(a + d);
    for (let at = 0; at < length - 16; at += 16) {
      a = u64((a ^ u64(shiftMix(u64(bytes.readBigUInt64LE(at) * K1)) * K1)) * K1);
      b ^= a;
      c = u64((c ^ u64(shiftMix(u64(bytes.readBigUInt64LE(at + 8) * K1)) * K1)) * K1);
      d ^= c;
    }
  }
  a = mix(a, c);
  b = mix(d, b);
  return [a ^ b, mix(b, a)];
}

/** HashLen0to16 */
function hashShort(bytes: Buffer): bigint {
  const { length } = bytes;
  if (length > 8) {
    const b = bytes.readBigUInt64LE(length - 8);
    return mix(bytes.readBigUInt64LE(0), rotate(u64(b + BigInt(length)), BigInt(length))) ^ b;
  }
  if (length >= 4) {
    const a = BigInt(bytes.readUInt32LE(0));
    return mix(u64(BigInt(length) + (a << 3n)), BigInt(bytes.readUInt32LE(length - 4)));
  }
  if (length === 0) return K2;
  const [a, b, c] = [0, length >> 1, length - 1].map((at) => bytes.readUInt8(at)) as [number, number, number];
  const [y, z] = [BigInt(a + (b << 8)), BigInt(length + (c << 2))];
  return u64(shiftMix(u64(y * K2) ^ u64(z * K3)) * K2);
}

/** CityHash128WithSeed of 128 bytes and more. */
function hashLong(bytes: Buffer, low: bigint, high: bigint): Hash {
  const { length } = bytes;
  const v = u64(rotate(high ^ K1, 49n) * K1 + bytes.readBigUInt64LE(0));
  const z = u64(BigInt(length) * K1);
  const rounds = length - (length % 128);
  let [x, y, z1, v1, v2, w1, w2] = hashRounds(bytes.subarray(0, rounds), [
    low,
    high,
    z,
    v,
    u64(rotate(v, 42n) * K1 + bytes.readBigUInt64LE(8)),
    u64(rotate(u64(high + z), 35n) * K1 + low),
    u64(rotate(u64(low + bytes.readBigUInt64LE(88)), 53n) * K1),
  ]);
  y = u64(y + rotate(w1, 37n) * K0 + z1);
  x = u64(x + rotate(u64(v1 + z1), 49n) * K0);
  // What is left is hashed from the end, in pieces of 32 bytes that may reach before it.
  for (let done = 32; done - 32 < length - rounds; done += 32) {
    const piece = bytes.subarray(length - done, length - done + 32);
    y = u64(rotate(u64(y - x), 42n) * K0 + v2);
    w1 = u64(w1 + piece.readBigUInt64LE(16));
    x = u64(rotate(x, 49n) * K0 + w1);
    w1 = u64(w1 + v1);
    [v1, v2] = weakHash(piece, v1, v2);
  }
  x = mix(x, v1);
  y = mix(y, w1);
  return [u64(mix(u64(x + v2), w2) + y), mix(u64(x + w2), u64(y + v2))];
}

/** WeakHashLen32WithSeeds */
function weakHash(bytes: Buffer, seed: bigint, seed2: bigint): Hash {
  const [first, second, third, last] = [0, 8, 16, 24].map((at) => bytes.readBigUInt64LE(at)) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const a = u64(seed + first);
  const sum = u64(a + second + third);
  const b = rotate(u64(seed2 + a + last), 21n);
  return [u64(sum + last), u64(b + rotate(sum, 44n) + a)];
}
