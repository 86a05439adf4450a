/** Numbers drawn from a seed: the same seed draws the same numbers. */
export interface SeededRandom {
  /** At least 0, below 1. */
  next(): number;
  /** A whole number of at least `from` and below `to`. */
  whole(from: number, to: number): number;
  pick<T>(items: readonly T[]): T;
  shuffled<T>(items: readonly T[]): T[];
}

/** Mulberry32, public domain: 32 bits of state are plenty for a schedule. */
export function createRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const whole = (from: number, to: number): number => from + Math.floor(next() * (to - from));
  return {
    next,
    whole,
    pick(items) {
      const item = items[whole(0, items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    shuffled(items) {
      const rest = [...items];
      return items.flatMap(() => rest.splice(whole(0, rest.length), 1));
    },
  };
}
