import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClickRecord } from '../../core/clicks/click-record.ts';
import { readClicksStream } from '../../core/clicks/shards.ts';
import { OperatingError } from '../../core/errors.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  batchHeaders,
  clickRecords,
  encodeClicks,
  type Pipeline,
  startPipeline,
} from '../../test/support/warehouse.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { readDeadLetters } from './dead-letters.ts';

/**
 * Seeded histories of everything that can happen to a loader: it dies or falls asleep at any step, answers are lost,
 * batches come twice, damaged or overlapping, sleepers wake when others have long gone on. After each history every
 * published click is stored once, in the table and in everything that follows from it.
 * `AFFLUX_HISTORIES=100` runs more of them, `AFFLUX_HISTORY=17` one.
 */
const COUNT = Number(process.env.AFFLUX_HISTORIES ?? 12);
const ONLY = process.env.AFFLUX_HISTORY;
/**
 * Histories wait more than they work, so some run side by side: each group with engines of its own, and in it one history in
 * each shard of the stream, so that the blocks of several shards reach the warehouse in turn.
 */
const GROUPS = 2;
const SHARDS = 2;
const RUNS = 3;
const DEADLINE_MS = 30_000;

const FATES = [
  'dies after intent',
  'dies after insert',
  'dies after checkpoint',
  'sleeps after intent',
  'sleeps after insert',
  'sleeps after checkpoint',
  'dies before the insert',
  'dies before the answer',
  'loses the answer',
  'is refused',
] as const;
type Fate = (typeof FATES)[number];

/** mulberry32: the same seed gives the same history. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Sleeper {
  wake(): void;
  stop(): Promise<void>;
}

describe.concurrent.each(Array.from({ length: GROUPS }, (_, group) => ({ group })))(
  'group $group',
  ({ group }) => {
    let pipeline: Pipeline;
    beforeAll(async () => {
      pipeline = await startPipeline({ shards: SHARDS });
    });
    afterAll(() => pipeline.stop());

    const seeds = Array.from({ length: COUNT }, (_, seed) => seed).filter((seed) => seed % GROUPS === group);
    it('counts every click once', { timeout: 60_000 + seeds.length * 60_000 }, async () => {
      const inShard = async (shard: number): Promise<void> => {
        for (const [index, seed] of seeds.entries()) {
          if (index % SHARDS !== shard || (ONLY !== undefined && seed !== Number(ONLY))) continue;
          await expect(runHistory(pipeline, seed, shard), `history ${seed}`).resolves.toEqual(
            expectedOf(seed),
          );
        }
      };
      await Promise.all(Array.from({ length: SHARDS }, (_, shard) => inShard(shard)));
    });
  },
);

/** The counts after the history of `seed`: the same draws as {@link runHistory} makes, without engines. */
function expectedOf(seed: number) {
  const { clicks, bad } = script(seed);
  return {
    clicks,
    distinct: clicks,
    hourly: clicks,
    minutely: clicks,
    campaigns: clicks,
    daily: clicks,
    ip: clicks,
    fingerprint: clicks,
    bad,
  };
}

type Message =
  | { kind: 'batch'; records: ClickRecord[]; again: boolean }
  | { kind: 'raw'; data: Buffer; headers: Record<string, string> };

/** The messages before each run of a loader, and what becomes of it. */
function script(seed: number): {
  rounds: { messages: Message[]; fate: Fate }[];
  clicks: number;
  bad: number;
} {
  const draw = random(seed + 1);
  const node = seed;
  const sent: ClickRecord[][] = [];
  let clicks = 0;
  let bad = 0;
  const batch = (rows: number): Message => {
    // The campaign tells this history's clicks in the rollups.
    const now = Date.now() - draw(3_600_000);
    const records = clickRecords(node, clicks, rows, { ts: now, flags: 0, campaign_id: seed + 1 });
    sent.push(records);
    clicks += rows;
    return { kind: 'batch', records, again: false };
  };
  const message = (): Message => {
    const what = draw(10);
    const earlier = sent[draw(Math.max(1, sent.length))];
    if (what === 0 && earlier) return { kind: 'batch', records: earlier, again: true };
    if (what === 1) {
      // Shares its first click with a batch that was taken; its second one is still to be given out.
      bad++;
      const records = clickRecords(node, clicks - 1, 2, { ts: Date.now(), campaign_id: seed + 1 });
      return { kind: 'raw', data: encodeClicks(records), headers: batchHeaders(node, clicks - 1, 2) };
    }
    if (what === 2) {
      bad++;
      const records = clickRecords(node, clicks, 5, { ts: Date.now() });
      const data = encodeClicks(records);
      // One bit of the first row's seq: it decodes, and does not count up from what the header says.
      data[10] = (data[10] ?? 0) ^ (1 << draw(8));
      return { kind: 'raw', data, headers: batchHeaders(node, clicks, 5) };
    }
    return batch(1 + draw(400));
  };
  const rounds = Array.from({ length: RUNS }, () => ({
    messages: [batch(1 + draw(400)), ...Array.from({ length: draw(5) }, message)],
    fate: FATES[draw(FATES.length)] ?? 'dies after intent',
  }));
  return { rounds, clicks, bad };
}

async function runHistory(pipeline: Pipeline, seed: number, shard: number) {
  const { rounds } = script(seed);
  const before = await deadLetters(pipeline, shard);
  const sleepers: Sleeper[] = [];
  for (const { messages, fate } of rounds) {
    for (const message of messages) {
      if (message.kind === 'batch') await pipeline.publish(message.records, { again: message.again, shard });
      else await pipeline.publishRaw(message.data, message.headers, shard);
    }
    const sleeper = await runUntilFate(pipeline, fate, shard);
    if (sleeper) sleepers.push(sleeper);
  }
  const last = pipeline.loader({ shard });
  const ended = last.run();
  for (const sleeper of sleepers) sleeper.wake();
  await waitFor(() => checkpointReached(pipeline, shard), {
    deadlineMs: DEADLINE_MS,
    what: `the checkpoint of history ${seed}`,
  });
  await Promise.all([last.stop(), ...sleepers.map((sleeper) => sleeper.stop())]);
  await ended;
  return { ...(await countsOf(pipeline, seed)), bad: (await deadLetters(pipeline, shard)) - before };
}

/** Runs a loader until its fate meets it. One that sleeps is given back. */
async function runUntilFate(pipeline: Pipeline, fate: Fate, shard: number): Promise<Sleeper | undefined> {
  const [verb, , step] = fate.split(' ');
  let met = false;
  let wake: () => void = () => undefined;
  const pause = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const loader = pipeline.loader({
    shard,
    warehouse: faulty(pipeline.warehouse, fate, () => {
      const first = !met;
      met = true;
      return first;
    }),
    async onStep(name) {
      if (name !== step || met) return;
      met = true;
      if (verb === 'sleeps') await pause;
      else throw new Error('killed');
    },
  });
  // A loader that was killed rejects: it survives operating errors only.
  let dead = false;
  const ended = loader.run().catch(() => {
    dead = true;
  });
  const survives = fate === 'loses the answer' || fate === 'is refused';
  await waitFor(
    async () =>
      dead || (met && (verb === 'sleeps' || (survives && (await checkpointReached(pipeline, shard))))),
    {
      deadlineMs: DEADLINE_MS,
      what: `a loader that ${fate}`,
    },
  );
  if (verb === 'sleeps') return { wake, stop: () => loader.stop() };
  if (survives) await loader.stop();
  await ended;
  return undefined;
}

/** Spoils the first insert as the fate says. */
function faulty(warehouse: Warehouse, fate: Fate, isFirst: () => boolean): Warehouse {
  const after = fate === 'dies before the answer' || fate === 'loses the answer';
  const before = fate === 'dies before the insert' || fate === 'is refused';
  if (!after && !before) return warehouse;
  const failure =
    fate === 'dies before the answer' || fate === 'dies before the insert'
      ? new Error('killed')
      : new OperatingError('clickhouse_unreachable', 'no answer');
  return {
    ...warehouse,
    async insertBytes(insert) {
      const spoilt = isFirst();
      if (spoilt && before) throw failure;
      await warehouse.insertBytes(insert);
      if (spoilt) throw failure;
    },
  };
}

async function checkpointReached(pipeline: Pipeline, shard: number): Promise<boolean> {
  const checkpoint = await pipeline.loaderBucket.get(`checkpoint.${shard}`);
  const { lastSeq } = await readClicksStream(pipeline.manager, shard);
  return checkpoint?.json<{ seq: number }>().seq === lastSeq;
}

async function deadLetters(pipeline: Pipeline, shard: number): Promise<number> {
  let letters = 0;
  for await (const letter of readDeadLetters(pipeline.manager)) if (letter.shard === shard) letters++;
  return letters;
}

async function countsOf(pipeline: Pipeline, seed: number) {
  const rolled = (table: string): string =>
    `(SELECT sum(clicks) FROM ${table} WHERE campaign_id = {campaign:UInt32})`;
  const fast = (table: string): string =>
    `(SELECT count() FROM ${table} WHERE campaign_id = {campaign:UInt32})`;
  const { rows } = await pipeline.warehouse.query<Record<string, string>>(
    `SELECT count() AS clicks, uniqExact(ts, node, seq) AS distinct,
       ${rolled('clicks_hourly')} AS hourly, ${rolled('clicks_minutely')} AS minutely,
       ${rolled('campaigns_hourly')} AS campaigns, ${rolled('campaigns_daily')} AS daily,
       ${fast('velocity_ip')} AS ip, ${fast('velocity_fingerprint')} AS fingerprint
     FROM clicks WHERE node = {node:UInt16}`,
    { campaign: seed + 1, node: seed },
  );
  return Object.fromEntries(Object.entries(rows[0] ?? {}).map(([name, value]) => [name, Number(value)]));
}
