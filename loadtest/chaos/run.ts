import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../core/errors.ts';
import { connectDatabase, type Database } from '../../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import type { BenchTarget } from '../bench.ts';
import type { Run } from '../ending.ts';
import { PLATFORM_LOG, type Platform, startPlatform } from '../platform.ts';
import { createRandom } from '../random.ts';
import { mountSmallDisk } from '../small-disk.ts';
import { isTrueWithin } from '../wait.ts';
import { compareClicks } from './compare-clicks.ts';
import { compareMoney, compareOrders, countUndecided } from './compare-money.ts';
import { createInjector, type Injector } from './faults.ts';
import { createHttp, type Http } from './http.ts';
import type { OwnNetwork } from './network.ts';
import { startOperator } from './operator.ts';
import { createClientRecord } from './record.ts';
import { attribute, countBeyondKills, type Refusals } from './refusals.ts';
import { FAULT_KINDS, type Fault, type FaultKind, isSpread, makeSchedule } from './schedule.ts';
import { startShop } from './shop.ts';
import { type Findings, targetsOf } from './targets.ts';
import { createTimeline, readRestarts, type Timeline } from './timeline.ts';
import { startVisitors } from './visitors.ts';

export interface ChaosResult extends Findings {
  /** How many faults of each kind were injected; those whose process was just down are not counted. */
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly missedFaults: number;
  /** Visits without a redirect, taken apart. */
  readonly refusals: Refusals;
  /** From a visitor's click to the redirect, of those who got one, milliseconds. */
  readonly waitsMs: { readonly p50: number; readonly p99: number; readonly longest: number };
  /** Seconds from the last fault until everything had caught up. */
  readonly recoverySeconds: number;
  readonly targets: readonly BenchTarget[];
  /** Whether every one of them is met. */
  readonly ok: boolean;
}

/** For what the streams hold at the end, and as much again, and for the reserves of spools; a full disk is filled to its end, so it has to be small. */
const DISK_MB = { least: 128, perMinute: 16 };
const READY_MS = 120_000;
/**
 * A stuck collector is ended after 20 s, the next one waits up to a minute for NATS, and a process that fails pauses for 10 s;
 * a spool is replayed within seconds.
 */
const CAUGHT_UP_MS = 120_000;
/** A claim of a killed worker lapses after a minute, and an order is looked at again a minute later at the latest. */
const DECIDED_MS = 180_000;
const RETRIES_MS = 60_000;
const LOOK_MS = 500;

/**
 * Runs the whole platform under load and faults, lets it recover, and compares what the outside world saw with what
 * is stored. Platform and disk end with the run; the folder with all data and logs is kept when a goal was missed.
 * @throws Error when the platform cannot be started, or is no more able to answer the comparison.
 */
export async function runChaos(options: {
  minutes: number;
  seed: number;
  /** Collectors that share the port; undefined for one alone. */
  workers: number | undefined;
  network: OwnNetwork | undefined;
  say: (line: string) => void;
  run: Run;
}): Promise<ChaosResult> {
  const { minutes, seed, workers, network, say, run } = options;
  const durationMs = minutes * 60_000;
  const folder = mkdtempSync(join(tmpdir(), 'afflux-chaos-'));
  let ok = false;
  run.atEnd(() => {
    if (ok) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    else say(`the data, platform.log and what the client saw are kept in ${folder}`);
  });
  const disk = mountSmallDisk(Math.ceil(DISK_MB.least + DISK_MB.perMinute * minutes));
  if (disk) run.atEnd(() => disk.dispose());
  else process.stderr.write('NOT TESTED: a full disk, because none can be mounted\n');
  const kinds = FAULT_KINDS.filter(
    (kind) =>
      (disk !== undefined || kind !== 'disk full') && (network !== undefined || !kind.endsWith('cut off')),
  );
  say(`starting the platform in ${folder}`);
  const platform = await run.start((signal) =>
    startPlatform({ folder, smallDisk: disk?.folder, workers, signal }),
  );
  const schedule = makeSchedule({ seed, durationMs, kinds });
  const timeline = createTimeline();
  const inject = createInjector({ platform, disk, network, timeline });
  const { signal } = run;
  const found = await runWithFaults({ platform, folder, schedule, inject, timeline, seed, say, signal });
  const limitsRefusals = (workers ?? 1) > 1 && isSpread({ durationMs, kinds });
  const targets = targetsOf(found, { limitsRefusals });
  ok = targets.every((target) => target.ok);
  return { ...found, targets, ok };
}

/** Of the standard's own example. */
const IBAN = 'DE89370400440532013000';

interface Experiment {
  readonly platform: Platform;
  readonly folder: string;
  readonly schedule: readonly Fault[];
  readonly inject: Injector;
  readonly timeline: Timeline;
  readonly seed: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

async function runWithFaults(options: Experiment): Promise<Omit<ChaosResult, 'targets' | 'ok'>> {
  const { platform, folder, timeline, seed, say, signal } = options;
  const { demo, collectorUrl } = platform;
  const http = createHttp();
  const record = createClientRecord(folder);
  await allowQuickOrders(http, platform);
  await nameAccounts(http, platform);
  const visitors = startVisitors({ collectorUrl, demo, random: createRandom(seed + 1), record });
  const shop = startShop({ http, platform, random: createRandom(seed + 2), record });
  const operator = startOperator({ http, platform, random: createRandom(seed + 3), record });
  const notRecovered: string[] = [];
  async function expectTrue(what: string, comesTrue: () => Promise<boolean>): Promise<void> {
    signal.throwIfAborted();
    say(`waiting for ${what}`);
    if (!(await comesTrue())) notRecovered.push(what);
  }
  try {
    const injected = await injectAll(options);
    const calmAt = Date.now();
    await visitors.stop();
    await expectTrue('every process to be ready', () =>
      isTrueWithin(READY_MS, async () => (await platform.notReady()).length === 0, LOOK_MS),
    );
    await expectTrue('the answers of retried orders', () => shop.stop(RETRIES_MS));
    await operator.stop();
    return await withStores(platform, async ({ ledger, warehouse }) => {
      const complete = async () => ((await readWatermark(warehouse).catch(() => 0)) ?? 0) > calmAt;
      await expectTrue('every click to be counted', () => isTrueWithin(CAUGHT_UP_MS, complete, LOOK_MS));
      const decided = async () => (await countUndecided(ledger)) === 0;
      await expectTrue('every order to be decided', () => isTrueWithin(DECIDED_MS, decided, LOOK_MS));
      const recoverySeconds = Math.round((Date.now() - calmAt) / 1_000);
      await expectTrue('every payout to come to its end', () => operator.finish());
      say('comparing');
      const found = {
        clicks: await compareClicks({ warehouse, config: platform.config, record }),
        refusals: attribute(record.unanswered, [...timeline.spans, ...restartsOf(folder)]),
        refusedBeyondKills: countBeyondKills(record.unanswered, timeline.spans),
        waitsMs: waitsOf(record.waitsMs),
        orders: await compareOrders({ ledger, record }),
        money: await compareMoney({
          ledger,
          record,
          demo,
          payoutFolder: join(platform.config.home, 'payouts'),
        }),
        auditFaults: await auditFaults(platform),
      };
      return { ...injected, ...found, notRecovered, strange: record.strange, recoverySeconds };
    });
  } finally {
    await visitors.stop();
    await shop.stop(0);
    await operator.stop();
    http.close();
    record.close();
  }
}

function restartsOf(folder: string) {
  return readRestarts(readFileSync(join(folder, PLATFORM_LOG), 'utf8'), Date.now());
}

function waitsOf(all: readonly number[]): ChaosResult['waitsMs'] {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), longest: at(1) };
}

/** Each at its time; returns when all of them are over. */
async function injectAll({
  schedule,
  inject,
  say,
  signal,
}: Experiment): Promise<Pick<ChaosResult, 'faults' | 'missedFaults'>> {
  const startedAt = Date.now();
  const faults = new Map<FaultKind, number>();
  let missedFaults = 0;
  const inFlight: Promise<void>[] = [];
  for (const fault of schedule) {
    await delay(Math.max(0, startedAt + fault.atMs - Date.now()), undefined, { signal });
    say(`${Math.round(fault.atMs / 1_000)} s: ${fault.kind}`);
    const injected = inject(fault).then((done) => {
      if (done) faults.set(fault.kind, (faults.get(fault.kind) ?? 0) + 1);
      else {
        missedFaults++;
        say(`missed: ${fault.kind}`);
      }
    });
    injected.catch(() => undefined);
    inFlight.push(injected);
  }
  await Promise.all(inFlight);
  return { faults, missedFaults };
}

/** The newcomers of this run order at once, all of them; whether that is fraud is not the question here. */
async function allowQuickOrders(http: Http, { apiUrl, demo }: Platform): Promise<void> {
  const answer = await http.send('PATCH', `${apiUrl}/v1/programs/prg_${demo.program.id}`, {
    headers: { Authorization: `Bearer ${demo.keys.operator}` },
    body: {
      fraud_rules: {
        ...{ bot_click: false, instant_conversion: false, fast_conversions: false },
        // Orders of a machine.
        regular_click_to_order: false,
      },
    },
  });
  if (answer?.status !== 200) throw new Error(`the program cannot be changed: ${answer?.body}`);
}

/** No affiliate is paid without an account. */
async function nameAccounts(http: Http, { apiUrl, demo }: Platform): Promise<void> {
  for (const { id } of demo.affiliates) {
    const answer = await http.send('PUT', `${apiUrl}/v1/affiliates/aff_${id}/payout-method`, {
      headers: { Authorization: `Bearer ${demo.keys.operator}` },
      body: { kind: 'bank', holder: `Affiliate ${id}`, iban: IBAN },
    });
    if (answer?.status !== 200) throw new Error(`an account cannot be named: ${answer?.body}`);
  }
}

async function withStores<T>(
  { config }: Platform,
  work: (stores: { ledger: Database; warehouse: Warehouse }) => Promise<T>,
): Promise<T> {
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 2, name: 'chaos' });
  try {
    const warehouse = await connectWarehouse({ url: config.clickhouseUrl, name: 'chaos' });
    return await work({ ledger, warehouse }).finally(() => warehouse.close());
  } finally {
    await ledger.end();
  }
}

async function auditFaults(platform: Platform): Promise<string[]> {
  const { code, output } = await platform.run('audit', '--json');
  try {
    const { checks } = JSON.parse(output) as {
      checks: { store: string; name: string; ok: boolean; detail: string }[];
    };
    return checks.flatMap(({ store, name, ok, detail }) => (ok ? [] : [`${store} ${name}: ${detail}`]));
  } catch (error) {
    return [`afflux audit ended with ${code} and printed no JSON (${errorText(error)}): ${output}`];
  }
}
