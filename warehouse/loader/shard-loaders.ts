import { setTimeout as sleep } from 'node:timers/promises';
import { listClickShards } from '../../core/clicks/shards.ts';
import { errorText } from '../../core/errors.ts';
import type { Readiness } from '../../core/service/service.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { HEARTBEAT_MS, type ShardLeases } from '../leadership/shard-leases.ts';
import { movesOf } from '../leadership/shares.ts';
import { createClicksReader } from '../watermark/watermark.ts';
import { asOperatingError, clickSources, Loader, type LoaderOptions } from './loader.ts';

type ShardLoadersOptions = Omit<LoaderOptions, 'shard'> & {
  /** A connection for the loader of one shard, which is closed with it; by default all share `warehouse`. */
  readonly warehouseOf?: (shard: number) => Warehouse;
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
  readonly #handingOver = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #readiness: Readiness = { ready: false, reason: 'starting' };
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
    await Promise.all(this.#handingOver);
    // Without NATS the leases expire.
    await this.#leases.leave().catch(() => undefined);
  }

  /** Not ready when a shard that it leads is not. */
  readiness(): Readiness {
    if (!this.#readiness.ready) return this.#readiness;
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
    for (const shard of await this.#leases.beat()) {
      log.warn({ shard }, 'another loader has taken the lease of this shard');
      this.#handOver(shard);
    }
    const leadership = await this.#leases.look(await listClickShards(manager));
    const { claim, release } = movesOf(this.#leases.id, leadership);
    for (const shard of claim) await this.#leases.claim(shard);
    if (release !== undefined && this.#handingOver.size === 0) this.#handOver(release);
    // Also those that ended because another changed their records, if the lease is still held.
    for (const shard of leadership.shards) {
      if (this.#leases.holds(shard) && !this.#running.has(shard)) this.#start(shard);
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
    const done = this.#end(shard)
      .then(() => this.#leases.release(shard))
      // The lease expires.
      .catch((error) => this.#options.log.warn({ shard, reason: errorText(error) }, 'lease not given back'))
      .finally(() => this.#handingOver.delete(done));
    this.#handingOver.add(done);
  }

  async #end(shard: number): Promise<void> {
    const running = this.#running.get(shard);
    await running?.loader.stop();
    await running?.ended;
  }
}
