import { headers as createHeaders } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Lease, newLease, writeLease } from '../../core/clicks/lease.ts';
import { clicksSubject } from '../../core/clicks/shards.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  batchHeaders,
  clickRecords,
  encodeClicks,
  type Pipeline,
  startPipeline,
} from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { type DeadLetter, getDeadLetter, readDeadLetters, replayDeadLetter } from './dead-letters.ts';

let pipeline: Pipeline;
let stopLoader: () => Promise<void>;

beforeEach(async () => {
  pipeline = await startPipeline();
});
afterEach(async () => {
  await stopLoader();
  await pipeline.stop();
});

function startLoader(): void {
  const loader = pipeline.loader();
  const running = loader.run();
  stopLoader = async () => {
    await loader.stop();
    await running;
  };
}

async function letters(): Promise<DeadLetter[]> {
  const list: DeadLetter[] = [];
  for await (const letter of readDeadLetters(pipeline.manager)) list.push(letter);
  return list;
}

async function loaded(clicks: number): Promise<void> {
  await waitFor(
    async () => {
      const checkpoint = await pipeline.loaderBucket.get('checkpoint.0');
      const { state } = await pipeline.manager.streams.info('CLICKS');
      const counts = await pipeline.counts();
      return counts.clicks === clicks && checkpoint?.json<{ seq: number }>().seq === state.last_seq;
    },
    { deadlineMs: 25_000, what: `${clicks} clicks and the checkpoint behind them` },
  );
  expect(await pipeline.counts()).toMatchObject({ clicks, distinct: clicks, rolledUp: clicks });
}

describe('rows that ClickHouse refuses', () => {
  it('are found by halving, set aside with their batch, and loaded by a replay once they may be', async () => {
    await pipeline.warehouse.command("ALTER TABLE clicks ADD CONSTRAINT no_poison CHECK sub1 != 'poison'");
    for (let batch = 0; batch < 9; batch++) {
      const bad = batch === 2 || batch === 7;
      await pipeline.publish(clickRecords(1, batch * 10, 10, bad ? { sub1: 'poison' } : {}));
    }
    startLoader();
    await loaded(70);
    const aside = await letters();
    expect(
      aside.map(({ reason, streamSeq, bytes, data }) => [reason, streamSeq, bytes === data.length]),
    ).toEqual([
      ['refused', 3, true],
      ['refused', 8, true],
    ]);
    expect(aside[0]?.detail).toContain('no_poison');

    await pipeline.warehouse.command('ALTER TABLE clicks DROP CONSTRAINT no_poison');
    for (const { id } of aside) await replayDeadLetter(pipeline.manager, id);
    await loaded(90);
    expect(await letters()).toEqual([]);
    // A second replay of what is gone says so, and one of what was loaded already adds nothing.
    await expect(replayDeadLetter(pipeline.manager, 1)).rejects.toMatchObject({ code: 'no_dead_letter' });
  });
});

describe('somebody who publishes clicks that no collector redirected', { tags: ['attack'] }, () => {
  /** Published without a lease, as by hand. */
  const forge = async (node: number, ts: number): Promise<void> => {
    const headers = createHeaders();
    for (const [name, value] of Object.entries(batchHeaders(node, 0, 5))) headers.set(name, value);
    await pipeline.js.publish(clicksSubject(0), encodeClicks(clickRecords(node, 0, 5, { ts })), { headers });
  };
  const lease = async (node: number, changes: Partial<Lease>): Promise<void> =>
    await writeLease(pipeline.leasesBucket, { ...newLease(node, NOW), ...changes });
  const NOW = Date.now();

  it('has them set aside, whether the node never had a lease, or had one at another time', async () => {
    await lease(4, { startedAtMs: NOW - HOUR_MS, updatedAtMs: NOW - HOUR_MS / 2, state: 'closed' });
    startLoader();
    await forge(77, NOW);
    await forge(4, NOW);
    await forge(4, NOW - 2 * HOUR_MS);
    await loaded(0);
    expect((await letters()).map(({ reason, detail }) => [reason, detail])).toEqual([
      ['no_lease', `no lease gave out 77:0-4 at ${NOW} to ${NOW} ms`],
      ['no_lease', expect.stringContaining('4:0-4')],
      ['no_lease', expect.stringContaining('4:0-4')],
    ]);
    // Once the lease is on record again, a replay loads the batch.
    const [letter] = await letters();
    await lease(77, { startedAtMs: NOW - HOUR_MS });
    await replayDeadLetter(pipeline.manager, letter?.id ?? 0);
    await loaded(5);
  });

  it('does not keep out a lease that was opened after the loader has read, one that has ended, or a sealed one', async () => {
    startLoader();
    await lease(5, {});
    await forge(5, NOW + 1);
    await loaded(5);
    // Days in a spool: the lease has ended, and NATS may have forgotten it.
    await lease(6, { startedAtMs: NOW - 3 * DAY_MS, updatedAtMs: NOW - DAY_MS, state: 'crashed' });
    await forge(6, NOW - 2 * DAY_MS);
    await pipeline.warehouse.insertRows('sealed_leases', [
      {
        node: 7,
        started_at: timeText(NOW - 5 * DAY_MS),
        ended_at: timeText(NOW - 4 * DAY_MS),
        next_seq: 5,
        state: 'closed',
      },
    ]);
    await forge(7, NOW - 4.5 * DAY_MS);
    await loaded(15);
    // The number is leased again, after the loader has read the sealed one.
    await lease(7, { startedAtMs: NOW });
    const again = clickRecords(7, 5, 5, { ts: NOW + 5 });
    await pipeline.publish(again);
    await loaded(20);
    expect(await letters()).toEqual([]);
  });
});

describe('a dead letter', () => {
  it('that is still unusable comes back, with its headers and bytes', async () => {
    await pipeline.publishRaw(Buffer.from('no click'), { 'Afflux-Version': '99', Other: 'x' });
    startLoader();
    await loaded(0);
    const [first] = await letters();
    expect(first).toMatchObject({ reason: 'unknown_version', data: Buffer.from('no click'), streamSeq: 1 });
    expect(first?.headers).toEqual(expect.arrayContaining([['Other', 'x']]));
    const { streamSeq } = await replayDeadLetter(pipeline.manager, first?.id ?? 0);
    await waitFor(async () => (await letters()).length === 1, {
      deadlineMs: 10_000,
      what: 'it to come back',
    });
    const [again] = await letters();
    expect(again).toMatchObject({ reason: 'unknown_version', streamSeq, data: Buffer.from('no click') });
    expect(await getDeadLetter(pipeline.manager, again?.id ?? 0)).toEqual(again);
  });
});
