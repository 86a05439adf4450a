/**
 * A set of whole numbers as sorted, disjoint, non-adjacent ranges `[from, to]`, both ends inside.
 * Batches of a lease count up without gaps, so that the set of those accepted is nearly always one range.
 */
export type SeqRanges = readonly (readonly [from: number, to: number])[];

/** Whether all, none or some of `from..to` are in the set. */
export function coverage(ranges: SeqRanges, from: number, to: number): 'all' | 'none' | 'some' {
  for (const [start, end] of ranges) {
    if (end < from) continue;
    if (start > to) break;
    return start <= from && to <= end ? 'all' : 'some';
  }
  return 'none';
}

/** The set with `from..to` in it. */
export function withRange(ranges: SeqRanges, from: number, to: number): SeqRanges {
  const result: [number, number][] = [];
  let low = from;
  let high = to;
  for (const [start, end] of ranges) {
    if (end + 1 < from) {
      result.push([start, end]);
    } else if (start > to + 1) {
      result.push([low, high]);
      low = start;
      high = end;
    } else {
      low = Math.min(low, start);
      high = Math.max(high, end);
    }
  }
  result.push([low, high]);
  return result;
}
