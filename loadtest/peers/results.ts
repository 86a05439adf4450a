import { atLeast, atMost, type BenchRow, type BenchTarget, round } from '../bench.ts';
import type { Load, LoadGenerator } from '../collector/load.ts';
import type { KillResult } from './kills.ts';
import type { Rates, Sample } from './measure.ts';
import type { Peer } from './peer.ts';

/** A peer that could not be measured, and why. */
export interface MissingPeer {
  readonly peer: Peer;
  readonly missing: string;
}

export interface MeasuredPeer {
  readonly peer: Peer;
  readonly samples: readonly Sample[];
  /** Bytes of a click on disk where it can be queried; 0: it cannot be. */
  readonly bytes: number;
  readonly killed: KillResult;
}

/** Others of this job, what they promise by their source or manual where that was read, and why they are not here. */
const NOT_RUN = [
  'YOURLS, Kutt and Shlink: npm, PyPI and Debian do not have their servers',
  'golink, listmonk and sfproductlabs/tracker: the Go module proxy that was asked does not serve them. By its source (cb31f36 of 23 April 2026) the tracker redirects once a click is in a batch in its memory, which is written to ClickHouse after 10 s or 100,000 clicks',
  'Gobble: its server tracker-core is made of crates, and its store, the server of Apache Iggy, is not one. By its source (71dbf04 of 24 March 2026) the redirect does not wait for the click, which goes to a buffer in memory of up to 256 MiB; a click that waits for that buffer for 2 s is dropped, and so is every click of a server that started without its store, until it finds it',
  "Snowplow's collector: Maven Central does not have it",
] as const;

const OURS = 'Afflux';
const CONVENTIONAL = 'Fastify, one INSERT, awaited';
const BARE = 'bare uWebSockets.js';

/** The mean of the rounds. */
function mean(result: MeasuredPeer, read: (sample: Sample) => number): number {
  return result.samples.reduce((sum, sample) => sum + read(sample), 0) / result.samples.length;
}

const perSecond = (result: MeasuredPeer): number => mean(result, ({ saturated }) => saturated.perSecond);
const allUs = (result: MeasuredPeer): number => mean(result, (sample) => sample.allUs);
const moderate = (result: MeasuredPeer, read: (load: Load) => number): number =>
  round(mean(result, (sample) => read(sample.moderate)));
const named = (results: readonly MeasuredPeer[], name: string): MeasuredPeer | undefined =>
  results.find(({ peer }) => peer.name === name);

export function rowOf(result: MeasuredPeer | MissingPeer, all: readonly MeasuredPeer[]): BenchRow {
  const { name, durability } = result.peer;
  if ('missing' in result)
    return { peer: name, 'when the redirect leaves, the click is': `not run: ${result.missing}` };
  const conventional = named(all, CONVENTIONAL);
  const bare = named(all, BARE);
  const logBytes = mean(result, (sample) => sample.logBytes);
  return {
    peer: name,
    requests_per_s: round(perSecond(result)),
    ...(conventional && { '÷ one INSERT': round(perSecond(result) / perSecond(conventional)) }),
    ...(bare && { '÷ bare': round(perSecond(result) / perSecond(bare)) }),
    'moderate: per_s': moderate(result, (load) => load.perSecond),
    p50_ms: moderate(result, (load) => load.p50Ms),
    p99_ms: moderate(result, (load) => load.p99Ms),
    'p99.9_ms': moderate(result, (load) => load.p999Ms),
    cpu_us_server: round(mean(result, (sample) => sample.serverUs)),
    cpu_us_all: round(allUs(result)),
    ...(result.bytes > 0 && { bytes_per_click: round(result.bytes) }),
    ...(logBytes > 0 && { log_bytes_per_click: round(logBytes) }),
    'kills −9': result.killed.kills,
    answered: result.killed.answered,
    lost: result.killed.lost,
    'when the redirect leaves, the click is': durability,
  };
}

export function targetsOf(results: readonly MeasuredPeer[]): BenchTarget[] {
  const ours = results.filter(({ peer }) => peer.name.startsWith(OURS));
  const conventional = named(results, CONVENTIONAL);
  return ours.flatMap((result) => {
    const { name } = result.peer;
    return [
      atMost(`${name}: redirects lost by kill −9`, result.killed.lost, 0),
      atMost(`${name}: clicks stored twice`, result.killed.twice, 0),
      ...(conventional
        ? [
            atLeast(
              `${name}: requests/s ÷ one INSERT a click`,
              perSecond(result) / perSecond(conventional),
              12,
            ),
            atMost(
              `${name}: CPU of all processes ÷ one INSERT a click`,
              allUs(result) / allUs(conventional),
              0.25,
            ),
          ]
        : []),
    ];
  });
}

/** What the table says, in words, with those that do better than we do; and what was measured how. */
export function notesOf(
  results: readonly MeasuredPeer[],
  { generator, rates }: { generator: LoadGenerator; rates: Rates },
): string[] {
  const ours = named(results, OURS);
  const better = (what: string, read: (result: MeasuredPeer) => number, sign: 1 | -1): string[] => {
    if (!ours) return [];
    const ahead = results.filter(
      (result) =>
        !result.peer.name.startsWith(OURS) && read(result) > 0 && sign * (read(result) - read(ours)) > 0,
    );
    const list = ahead.map((result) => `${result.peer.name} (${round(read(result) / read(ours))} ×)`);
    return list.length === 0 ? [`No peer ${what}.`] : [`A peer ${what}: ${list.join(', ')}.`];
  };
  return [
    ...better('answers more requests a second than Afflux', perSecond, 1),
    ...better(
      'has a lower p99 than Afflux at the moderate rate',
      (result) => mean(result, (s) => s.moderate.p99Ms),
      -1,
    ),
    ...better('takes less CPU a click than Afflux, all processes together', allUs, -1),
    ...better('takes less disk than Afflux for a stored click', (result) => result.bytes, -1),
    `Redirect server, its stores (for Afflux: NATS, loader and ClickHouse) and ${generator.name} share two cores as the kernel divides them. Requests/s: ${rates.connections} connections, each asking again at once. Moderate: ${
      generator.runThinking
        ? `${rates.moderateConnections} connections, each pausing 0 to ${2 * rates.thinkMs} ms after an answer, ${Math.round((rates.moderateConnections * 1_000) / rates.thinkMs)} requests a second for a server that answers at once`
        : `${rates.moderateConnections} connections without pauses, since this generator has none`
    }.`,
    `${generator.note} A run with an error has no result; that every answered click is stored is compared after each run.`,
    'CPU counts until the click is stored where it can be queried and ClickHouse has merged. Bytes: these clicks are of a few minutes, so the rollups by hour take next to nothing; over 60 days Afflux takes what bench:warehouse says. Of PostgreSQL: table and indexes. Log: write-ahead log of PostgreSQL; of Afflux the stream, kept 72 hours.',
    `Kills: the redirect server alone, under the load of 64 visitors who write down each redirect they receive; it is started again, and what is not stored then is lost. What only counts clicks (django-link-shortener) hides some of its loss.`,
    `Not run, and why: ${NOT_RUN.join('; ')}.`,
  ];
}
