import { jetstream } from '@nats-io/jetstream';
import { expect, it } from 'vitest';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { connectNats, ensureStreams } from '../../core/clicks/stream.ts';
import { startTestNats } from '../../test/support/engines.ts';
import { openReader } from './reader.ts';

/** Messages of a size in bytes, and whether the reader waits for the first of them. Larger ones follow smaller ones. */
const BURSTS = [
  { count: 108, bytes: 103, isAwaited: true },
  { count: 3, bytes: 81_571, isAwaited: false },
  { count: 84, bytes: 183, isAwaited: false },
  { count: 3, bytes: 38_079, isAwaited: true },
  { count: 90, bytes: 131_028, isAwaited: true },
];
/** Requests limited by bytes were all ended by the server in two rounds of three. */
const ROUNDS = 10;
/** The client's own recovery, after two missed heartbeats, takes 5 s. */
const LATEST_MS = 2_000;

it('larger batches after small ones are read at once', async () => {
  const nats = await startTestNats();
  const connection = await connectNats({ url: nats.url, name: 'test' });
  await ensureStreams(connection);
  const js = jetstream(connection);
  let sent = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const reader = await openReader({ js, shard: 0, startSeq: sent + 1 });
      for (const { count, bytes, isAwaited } of BURSTS) {
        const publish = () =>
          Promise.all(Array.from({ length: count }, () => js.publish(clicksSubject(0), Buffer.alloc(bytes))));
        const first = isAwaited ? reader.next(LATEST_MS) : undefined;
        await publish();
        for (let i = 0; i < count; i++) {
          sent++;
          const message = await ((i === 0 && first) || reader.next(LATEST_MS));
          expect([round, i, message?.seq]).toEqual([round, i, sent]);
        }
      }
      await reader.close();
    }
  } finally {
    await connection.close();
    await nats.stop();
  }
});
