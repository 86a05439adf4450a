import { randomBytes } from 'node:crypto';
import { compressFrameSync } from 'lz4-napi';
import { describe, expect, test } from 'vitest';
import { cityHash128 } from './city-hash.ts';
import { chooseEncoding, decode, encode } from './encodings.ts';
import { packFrames, unpackFrames } from './frames.ts';

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const LINES = Buffer.from(
  Array.from({ length: 20_000 }, (_, i) => `row ${(i * 7919) % 1000} ${i}\n`).join(''),
);
const CONTENTS = [LINES, Buffer.from('x'), Buffer.alloc(0), Buffer.alloc(300_000, 'a'), randomBytes(200_000)];

test.each(['lz4', 'gzip', 'deflate', 'br'] as const)('%s: what goes in comes out', async (encoding) => {
  for (const content of CONTENTS) {
    const encoded = await all(encode(encoding, cut(content, 70_000)));
    expect((await all(decode(encoding, cut(encoded, 999)))).equals(content)).toBe(true);
  }
});

test('reads the frames of an LZ4 library, one behind the other', async () => {
  for (const content of CONTENTS) {
    const frame = compressFrameSync(content, { contentChecksum: true, blockChecksums: true });
    const twice = Buffer.concat([frame, frame]);
    expect((await all(decode('lz4', cut(twice, 777)))).equals(Buffer.concat([content, content]))).toBe(true);
  }
});

/** By zstd 1.5.4: `seq 100 | zstd`, from a pipe, with -19 --no-check and the size known, and as two frames. */
const ZSTD: Readonly<Record<string, string>> = {
  piped:
    'KLUv/QRYTQQARlIhCbDrJEmIcFKYdRsAHgAeAL069enSo7ezQz9uvDjx4cKDl5MDv+2anuW4M505w3yyySWTPLLIIVemDPLFFldM8cQSR9yYMcTXLVM9tdRRt2YN9dFGF0300EIHXZo00DfbXDPNM8sccwPwu+2um+655Y67N2+4zza7bLLHFjvs2rTBvtrqqgB5Zcxq',
  'of a known size':
    'KLUv/WAkAE0EAEZSIQmw6yRJiHBSmHUbAB4AHgC9OvXp0qO3s0M/brw48eHCg5eTA7/tmp7luDOdOcN8ssklkzyyyCFXpgzyxRZXTPHEEkfcmDHE1y1TPbXUUbdmDfXRRhdN9NBCB12aNNA321wzzTPLHHMD8LvtrpvuueWOuzdvuM82u2yyxxY77Nq0wb7a6qoA',
  'two frames':
    'KLUv/QRYTQQARlIhCbDrJEmIcFKYdRsAHgAeAL069enSo7ezQz9uvDjx4cKDl5MDv+2anuW4M505w3yyySWTPLLIIVemDPLFFldM8cQSR9yYMcTXLVM9tdRRt2YN9dFGF0300EIHXZo00DfbXDPNM8sccwPwu+2um+655Y67N2+4zza7bLLHFjvs2rTBvtrqqgB5ZcxqKLUv/WQkAE0EAEZSIQmw6yRJiHBSmHUbAB4AHgC9OvXp0qO3s0M/brw48eHCg5eTA7/tmp7luDOdOcN8ssklkzyyyCFXpgzyxRZXTPHEEkfcmDHE1y1TPbXUUbdmDfXRRhdN9NBCB12aNNA321wzzTPLHHMD8LvtrpvuueWOuzdvuM82u2yyxxY77Nq0wb7a6qoAeWXMag==',
};

test.each(Object.keys(ZSTD))('reads zstd: %s', async (name) => {
  const encoded = Buffer.from(ZSTD[name] ?? '', 'base64');
  const once = Buffer.from(Array.from({ length: 100 }, (_, i) => `${i + 1}\n`).join(''));
  const wanted = name === 'two frames' ? Buffer.concat([once, once]) : once;
  for (const size of [1, 100, 65_536]) {
    expect((await all(decode('zstd', cut(encoded, size)))).equals(wanted)).toBe(true);
  }
});

describe('damaged or hostile bodies', { tags: ['attack'] }, () => {
  test.each(['lz4', 'gzip', 'deflate', 'br', 'zstd'])(
    '%s: garbage, and a body cut short',
    async (encoding) => {
      await expect(all(decode(encoding, cut(LINES, 1_000)))).rejects.toMatchObject({ code: 271 });
      const whole =
        encoding === 'zstd'
          ? Buffer.from(ZSTD.piped ?? '', 'base64')
          : await all(encode(encoding as 'lz4', cut(LINES, 5_000)));
      await expect(all(decode(encoding, cut(whole.subarray(0, -20), 500)))).rejects.toMatchObject({
        code: 271,
      });
    },
  );

  test('zstd: a window that would fill the memory, and blocks that unfold', async () => {
    // A window of 2 GiB in the header.
    const window = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0]);
    await expect(all(decode('zstd', cut(window, 100)))).rejects.toThrow('window');
    // 10,000 blocks of 128 KiB in 40 KB: more than a gigabyte, of which a block at a time is in memory.
    const block = Buffer.from([...[0, 0, 0], 0x61]);
    block.writeUIntLE((128 * 1024 * 8) | 2, 0, 3);
    const bomb = Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]),
      ...Array<Buffer>(200).fill(block),
    ]);
    for await (const chunk of decode('zstd', cut(bomb, 65_536))) {
      expect(chunk.length).toBeLessThanOrEqual(1024 ** 2);
      if (chunk.length > 0) break;
    }
  });

  test('frames: sizes that would fill the memory', async () => {
    const frame = await all(packFrames(cut(Buffer.from('x'), 1)));
    frame.writeUInt32LE(0xffffffff, 21);
    await expect(all(unpackFrames(cut(frame, 100)))).rejects.toMatchObject({ code: 113 });
  });

  test('frames: every byte that is changed is noticed', async () => {
    const frame = await all(packFrames(cut(Buffer.from('some content some content'), 100)));
    for (let at = 0; at < frame.length; at++) {
      const damaged = Buffer.from(frame);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      await expect(all(unpackFrames(cut(damaged, 100)))).rejects.toThrow(
        /doesn't match|Cannot decompress|Compressed frame/,
      );
    }
  });
});

test('frames: what goes in comes out, in pieces of any size', async () => {
  for (const content of [...CONTENTS, Buffer.alloc(3_000_000, 'abc')]) {
    const framed = await all(packFrames(cut(content, 2_000_000)));
    expect((await all(unpackFrames(cut(framed, 12_345)))).equals(content)).toBe(true);
  }
});

/** By go-faster/city v1.0.1, of bytes i*7 + i/251 + length. */
const HASHES: readonly (readonly [length: number, low: string, high: string])[] = [
  [9, '80885008a99d77f2', '0854364fe84aef88'],
  [10, '8dc4aa0b715c2c9f', '8beeccc54ca6f672'],
  [12, '4ffdfe0c8f71f732', 'dea2c8c5662870d6'],
  [15, '1443b6470aa1c7ff', '70f998835a684c59'],
  [16, '4e7e2890890c933d', '9b6511d6440477c7'],
  [17, 'f0e9ed04b1c7f44e', '8a17c6d04d5431ae'],
  [19, '7ea9352db9cf9006', '0fe7a5d70c0bd193'],
  [20, 'c50d5188dd3f0cd4', 'bc678d2c1155160a'],
  [23, '17cfe88f2d083602', 'e640f5ae74dd3a01'],
  [24, '3a34086b235ecfbb', '0cb65080ace6058f'],
  [25, '7396cd4ed292081b', 'd3383823f829f861'],
  [31, '99f185112aa9cd7e', 'd42762edf0508928'],
  [32, 'adf0df935f46a6c9', '45c6069d82f7b2fc'],
  [33, '8a065e613be6ff11', '35542546810ca846'],
  [40, '67dc93f5738b7134', '2042215927bfdd08'],
  [48, '97d8b75e4aa03941', '822802a21c3e19ed'],
  [63, 'a30c0c20764400c0', '2612d45b2d46b81e'],
  [100, 'ced681c78ad6c6cf', '8522ef787e570a9c'],
  [143, '2306b4d414b0d326', 'e980bd41eb516895'],
  [144, '9ba176029dbc7f22', 'a99caea46164a108'],
  [145, '594221bdaeb6df1a', '9eb4a68bece02725'],
  [175, '46436148dab729cd', '91164962bd2c69ec'],
  [176, '6e705dc8e6483661', 'e684198697a28e51'],
  [200, 'af07d3bba57a0d5b', '0981ef4f519d4454'],
  [271, '99dbcf7740ed3867', '6816a2db77f52d91'],
  [272, '4e99886318027939', '52a9b72a5e601893'],
  [273, '73da9bf428c5fc92', 'bbd00b7f814d6da4'],
  [300, '7376ce3b1054d72b', '5367ae20dffa79ce'],
  [1000, '95c7d5d91dda0b97', '3bd4066caa2e5a1e'],
  [4096, 'ba5072b42aa75bc0', '5f2d53ea1c2da670'],
  [65545, '78839a576632da09', '830cd7e2acc160ef'],
  [100003, '00d99ffbf4c547b9', 'a1b2ec7d1028dce9'],
];

test.each(HASHES)('CityHash128 of %i bytes', (length, low, high) => {
  const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 7 + Math.floor(i / 251) + length) & 255));
  expect(cityHash128(bytes).map((half) => half.toString(16).padStart(16, '0'))).toEqual([low, high]);
});

test.each([
  [undefined, undefined],
  ['gzip', 'gzip'],
  ['gzip;q=0', undefined],
  ['gzip;q=0, br', 'br'],
  ['lz4, zstd, gzip', 'lz4'],
  ['zstd', undefined],
  ['gzip, deflate, br', 'gzip'],
  ['br;q=0.5, deflate;q=0.8', 'deflate'],
  ['identity', undefined],
])('Accept-Encoding %s is answered by %s', (accepted, encoding) => {
  expect(chooseEncoding(accepted === undefined ? {} : { 'accept-encoding': accepted })).toBe(encoding);
});
