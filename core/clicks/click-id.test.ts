import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLICK_ID_BLOCK_BYTES,
  CLICK_ID_LENGTH,
  clickIdAt,
  createClickIdCodec,
  writeClickIdBlock,
} from './click-id.ts';

const key = (byte: number) => Buffer.alloc(16, byte);
const identities = fc.record({
  ts: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  node: fc.integer({ min: 0, max: 65_535 }),
  seq: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});

describe('click id', () => {
  const codec = createClickIdCodec([key(1)]);

  it('returns what went in', () => {
    fc.assert(
      fc.property(identities, (identity) => {
        const id = codec.encode(identity);
        expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/);
        expect(id).toHaveLength(CLICK_ID_LENGTH);
        expect(codec.decode(id)).toEqual(identity);
      }),
    );
  });

  it('gives the same ids in bulk as one by one', () => {
    fc.assert(
      fc.property(fc.array(identities, { minLength: 1, maxLength: 20 }), (clicks) => {
        const blocks = Buffer.alloc(64 * CLICK_ID_BLOCK_BYTES);
        for (const [i, click] of clicks.entries()) writeClickIdBlock(blocks, i * CLICK_ID_BLOCK_BYTES, click);
        const ids = codec.encodeBlocks(blocks, clicks.length);
        expect(clicks.map((_, i) => clickIdAt(ids, i))).toEqual(clicks.map(codec.encode));
      }),
    );
  });

  it('refuses an id with any character changed', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const id = codec.encode({ ts: 1_767_225_600_000, node: 7, seq: 42 });
    for (let i = 0; i < id.length; i++) {
      for (const character of alphabet) {
        if (character === id[i]) continue;
        expect(codec.decode(id.slice(0, i) + character + id.slice(i + 1))).toBeUndefined();
      }
    }
  });

  it('refuses everything else', () => {
    for (const text of [
      '',
      'x',
      'A'.repeat(21),
      'A'.repeat(22),
      'A'.repeat(23),
      '='.repeat(22),
      '\u0000'.repeat(22),
    ]) {
      expect(codec.decode(text)).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.string({ minLength: 22, maxLength: 22 }), (text) => {
        expect(codec.decode(text)).toBeUndefined();
      }),
    );
  });

  it('opens old ids after the keys were rotated, and writes with the newest', () => {
    const identity = { ts: 1_767_225_600_000, node: 65_535, seq: 0 };
    const before = createClickIdCodec([key(1)]);
    const after = createClickIdCodec([key(2), key(1)]);
    const onlyNew = createClickIdCodec([key(2)]);
    expect(after.decode(before.encode(identity))).toEqual(identity);
    expect(onlyNew.decode(after.encode(identity))).toEqual(identity);
    expect(onlyNew.decode(before.encode(identity))).toBeUndefined();
  });
});
