import { randomBytes } from 'node:crypto';
import type { KvEntry } from '@nats-io/kv';
import { untilLed } from '../../core/clicks/nats-errors.ts';
import { type Bucket, listKeys } from '../../core/clicks/stream.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import { DAY_MS } from '../../core/time.ts';
import { AddressCounts, isPrivateAddress } from '../request/address-counts.ts';

/**
 * Counts the valid clicks of a UTC day of the links and campaigns that have a cap, across collectors. Each collector
 * writes its own counts to a NATS KV bucket once a second when they have changed, and watches those of the others.
 *
 * So a cap is overshot by at most what the other collectors accept between two of their writes and the arrival of
 * these here, about a second of their clicks; and by what a killed collector had accepted since its last write. While
 * NATS is unavailable each collector counts on its own: at most cap × collectors.
 *
 * One network (/24, /48) gets at most a tenth of a cap, so that one address does not use up an affiliate's cap with a new
 * User-Agent a click. Each collector counts networks for itself, in fixed memory.
 */
export interface ClickCaps {
  /** Whether `entity` had its `cap` clicks of the day, or the share of it that one network may have. */
  isReached(entity: string, cap: number, visit: { ts: number; ip: Uint8Array }): boolean;
  /** Counts one valid click. */
  count(entity: string, visit: { ts: number; ip: Uint8Array }): void;
  stop(): Promise<void>;
}

/** The name of a link or campaign in the counts. */
export function capEntity(kind: 'link' | 'campaign', id: number): string {
  return `${kind === 'link' ? 'l' : 'c'}${id}`;
}

const WRITE_EVERY_MS = 1_000;
/** Of a cap for one network, at least one click: the visitors of an office or a carrier's gateway fit. */
const NETWORK_SHARE = 0.1;
/** 4 MiB: 330,000 pairs of a capped entity and a network a day, of which the smallest counts are forgotten first. */
const NETWORK_BUCKETS = 2 ** 16;
/** A collector's counts are this many values, so that one stays far below NATS's 1 MB up to 500,000 capped entities. */
const PARTS = 16;
/** A stop waits this long for the last counts to be written. */
const STOP_TIMEOUT_MS = 1_000;

type Counts = Record<string, number>;

interface Day {
  /** Of all collectors. */
  readonly totals: Map<string, number>;
  /** Of this collector, by part. */
  readonly own: Map<string, number>[];
  readonly changed: Set<number>;
  /** The last value of each key of the others. */
  readonly others: Map<string, Counts>;
}

/** Reads today's counts of the others and of earlier processes, and follows them. */
export async function followCaps(options: { bucket: Bucket; log: Logger }): Promise<ClickCaps> {
  const { bucket, log } = options;
  // A new name at each start: the counts of an earlier process stay, as those of another collector.
  const self = randomBytes(6).toString('hex');
  const days = new Map<number, Day>();
  const shares = createNetworkShares();
  let failed = false;

  function dayOf(day: number): Day {
    const known = days.get(day);
    if (known) return known;
    for (const earlier of days.keys()) if (earlier < day - 1) days.delete(earlier);
    const own = Array.from({ length: PARTS }, () => new Map<string, number>());
    const fresh: Day = { totals: new Map(), own, changed: new Set(), others: new Map() };
    days.set(day, fresh);
    return fresh;
  }

  /** Applies one value of another collector, in place of its earlier one. */
  function apply(entry: KvEntry): void {
    const [day = '', collector] = entry.key.split('.');
    if (collector === self || entry.operation !== 'PUT') return;
    const { totals, others } = dayOf(Number(day));
    const before = others.get(entry.key) ?? {};
    const counts = entry.json<Counts>();
    for (const [entity, count] of Object.entries(counts)) {
      totals.set(entity, (totals.get(entity) ?? 0) + count - (before[entity] ?? 0));
    }
    others.set(entry.key, counts);
  }

  async function write(): Promise<void> {
    for (const [day, { own, changed }] of days) {
      for (const part of changed) {
        changed.delete(part);
        try {
          const counts = JSON.stringify(Object.fromEntries(own[part] ?? []));
          await bucket.put(`${day}.${self}.${part}`, counts);
        } catch (error) {
          changed.add(part);
          throw error;
        }
      }
    }
  }

  for (const key of await untilLed(() => listKeys(bucket, '>'))) {
    const entry = await untilLed(() => bucket.get(key));
    if (entry) apply(entry);
  }
  const watch = await untilLed(() => bucket.watch());
  const watching = (async () => {
    for await (const entry of watch) apply(entry);
  })();
  const writing = startLoop(async () => {
    try {
      await write();
      failed = false;
    } catch (error) {
      if (!failed)
        log.warn({ reason: errorText(error) }, 'writing the counts of capped links failed; retrying');
      failed = true;
    }
    return WRITE_EVERY_MS;
  });

  async function finish(): Promise<void> {
    await writing.stop();
    await write();
  }

  return {
    isReached(entity, cap, { ts, ip }) {
      const date = Math.floor(ts / DAY_MS);
      return (dayOf(date).totals.get(entity) ?? 0) >= cap || shares.isUsedUp({ entity, cap, ip, date });
    },
    count(entity, { ts, ip }) {
      const date = Math.floor(ts / DAY_MS);
      const day = dayOf(date);
      shares.count(entity, ip, date);
      const part = partOf(entity);
      const own = day.own[part];
      own?.set(entity, (own.get(entity) ?? 0) + 1);
      day.totals.set(entity, (day.totals.get(entity) ?? 0) + 1);
      day.changed.add(part);
    },
    async stop() {
      watch.stop();
      await watching;
      await Promise.race([
        finish().catch((error) =>
          log.warn({ reason: errorText(error) }, 'writing the last counts of capped links failed'),
        ),
        new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS).unref()),
      ]);
    },
  };
}

/** Counts the clicks of networks, of each capped entity and day (days since 1970). */
function createNetworkShares() {
  const counts = new AddressCounts({ part: 'network', buckets: NETWORK_BUCKETS });
  return {
    isUsedUp(options: { entity: string; cap: number; ip: Uint8Array; date: number }): boolean {
      const { entity, cap, ip, date } = options;
      const share = Math.ceil(cap * NETWORK_SHARE);
      return counts.count(subjectOf(entity), ip, date) >= share && !isPrivateAddress(ip);
    },
    count(entity: string, ip: Uint8Array, date: number): void {
      counts.add(subjectOf(entity), ip, date);
    },
  };
}

/** The name of an entity as a number. */
function subjectOf(entity: string): number {
  return 2 * Number(entity.slice(1)) + (entity.startsWith('l') ? 1 : 0);
}

function partOf(entity: string): number {
  return Number(entity.slice(1)) % PARTS;
}
