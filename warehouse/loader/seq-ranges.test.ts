import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coverage, type SeqRanges, withRange } from './seq-ranges.ts';

const someRanges = fc.array(
  fc.tuple(fc.nat(40), fc.nat(8)).map(([from, more]) => [from, from + more] as const),
  { maxLength: 12 },
);

function numbersOf(ranges: SeqRanges): Set<number> {
  return new Set(ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i)));
}

describe('seq ranges', () => {
  it('hold what was put in, sorted and never touching', () => {
    fc.assert(
      fc.property(someRanges, (inserted) => {
        const ranges = inserted.reduce<SeqRanges>((all, [from, to]) => withRange(all, from, to), []);
        expect(numbersOf(ranges)).toEqual(numbersOf(inserted));
        for (const [i, [from, to]] of ranges.entries()) {
          expect(from).toBeLessThanOrEqual(to);
          expect(from).toBeGreaterThan((ranges[i - 1]?.[1] ?? -2) + 1);
        }
      }),
    );
  });

  it('tell all, some and none apart', () => {
    fc.assert(
      fc.property(someRanges, fc.nat(45), fc.nat(8), (inserted, from, more) => {
        const ranges = inserted.reduce<SeqRanges>((all, [low, high]) => withRange(all, low, high), []);
        const members = numbersOf(ranges);
        const asked = [...numbersOf([[from, from + more]])];
        const inside = asked.filter((n) => members.has(n)).length;
        const expected = inside === 0 ? 'none' : inside === asked.length ? 'all' : 'some';
        expect(coverage(ranges, from, from + more)).toBe(expected);
      }),
    );
  });
});
