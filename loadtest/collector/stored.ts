import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { clicksStream, listClickShards } from '../../core/clicks/shards.ts';
import { BatchHeader, connectNats } from '../../core/clicks/stream.ts';

const counted = new Map<string, { seq: number; rows: number }>();

/** Clicks in the streams of all shards, by the batches' headers; goes on where it was the last time. */
export async function countStoredClicks(natsUrl: string): Promise<number> {
  const nc = await connectNats({ url: natsUrl, name: 'bench' });
  try {
    const manager = await jetstreamManager(nc);
    let rows = 0;
    for (const shard of await listClickShards(manager)) {
      rows += await countShard(manager, { natsUrl, stream: clicksStream(shard) });
    }
    return rows;
  } finally {
    await nc.close();
  }
}

async function countShard(
  manager: JetStreamManager,
  { natsUrl, stream }: { natsUrl: string; stream: string },
): Promise<number> {
  const key = `${natsUrl} ${stream}`;
  const { state } = await manager.streams.info(stream);
  const before = counted.get(key) ?? { seq: 0, rows: 0 };
  let { rows } = before;
  if (state.last_seq > before.seq) {
    const consumer = await manager.jetstream().consumers.get(stream, {
      headers_only: true,
      opt_start_seq: before.seq + 1,
      deliver_policy: 'by_start_sequence',
    });
    for await (const message of await consumer.consume()) {
      rows += Number(message.headers?.get(BatchHeader.rows));
      if (message.seq >= state.last_seq) break;
    }
  }
  counted.set(key, { seq: state.last_seq, rows });
  return rows;
}
