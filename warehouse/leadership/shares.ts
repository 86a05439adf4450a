/** Who leads which shard, as one loader sees it. */
export interface Leadership {
  /** The shards that exist, ascending. */
  readonly shards: readonly number[];
  /** Ids of the loaders that can take shards: those that live and do not fail, or all that live when all fail. */
  readonly loaders: readonly string[];
  /** The leader of each shard that has one that lives. */
  readonly leaders: ReadonlyMap<number, string>;
}

export interface Moves {
  readonly claim: readonly number[];
  readonly release: number | undefined;
}

/**
 * What a loader does to bring the shards to an even spread. Every loader that sees the same comes to the same moves, so
 * no agreement is needed: a shard without a leader goes to the loader with the fewest, and once all are led, the loader
 * with the most gives one away while another has two fewer. So each shard moves once at the most. A leader that is not
 * among the loaders keeps what it has as far as these moves go.
 */
export function movesOf(loader: string, { shards, loaders, leaders }: Leadership): Moves {
  const led = new Map<string, number>([...loaders].sort().map((id) => [id, 0]));
  for (const shard of shards) {
    const leader = leaders.get(shard);
    const count = leader === undefined ? undefined : led.get(leader);
    if (leader !== undefined && count !== undefined) led.set(leader, count + 1);
  }
  const free = shards.filter((shard) => !leaders.has(shard));
  const claim = free.filter(() => {
    const [taker = ''] = fewest(led);
    led.set(taker, (led.get(taker) ?? 0) + 1);
    return taker === loader;
  });
  if (free.length > 0) return { claim, release: undefined };
  const [, least = 0] = fewest(led);
  const [giver, most = 0] = [...led].reduce((best, next) => (next[1] > best[1] ? next : best), ['', 0]);
  if (giver !== loader || most - least < 2) return { claim, release: undefined };
  return { claim, release: shards.filter((shard) => leaders.get(shard) === loader).at(-1) };
}

function fewest(led: ReadonlyMap<string, number>): [string, number] {
  return [...led].reduce((best, next) => (next[1] < best[1] ? next : best));
}
