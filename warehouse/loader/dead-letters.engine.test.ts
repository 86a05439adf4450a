import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, type Pipeline, startPipeline } from '../../test/support/warehouse.ts';
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
