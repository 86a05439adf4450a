import { compareAndSet } from '../../core/clicks/lease.ts';
import { isLostRace } from '../../core/clicks/nats-errors.ts';
import { type Bucket, listKeys } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Leadership } from './shares.ts';

/** How often a loader shows that it lives, renews its leases and looks at those of others. */
export const HEARTBEAT_MS = 400;
/**
 * A lease that was not renewed for this long has lost its leader. It is seen one heartbeat late at the most and noticed
 * one late at the most, so that another leads within 3 s of a crash.
 */
const EXPIRES_AFTER_MS = 1_800;
/**
 * After an outage of NATS the others get this long to be heard again: a request that was lost in it is given up after 5 s,
 * and none is renewed before. Without it the first that NATS answers would take every shard.
 */
const REUNION_MS = 5_500;
/** NATS forgets the keys of loaders that ended; far longer than a lease, so that no living one loses its own. */
export const LEADERS_TTL_MS = 60_000;

/** Between a look and a claim the leader's heartbeat can fall, once in hundreds of times. */
const MAX_TRIES = 100;

/** The value of `loader.<id>` of one that cannot load. */
const FAILING = 'failing';
const LEADER_KEY = /^leader\.(\d+)$/;
const LOADER_KEY = /^loader\.(.+)$/;

function leaderKey(shard: number): string {
  return `leader.${shard}`;
}

/**
 * The leases by which loaders divide the shards: `leader.<shard>` holds the id of its leader, `loader.<id>` shows that a
 * loader lives, and whether it can load. A lease counts as expired when its revision has stood still for a while by the
 * observer's own clock, so no two clocks are compared. It decides who works; that no click counts twice is left to the compare-and-sets and tokens
 * of the loader, for a leader that was paused wakes up without knowing.
 */
export class ShardLeases {
  readonly id: string;
  readonly #bucket: Bucket;
  readonly #now: () => number;
  /** Revisions of the leases that this loader holds. */
  readonly #held = new Map<number, number>();
  #beating: Promise<number[]> | undefined;
  #isFailing = false;
  /** When NATS answered everything last. */
  #inTouchAtMs = Number.POSITIVE_INFINITY;
  /** Since when each key stands at its revision; in the future after an outage of NATS. */
  #seen = new Map<string, { revision: number; sinceMs: number }>();

  /** `now`: milliseconds of a monotonic clock. */
  constructor(options: { bucket: Bucket; id: string; now?: () => number }) {
    this.#bucket = options.bucket;
    this.id = options.id;
    this.#now = options.now ?? (() => performance.now());
  }

  /**
   * Shows that this loader lives, and renews its leases. `isFailing`: it cannot load, so that others take its share.
   * @returns the shards whose lease another took meanwhile.
   */
  async beat({ isFailing = false } = {}): Promise<number[]> {
    this.#isFailing = isFailing;
    this.#beating = this.#renew();
    try {
      return await this.#beating;
    } catch (error) {
      this.#inTouchAtMs = Number.NEGATIVE_INFINITY;
      throw error;
    } finally {
      this.#beating = undefined;
    }
  }

  async #renew(): Promise<number[]> {
    const lost: number[] = [];
    await this.#bucket.put(`loader.${this.id}`, this.#isFailing ? FAILING : '');
    await Promise.all(
      [...this.#held].map(async ([shard, revision]) => {
        const next =
          (await compareAndSet(this.#bucket, leaderKey(shard), this.id, revision)) ??
          (await this.#ownRevision(shard));
        if (next === undefined) {
          this.#held.delete(shard);
          lost.push(shard);
        } else this.#held.set(shard, next);
      }),
    );
    return lost;
  }

  /** Of a lease that is still its own: a renewal that was given up can have happened. */
  async #ownRevision(shard: number): Promise<number | undefined> {
    const entry = await this.#bucket.get(leaderKey(shard));
    return entry?.operation === 'PUT' && entry.string() === this.id ? entry.revision : undefined;
  }

  /** Who leads what now. */
  async look(shards: readonly number[]): Promise<Leadership> {
    const entries = await this.#entries();
    const nowMs = this.#now();
    // Of what happened while NATS did not answer nothing is known: others could not renew their leases either.
    const missedSome = nowMs - this.#inTouchAtMs >= EXPIRES_AFTER_MS;
    this.#inTouchAtMs = nowMs;
    const seen = new Map<string, { revision: number; sinceMs: number }>();
    const able = this.#isFailing ? [] : [this.id];
    const failing = this.#isFailing ? [this.id] : [];
    const leaders = new Map<number, string>();
    for (const entry of entries) {
      if (entry?.operation !== 'PUT') continue;
      const { key, revision } = entry;
      const before = this.#seen.get(key);
      const heardMs = before?.revision === revision ? before.sinceMs : nowMs;
      const sinceMs = missedSome ? nowMs + REUNION_MS : heardMs;
      seen.set(key, { revision, sinceMs });
      if (nowMs - sinceMs >= EXPIRES_AFTER_MS) continue;
      const [, loader] = LOADER_KEY.exec(key) ?? [];
      if (loader !== undefined && loader !== this.id) {
        (entry.string() === FAILING ? failing : able).push(loader);
      }
      const [, shard] = LEADER_KEY.exec(key) ?? [];
      // One of its own that it does not hold was taken without an answer, or not given back: it is free.
      if (shard !== undefined && entry.string() !== this.id) leaders.set(Number(shard), entry.string());
    }
    for (const shard of this.#held.keys()) leaders.set(shard, this.id);
    this.#seen = seen;
    // When all fail, the fault is not theirs, and each goes on with what it has.
    return { shards, loaders: able.length > 0 ? able : failing, leaders };
  }

  async #entries() {
    try {
      const keys = await listKeys(this.#bucket, '>');
      return await Promise.all(keys.map((key) => this.#bucket.get(key)));
    } catch (error) {
      this.#inTouchAtMs = Number.NEGATIVE_INFINITY;
      throw error;
    }
  }

  /** Takes a lease that no living loader holds, as {@link look} saw it. False when another was first. */
  async claim(shard: number): Promise<boolean> {
    const revision = this.#seen.get(leaderKey(shard))?.revision ?? 0;
    const taken = await compareAndSet(this.#bucket, leaderKey(shard), this.id, revision);
    if (taken === undefined) return false;
    this.#held.set(shard, taken);
    return true;
  }

  /** Takes a lease also from a leader that lives, which notices at the next heartbeat. */
  async take(shard: number): Promise<void> {
    for (let attempt = 1; attempt <= MAX_TRIES; attempt++) {
      await this.look([]);
      if (await this.claim(shard)) return;
    }
    throw new OperatingError(
      'timeout',
      `the lease of shard ${shard} changed ${MAX_TRIES} times while it was taken`,
    );
  }

  holds(shard: number): boolean {
    return this.#held.has(shard);
  }

  /** Gives a lease back, so that another can take it at once. */
  async release(shard: number): Promise<void> {
    // A heartbeat on its way would change the revision that is deleted.
    while (this.#beating) await this.#beating.catch(() => undefined);
    const revision = this.#held.get(shard);
    if (revision === undefined) return;
    this.#held.delete(shard);
    try {
      await this.#bucket.delete(leaderKey(shard), { previousSeq: revision });
    } catch (error) {
      if (!isLostRace(error)) throw error;
    }
  }

  /** Gives everything back. */
  async leave(): Promise<void> {
    await Promise.all([...this.#held.keys()].map((shard) => this.release(shard)));
    await this.#bucket.delete(`loader.${this.id}`);
  }
}
