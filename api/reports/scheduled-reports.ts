import { errorText } from '../../core/errors.ts';
import { HOUR_MS } from '../../core/time.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { getUser } from '../../ledger/access/users.ts';
import { failJob, finishJob } from '../../ledger/integrations/jobs.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import {
  beginDueRun,
  endRun,
  type OpenRun,
  openRuns,
  stopSavedReport,
} from '../../ledger/integrations/saved-reports.ts';
import { getWebhookEndpoint } from '../../ledger/integrations/webhook-endpoints.ts';
import { addReportEvent } from '../../ledger/integrations/webhook-queue.ts';
import { type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import type { Task } from '../../ledger/postgres/tasks.ts';
import type { ReportOptions } from '../../warehouse/reports/reports.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { principalOfActor } from '../auth/live-access.ts';
import { refusalOf } from '../http/admission.ts';
import type { Principal } from '../http/principal.ts';
import { PROBLEMS } from '../http/problems.ts';
import { translateError } from '../http/translate-error.ts';
import { formatId } from '../schemas/ids.ts';
import { formatTime } from '../schemas/schemas.ts';
import { READING_REPORTS } from './job-view.ts';
import { REPORT_FAILURE, type ReportResult, type ReportWriter, writeReport } from './report-jobs.ts';
import { mayUseWebhook } from './report-webhook.ts';
import { savedOptions } from './saved-report.ts';

/**
 * Saved reports that are made by the clock. A run waits until every click of its range is counted; it has the rights that
 * its owner has then, and the schedule stops when these do not suffice any more.
 */

/** So long a run waits for its figures to be complete; the next one is due a day after it at the earliest. */
export const MAX_WAIT_MS = 12 * HOUR_MS;
const ACTOR = 'reports';

export type ScheduledReports = ReportWriter & {
  /** Public address of portal and API. */
  readonly portalUrl: string;
};

export function reportsTask(options: ScheduledReports): Task {
  return { name: 'reports', run: async (now) => ({ ...(await runScheduledReports(options, now)) }) };
}

/** Begins what is due and makes what can be made; the rest waits. */
export async function runScheduledReports(
  options: ScheduledReports,
  now: Date,
): Promise<{ begun: number; ended: number; waiting: number }> {
  const { ledger, warehouse } = options;
  let begun = 0;
  while (await inTransaction(ledger, (tx) => beginDueRun(tx, now))) begun++;
  const runs = await openRuns(ledger);
  const completeTo = runs.length > 0 ? ((await readWatermark(warehouse)) ?? 0) : 0;
  let ended = 0;
  const faults: unknown[] = [];
  for (const run of runs) {
    // A run that cannot go on holds up none behind it; the task is tried again.
    const hasEnded = await advance(options, run, { now, completeTo }).catch(
      (error) => void faults.push(error),
    );
    if (hasEnded) ended++;
  }
  if (faults.length > 0) throw faults[0];
  return { begun, ended, waiting: runs.length - ended };
}

/** Whether the run has ended. */
async function advance(
  options: ScheduledReports,
  run: OpenRun,
  { now, completeTo }: { now: Date; completeTo: number },
): Promise<boolean> {
  const { ledger, log } = options;
  const allowed = await reportOf(options, run);
  if ('refusal' in allowed) {
    await stop(options, run, allowed.refusal);
    return true;
  }
  const late = now.getTime() - run.dueAt.getTime() > MAX_WAIT_MS;
  if (completeTo < run.to.getTime()) {
    if (late) {
      const upTo = completeTo === 0 ? 'none is' : `they are up to ${formatTime(new Date(completeTo))}`;
      await fail(options, run, allowed.principal, `the figures were not complete within 12 hours: ${upTo}`);
    }
    return late;
  }
  try {
    const { format } = run.report;
    const written = await writeReport(options, {
      job: { id: run.jobId },
      principal: allowed.principal,
      report: { ...allowed.report, format },
      origin: options.portalUrl,
    });
    await inTransaction(ledger, (tx) => deliver(tx, options, run, { ...written, ...allowed }));
    return true;
  } catch (error) {
    log.warn({ job: String(run.jobId), reason: errorText(error) }, 'a scheduled report failed');
    const passes = translateError(error).code === 'unavailable';
    if (passes && !late) return false;
    await fail(options, run, allowed.principal, REPORT_FAILURE);
    return true;
  }
}

/** What the owner may see of it now, or why nothing. */
async function reportOf(
  { ledger }: ScheduledReports,
  { report, from, to }: OpenRun,
): Promise<{ principal: Principal; report: ReportOptions } | { refusal: string }> {
  const principal = await principalOfActor(ledger, report.owner);
  if (!principal) return { refusal: 'its owner has no access any more' };
  const refusal = refusalOf(principal, READING_REPORTS);
  if (refusal !== undefined) return { refusal };
  try {
    return { principal, report: await savedOptions(principal, report, { from, to }) };
  } catch (error) {
    const { code, message } = translateError(error);
    if (PROBLEMS[code].status >= 500) throw error;
    return { refusal: `its owner may not see it any more: ${message}` };
  }
}

async function stop({ ledger, log }: ScheduledReports, run: OpenRun, reason: string): Promise<void> {
  const { id } = run.report;
  await inTransaction(ledger, async (tx) => {
    if (!(await endRun(tx, run.jobId))) return;
    await failJob(tx, { id: run.jobId, failure: reason });
    await stopSavedReport(tx, { id, reason });
    const subject = formatId('savedReport', id);
    await appendAuditLog(tx, { actor: ACTOR, action: 'saved_report.stop', subject, after: { reason } });
  });
  log.warn({ report: id, reason }, 'a saved report is made no more');
}

async function fail(
  { ledger, secretBox }: ScheduledReports,
  run: OpenRun,
  principal: Principal,
  failure: string,
): Promise<void> {
  const { name, mail } = run.report;
  await inTransaction(ledger, async (tx) => {
    if (!(await endRun(tx, run.jobId))) return;
    await failJob(tx, { id: run.jobId, failure });
    const to = mail ? await addressOf(tx, principal) : undefined;
    if (to === undefined) return;
    const text = `The report "${name}", due ${formatTime(run.dueAt)}, could not be made: ${failure}.\n`;
    await queueMail(tx, secretBox, { to, subject: `Report failed: ${name}`, text });
  });
}

/** In one transaction with the end of the job, so that each recipient gets one message. */
async function deliver(
  tx: DatabaseTransaction,
  { secretBox }: ScheduledReports,
  run: OpenRun,
  made: { rowsDone: number; result: ReportResult; principal: Principal },
): Promise<void> {
  if (!(await endRun(tx, run.jobId))) return;
  const { report, jobId } = run;
  const { rowsDone, result, principal } = made;
  await finishJob(tx, { id: jobId, rowsDone, result });
  const to = report.mail ? await addressOf(tx, principal) : undefined;
  if (to !== undefined) {
    const text = `The report "${report.name}" is ready: ${rowsDone} rows, from ${formatTime(run.from)} to ${formatTime(run.to)}, every click before ${formatTime(new Date(result.complete_to ?? run.to))} counted.\n\n${result.download_url}\n\nThe link is good for a week, as long as you may see the report. To change or end the schedule, open the saved reports of the portal.\n`;
    await queueMail(tx, secretBox, { to, subject: `Report: ${report.name}`, text });
  }
  const endpoint = report.webhookId === null ? undefined : await getWebhookEndpoint(tx, report.webhookId);
  if (endpoint && mayUseWebhook(principal, endpoint)) await addReportEvent(tx, { endpoint, jobId });
}

/** Of the user who owns it, or is behind the key that does. */
async function addressOf(tx: DatabaseTransaction, { userBehind }: Principal): Promise<string | undefined> {
  return userBehind === null ? undefined : (await getUser(tx, userBehind))?.email;
}
