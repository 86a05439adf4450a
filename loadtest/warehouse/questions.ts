import { DAY_MS, WEEK_MS } from '../../core/time.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import {
  clickTotals,
  orderIds,
  plainAddress,
  SAMPLED_CLICKS,
  SUMMED_ORDERS,
  sampleClicks,
} from '../../warehouse/lookups/explorer.ts';
import { lookupClicks } from '../../warehouse/lookups/lookups.ts';
import { isNetworkOnly, type Subject, select } from '../../warehouse/lookups/subjects.ts';
import { type VelocityKey, velocityOf } from '../../warehouse/lookups/velocity.ts';
import { listVelocity } from '../../warehouse/lookups/velocity-list.ts';
import { MAX_REPORT_ROWS, runReport } from '../../warehouse/reports/reports.ts';

/** Timed questions of each kind, after some that warm the engine up. */
const QUESTIONS = 200;
const WARM_UP = 20;
const LOOKUP_SIZE = 1_000;
const LOOKUP_SETS = 20;

/** 50th and 95th percentile, milliseconds. */
export interface Timing {
  readonly name: string;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

export interface Question {
  readonly name: string;
  /** Asks the `i`-th one of its kind. */
  readonly ask: (warehouse: Warehouse, i: number) => Promise<void>;
}

/** Asks every kind of question of the benchmark 200 times. */
export async function askQuestions(warehouse: Warehouse, endMs: number): Promise<Timing[]> {
  const timings: Timing[] = [];
  for (const question of await prepareQuestions(warehouse, endMs)) {
    timings.push(await timed(warehouse, question));
  }
  return timings;
}

/** The questions of the benchmark over the clicks that `warehouse` holds. */
export async function prepareQuestions(warehouse: Warehouse, endMs: number): Promise<Question[]> {
  const now = new Date(endMs);
  const velocities: Question[] = [];
  for (const key of ['ip', 'subnet', 'fingerprint'] as const) {
    const values = await sampleKeys(warehouse, { key });
    velocities.push({
      name: `velocity of one ${key}`,
      ask: async (asked, i) => {
        await velocityOf(asked, { key, value: values[i % values.length] ?? '', now });
      },
    });
  }
  const identities = await sampleIdentities(warehouse);
  return [
    ...reportQuestions(now),
    ...velocities,
    {
      name: 'who exceeds 5 in 5 minutes',
      ask: async (asked) => {
        await listVelocity(asked, { key: 'ip', sort: 'clicks', clicks: 5, minutes: 5, now, limit: 100 });
      },
    },
    ...(await explorerQuestions(warehouse, now)),
    {
      name: '1,000 look-ups',
      ask: async (asked, i) => {
        const wanted = identities[i % identities.length] ?? [];
        const clicks = await lookupClicks(asked, wanted);
        if (clicks.length !== wanted.length) {
          throw new Error(`${clicks.length} of ${wanted.length} clicks found`);
        }
      },
    },
  ];
}

/** What the first page of the explorer asks of the warehouse, of the busiest of each kind. */
async function explorerQuestions(warehouse: Warehouse, now: Date): Promise<Question[]> {
  const { rows } = await warehouse.query<{ ip: string; print: string; campaigns: number[] }>(
    `SELECT toString(topK(1)(ip)[1]) AS ip, toString(topK(1)(fingerprint)[1]) AS print,
       groupUniqArrayIf(campaign_id, affiliate_id = 1) AS campaigns FROM clicks`,
  );
  const [busiest] = rows;
  if (!busiest) throw new Error('no clicks to explore');
  const page = (name: string, subject: Subject): Question => ({
    name: `explorer's first page of the busiest ${name}`,
    ask: async (asked) => {
      const selection = select(subject, undefined);
      await Promise.all([
        clickTotals(asked, { selection, now }),
        sampleClicks(asked, { selection, now, limit: SAMPLED_CLICKS }),
        orderIds(asked, { selection, now, limit: SUMMED_ORDERS + 1 }),
      ]);
    },
  });
  return [
    page('ip', { kind: 'ip', ip: plainAddress(busiest.ip) }),
    page('fingerprint', { kind: 'fingerprint', fingerprint: busiest.print }),
    page('affiliate', { kind: 'affiliates', affiliateIds: [1], campaignIds: busiest.campaigns }),
  ];
}

function reportQuestions(to: Date): Question[] {
  const from = new Date(to.getTime() - WEEK_MS);
  return [
    {
      name: 'campaign report, 7 days by hour',
      ask: async (asked, i) => {
        // The busiest campaigns first and most: that is what is looked at.
        const campaign = 1 + Math.floor(1_000 ** ((i % 50) / 50)) - 1;
        await runReport(asked, {
          from,
          to,
          groupBy: ['hour'],
          filters: [{ dimension: 'campaign', values: [Math.max(1, campaign)] }],
          limit: 1_000,
        });
      },
    },
    {
      name: 'day and campaign report with distinct visitors, 30 days',
      ask: async (asked) => {
        const day = Math.floor(to.getTime() / DAY_MS) * DAY_MS;
        await runReport(asked, {
          from: new Date(day - 30 * DAY_MS),
          to: new Date(day),
          groupBy: ['day', 'campaign'],
          metrics: ['clicks', 'unique_visitors'],
          limit: MAX_REPORT_ROWS,
        });
      },
    },
    {
      name: 'report of an affiliate, 7 days by day',
      ask: async (asked, i) => {
        // The busiest affiliates first and most.
        const affiliate = Math.max(1, Math.floor(2_000 ** ((i % 50) / 50)));
        await runReport(asked, {
          from,
          to,
          groupBy: ['day'],
          metrics: ['clicks', 'valid_clicks'],
          filters: [{ dimension: 'affiliate', values: [affiliate] }],
          limit: 1_000,
          role: 'affiliate',
        });
      },
    },
    {
      name: 'affiliate × device report, 7 days by day',
      ask: async (asked, i) => {
        await runReport(asked, {
          from,
          to,
          groupBy: ['day', 'device'],
          filters: [
            { dimension: 'campaign', values: [1 + (i % 50)] },
            { dimension: 'affiliate', values: [1 + (i % 20)] },
          ],
          limit: 1_000,
        });
      },
    },
  ];
}

async function timed(warehouse: Warehouse, { name, ask }: Question): Promise<Timing> {
  for (let i = 0; i < WARM_UP; i++) await ask(warehouse, i);
  const times: number[] = [];
  for (let i = 0; i < QUESTIONS; i++) {
    const startedAt = performance.now();
    await ask(warehouse, i);
    times.push(performance.now() - startedAt);
  }
  return { name, ...spread(times) };
}

/** 50th and 95th percentile. */
export function spread(timesMs: readonly number[]): { p50Ms: number; p95Ms: number } {
  const sorted = [...timesMs].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  return { p50Ms: at(0.5), p95Ms: at(0.95) };
}

const SAMPLED_KEYS = 100;

/** Keys that were seen since `fromMs`, the fast and the slow. @throws where there is none. */
export async function sampleKeys(
  warehouse: Warehouse,
  { key, fromMs = 0 }: { key: VelocityKey; fromMs?: number },
): Promise<string[]> {
  const column = key === 'fingerprint' ? 'fingerprint' : 'ip';
  const { rows } = await warehouse.query<{ value: string }>(
    `SELECT toString(${column}) AS value FROM velocity_${column} WHERE ts >= fromUnixTimestamp64Milli({from:Int64})
     GROUP BY ${column} ORDER BY cityHash64(${column}) LIMIT ${2 * SAMPLED_KEYS}`,
    { from: fromMs },
  );
  const values = rows.map(({ value }) => value.replace(/^::ffff:(?=\d+\.)/, ''));
  // An address that ends in .0 would be asked for as the network that a shortened address is.
  const keys = values
    .filter((value) => column === 'fingerprint' || !isNetworkOnly(value))
    .slice(0, SAMPLED_KEYS);
  if (keys.length === 0) throw new Error(`no ${column} was seen since ${new Date(fromMs).toISOString()}`);
  return keys;
}

/** Sets of identities from all over the table. */
async function sampleIdentities(
  warehouse: Warehouse,
): Promise<{ ts: number; node: number; seq: number }[][]> {
  const { rows } = await warehouse.query<{ ms: string; node: number; seq: number }>(
    `SELECT toUnixTimestamp64Milli(ts) AS ms, node, seq FROM clicks
     WHERE cityHash64(seq) % greatest(1, intDiv((SELECT count() FROM clicks), ${LOOKUP_SIZE * LOOKUP_SETS})) = 0
     ORDER BY cityHash64(seq, 'order') LIMIT ${LOOKUP_SIZE * LOOKUP_SETS}`,
  );
  const all = rows.map((row) => ({ ts: Number(row.ms), node: row.node, seq: row.seq }));
  const size = Math.min(LOOKUP_SIZE, all.length);
  return Array.from({ length: Math.floor(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
