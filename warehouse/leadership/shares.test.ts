import fc from 'fast-check';
import { expect, it } from 'vitest';
import { movesOf } from './shares.ts';

const shardCounts = fc.integer({ min: 1, max: 16 });

/** Lets every loader make its moves, as often as something moves. @returns how often each shard was claimed. */
function settle(shards: readonly number[], loaders: readonly string[], leaders: Map<number, string>) {
  const claims = new Map<number, number>();
  for (let round = 0; round < 100; round++) {
    const view = { shards, loaders, leaders: new Map(leaders) };
    let moved = false;
    for (const loader of loaders) {
      const { claim, release } = movesOf(loader, view);
      for (const shard of claim) {
        // No two loaders that see the same claim one shard.
        expect(leaders.has(shard)).toBe(false);
        leaders.set(shard, loader);
        claims.set(shard, (claims.get(shard) ?? 0) + 1);
      }
      if (release !== undefined) {
        expect(leaders.get(release)).toBe(loader);
        leaders.delete(release);
      }
      moved ||= claim.length > 0 || release !== undefined;
    }
    if (!moved) return claims;
  }
  throw new Error('the shards never settle');
}

function spread(loaders: readonly string[], leaders: ReadonlyMap<number, string>): number {
  const counts = loaders.map((loader) => [...leaders.values()].filter((one) => one === loader).length);
  return Math.max(...counts) - Math.min(...counts);
}

it('every shard is led, evenly, whatever comes and goes, and a newcomer moves no shard twice', () => {
  fc.assert(
    fc.property(shardCounts, fc.array(fc.boolean(), { maxLength: 12 }), (count, joins) => {
      const shards = Array.from({ length: count }, (_, shard) => shard);
      const leaders = new Map<number, string>();
      let loaders = ['l0'];
      settle(shards, loaders, leaders);
      for (const [step, joins_] of joins.entries()) {
        const [dead] = loaders;
        if (joins_ || loaders.length === 1) loaders = [...loaders, `l${step + 1}`];
        else {
          loaders = loaders.slice(1);
          for (const [shard, leader] of leaders) if (leader === dead) leaders.delete(shard);
        }
        const claims = settle(shards, loaders, leaders);
        expect(Math.max(0, ...claims.values())).toBeLessThanOrEqual(1);
        expect(leaders.size).toBe(count);
        expect(spread(loaders, leaders)).toBeLessThanOrEqual(1);
      }
    }),
  );
});

it('counts a leader whose heartbeat is not seen yet, and gives it nothing to take', () => {
  const view = { shards: [0, 1], loaders: ['b'], leaders: new Map([[0, 'a']]) };
  expect(movesOf('b', view)).toEqual({ claim: [1], release: undefined });
});

it('gives a free shard to a loader also while one that is no taker leads fewer', () => {
  const leaders = new Map([
    [0, 'a'],
    [1, 'b'],
    [2, 'b'],
  ]);
  const view = { shards: [0, 1, 2, 3], loaders: ['b'], leaders };
  expect(movesOf('b', view)).toEqual({ claim: [3], release: undefined });
  expect(movesOf('a', view)).toEqual({ claim: [], release: undefined });
});
