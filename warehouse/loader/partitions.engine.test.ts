import { headers as createHeaders } from '@nats-io/transport-node';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { batchHeaders, clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import type { StreamMessage } from './batch.ts';
import { type Block, type Checkpoint, createBlockBuilder } from './block.ts';
import { insertBlock } from './inserter.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
beforeAll(async () => {
  warehouse = await freshWarehouse();
});
afterAll(() => warehouse.drop());

const CLICKS = 240;
const RUNS = Number(process.env.AFFLUX_PARTITIONS ?? 8);
const CAMPAIGN_COUNTS = 'sum(clicks), sum(valid_clicks), sum(impressions)';
/** All tables that hold clicks, with a query whose rows do not depend on how they are spread over parts. */
const TABLES: Readonly<Record<string, string>> = {
  clicks: 'SELECT * , country, referrer_domain FROM clicks',
  clicks_hourly: rolledUp('clicks_hourly', 'hour, affiliate_id, link_id, country, device, flag_group'),
  clicks_minutely: rolledUp('clicks_minutely', 'minute, affiliate_id, link_id, country, device, flag_group'),
  campaigns_hourly: rolledUp('campaigns_hourly', 'hour', CAMPAIGN_COUNTS),
  campaigns_daily: rolledUp('campaigns_daily', 'day', CAMPAIGN_COUNTS),
  velocity_ip: 'SELECT * FROM velocity_ip',
  velocity_fingerprint: 'SELECT * FROM velocity_fingerprint',
};

function rolledUp(table: string, keys: string, counts = 'sum(clicks)'): string {
  return `SELECT ${keys}, program_id, campaign_id, ${counts},
    uniqCombinedMerge(14)(ips) AS ips, uniqCombinedMerge(14)(distinct_visitors) AS visitors FROM ${table}
    GROUP BY ${keys}, program_id, campaign_id`;
}

/** Over five hours, three campaigns, many kinds of click and visitors that come again. */
const START = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 5 * 3_600_000;
const SET: readonly ClickRecord[] = Array.from({ length: CLICKS }, (_, seq) =>
  clickRecord({
    node: 7,
    seq,
    ts: START + seq * 71_333,
    flags: [0, 0, 1, 2, 4, 8, 16, 256, 512, 1_024][seq % 10] ?? 0,
    ip: parseIp(seq % 5 === 0 ? `2001:db8::${seq % 9}` : `203.0.113.${seq % 60}`) ?? Buffer.alloc(16),
    device: ['desktop', 'mobile', 'a device of tomorrow', ''][seq % 4] ?? '',
  }),
);

/** `cuts` are the numbers of clicks after which something new begins. */
function pieces(cuts: readonly number[], length: number): [from: number, to: number][] {
  const ends = [...new Set(cuts)].sort((a, b) => a - b).concat(length);
  return ends.map((end, i) => [ends[i - 1] ?? 0, end]);
}

let lives = 0;

/** The blocks that a loader cuts from the batches, each batch once more where `repeated` says so. */
function blocksOf(
  batchCuts: readonly number[],
  blockCuts: readonly number[],
  repeated: readonly number[],
): Block[] {
  const batches = pieces(batchCuts, CLICKS).map(([from, to]) => SET.slice(from, to));
  const stream = `life ${lives++}`;
  const sent = batches.flatMap((batch, i) => (repeated.includes(i) ? [batch, batch] : [batch]));
  const messages = sent.map((records, i): StreamMessage => {
    const headers = createHeaders();
    const { node = 0, seq = 0 } = records[0] ?? {};
    for (const [name, value] of Object.entries(batchHeaders(node, seq, records.length)))
      headers.set(name, value);
    return { seq: i + 1, headers, data: encodeClicks(records) };
  });
  let checkpoint: Checkpoint = { stream, seq: 0, accepted: new Map() };
  return pieces(
    blockCuts.map((cut) => cut % messages.length).filter((cut) => cut > 0),
    messages.length,
  ).map(([from, to]) => {
    const builder = createBlockBuilder({ shard: 0, checkpoint, isLeased: () => true });
    for (const message of messages.slice(from, to)) builder.add(message, Date.now());
    const block = builder.finish();
    checkpoint = block.checkpointAfter;
    return block;
  });
}

/** Number of rows and a sum of their hashes, by table. */
async function digest(): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const [table, rows] of Object.entries(TABLES)) {
    const { rows: found } = await warehouse.query<{ digest: string }>(
      `SELECT concat(toString(count()), ' ', toString(sum(cityHash64(*)))) AS digest FROM (${rows})`,
    );
    digests[table] = found[0]?.digest ?? '';
  }
  return digests;
}

async function insertAll(
  blocks: readonly Block[],
  retries: readonly number[],
): Promise<Record<string, string>> {
  for (const table of Object.keys(TABLES)) await warehouse.command(`TRUNCATE TABLE ${table} SYNC`);
  for (const [i, block] of blocks.entries()) {
    if (block.intent.rows === 0) continue;
    await insertBlock(warehouse, block);
    // A retry repeats this block or an earlier one: the answer was lost, or a loader slept for long.
    for (const retry of retries.filter((at) => at % blocks.length === i)) {
      const again = blocks[retry % (i + 1)];
      if (again && again.intent.rows > 0) await insertBlock(warehouse, again);
    }
  }
  return await digest();
}

it('any cut of the clicks into batches, blocks and retries makes the same tables', async () => {
  const whole = await insertAll(blocksOf([], [], []), []);
  expect(whole.clicks).toMatch(new RegExp(`^${CLICKS} `));
  const cuts = (max: number, maxLength: number) => fc.array(fc.integer({ min: 1, max }), { maxLength });
  await fc.assert(
    fc.asyncProperty(
      cuts(CLICKS - 1, 12),
      cuts(12, 4),
      cuts(12, 3),
      cuts(CLICKS, 4),
      async (batchCuts, blockCuts, repeated, retries) => {
        expect(await insertAll(blocksOf(batchCuts, blockCuts, repeated), retries)).toEqual(whole);
      },
    ),
    { numRuns: RUNS },
  );
});
