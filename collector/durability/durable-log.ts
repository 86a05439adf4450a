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
   * stand in the client's queue, and other bytes under its message id would make the stream refuse the right ones.
   * @throws OperatingError when neither stream nor disk took it.
   */
  store(batch: Batch): Promise<boolean>;
  readonly stats: { publishFailures: number; spooledBatches: number; spooledClicks: number };
  isStreamUp(): boolean;
  stop(): Promise<void>;
}

/** A visitor does not wait longer than this for the stream. */
const PUBLISH_DEADLINE_MS = 250;
/** Nobody waits for a replay; it also tells whether the stream is back. */
const REPLAY_TIMEOUT_MS = 2_000;
const REPLAY_PAUSE_MS = 100;

export function createDurableLog(options: { publish: Publish; spool: Spool; log: Logger }): DurableLog {
  const { publish, spool, log } = options;
  const stats = { publishFailures: 0, spooledBatches: 0, spooledClicks: 0 };
  let streamUp = true;

  function setStreamUp(up: boolean, reason: string): void {
    if (up === streamUp) return;
    streamUp = up;
    if (up) log.info({ spooledBytes: spool.stats.bytes }, 'the stream takes batches again');
    else log.warn({ reason }, 'the stream does not take batches; spooling');
  }

  async function toStream(batch: Batch): Promise<boolean> {
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

  async function toSpool(batch: Batch): Promise<void> {
    await spool.append(batch);
    stats.spooledBatches++;
    stats.spooledClicks += batch.rows;
  }

  async function store(batch: Batch): Promise<boolean> {
    const tried = streamUp;
    if (tried && (await toStream(batch))) return true;
    try {
      await toSpool(batch);
      return !tried;
    } catch (error) {
      // The disk does not help: only the stream can, whatever its state.
      if (!(await toStream(batch))) throw error;
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

  let replayFault = '';
  const replay = startLoop(async () => {
    try {
      const replayed = await spool.replayOldest(replayBatch);
      replayFault = '';
      return replayed ? 0 : REPLAY_PAUSE_MS;
    } catch (error) {
      // A segment that cannot be read says nothing about the stream, which goes on taking live batches.
      const fault = errorText(error);
      if (streamUp && fault !== replayFault) log.error({ reason: fault }, 'the spool cannot be replayed');
      replayFault = fault;
      return REPLAY_PAUSE_MS;
    }
  });

  return { store, stats, isStreamUp: () => streamUp, stop: replay.stop };
}
