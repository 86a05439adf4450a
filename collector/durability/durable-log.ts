import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Publish } from './publisher.ts';
import type { Spool } from './spool.ts';
import type { Batch } from './spool-segment.ts';

/**
 * Where batches become durable: in the stream, or on the local disk when the stream does not answer in time. What was
 * spooled follows to the stream when it is back, oldest first, beside the live traffic.
 */
export interface DurableLog {
  /**
   * Resolves when the batch is durable: to true when nothing refers to its bytes any more. A failed publish may still
   * be in the client's queue, and other bytes under its message id would make the stream refuse the right ones.
   * @throws OperatingError when neither stream nor disk took it.
   */
  store(batch: Batch): Promise<boolean>;
  readonly stats: { publishFailures: number; spooledBatches: number; spooledClicks: number };
  isStreamUp(): boolean;
  stop(): Promise<void>;
}

/** Longest time a visitor waits for the stream. */
const PUBLISH_DEADLINE_MS = 250;
/** No visitor waits for a replay; its success also shows that the stream is back. */
const REPLAY_TIMEOUT_MS = 2_000;
const REPLAY_PAUSE_MS = 100;

export function createDurableLog(options: { publish: Publish; spool: Spool; log: Logger }): DurableLog {
  const { publish, spool, log } = options;
  const stats = { publishFailures: 0, spooledBatches: 0, spooledClicks: 0 };
  let streamUp = true;

  function setStreamUp(up: boolean, reason: string): void {
    if (up === streamUp) return;
    streamUp = up;
    if (up) log.info({ spooledBytes: spool.stats.bytes }, 'click stream available again');
    else log.warn({ reason }, 'click stream unavailable; spooling');
  }

  async function publishLive(batch: Batch): Promise<boolean> {
    try {
      await publish(batch, PUBLISH_DEADLINE_MS);
      setStreamUp(true, '');
      return true;
    } catch (error) {
      stats.publishFailures++;
      setStreamUp(false, errorText(error));
      return false;
    }
  }

  async function appendToSpool(batch: Batch): Promise<void> {
    await spool.append(batch);
    stats.spooledBatches++;
    stats.spooledClicks += batch.rows;
  }

  async function store(batch: Batch): Promise<boolean> {
    const wasTried = streamUp;
    if (wasTried && (await publishLive(batch))) return true;
    try {
      await appendToSpool(batch);
      return !wasTried;
    } catch (error) {
      // The disk has failed: only the stream is left, whatever its state.
      if (!(await publishLive(batch))) throw error;
      return false;
    }
  }

  async function replayBatch(batch: Batch): Promise<void> {
    try {
      await publish(batch, REPLAY_TIMEOUT_MS);
      setStreamUp(true, '');
    } catch (error) {
      setStreamUp(false, errorText(error));
      throw error;
    }
  }

  let replayFailure = '';
  async function replayOldest(): Promise<boolean> {
    try {
      const replayed = await spool.replayOldest(replayBatch);
      replayFailure = '';
      return replayed;
    } catch (error) {
      // A segment that cannot be read is no failure of the stream, which goes on taking live batches.
      const failure = errorText(error);
      if (streamUp && failure !== replayFailure)
        log.error({ reason: failure }, 'spool replay failed; retrying');
      replayFailure = failure;
      return false;
    }
  }
  const replay = startLoop(async () => {
    if (await replayOldest()) return 0;
    await spool.keepReserve();
    return REPLAY_PAUSE_MS;
  });

  return { store, stats, isStreamUp: () => streamUp, stop: replay.stop };
}
