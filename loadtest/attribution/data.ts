import { type ClickIdCodec, createClickIdCodec } from '../../core/clicks/click-id.ts';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { hashAccount, setPayoutMethod } from '../../ledger/payouts/methods.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { createProgram } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { timeText, type Warehouse } from '../../warehouse/clickhouse/client.ts';

/** One program with clicks of a month, and orders that belong to some of them. The seed is in every formula. */

export const AFFILIATES = 1_000;
const CAMPAIGNS = 20;
const DAYS = 29;
/** Every affiliate has a parent in the next third, and that one in the last: three levels. */
const THIRD = Math.floor(AFFILIATES / 3);
const NODE = 7;
/** Clicks in one insert: what the loader cuts a block to. */
const BLOCK = 200_000;
const VISITORS = 2_000_000;

export interface BenchProgram {
  readonly programId: number;
  readonly affiliateIds: readonly number[];
  readonly campaignIds: readonly number[];
  readonly linkIds: readonly number[];
  /** Of click 0; click n is n × {@link BenchProgram.stepMs} later. */
  readonly startMs: number;
  readonly stepMs: number;
  readonly clicks: number;
  readonly clickIds: ClickIdCodec;
}

export async function createBenchProgram(
  ledger: Database,
  options: { clicks: number; clickKey: Buffer; now: number },
): Promise<BenchProgram> {
  const { clicks, clickKey, now } = options;
  const { id: programId } = await createProgram(ledger, {
    name: 'Bench',
    currency: 'EUR',
    payoutMethodHoldDays: 0,
  });
  await setTerms(ledger, { programId, holdDays: 30, payoutMinMinor: 0n });
  const campaignIds: number[] = [];
  for (let i = 0; i < CAMPAIGNS; i++) {
    campaignIds.push(
      (await createCampaign(ledger, { programId, name: `c${i}`, landingUrl: 'https://shop.example/' })).id,
    );
  }
  const affiliateIds: number[] = [];
  const linkIds: number[] = [];
  // The ancestors first.
  for (let i = 0; i < AFFILIATES; i++) {
    const parentId = i < THIRD ? null : affiliateIds[i - THIRD];
    const { id } = await createAffiliate(ledger, {
      programId,
      refCode: `a${i}`,
      name: `Affiliate ${i}`,
      email: `a${i}@example.com`,
      status: 'active',
      parentId,
    });
    // No affiliate is paid without an account; the provider of this run does not read it.
    await setPayoutMethod(ledger, {
      affiliateId: id,
      kind: 'bank',
      details: Buffer.alloc(64),
      accountHash: hashAccount(`account ${i}`),
      hint: '…0000',
      changedBy: 'bench',
    });
    affiliateIds.push(id);
    const campaignId = campaignIds[i % CAMPAIGNS] ?? 0;
    linkIds.push(
      (await createLink(ledger, { campaignId, affiliateId: id, landingUrl: 'https://shop.example/' })).id,
    );
  }
  const stepMs = Math.max(1, Math.floor((DAYS * DAY_MS) / clicks));
  // The latest click is hours old: its hour of velocity is whole.
  const startMs = Math.floor(now / 1_000) * 1_000 - 7_200_000 - clicks * stepMs;
  return {
    programId,
    affiliateIds,
    campaignIds,
    linkIds,
    startMs,
    stepMs,
    clicks,
    clickIds: createClickIdCodec([clickKey]),
  };
}

/** Address of click n: as many visitors as a busy program has. */
function ipOf(n: string): string {
  return `toIPv4(toUInt32(167772160 + cityHash64(${n} % ${VISITORS}) % 16777216))`;
}

export async function insertClicks(
  warehouse: Warehouse,
  program: BenchProgram,
  progress: (done: number) => void,
): Promise<void> {
  const list = (values: readonly number[]): string => `[${values.join(',')}]`;
  for (let from = 0; from < program.clicks; from += BLOCK) {
    const count = Math.min(BLOCK, program.clicks - from);
    await warehouse.command(
      `INSERT INTO clicks ${CLICK_COLUMN_LIST}
       WITH ${list(program.affiliateIds)} AS affiliates, ${list(program.linkIds)} AS links,
         ${list(program.campaignIds)} AS campaigns
       SELECT fromUnixTimestamp64Milli(toInt64(${program.startMs} + number * ${program.stepMs}), 'UTC') AS ts,
         toUInt16(${NODE}) AS node, toUInt32(number) AS seq, ${program.programId} AS program_id,
         campaigns[1 + owner % ${CAMPAIGNS}] AS campaign_id, affiliates[1 + owner] AS affiliate_id,
         links[1 + owner] AS link_id, toIPv6(${ipOf('number')}) AS ip, 0 AS flags, 0 AS rule, 0 AS destination,
         cityHash64(number % 5000) AS fingerprint, 'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/145.0' AS user_agent,
         'desktop' AS device, 'Linux' AS os, 'Firefox' AS browser, 'en-GB' AS language, '' AS referrer,
         '' AS sub1, '' AS sub2, '' AS sub3, '' AS sub4, '' AS sub5, '' AS utm_source, '' AS utm_medium,
         '' AS utm_campaign, '' AS utm_term, '' AS utm_content, '' AS query
       FROM (SELECT number, toUInt32(${2 * THIRD} + number % ${AFFILIATES - 2 * THIRD}) AS owner
             FROM numbers(${from}, ${count}))`,
      {},
      {
        async_insert: 0,
        max_threads: 1,
        max_insert_threads: 1,
        max_block_size: BLOCK,
        min_insert_block_size_rows: BLOCK,
        max_partitions_per_insert_block: 0,
        optimize_on_insert: 0,
      },
    );
    progress(from + count);
  }
  await warehouse.insertRows('watermarks', [
    { shard: 0, complete_to: timeText(Date.now()), stream_seq: 1, updated_at: timeText(Date.now()) },
  ]);
}

/** An order of click n, minutes after it. */
export interface BenchOrder {
  readonly click: number;
  readonly orderId: string;
  readonly clickId: string;
  readonly amountMinor: bigint;
  readonly occurredAt: Date;
}

/** Orders are of clicks of the last day: of older ones nothing is compared with the traffic before. */
const ORDERED_MS = 20 * HOUR_MS;

/** So many orders, spread evenly over the latest clicks, with ids of their own. */
export function makeOrders(program: BenchProgram, count: number): BenchOrder[] {
  const prefix = Date.now().toString(36);
  const latest = Math.min(program.clicks, Math.ceil(ORDERED_MS / program.stepMs));
  const stride = Math.max(1, Math.floor(latest / count));
  return Array.from({ length: count }, (_, i) => {
    const click = program.clicks - latest + ((i * stride) % latest);
    const ts = program.startMs + click * program.stepMs;
    return {
      click,
      orderId: `${prefix}-${i}`,
      clickId: program.clickIds.encode({ ts, node: NODE, seq: click }),
      amountMinor: BigInt(1_000 + ((i * 7_919) % 50_000)),
      // Minutes to an hour later, and never in the future.
      occurredAt: new Date(ts + 180_000 + ((i * 104_729) % HOUR_MS)),
    };
  });
}
