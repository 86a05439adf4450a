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
import { DAY_MS, HOUR_MS } from '../time.ts';
import { withoutPassword } from '../url.ts';
import { accessOptions, keepServers, type NatsServer } from './nats-access.ts';

/** Names and layouts of everything that is sent through NATS. */

export const CLICKS_STREAM = 'CLICKS';
export const DEAD_LETTERS_STREAM = 'DEADLETTERS';
export const DEAD_LETTERS_SUBJECT = 'afflux.deadletters';

/** One subject per stream shard; a collector publishes to one shard, one loader reads it. */
export function clicksSubject(shard: number): string {
  return `afflux.clicks.${shard}`;
}

/** KV bucket of node leases: `counter` and one `lease.<node>` each. */
export const LEASES_BUCKET = 'afflux_leases';
/** KV bucket of the loader: `intent.<shard>` and `checkpoint.<shard>`. */
export const LOADER_BUCKET = 'afflux_loader';
/** KV bucket of the clicks of links and campaigns with a daily cap: `<day>.<collector>.<part>`. */
export const CAPS_BUCKET = 'afflux_caps';
/** Counts are needed on their day only; the second day covers clocks that differ. */
export const CAPS_TTL_MS = 2 * DAY_MS;

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
/** About 300 million clicks of 100 bytes; a full stream refuses, and the collector's spool takes over. */
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

/** Creates the streams if they are missing. A full stream refuses (`discard: new`) instead of dropping old batches. */
export async function ensureStreams(nc: NatsConnection): Promise<JetStreamManager> {
  const manager = await jetstreamManager(nc);
  await ensureStream(manager, {
    name: CLICKS_STREAM,
    subjects: ['afflux.clicks.*'],
    max_age: CLICKS_MAX_AGE_MS * NANOS_PER_MS,
    max_bytes: CLICKS_MAX_BYTES,
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
  });
  await ensureStream(manager, {
    name: DEAD_LETTERS_STREAM,
    subjects: [DEAD_LETTERS_SUBJECT],
    max_age: 0,
    max_bytes: DEAD_LETTERS_MAX_BYTES,
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
  });
  return manager;
}

async function ensureStream(
  manager: JetStreamManager,
  config: { name: string; subjects: string[]; max_age: number; max_bytes: number; duplicate_window: number },
): Promise<void> {
  const known = await manager.streams.info(config.name).catch(() => undefined);
  if (known) return;
  await manager.streams.add({
    ...config,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs: -1,
  });
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
