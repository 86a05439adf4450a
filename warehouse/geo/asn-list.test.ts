import fc from 'fast-check';
import { expect, it } from 'vitest';
import { networksOfRange } from './asn-list.ts';

it('cuts a range into whole networks', () => {
  expect([...networksOfRange(0x01000001n, 0x01000007n, 32)]).toEqual([
    '::ffff:1.0.0.1/128',
    '::ffff:1.0.0.2/127',
    '::ffff:1.0.0.4/126',
  ]);
  expect([...networksOfRange(0n, 2n ** 32n - 1n, 32)]).toEqual(['::ffff:0.0.0.0/96']);
  expect([...networksOfRange(2n ** 127n, 2n ** 127n + 2n ** 64n - 1n, 128)]).toEqual([
    '8000:0000:0000:0000:0000:0000:0000:0000/64',
  ]);
});

it.each([
  [32, 96],
  [128, 0],
] as const)('covers every range of %i bits exactly, in order, without overlap', (bits, depth) => {
  const address = fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n });
  fc.assert(
    fc.property(address, address, (a, b) => {
      const [first, last] = a < b ? [a, b] : [b, a];
      let at = first;
      for (const network of networksOfRange(first, last, bits)) {
        const [text = '', prefix = ''] = network.split('/');
        const start =
          bits === 32
            ? text
                .slice(7)
                .split('.')
                .reduce((sum, part) => sum * 256n + BigInt(part), 0n)
            : BigInt(`0x${text.replaceAll(':', '')}`);
        expect(start).toBe(at);
        const size = 2n ** BigInt(bits - (Number(prefix) - depth));
        expect(start % size).toBe(0n);
        at += size;
      }
      expect(at).toBe(last + 1n);
    }),
  );
});
