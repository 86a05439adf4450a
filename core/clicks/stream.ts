import {
  DiscardPolicy,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { errorText, OperatingError } from '../errors.ts';
import { HOUR_MS } from '../time.ts';
import { withoutPassword } from '../url.ts';
import { accessOptions, keepServers, type NatsServer } from './nats-access.ts';
import { clicksStream, clicksSubject } from './shards.ts';

/** Names and layouts of everything that is sent through NATS. */

export const DEAD_LETTERS_STREAM = 'DEADLETTERS';
export const DEAD_LETTERS_SUBJECT = 'afflux.deadletters';

/** KV bucket of node leases: `counter` and one `lease.<node>` each. */
export const LEASES_BUCKET = 'afflux_leases';
/** KV bucket of the loader: `intent.<shard>` and `checkpoint.<shard>`. */
export const LOADER_BUCKET = 'afflux_loader';
/** KV bucket of who leads which shard: `leader.<shard>` and `loader.<id>`, written again at every heartbeat. */
export const LEADERS_BUCKET = 'afflux_leaders';
/** KV bucket of the clicks of links and campaigns with a daily cap: `<day>.<collector>.<part>`. */
export const CAPS_BUCKET = 'afflux_caps';

/** A batch is one message; NATS allows 1 MB, and 256 KiB keeps one batch's latency and memory small. */
export const MAX_BATCH_BYTES = 256 * 1024;

/** Headers of a batch, beside `Nats-Msg-Id` = `node:firstSeq`. */
export const BatchHeader = {
  version: 'Afflux-Version',
  node: 'Afflux-Node',
  firstSeq: 'Afflux-First-Seq',
  rows: 'Afflux-Rows',
} as const;

export function batchMessageId(node: number, firstSeq: number): string {
  return `${node}:${firstSeq}`;
}

const NANOS_PER_MS = 1_000_000;

/** Batches stay this long, so that a block can be inserted again from the stream. */
const CLICKS_MAX_AGE_MS = 72 * HOUR_MS;
/** Longer than a spool takes to replay after an ordinary outage; the loader's checkpoint recognises later ones. */
const DUPLICATE_WINDOW_MS = 2 * HOUR_MS;
/** About 300 million clicks of 100 bytes in all; a full stream refuses, and the collector's spool takes over. */
const CLICKS_MAX_BYTES = 32 * 1024 ** 3;
const DEAD_LETTERS_MAX_BYTES = 1024 ** 3;

/** How long a process waits for NATS when it starts. */
const CONNECT_TIMEOUT_MS = 10_000;

/** @throws OperatingError `nats_unreachable`, or `invalid_config` for a file that cannot be read. */
export async function connectNats(options: NatsServer & { name: string }): Promise<NatsConnection> {
  const access = accessOptions(options);
  try {
    const nc = await connect({
      ...access,
      name: options.name,
      timeout: CONNECT_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      // A request captures a stack trace by default, which costs more than the publish itself.
      noAsyncTraces: true,
    });
    keepServers(nc, access.servers);
    return nc;
  } catch (error) {
    throw new OperatingError(
      'nats_unreachable',
      `cannot reach NATS at ${withoutPassword(options.url)}: ${errorText(error)}. Start the platform with "npm start", or set NATS_URL`,
      { cause: error },
    );
  }
}

/**
 * Creates the streams of these click shards, and that of the dead letters, if they are missing. A full stream refuses
 * (`discard: new`) instead of dropping old batches.
 */
export async function ensureStreams(
  nc: NatsConnection,
  shards: readonly number[] = [0],
): Promise<JetStreamManager> {
  const manager = await jetstreamManager(nc);
  await ensureFirstShard(manager);
  for (const shard of shards) {
    if (shard > 0) await ensureStream(manager, clicksConfig(shard, CLICKS_MAX_BYTES / shards.length));
  }
  await ensureStream(manager, {
    name: DEAD_LETTERS_STREAM,
    subjects: [DEAD_LETTERS_SUBJECT],
    max_age: 0,
    max_bytes: DEAD_LETTERS_MAX_BYTES,
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
  });
  return manager;
}

interface StreamConfig {
  readonly name: string;
  readonly subjects: string[];
  readonly max_age: number;
  readonly max_bytes: number;
  readonly duplicate_window: number;
}

function clicksConfig(shard: number, maxBytes: number): StreamConfig {
  return {
    name: clicksStream(shard),
    subjects: [clicksSubject(shard)],
    max_age: CLICKS_MAX_AGE_MS * NANOS_PER_MS,
    max_bytes: Math.floor(maxBytes),
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
  };
}

/** Before there were shards, one stream had the subjects of all of them, and no other stream could have one. */
async function ensureFirstShard(manager: JetStreamManager): Promise<void> {
  const wanted = clicksConfig(0, CLICKS_MAX_BYTES);
  const subjects = await ensureStream(manager, wanted);
  if (subjects.join() === wanted.subjects.join()) return;
  await manager.streams.update(wanted.name, { subjects: wanted.subjects });
}

/** @returns the subjects that the stream has. */
async function ensureStream(manager: JetStreamManager, config: StreamConfig): Promise<string[]> {
  const known = await manager.streams.info(config.name).catch(() => undefined);
  if (known) return known.config.subjects;
  await manager.streams.add({
    ...config,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs: -1,
  });
  return config.subjects;
}

/** `ttlMs`: how long a value is kept after its last write; for ever when absent. */
export async function openBucket(
  nc: NatsConnection,
  name: string,
  options: { ttlMs?: number } = {},
): Promise<KV> {
  const { ttlMs = 0 } = options;
  return await new Kvm(nc).create(name, { history: 1, ttl: ttlMs });
}
