import { errorText } from '../../core/errors.ts';
import { HOUR_MS } from '../../core/time.ts';
import {
  beginRun,
  countTry,
  dueReports,
  type OpenRun,
  openRuns,
} from '../../ledger/integrations/report-runs.ts';
import { databaseTime } from '../../ledger/integrations/saved-reports.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { outboxLag } from '../../ledger/postgres/outbox.ts';
import type { Task } from '../../ledger/postgres/tasks.ts';
import { isOfConversions } from '../../warehouse/reports/report-tables.ts';
import type { ReportOptions } from '../../warehouse/reports/reports.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { principalOfActor } from '../auth/live-access.ts';
import { READING_REPORTS, refusalOf } from '../http/admission.ts';
import type { Principal } from '../http/principal.ts';
import { PROBLEMS } from '../http/problems.ts';
import { translateError } from '../http/translate-error.ts';
import { formatTime } from '../schemas/schemas.ts';
import { failureOf, type ReportWriter, writeReport } from './report-jobs.ts';
import { deliverRun, failRun, stopRun } from './report-outcome.ts';
import { savedOptions } from './saved-report.ts';

/**
 * Saved reports that are made by the clock. A run begins when it is due, and waits until every click of its range is counted
 * and every order of it mirrored; it has the rights that its owner has then, and the schedule stops when these do not suffice
 * any more.
 */

/** So long a run waits for its figures to be complete; the next one is due a day after it at the earliest. */
export const MAX_WAIT_MS = 12 * HOUR_MS;
/** A run that fails for a reason that may pass is made again as often, five minutes apart. */
const MAX_TRIES = 5;
/** Files that are made at a time. */
const MOST_AT_ONCE = 3;
/** So many runs are made before what has begun meanwhile is looked at. */
const RUNS_OF_A_ROUND = 12;

export type ScheduledReports = ReportWriter & {
  /** Public address of portal and API. */
  readonly portalUrl: string;
};

/** Beginning does not wait for making, which may take long. Both go by the clock of the database. */
export function reportTasks(options: ScheduledReports): Task[] {
  const { ledger } = options;
  return [
    {
      name: 'report_runs',
      run: async () => ({ begun: await beginDueRuns(options, await databaseTime(ledger)) }),
    },
    {
      name: 'reports',
      run: async (_now, signal) => ({
        ...(await makeReports(options, { now: await databaseTime(ledger), signal })),
      }),
    },
  ];
}

/** Begins what is due; returns how much. A report that cannot be begun holds up none of the others. */
export async function beginDueRuns({ ledger }: ScheduledReports, now: Date): Promise<number> {
  let begun = 0;
  const faults: unknown[] = [];
  for (const id of await dueReports(ledger, now)) {
    try {
      if (await inTransaction(ledger, (tx) => beginRun(tx, { id, now }))) begun++;
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw faults[0];
  return begun;
}

/** Makes what can be made, by turns of the parties; the rest waits. Ends early when the signal says so. */
export async function makeReports(
  options: ScheduledReports,
  { now, signal }: { now: Date; signal: AbortSignal },
): Promise<{ ended: number; waiting: number }> {
  const seen = new Set<bigint>();
  const turns = new Map<string, number>();
  const faults: unknown[] = [];
  let ended = 0;
  while (!signal.aborted) {
    const open = (await openRuns(options.ledger)).filter(({ jobId }) => !seen.has(jobId));
    const round = byTurns(open, turns).slice(0, RUNS_OF_A_ROUND);
    if (round.length === 0) break;
    const complete = await completeness(options, now);
    const queue = round.values();
    const work = async (): Promise<void> => {
      for (const run of queue) {
        if (signal.aborted) return;
        seen.add(run.jobId);
        turns.set(run.report.party, (turns.get(run.report.party) ?? 0) + 1);
        const hasEnded = await advance(options, run, { now, complete, signal }).catch(
          (error) => void faults.push(error),
        );
        if (hasEnded) ended++;
      }
    };
    await Promise.all(Array.from({ length: MOST_AT_ONCE }, work));
  }
  if (faults.length > 0) throw faults[0];
  return { ended, waiting: seen.size - ended };
}

/** The next run of each party before the second of any: a party with many keeps none waiting. */
function byTurns(runs: readonly OpenRun[], turns: ReadonlyMap<string, number>): OpenRun[] {
  const places = new Map(turns);
  return runs
    .map((run) => {
      const place = places.get(run.report.party) ?? 0;
      places.set(run.report.party, place + 1);
      return { run, place };
    })
    .toSorted((a, b) => a.place - b.place)
    .map(({ run }) => run);
}

/** Up to when every click is counted and every order mirrored. */
interface Completeness {
  readonly clicks: Date;
  readonly orders: Date;
}

async function completeness({ ledger, warehouse }: ScheduledReports, now: Date): Promise<Completeness> {
  const { oldestAt } = await outboxLag(ledger);
  return { clicks: new Date((await readWatermark(warehouse)) ?? 0), orders: oldestAt ?? now };
}

/** Whether the run has ended. */
async function advance(
  options: ScheduledReports,
  run: OpenRun,
  { now, complete, signal }: { now: Date; complete: Completeness; signal: AbortSignal },
): Promise<boolean> {
  const { ledger, log } = options;
  const allowed = await allowedReport(options, run);
  if ('refusal' in allowed) {
    await stopRun(options, run, allowed.refusal);
    return true;
  }
  const { principal } = allowed;
  const isOfOrders = allowed.report.metrics?.some(isOfConversions) ?? false;
  const late = now.getTime() - run.since.getTime() > MAX_WAIT_MS;
  const missing = missingOf(run, complete, isOfOrders);
  if (missing !== undefined) {
    if (late) await failRun(options, run, { principal, failure: missing });
    return late;
  }
  try {
    const written = await writeReport(options, {
      job: { id: run.jobId },
      principal,
      report: { ...allowed.report, format: run.format },
      origin: options.portalUrl,
      ordersCompleteTo: isOfOrders ? complete.orders : undefined,
      signal,
    });
    await deliverRun(options, run, { ...written, principal });
    return true;
  } catch (error) {
    // It is made again by the next process.
    if (signal.aborted) return false;
    log.warn({ job: String(run.jobId), reason: errorText(error) }, 'a scheduled report failed');
    const { code } = translateError(error);
    const tries = run.tries + 1;
    const isOver = tries >= MAX_TRIES && (late || code !== 'unavailable');
    if (PROBLEMS[code].status >= 500 && !isOver) {
      await countTry(ledger, run.jobId);
      return false;
    }
    await failRun(options, run, { principal, failure: failureOf(error) });
    return true;
  }
}

/** What is not complete yet, as a failure says it. */
function missingOf(
  { to }: OpenRun,
  { clicks, orders }: Completeness,
  isOfOrders: boolean,
): string | undefined {
  const within = `within ${MAX_WAIT_MS / HOUR_MS} hours`;
  if (clicks.getTime() < to.getTime()) {
    const upTo = clicks.getTime() === 0 ? 'none is' : `they are up to ${formatTime(clicks)}`;
    return `the figures were not complete ${within}: ${upTo}`;
  }
  if (!isOfOrders || orders.getTime() >= to.getTime()) return undefined;
  return `the orders were not complete ${within}: they are up to ${formatTime(orders)}`;
}

/** What the owner may see of it now, or why nothing. */
async function allowedReport(
  { ledger }: ScheduledReports,
  { report, query, timeZone, from, to }: OpenRun,
): Promise<{ principal: Principal; report: ReportOptions } | { refusal: string }> {
  const principal = await principalOfActor(ledger, report.owner);
  if (!principal) return { refusal: 'its owner has no access any more' };
  const refusal = refusalOf(principal, READING_REPORTS);
  if (refusal !== undefined) return { refusal };
  try {
    const { programId } = report;
    return { principal, report: await savedOptions(principal, { query, timeZone, programId }, { from, to }) };
  } catch (error) {
    const { code, message } = translateError(error);
    if (PROBLEMS[code].status >= 500) throw error;
    return { refusal: `its owner may not see it any more: ${message}` };
  }
}
