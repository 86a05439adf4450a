import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { forgetLease, listLeases, openLease, writeLease } from '../../core/clicks/lease.ts';
import { waitFor } from '../../test/support/engines.ts';
import { clickRecords, type Pipeline, startPipeline } from '../../test/support/warehouse.ts';
import { timeText } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { auditWarehouse } from './audit.ts';

let pipeline: Pipeline;
let stopLoader: () => Promise<void>;

beforeEach(async () => {
  pipeline = await startPipeline();
  const loader = pipeline.loader();
  const running = loader.run();
  stopLoader = async () => {
    await loader.stop();
    await running;
  };
});
afterEach(() => pipeline.stop());

/** Loads `seqs` of a lease that gave out `nextSeq` numbers and is closed, and waits for the watermark to pass it. */
async function loadClosedLease(ranges: [first: number, count: number][], nextSeq: number): Promise<void> {
  const ts = Date.now();
  const { lease } = await openLease(pipeline.leasesBucket, ts);
  for (const [first, count] of ranges) await pipeline.publish(clickRecords(lease.node, first, count, { ts }));
  await writeLease(pipeline.leasesBucket, { ...lease, state: 'closed', nextSeq, updatedAtMs: ts });
  await waitFor(async () => ((await readWatermark(pipeline.warehouse)) ?? 0) > ts, {
    deadlineMs: 15_000,
    what: 'the watermark to pass the lease',
  });
  await stopLoader();
}

async function failures(): Promise<Record<string, string>> {
  const checks = await auditWarehouse({ warehouse: pipeline.warehouse, nc: pipeline.nc });
  expect(checks.map((check) => check.name)).toEqual([
    'leases',
    'identities',
    'rollup clicks_hourly',
    'rollup campaigns_hourly',
    'rollup campaigns_daily',
    'rollup clicks_minutely',
    'projection clicks.by_time',
    'projection clicks.by_visitor_key',
    'projection clicks.by_address',
    'projection clicks.by_fingerprint',
    'projection clicks_hourly.by_affiliate',
    'loader',
    'dead letters',
  ]);
  return Object.fromEntries(checks.filter((check) => !check.ok).map((check) => [check.name, check.detail]));
}

describe('the audit', () => {
  it('finds nothing when everything adds up', async () => {
    await loadClosedLease(
      [
        [0, 40],
        [40, 60],
      ],
      100,
    );
    expect(await failures()).toEqual({});
  });

  it('proves a lease that NATS has forgotten, and names its first gap', async () => {
    await loadClosedLease([[0, 10]], 10);
    const [lease] = await listLeases(pipeline.leasesBucket);
    const sealed = { started_at: timeText(lease?.startedAtMs ?? 0), ended_at: timeText(Date.now()) };
    await pipeline.warehouse.insertRows('sealed_leases', [
      { node: lease?.node, next_seq: 10, state: 'closed', ...sealed },
      { node: 500, next_seq: 0, state: 'closed', ...sealed },
      { node: 501, next_seq: 0, state: 'crashed', ...sealed },
    ]);
    if (lease) await forgetLease(pipeline.leasesBucket, { manager: pipeline.manager, lease });
    expect(await listLeases(pipeline.leasesBucket)).toEqual([]);
    expect(await failures()).toEqual({});
    await pipeline.warehouse.command(
      'ALTER TABLE clicks DELETE WHERE seq IN (4, 5) SETTINGS mutations_sync = 2',
    );
    expect(await failures()).toMatchObject({ leases: expect.stringContaining('first gap 0:4-5') });
  });

  it('names the first gap of a lease', async () => {
    await loadClosedLease(
      [
        [0, 10],
        [25, 5],
      ],
      40,
    );
    expect(await failures()).toEqual({ leases: expect.stringContaining('first gap 0:10-24') });
  });

  it('notices that the end of a closed lease is missing', async () => {
    await loadClosedLease([[0, 10]], 12);
    expect(await failures()).toEqual({ leases: expect.stringContaining('first gap 0:10-11') });
  });

  it('notices a click that is there twice, and a rollup that differs', async () => {
    await loadClosedLease([[0, 10]], 10);
    await pipeline.warehouse.command(
      'INSERT INTO clicks SELECT * FROM clicks LIMIT 1 SETTINGS async_insert = 0',
    );
    expect(await failures()).toEqual({
      leases: expect.stringContaining('11 rows, 10 distinct, 10 given out'),
      identities: '11 rows, 10 distinct identities',
    });
    for (const table of ['clicks_hourly', 'campaigns_hourly', 'campaigns_daily', 'clicks_minutely']) {
      await pipeline.warehouse.command(`TRUNCATE TABLE ${table}`);
      expect(await failures()).toHaveProperty([`rollup ${table}`]);
    }
  });

  it('finds clicks that somebody wrote past the loader, and that no lease gave out', {
    tags: ['attack'],
  }, async () => {
    await loadClosedLease([[0, 10]], 10);
    const forged = (node: number, ts: string) =>
      pipeline.warehouse.command(
        `INSERT INTO clicks SELECT * REPLACE (${node} AS node, ${ts} AS ts, 0 AS seq) FROM clicks LIMIT 1
         SETTINGS async_insert = 0`,
      );
    await forged(77, 'ts - 1');
    await forged(0, 'ts - INTERVAL 1 HOUR');
    expect(await failures()).toEqual({
      leases: expect.stringMatching(
        /^node 0: 1 clicks of no lease, the first at [-\d: .]+; node 77: 1 clicks of no lease/,
      ),
    });
  });

  it('counts dead letters and notices lost messages', async () => {
    await pipeline.publishRaw(Buffer.from('?'), {});
    await loadClosedLease([[0, 10]], 10);
    expect(await failures()).toEqual({ 'dead letters': '1 batches set aside' });
    await pipeline.publish(clickRecords(9, 0, 1));
    await pipeline.publish(clickRecords(9, 1, 1));
    await pipeline.manager.streams.purge('CLICKS', { seq: 4 });
    expect(await failures()).toHaveProperty(
      ['loader'],
      expect.stringContaining('1 messages left the stream'),
    );
    await pipeline.warehouse.insertRows('watermarks', [{ shard: 3, complete_to: timeText(Date.now()) }]);
    expect(await failures()).toHaveProperty(
      ['loader'],
      expect.stringContaining('shard 3: its stream is gone'),
    );
  });
});
