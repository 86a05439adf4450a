import { describe, expect, it } from 'vitest';
import { chooseBinary } from './binaries.ts';
import { withoutGlibc238 } from './elf.ts';
import { readBinary } from './uws.ts';

const node = (abi: string, minor: number | undefined, arch = 'x64') => ({
  platform: 'linux',
  arch,
  abi,
  glibc: minor === undefined ? undefined : ([2, minor] as const),
});

describe('chooseBinary', () => {
  it('corrects on glibc 2.36 and 2.37 only, and falls back to the old library with Node.js 20 only', () => {
    for (const abi of ['115', '127', '137']) {
      expect(chooseBinary(node(abi, 36))).toMatchObject({ corrected: true, old: false });
      expect(chooseBinary(node(abi, 37))).toMatchObject({ corrected: true });
      expect(chooseBinary(node(abi, 38))).toMatchObject({ corrected: false, old: false });
    }
    expect(chooseBinary(node('115', 35))).toMatchObject({ old: true, corrected: false });
  });

  it.each([
    ['Node.js 22 on Ubuntu 22.04', node('127', 35)],
    ['Node.js 26', node('147', 41)],
    ['musl', node('137', undefined)],
    ['32 bits', node('137', 36, 'arm')],
    ['macOS', { ...node('137', 36), platform: 'darwin' }],
  ])('says what would work instead of %s', (_, machine) => {
    expect(() => chooseBinary(machine)).toThrow(/Use Node\.js 20, 22 or 24 on Linux/);
  });
});

describe('withoutGlibc238', () => {
  const binaries = ['115', '127', '137'].flatMap((abi) =>
    ['x64', 'arm64'].map((arch) => chooseBinary(node(abi, 36, arch))),
  );

  it.each(binaries)('changes the names, versions and need alone of $package $file', (binary) => {
    const { bytes } = readBinary(binary);
    const before = Buffer.from(bytes);
    const copy = withoutGlibc238(bytes);
    expect(bytes.equals(before)).toBe(true);
    expect(copy.length).toBe(bytes.length);
    const changed: number[] = [];
    for (let i = 0; i < copy.length; i++) if (copy[i] !== bytes[i]) changed.push(i);
    // At most four names (1 or 2 bytes) and versions (2 bytes) and one flag.
    expect(changed.length).toBeGreaterThanOrEqual(5);
    expect(changed.length).toBeLessThanOrEqual(17);
    // A second correction finds no symbol left to change.
    expect(withoutGlibc238(copy).equals(copy)).toBe(true);
  });

  it('refuses what is no such library', () => {
    expect(() => withoutGlibc238(Buffer.from('#!/bin/sh\n'.repeat(10)))).toThrow('not a 64-bit ELF library');
    const old = readBinary(chooseBinary(node('115', 35)));
    expect(() => withoutGlibc238(old.bytes)).toThrow('does not need GLIBC_2.38');
  });

  it('refuses a library that is not the pinned one', () => {
    const binary = { ...chooseBinary(node('115', 36)), sha256: '0'.repeat(64) };
    expect(() => readBinary(binary)).toThrow(/run "npm ci"/);
  });
});
