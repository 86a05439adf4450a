import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLICK_COLUMNS, type ClickRecord, encodeClick } from '../../core/clicks/click-record.ts';
import { BatchHeader } from '../../core/clicks/stream.ts';
import { waitFor } from '../../test/support/engines.ts';
import { batchHeaders, clickRecords, type Pipeline, startPipeline } from '../../test/support/warehouse.ts';
import { type DeadLetter, readDeadLetters } from './dead-letters.ts';
import { layoutsOf } from './layouts.ts';

/** An artificial layout before the current one: it had no column `destination`. */
const PREVIOUS_VERSION = 0;
const NEW_COLUMN = 'destination';
/** Behind ts, node, seq, the four ids, ip, flags and rule; two bytes. */
const NEW_COLUMN_AT = 8 + 2 + 4 + 4 * 4 + 16 + 4 + 2;
const layouts = layoutsOf({
  version: PREVIOUS_VERSION,
  columns: CLICK_COLUMNS.filter(({ name }) => name !== NEW_COLUMN),
  upgrade: (row) => ({ ...row, [NEW_COLUMN]: 7 }) as unknown as ClickRecord,
});

let pipeline: Pipeline;
const running: { stop(): Promise<void> }[] = [];

beforeEach(async () => {
  pipeline = await startPipeline();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((loader) => loader.stop()));
  await pipeline.stop();
});

function encodePrevious(records: readonly ClickRecord[]): Buffer {
  return Buffer.concat(
    records.map((record) => {
      const row = encodeClick(record);
      return Buffer.concat([row.subarray(0, NEW_COLUMN_AT), row.subarray(NEW_COLUMN_AT + 2)]);
    }),
  );
}

function previousHeaders(firstSeq: number, rows: number): Record<string, string> {
  return { ...batchHeaders(1, firstSeq, rows), [BatchHeader.version]: String(PREVIOUS_VERSION) };
}

async function publishPrevious(firstSeq: number, rows: number): Promise<void> {
  const data = encodePrevious(clickRecords(1, firstSeq, rows));
  await pipeline.publishRaw(data, previousHeaders(firstSeq, rows));
}

async function loaded(clicks: number): Promise<void> {
  const isLoaded = async () => {
    const checkpoint = await pipeline.loaderBucket.get('checkpoint.0');
    const { state } = await pipeline.manager.streams.info('CLICKS');
    return checkpoint?.json<{ seq: number }>().seq === state.last_seq;
  };
  await waitFor(isLoaded, { deadlineMs: 25_000, what: 'the checkpoint at the end of the stream' });
  expect(await pipeline.counts()).toMatchObject({ clicks, distinct: clicks, rolledUp: clicks });
}

interface StoredRow {
  readonly seq: number;
  readonly campaign_id: number;
  readonly rule: number;
  readonly destination: number;
  readonly utm_source: string;
}

async function storedRows(): Promise<StoredRow[]> {
  const { rows } = await pipeline.warehouse.query<StoredRow>(
    'SELECT seq, campaign_id, rule, destination, utm_source FROM clicks ORDER BY seq',
  );
  return rows;
}

function expectedRows(count: number, isPrevious: (seq: number) => boolean): StoredRow[] {
  return clickRecords(1, 0, count).map(({ seq, campaign_id, rule, destination, utm_source }) => ({
    seq,
    campaign_id,
    rule,
    destination: isPrevious(seq) ? 7 : destination,
    utm_source,
  }));
}

describe('batches of the layout before the current one', () => {
  it('are loaded in one block with current ones, each click once, the new column at its default', async () => {
    await pipeline.publish(clickRecords(1, 0, 50));
    await publishPrevious(50, 50);
    await pipeline.publish(clickRecords(1, 100, 50));
    await publishPrevious(150, 50);
    // The collector published one of them again after a lost acknowledgement.
    await publishPrevious(50, 50);
    const loader = pipeline.loader({ layouts });
    running.push(loader);
    void loader.run();
    await loaded(200);
    expect((await pipeline.metrics.blocks.get()).values[0]?.value).toBe(1);
    expect((await pipeline.metrics.repeatedBatches.get()).values[0]?.value).toBe(1);
    expect(await storedRows()).toEqual(expectedRows(200, (seq) => seq % 100 >= 50));
  });

  it('count once when their insert is repeated after a crash', async () => {
    await publishPrevious(0, 100);
    await pipeline.publish(clickRecords(1, 100, 50));
    const crash = new Error('dies after the insert');
    const first = pipeline.loader({
      layouts,
      async onStep(step) {
        if (step === 'insert') throw crash;
      },
    });
    await expect(first.run()).rejects.toBe(crash);
    const second = pipeline.loader({ layouts });
    running.push(second);
    void second.run();
    await loaded(150);
    expect(await storedRows()).toEqual(expectedRows(150, (seq) => seq < 100));
  });

  it('that do not decode become dead letters with their own bytes and version', async () => {
    const cut = encodePrevious(clickRecords(1, 0, 5)).subarray(0, -1);
    await pipeline.publishRaw(cut, previousHeaders(0, 5));
    const loader = pipeline.loader({ layouts });
    running.push(loader);
    void loader.run();
    await loaded(0);
    const letters: DeadLetter[] = [];
    for await (const letter of readDeadLetters(pipeline.manager)) letters.push(letter);
    expect(letters).toMatchObject([{ reason: 'malformed', data: cut }]);
    expect(letters[0]?.headers).toContainEqual([BatchHeader.version, String(PREVIOUS_VERSION)]);
  });
});
