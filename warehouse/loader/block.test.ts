import { headers as createHeaders } from '@nats-io/transport-node';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchHeaders, clickRecords, encodeClicks } from '../../test/support/warehouse.ts';
import type { StreamMessage } from './batch.ts';
import {
  type Checkpoint,
  createBlockBuilder,
  type InsertIntent,
  rebuildBlock,
  withoutLeases,
} from './block.ts';
import { blockWaitMs } from './block-loader.ts';

const NOW = Date.UTC(2026, 10, 22, 13);
const START: Checkpoint = { stream: 'a', seq: 0, accepted: new Map() };

function message(seq: number, node: number, firstSeq: number, rows: number): StreamMessage {
  const headers = createHeaders();
  for (const [name, value] of Object.entries(batchHeaders(node, firstSeq, rows))) headers.set(name, value);
  return { seq, headers, data: encodeClicks(clickRecords(node, firstSeq, rows)) };
}

function broken(seq: number): StreamMessage {
  return { seq, headers: undefined, data: Buffer.from('?') };
}

/** Two leases' batches in any interleaving, with repeats and broken messages between, in blocks of any size. */
const histories = fc.record({
  batches: fc.array(fc.record({ node: fc.nat(1), rows: fc.integer({ min: 1, max: 4 }) }), { maxLength: 12 }),
  extras: fc.array(fc.oneof(fc.constant('broken' as const), fc.nat(11)), { maxLength: 8 }),
  order: fc.array(fc.nat(1_000), { minLength: 20, maxLength: 20 }),
  blockSizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 24, maxLength: 24 }),
});
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never;

function streamOf(history: History): { messages: StreamMessage[]; clicks: Set<string> } {
  const next = [0, 0];
  const batches = history.batches.map(({ node, rows }) => {
    const firstSeq = next[node] ?? 0;
    next[node] = firstSeq + rows;
    return { node, firstSeq, rows };
  });
  const all = [
    ...batches,
    ...history.extras.map((extra) => (extra === 'broken' ? undefined : batches[extra])),
  ];
  const shuffled = all
    .map((batch, i) => ({ batch, key: history.order[i] ?? 0 }))
    .sort((a, b) => a.key - b.key)
    .map(({ batch }) => batch);
  // Stream sequences with holes, as the messages of other shards make them.
  const messages = shuffled.map((batch, i) =>
    batch ? message(3 * i + 1, batch.node, batch.firstSeq, batch.rows) : broken(3 * i + 1),
  );
  const clicks = batches.flatMap(({ node, firstSeq, rows }) =>
    Array.from({ length: rows }, (_, i) => `${node}:${firstSeq + i}`),
  );
  return { messages, clicks: new Set(clicks) };
}

describe('blocks', () => {
  it('hold every click once, however the batches are ordered, repeated and cut', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { messages, clicks } = streamOf(history);
        const loaded: string[] = [];
        let checkpoint = START;
        let rest = messages;
        for (const size of history.blockSizes) {
          const builder = createBlockBuilder({ shard: 0, checkpoint, isLeased: () => true });
          for (const one of rest.slice(0, size)) builder.add(one, NOW);
          rest = rest.slice(size);
          if (builder.isEmpty()) break;
          const block = builder.finish();
          expect(block.intent.lo).toBe(checkpoint.seq + 1);
          for (const { node, firstSeq, rows } of block.batches) {
            for (let i = 0; i < rows; i++) loaded.push(`${node}:${firstSeq + i}`);
          }
          checkpoint = block.checkpointAfter;
        }
        expect(rest).toEqual([]);
        expect(loaded.length).toBe(clicks.size);
        expect(new Set(loaded)).toEqual(clicks);
      }),
    );
  });

  it('are rebuilt from their recorded intent, byte for byte', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const { messages } = streamOf(history);
        const builder = createBlockBuilder({ shard: 0, checkpoint: START, isLeased: () => true });
        for (const one of messages) builder.add(one, NOW);
        const block = builder.finish();
        const intent = JSON.parse(JSON.stringify(block.intent)) as InsertIntent;
        const rebuilt = rebuildBlock({ intent, checkpoint: START, messages });
        expect(rebuilt.batches).toEqual(block.batches);
        expect(rebuilt.checkpointAfter).toEqual(block.checkpointAfter);
        expect(rebuilt.intent).toEqual(block.intent);
      }),
    );
  });

  it('take the clicks of a new lease whose number a forgotten one had', () => {
    const checkpoint: Checkpoint = {
      ...START,
      accepted: new Map([
        [0, [[0, 9]]],
        [1, [[0, 9]]],
      ]),
    };
    const builder = createBlockBuilder({
      shard: 0,
      checkpoint: withoutLeases(checkpoint, (node) => node === 1),
      isLeased: () => true,
    });
    builder.add(message(1, 0, 0, 5), NOW);
    builder.add(message(2, 1, 0, 5), NOW);
    const block = builder.finish();
    expect(block.batches.map((batch) => batch.node)).toEqual([1]);
    expect([...block.checkpointAfter.accepted]).toEqual([
      [0, [[0, 9]]],
      [1, [[0, 4]]],
    ]);
  });

  it('are not rebuilt from a stream that has lost a message', () => {
    const messages = [message(1, 0, 0, 2), message(2, 0, 2, 2)];
    const builder = createBlockBuilder({ shard: 0, checkpoint: START, isLeased: () => true });
    for (const one of messages) builder.add(one, NOW);
    const { intent } = builder.finish();
    expect(intent.token).toBe('0:1-2@a');
    expect(() => rebuildBlock({ intent, checkpoint: START, messages: messages.slice(1) })).toThrow(
      /2 of the 4 clicks/,
    );
  });

  it('refuse a message that comes out of order', () => {
    const builder = createBlockBuilder({ shard: 0, checkpoint: { ...START, seq: 7 }, isLeased: () => true });
    expect(() => builder.add(message(7, 0, 0, 1), NOW)).toThrow(/came after 7/);
  });

  it('are cut before they are too large', () => {
    const builder = createBlockBuilder({ shard: 0, checkpoint: START, isLeased: () => true });
    let seq = 0;
    while (!builder.isFull()) {
      builder.add(message(seq + 1, 0, seq * 3_000, 3_000), NOW);
      seq++;
    }
    expect(builder.finish().intent.rows).toBe(180_000);
  });

  it('gather for longer where inserts are slow, and for a second at the most', () => {
    expect([0, 50, 200, 300, 60_000].map(blockWaitMs)).toEqual([500, 500, 800, 1_000, 1_000]);
  });
});
