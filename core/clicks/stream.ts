import {
  DiscardPolicy,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { errorText, OperatingError } from '../errors.ts';
import { DAY_MS, HOUR_MS } from '../time.ts';
import { withoutPassword } from '../url.ts';
import { accessOptions, keepServers, type NatsServer } from './nats-access.ts';
import {
  isJetStreamSilent,
  isLoginRefused,
  isNameInUse,
  isStreamMissing,
  isUnanswered,
  lacksServers,
  lacksStorage,
  untilLed,
} from './nats-errors.ts';
import { leaveServerWithoutLeader } from './nats-server-change.ts';
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
/** About 300 million clicks of 100 bytes in all; a full stream refuses, and the collector's spool takes over. */
const CLICKS_MAX_BYTES = 32 * 1024 ** 3;
const DEAD_LETTERS_MAX_BYTES = 1024 ** 3;

/** How long a process waits for NATS when it starts. */
const CONNECT_TIMEOUT_MS = 10_000;

/** A connection that is silently cut is noticed at the third unanswered ping; the client's own interval is 2 minutes. */
const PING_INTERVAL_MS = 5_000;

/** @throws OperatingError `nats_unreachable`, `nats_login`, or `invalid_config` for a file that cannot be read. */
export async function connectNats(options: NatsServer & { name: string }): Promise<NatsConnection> {
  const access = accessOptions(options);
  try {
    const nc = await connect({
      ...access,
      name: options.name,
      timeout: CONNECT_TIMEOUT_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      pingInterval: PING_INTERVAL_MS,
      // A request captures a stack trace by default, which costs more than the publish itself.
      noAsyncTraces: true,
    });
    keepServers(nc, access.servers);
    leaveServerWithoutLeader(nc);
    return nc;
  } catch (error) {
    if (isLoginRefused(error)) {
      throw new OperatingError(
        'nats_login',
        `NATS at ${withoutPassword(options.url)} refuses the login: ${errorText(error)}. Set user and password or the token in NATS_URL, or NATS_CREDS or NATS_NKEY`,
        { cause: error },
      );
    }
    throw new OperatingError(
      'nats_unreachable',
      `cannot reach NATS at ${withoutPassword(options.url)}: ${errorText(error)}. Start the platform with "npm start", or set NATS_URL`,
      { cause: error },
    );
  }
}

/** How many servers keep each stream and bucket. */
interface Copies {
  /** NATS_REPLICAS. When undefined, a new one gets as many as the click stream has or its cluster should have, and an existing one stays as it is. */
  readonly replicas?: number | undefined;
}

interface Place extends Copies {
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
}

/** Of a new stream in a cluster: one server may be lost. */
const REPLICAS_IN_CLUSTER = 3;

interface StreamConfig {
  readonly name: string;
  readonly subjects: string[];
  readonly max_age: number;
  readonly max_bytes: number;
  readonly duplicate_window: number;
}

/**
 * Creates the streams of these click shards (by default the first alone), and that of the dead letters, if they are missing.
 * A full stream refuses (`discard: new`) instead of dropping old batches.
 * @throws OperatingError `nats_failed` when there are too few servers for the replicas, or too little room for the limits.
 */
export async function ensureStreams(
  nc: NatsConnection,
  options: Copies & { shards?: readonly number[] } = {},
): Promise<JetStreamManager> {
  const { replicas, shards = [0] } = options;
  const manager = await openManager(nc);
  const place = { nc, manager, replicas };
  await ensureFirstShard(place);
  for (const shard of shards) {
    if (shard > 0) await ensureStream(place, clicksConfig(shard, CLICKS_MAX_BYTES / shards.length));
  }
  await ensureStream(place, {
    name: DEAD_LETTERS_STREAM,
    subjects: [DEAD_LETTERS_SUBJECT],
    max_age: 0,
    max_bytes: DEAD_LETTERS_MAX_BYTES,
    duplicate_window: DUPLICATE_WINDOW_MS * NANOS_PER_MS,
  });
  return manager;
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
async function ensureFirstShard(place: Place): Promise<void> {
  const wanted = clicksConfig(0, CLICKS_MAX_BYTES);
  const known = await ensureStream(place, wanted);
  if (!known || known.config.subjects.join() === wanted.subjects.join()) return;
  await untilLed(() => place.manager.streams.update(wanted.name, { subjects: wanted.subjects }));
}

/** @returns what there was before; undefined for a new stream. */
async function ensureStream(place: Place, config: StreamConfig): Promise<StreamInfo | undefined> {
  return await ensureReplicas(place, config.name, (num_replicas) =>
    place.manager.streams.add({
      ...config,
      num_replicas,
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      max_msgs: -1,
    }),
  );
}

/** A KV bucket with what its readers need beyond the client's interface. */
export type Bucket = KV & {
  readonly manager: JetStreamManager;
  /** The stream of the bucket. */
  readonly stream: string;
};

/**
 * Opens a bucket, and makes it if it is missing. Its values are read from the stream's leader: a replica that is behind
 * would lack leases, and so refuse their clicks or publish a watermark beyond them.
 * `ttlMs`: how long a value is kept after its last write; for ever when absent.
 * @throws OperatingError `nats_failed` when there are too few servers for the replicas, or too little room for the limits.
 */
export async function openBucket(
  nc: NatsConnection,
  name: string,
  options: Copies & { ttlMs?: number } = {},
): Promise<Bucket> {
  const { ttlMs = 0 } = options;
  const stream = `KV_${name}`;
  const manager = await openManager(nc);
  const kvm = new Kvm(nc);
  await ensureReplicas({ nc, manager, ...options }, stream, (replicas) =>
    kvm.create(name, { history: 1, ttl: ttlMs, replicas }),
  );
  const bucket = await untilLed(() => kvm.open(name, { allow_direct: false }));
  return Object.assign(bucket, { manager, stream });
}

/**
 * The keys of a bucket that match, a `*` for a part, as the stream's leader has them. The client's own list comes from a
 * consumer, which can be at a replica that is behind. Keys that were deleted can be among them.
 */
export async function listKeys({ manager, stream }: Bucket, pattern: string): Promise<string[]> {
  const prefix = `$KV.${stream.slice('KV_'.length)}.`;
  const { state } = await manager.streams.info(stream, { subjects_filter: `${prefix}${pattern}` });
  return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
}

/** Makes a stream if it is missing, and gives it the replicas that were asked for. @returns what there was before. */
async function ensureReplicas(
  { nc, manager, replicas }: Place,
  name: string,
  create: (replicas: number) => Promise<unknown>,
): Promise<StreamInfo | undefined> {
  const known = await untilLed(() => findStream(manager, name));
  const wanted = replicas ?? known?.config.num_replicas ?? (await copiesOfNew(nc, manager));
  if (known?.config.num_replicas === wanted) return known;
  try {
    await untilLed(async () =>
      known ? await manager.streams.update(name, { num_replicas: wanted }) : await create(wanted),
    );
  } catch (error) {
    if (isNameInUse(error)) {
      await untilLed(
        () => manager.streams.info(name),
        (failure) => isUnanswered(failure) || isStreamMissing(failure),
      );
      return undefined;
    }
    if (lacksStorage(error)) {
      throw new OperatingError(
        'nats_failed',
        `NATS has no room for ${name}, whose limit it reserves: ${errorText(error)}. Raise max_file_store in the configuration of nats-server`,
        { cause: error },
      );
    }
    if (!lacksServers(error)) throw error;
    throw new OperatingError(
      'nats_failed',
      `NATS cannot keep ${wanted} copies of ${name}: ${errorText(error)}. Start more servers of the cluster, or set NATS_REPLICAS`,
      { cause: error },
    );
  }
  return known;
}

/** As many as the clicks have, whose number an operator may have set; without a click stream, what its cluster should have. */
async function copiesOfNew(nc: NatsConnection, manager: JetStreamManager): Promise<number> {
  if (nc.info?.cluster === undefined) return 1;
  const clicks = await untilLed(() => findStream(manager, clicksStream(0)));
  return clicks?.config.num_replicas ?? REPLICAS_IN_CLUSTER;
}

/** @throws JetStreamNotEnabled at once of a single server without JetStream: no election brings it. */
async function openManager(nc: NatsConnection): Promise<JetStreamManager> {
  const { jetstream, cluster } = nc.info ?? {};
  const isWithout = !jetstream && cluster === undefined;
  return await untilLed(
    () => jetstreamManager(nc),
    (error) => isUnanswered(error) && !(isWithout && isJetStreamSilent(error)),
  );
}

async function findStream(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (isStreamMissing(error)) return undefined;
    throw error;
  }
}
