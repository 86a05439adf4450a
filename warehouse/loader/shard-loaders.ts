import { setTimeout as sleep } from 'node:timers/promises';
import { listClickShards } from '../../core/clicks/shards.ts';
import { errorText } from '../../core/errors.ts';
import type { Readiness } from '../../core/service/service.ts';
import { MINUTE_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { HEARTBEAT_MS, type ShardLeases } from '../leadership/shard-leases.ts';
import { movesOf } from '../leadership/shares.ts';
import { createClicksReader } from '../watermark/watermark.ts';
import { asOperatingError, clickSources, Loader, type LoaderOptions } from './loader.ts';

/** A shard whose loader has failed for this long goes to another one that does not fail. */
const GIVES_UP_AFTER_MS = 10_000;
/** So long it takes none after that: each that it takes in vain is late by {@link GIVES_UP_AFTER_MS}. */
const RESTS_FOR_MS = 5 * MINUTE_MS;

type ShardLoadersOptions = Omit<LoaderOptions, 'shard'> & {
  /** A connection for the loader of one shard, which is closed with it; by default all share `warehouse`. */
  readonly warehouseOf?: (shard: number) => Warehouse;
  /** By default {@link GIVES_UP_AFTER_MS}. */
  readonly giveUpAfterMs?: number;
};

interface ShardLoader {
  readonly loader: Loader;
  /** Settles when it has finished its block. */
  readonly ended: Promise<void>;
}

/**
 * The loaders of one process: one for each shard that it leads. All processes divide the shards that exist by leases
 * (`warehouse/leadership`).
 */
export class ShardLoaders {
  readonly #options: ShardLoadersOptions;
  readonly #leases: ShardLeases;
  readonly #running = new Map<number, ShardLoader>();
  /** Shards whose loader is to end and whose lease is to be given back. */
  readonly #handingOver = new Map<number, Promise<void>>();
  readonly #stopping = new AbortController();
  #readiness: Readiness = { ready: false, reason: 'starting' };
  /** Why it gave a shard up, and until when it takes none, by the monotonic clock. */
  #rest: { readonly untilMs: number; readonly reason: string } | undefined;
  #finished: Promise<void> = Promise.resolve();

  constructor({ leases, ...options }: ShardLoadersOptions & { leases: ShardLeases }) {
    this.#options = { ...options, clicksInFlight: createClicksReader(clickSources(options)) };
    this.#leases = leases;
  }

  /** Runs until stopped. Rejects on a bug only; so does a loader of its own, which nothing catches either. */
  run(): Promise<void> {
    this.#finished = this.#runUntilStopped();
    return this.#finished;
  }

  /** Finishes the blocks in hand, gives the leases back and ends. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#finished;
    for (const shard of this.#running.keys()) this.#handOver(shard);
    await Promise.all(this.#handingOver.values());
    // Without NATS the leases expire.
    await this.#leases.leave().catch(() => undefined);
  }

  /** Not ready when a shard that it leads is not, or when it leads none because it could not load. */
  readiness(): Readiness {
    if (!this.#readiness.ready) return this.#readiness;
    if (this.#rest && this.#running.size === 0) return { ready: false, reason: this.#rest.reason };
    const all = [...this.#running.values()].map(({ loader }) => loader.readiness());
    return all.find(({ ready }) => !ready) ?? { ready: true };
  }

  /** The shards that it leads, ascending. */
  leads(): number[] {
    return [...this.#running.keys()].sort((a, b) => a - b);
  }

  async #runUntilStopped(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#beat();
        this.#readiness = { ready: true };
      } catch (thrown) {
        const error = asOperatingError(thrown);
        if (!error) throw thrown;
        if (this.#readiness.ready) this.#options.log.warn({ reason: errorText(error) }, 'leases not renewed');
        this.#readiness = { ready: false, reason: `${error.code}: ${error.message}` };
      }
      await sleep(HEARTBEAT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #beat(): Promise<void> {
    const { manager, log } = this.#options;
    if (this.#rest && performance.now() >= this.#rest.untilMs) this.#rest = undefined;
    const failing = [...this.#running].filter(([, { loader }]) => loader.failing() !== undefined);
    const isFailing = this.#rest !== undefined || failing.length > 0;
    for (const shard of await this.#leases.beat({ isFailing })) {
      log.warn({ shard }, 'another loader has taken the lease of this shard');
      this.#handOver(shard);
    }
    const leadership = await this.#leases.look(await listClickShards(manager));
    const { claim, release } = movesOf(this.#leases.id, leadership);
    for (const shard of claim) if (!this.#handingOver.has(shard)) await this.#leases.claim(shard);
    // Only while another can take them.
    if (!leadership.loaders.includes(this.#leases.id)) this.#giveUp(failing);
    if (release !== undefined && this.#handingOver.size === 0) this.#handOver(release);
    // Also those that ended because another changed their records, if the lease is still held.
    for (const shard of leadership.shards) {
      const isFree = !this.#running.has(shard) && !this.#handingOver.has(shard);
      if (isFree && this.#leases.holds(shard)) this.#start(shard);
    }
  }

  #giveUp(failing: Iterable<readonly [number, ShardLoader]>): void {
    const { giveUpAfterMs = GIVES_UP_AFTER_MS } = this.#options;
    for (const [shard, { loader }] of failing) {
      const { forMs = 0, reason = '' } = loader.failing() ?? {};
      if (this.#handingOver.has(shard) || forMs < giveUpAfterMs) continue;
      this.#options.log.warn({ shard, reason }, 'cannot load this shard; another loader takes it');
      this.#rest = {
        untilMs: performance.now() + RESTS_FOR_MS,
        reason: `gave its shards to another loader: ${reason}`,
      };
      this.#handOver(shard);
    }
  }

  #start(shard: number): void {
    const { warehouse, warehouseOf, log, metrics } = this.#options;
    log.info({ shard }, 'leading this shard');
    const own = warehouseOf?.(shard);
    const loader = new Loader({ ...this.#options, warehouse: own ?? warehouse, shard });
    const ended = loader.run().then(async () => {
      metrics.forget(shard);
      this.#running.delete(shard);
      await own?.close();
    });
    this.#running.set(shard, { loader, ended });
  }

  /** Finishes the block in hand and gives the lease back, beside the heartbeats. */
  #handOver(shard: number): void {
    if (this.#handingOver.has(shard)) return;
    const done = this.#end(shard)
      .then(() => this.#leases.release(shard))
      // The lease expires.
      .catch((error) => this.#options.log.warn({ shard, reason: errorText(error) }, 'lease not given back'))
      .finally(() => this.#handingOver.delete(shard));
    this.#handingOver.set(shard, done);
  }

  async #end(shard: number): Promise<void> {
    const running = this.#running.get(shard);
    await running?.loader.stop();
    await running?.ended;
  }
}
