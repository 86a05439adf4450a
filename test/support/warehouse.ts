import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { headers as createHeaders, type NatsConnection } from '@nats-io/transport-node';
import { Registry } from 'prom-client';
import { inject } from 'vitest';
import { CLICK_RECORD_VERSION, type ClickRecord, encodeClick } from '../../core/clicks/click-record.ts';
import { newLease, readLease, writeLease } from '../../core/clicks/lease.ts';
import { clicksSubject, firstShards } from '../../core/clicks/shards.ts';
import {
  BatchHeader,
  type Bucket,
  batchMessageId,
  connectNats,
  ensureStreams,
  LEASES_BUCKET,
  LOADER_BUCKET,
  openBucket,
} from '../../core/clicks/stream.ts';
import { createLogger } from '../../core/service/log.ts';
import type { Engine } from '../../engines/engine.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { dictionaryStatements, migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { Loader, type LoaderOptions } from '../../warehouse/loader/loader.ts';
import { createLoaderMetrics, type LoaderMetrics } from '../../warehouse/loader/metrics.ts';
import { freshClickHouseDatabase, startTestNats } from './engines.ts';

export const quietLog = createLogger({ name: 'test', level: 'silent' });

/** A click of 2026-11-22 12:00:00 UTC and `seq` milliseconds, with something in every column. */
export function clickRecord(given: Partial<ClickRecord> = {}): ClickRecord {
  const seq = given.seq ?? 0;
  return {
    ts: Date.UTC(2026, 10, 22, 12) + seq,
    node: 0,
    seq,
    program_id: 1,
    campaign_id: 1 + (seq % 3),
    affiliate_id: 10 + (seq % 2),
    link_id: 100 + (seq % 6),
    ip: Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, seq % 256]),
    flags: seq % 10 === 0 ? 1 : 0,
    rule: seq % 3,
    destination: seq % 2,
    fingerprint: BigInt(1_000 + (seq % 50)),
    user_agent: 'Mozilla/5.0',
    device: seq % 4 === 0 ? 'mobile' : 'desktop',
    os: 'Linux',
    browser: 'Firefox',
    language: 'en-GB',
    referrer: 'https://www.example.com/page',
    sub1: 's1',
    sub2: '',
    sub3: '',
    sub4: '',
    sub5: '',
    utm_source: 'news',
    utm_medium: '',
    utm_campaign: '',
    utm_term: '',
    utm_content: '',
    query: '',
    ...given,
  };
}

/** Clicks `firstSeq …` of one lease. */
export function clickRecords(
  node: number,
  firstSeq: number,
  count: number,
  given: Partial<ClickRecord> = {},
): ClickRecord[] {
  return Array.from({ length: count }, (_, i) => clickRecord({ node, seq: firstSeq + i, ...given }));
}

export function encodeClicks(records: readonly ClickRecord[]): Buffer {
  return Buffer.concat(records.map(encodeClick));
}

/** A migrated database of the caller's own: a copy, which is made faster than the migrations run. The one at `given`, if it is. */
export async function freshWarehouse(
  given?: string,
): Promise<Warehouse & { url: string; drop(): Promise<void> }> {
  const { url, drop } = given ? { url: given, async drop() {} } : await freshClickHouseDatabase();
  const warehouse = await connectWarehouse({ url, name: 'test' });
  if (given) await migrateWarehouse({ warehouse, log: quietLog });
  else await copySchema(warehouse);
  return {
    ...warehouse,
    url,
    async drop() {
      await warehouse.close();
      await drop();
    },
  };
}

async function copySchema(warehouse: Warehouse): Promise<void> {
  const statements = inject('warehouseSchema');
  // They read tables that are made before them, and the first columns that ask them come after them.
  const asking = statements.findIndex((statement) => statement.includes('dictGet('));
  const dictionaries = dictionaryStatements(warehouse, warehouse.database).map((statement) =>
    // As the migrations have it.
    statement.replace(`DB '${warehouse.database}' `, ''),
  );
  for (const statement of statements.toSpliced(asking, 0, ...dictionaries))
    await warehouse.command(statement);
}

/** The engine remembers which granules a condition matched: the same question reads no others the next time. */
const FIRST_TIME = { use_query_condition_cache: 0 } as const;

/** A warehouse that counts the rows which its queries read when they are asked for the first time. */
export function countingRows(warehouse: Warehouse): { watched: Warehouse; readRows: () => number } {
  let readRows = 0;
  const watched: Warehouse = {
    ...warehouse,
    query: async (sql, params, settings) => {
      const answer = await warehouse.query<never>(sql, params, { ...settings, ...FIRST_TIME });
      readRows += answer.readRows;
      return answer;
    },
    // The engine says so in the format JSON only.
    queryArrow: async (sql, params, settings) => {
      readRows += (await warehouse.query(sql, params, { ...settings, ...FIRST_TIME })).readRows;
      return await warehouse.queryArrow(sql, params, settings);
    },
  };
  return { watched, readRows: () => readRows };
}

export interface Pipeline {
  readonly warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
  readonly natsUrl: string;
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly loaderBucket: KV;
  readonly leasesBucket: Bucket;
  readonly metrics: LoaderMetrics;
  readonly registry: Registry;
  /** Publishes records of one lease as a collector does; without its message id if `again`. */
  publish(records: readonly ClickRecord[], how?: { again?: boolean; shard?: number }): Promise<void>;
  /** Publishes any bytes and headers to the clicks subject. */
  publishRaw(data: Buffer, headers: Readonly<Record<string, string>>, shard?: number): Promise<void>;
  loader(given?: Partial<LoaderOptions>): Loader;
  counts(): Promise<ClickCounts>;
  stop(): Promise<void>;
}

export interface ClickCounts {
  readonly clicks: number;
  readonly distinct: number;
  readonly rolledUp: number;
  readonly rolledUpValid: number;
}

/** The headers of a batch as a collector writes them. */
export function batchHeaders(node: number, firstSeq: number, rows: number): Record<string, string> {
  return {
    [BatchHeader.version]: String(CLICK_RECORD_VERSION),
    [BatchHeader.node]: String(node),
    [BatchHeader.firstSeq]: String(firstSeq),
    [BatchHeader.rows]: String(rows),
  };
}

/**
 * An empty warehouse and stream of the caller's own; `nats` instead of a server made for it, and stopped with it;
 * `clickhouseUrl` of an empty database.
 */
export async function startPipeline(
  given: { nats?: Engine; clickhouseUrl?: string; shards?: number } = {},
): Promise<Pipeline> {
  const warehouse = await freshWarehouse(given.clickhouseUrl);
  const nats = given.nats ?? (await startTestNats());
  const nc = await connectNats({ url: nats.url, name: 'test' });
  const manager = await ensureStreams(nc, { shards: firstShards(given.shards ?? 1) });
  const js = manager.jetstream();
  const loaderBucket = await openBucket(nc, LOADER_BUCKET);
  const leasesBucket = await openBucket(nc, LEASES_BUCKET);
  const registry = new Registry();
  const metrics = createLoaderMetrics(registry);

  async function publishRaw(
    data: Buffer,
    given: Readonly<Record<string, string>>,
    { msgID = '', shard = 0 },
  ): Promise<void> {
    const headers = createHeaders();
    for (const [name, value] of Object.entries(given)) headers.set(name, value);
    await leaseNode(leasesBucket, Number(given[BatchHeader.node] ?? Number.NaN), shard);
    await js.publish(clicksSubject(shard), data, { headers, ...(msgID ? { msgID } : {}) });
  }

  return {
    warehouse,
    natsUrl: nats.url,
    nc,
    js,
    manager,
    loaderBucket,
    leasesBucket,
    metrics,
    registry,
    async publish(records, how = {}) {
      const { node = 0, seq = 0 } = records[0] ?? {};
      const headers = batchHeaders(node, seq, records.length);
      const { again, shard } = how;
      const msgID = again ? '' : batchMessageId(node, seq);
      await publishRaw(encodeClicks(records), headers, { msgID, ...(shard === undefined ? {} : { shard }) });
    },
    publishRaw: (data, headers, shard = 0) => publishRaw(data, headers, { shard }),
    loader: (given = {}) =>
      new Loader({
        warehouse,
        nc,
        manager,
        loaderBucket,
        leasesBucket,
        shard: 0,
        log: quietLog,
        metrics,
        ...given,
      }),
    counts: () => clickCounts(warehouse),
    async stop() {
      await nc.close();
      await Promise.all([nats.stop(), warehouse.drop()]);
    },
  };
}

/**
 * Gives a node a lease, if it has none: without one the loader refuses its clicks. It has ended, so it holds no
 * watermark back, and has room for clicks of every time.
 */
export async function leaseNode(bucket: KV, node: number, shard = 0): Promise<void> {
  if (!Number.isInteger(node) || (await readLease(bucket, node))) return;
  const lease = newLease(node, Date.UTC(2020, 0, 1), shard);
  await writeLease(bucket, { ...lease, state: 'crashed', updatedAtMs: Date.UTC(2100, 0, 1) });
}

/** What the table and its rollup hold. */
export async function clickCounts(warehouse: Warehouse): Promise<ClickCounts> {
  const { rows } = await warehouse.query<Record<keyof ClickCounts, string>>(
    `SELECT count() AS clicks, uniqExact(ts, node, seq) AS distinct,
       (SELECT sum(clicks) FROM clicks_hourly) AS rolledUp,
       (SELECT sumIf(clicks, flag_group IN ('ok', 'repeat')) FROM clicks_hourly) AS rolledUpValid
     FROM clicks`,
  );
  return {
    clicks: Number(rows[0]?.clicks),
    distinct: Number(rows[0]?.distinct),
    rolledUp: Number(rows[0]?.rolledUp),
    rolledUpValid: Number(rows[0]?.rolledUpValid),
  };
}
