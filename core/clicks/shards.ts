import type { JetStreamManager } from '@nats-io/jetstream';
import { OperatingError } from '../errors.ts';

/**
 * The shards of the click stream. Each is a stream of its own with one subject, and the streams themselves say which shards
 * exist: a collector makes those that it publishes to, and a loader leads each one that it finds.
 */

/**
 * One loader that leads them all holds up to 128 MiB for each: what is read ahead, the block that gathers and the one that is
 * inserted. 16 are 2 GiB, and load more than 10¹¹ clicks a day.
 */
export const MAX_CLICK_SHARDS = 16;

/** One subject per shard; one loader reads it. */
export function clicksSubject(shard: number): string {
  return `afflux.clicks.${shard}`;
}

/** The first shard has the name and the data of the stream from before there were shards. */
export function clicksStream(shard: number): string {
  return shard === 0 ? 'CLICKS' : `CLICKS_${shard}`;
}

const CLICKS_STREAM_NAME = /^CLICKS(?:_([1-9]\d*))?$/;

/** Shards `0 … count - 1`. */
export function firstShards(count: number): number[] {
  return Array.from({ length: count }, (_, shard) => shard);
}

/**
 * The shard that a collector of `count` shards sends the clicks of a campaign to: ClickHouse's
 * `murmurHash3_32(campaign_id) % count`.
 */
export function shardOfCampaign(campaignId: number, count: number): number {
  return count === 1 ? 0 : murmur3(campaignId) % count;
}

/** MurmurHash3 (32 bits, seed 0) of four bytes, little-endian: Austin Appleby's `MurmurHash3_x86_32`. */
function murmur3(value: number): number {
  let block = Math.imul(value, 0xcc9e2d51);
  block = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
  let hash = (block << 13) | (block >>> 19);
  hash = (Math.imul(hash, 5) + 0xe6546b64) ^ 4;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The shards that exist, ascending. Their names are known even while a stream itself does not answer. */
export async function listClickShards(manager: JetStreamManager): Promise<number[]> {
  const shards: number[] = [];
  for await (const name of manager.streams.names('afflux.clicks.*')) {
    const [match, number] = CLICKS_STREAM_NAME.exec(name) ?? [];
    if (match !== undefined) shards.push(Number(number ?? 0));
  }
  return shards.sort((a, b) => a - b);
}

/** The state of one shard's stream. */
export interface ClicksStreamState {
  /** When the stream was created: names its life. */
  readonly created: string;
  readonly firstSeq: number;
  /** Sequence of its last message, 0 when there is none. */
  readonly lastSeq: number;
}

/**
 * To be called with a stream as it is and the life that a position counts in.
 * @throws OperatingError `stream_replaced` when it was deleted and made again: its sequences count from 1 again.
 */
export function checkStreamLife(shard: number, created: string, life: string): void {
  if (created === life) return;
  throw new OperatingError(
    'stream_replaced',
    `stream ${clicksStream(shard)} of ${life} was replaced by one of ${created}`,
  );
}

export async function readClicksStream(manager: JetStreamManager, shard: number): Promise<ClicksStreamState> {
  const { created, state } = await manager.streams.info(clicksStream(shard));
  return { created, firstSeq: state.first_seq, lastSeq: state.last_seq };
}
