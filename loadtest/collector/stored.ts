import { jetstreamManager } from '@nats-io/jetstream';
import { BatchHeader, CLICKS_STREAM, connectNats } from '../../core/clicks/stream.ts';

const counted = new Map<string, { seq: number; rows: number }>();

/** Clicks in the stream, by the batches' headers; goes on where it was the last time. */
export async function countStoredClicks(natsUrl: string): Promise<number> {
  const nc = await connectNats({ url: natsUrl, name: 'bench' });
  try {
    const manager = await jetstreamManager(nc);
    const { state } = await manager.streams.info(CLICKS_STREAM);
    const before = counted.get(natsUrl) ?? { seq: 0, rows: 0 };
    let { rows } = before;
    if (state.last_seq > before.seq) {
      const consumer = await manager.jetstream().consumers.get(CLICKS_STREAM, {
        headers_only: true,
        opt_start_seq: before.seq + 1,
        deliver_policy: 'by_start_sequence',
      });
      for await (const message of await consumer.consume()) {
        rows += Number(message.headers?.get(BatchHeader.rows));
        if (message.seq >= state.last_seq) break;
      }
    }
    counted.set(natsUrl, { seq: state.last_seq, rows });
    return rows;
  } finally {
    await nc.close();
  }
}
