import { randomBytes, randomUUID } from 'node:crypto';
import { type ClickSource, createWarehouseClicks } from '../../attribution/worker/click-source.ts';
import { createAttributionWorker } from '../../attribution/worker/worker.ts';
import { type ClickIdCodec, type ClickIdentity, createClickIdCodec } from '../../core/clicks/click-id.ts';
import { CLICK_COLUMN_LIST, type ClickRecord } from '../../core/clicks/click-record.ts';
import {
  type Conversion,
  findConversionByOrder,
  recordConversion,
} from '../../ledger/conversions/conversions.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { timeText } from '../../warehouse/clickhouse/client.ts';
import { createParties, freshLedger, type TestLedger, type TestParties } from './ledger.ts';
import { clickRecord, encodeClicks, freshWarehouse, quietLog } from './warehouse.ts';

/** Both stores, empty but for one program, and what joins them. */
export interface AttributionFixture {
  readonly books: TestLedger;
  readonly ledger: Database;
  readonly warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
  readonly parties: TestParties;
  readonly clicks: ClickSource;
  readonly clickIds: ClickIdCodec;
  readonly clickKey: Buffer;
  /** Stores clicks; what is not given is of the program's link. Returns their identities. */
  addClicks(given: readonly Partial<ClickRecord>[], parties?: TestParties): Promise<ClickIdentity[]>;
  /** Moves the watermark: every click before this counts as stored. */
  completeTo(ms: number): Promise<void>;
  /** Records an order of 100.00; returns its order id. */
  order(given: Partial<Parameters<typeof recordConversion>[1]>, parties?: TestParties): Promise<string>;
  find(orderId: string, parties?: TestParties, eventName?: string): Promise<Conversion>;
  worker(clicks?: ClickSource): ReturnType<typeof createAttributionWorker>;
  /** Runs batches until nothing is due. */
  decideAll(now?: Date): Promise<void>;
  close(): Promise<void>;
}

let node = 1;

/** `warehouse` instead of a database of the run's ClickHouse. */
export async function startAttributionFixture(
  given: { warehouse?: AttributionFixture['warehouse'] } = {},
): Promise<AttributionFixture> {
  const [books, warehouse] = await Promise.all([
    freshLedger({ max: 10 }),
    given.warehouse ?? freshWarehouse(),
  ]);
  const { ledger } = books;
  const parties = await createParties(ledger);
  const clicks = createWarehouseClicks(warehouse);
  const clickKey = randomBytes(16);
  const clickIds = createClickIdCodec([clickKey]);
  const worker = (source = clicks) =>
    createAttributionWorker({ ledger, clicks: source, clickIds, log: quietLog });

  return {
    books,
    ledger,
    warehouse,
    parties,
    clicks,
    clickIds,
    clickKey,
    async addClicks(given, of = parties) {
      node++;
      const records = given.map((click, seq) =>
        clickRecord({
          ts: Date.now() - 600_000,
          node,
          seq,
          program_id: of.programId,
          campaign_id: of.campaignId,
          affiliate_id: of.chain[0],
          link_id: of.linkId,
          flags: 0,
          ...click,
        }),
      );
      await warehouse.insertBytes({
        sql: `INSERT INTO clicks ${CLICK_COLUMN_LIST} FORMAT RowBinary`,
        data: [encodeClicks(records)],
        settings: { async_insert: 0 },
      });
      return records.map(({ ts, seq }) => ({ ts, node: records[0]?.node ?? node, seq }));
    },
    async completeTo(ms) {
      await warehouse.insertRows('watermarks', [
        { shard: 0, complete_to: timeText(ms), stream_seq: 1, updated_at: timeText(Date.now()) },
      ]);
    },
    async order(given, of = parties) {
      const { programId } = of;
      const orderId = given.orderId ?? randomUUID();
      const report = { programId, orderId, amountMinor: 10_000n, currency: 'EUR', source: 'api' as const };
      await recordConversion(ledger, { ...report, ...given });
      return orderId;
    },
    async find(orderId, of = parties, eventName = 'sale') {
      const { programId } = of;
      const conversion = await findConversionByOrder(ledger, { programId, orderId, eventName });
      if (!conversion) throw new Error(`order ${orderId} was recorded`);
      return conversion;
    },
    worker,
    async decideAll(now = new Date(Date.now() + 1_000)) {
      const one = worker();
      while ((await one.runBatch(now)).claimed > 0);
    },
    async close() {
      await Promise.all([books.close(), warehouse.drop()]);
    },
  };
}
