import type { JetStreamManager } from '@nats-io/jetstream';
import { CLICKS_STREAM, clicksSubject } from '../../core/clicks/stream.ts';

/** The state of the clicks stream as the loader of one shard sees it. */
export interface ClicksStreamState {
  /** When the stream was created: names its life. */
  readonly created: string;
  readonly firstSeq: number;
  /** Sequence of the shard's last message, 0 when there is none. */
  readonly lastSeq: number;
}

/** Asks for the state of the clicks stream. */
export async function readClicksStream(manager: JetStreamManager, shard: number): Promise<ClicksStreamState> {
  const { created, state } = await manager.streams.info(CLICKS_STREAM);
  const only = (state.num_subjects ?? 0) <= 1;
  return {
    created,
    firstSeq: state.first_seq,
    // With several shards the stream's last message can be another's, and the checkpoint would never reach it.
    lastSeq: only ? state.last_seq : await lastOfShard(manager, shard),
  };
}

async function lastOfShard(manager: JetStreamManager, shard: number): Promise<number> {
  const message = await manager.streams.getMessage(CLICKS_STREAM, { last_by_subj: clicksSubject(shard) });
  return message?.seq ?? 0;
}
