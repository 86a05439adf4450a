import { getApiKey } from '../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { findActiveUser, getUser } from '../../ledger/access/users.ts';
import { failJob, finishJob } from '../../ledger/integrations/jobs.ts';
import { queueMail } from '../../ledger/integrations/mails.ts';
import { endRun, type OpenRun, stopSavedReport } from '../../ledger/integrations/report-runs.ts';
import { getWebhookEndpoint } from '../../ledger/integrations/webhook-endpoints.ts';
import { addReportEvent } from '../../ledger/integrations/webhook-queue.ts';
import { type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import type { Principal } from '../http/principal.ts';
import { formatId } from '../schemas/ids.ts';
import { formatTime } from '../schemas/schemas.ts';
import type { ReportResult, ReportWriter } from './report-jobs.ts';
import { mayUseWebhook } from './report-webhook.ts';

/** How the run of a saved report ends: in one transaction with the message to its owner, so that each gets it once. */

const ACTOR = 'reports';

/** The file is there: a mail and an event with its link. */
export async function deliverRun(
  { ledger, secretBox }: ReportWriter,
  run: OpenRun,
  made: { rowsDone: number; result: ReportResult; principal: Principal },
): Promise<void> {
  const { report, jobId } = run;
  const { rowsDone, result, principal } = made;
  await inTransaction(ledger, async (tx) => {
    if (!(await endRun(tx, jobId))) return;
    // A job that has failed has no link to tell of.
    if (!(await finishJob(tx, { id: jobId, rowsDone, result }))) return;
    const to = report.mail ? await addressOf(tx, principal) : undefined;
    if (to !== undefined) {
      await queueMail(tx, secretBox, {
        to,
        subject: `Report: ${report.name}`,
        text: readyText(run, { rowsDone, result }),
      });
    }
    const endpoint = report.webhookId === null ? undefined : await getWebhookEndpoint(tx, report.webhookId);
    if (endpoint && mayUseWebhook(principal, endpoint)) await addReportEvent(tx, { endpoint, jobId });
  });
}

function readyText(
  { report, from, to }: OpenRun,
  { rowsDone, result }: { rowsDone: number; result: ReportResult },
): string {
  const clicks = `every click before ${formatTime(new Date(result.complete_to ?? to))} counted`;
  const orders =
    result.orders_complete_to === null
      ? ''
      : `, and orders as of ${formatTime(new Date(result.orders_complete_to))}`;
  return `The report "${report.name}" is ready: ${rowsDone} rows, from ${formatTime(from)} to ${formatTime(to)}, ${clicks}${orders}.\n\n${result.download_url}\n\nThe link is good for a week, as long as you may see the report. To change or end the schedule, open the saved reports of the portal.\n`;
}

/** There is no file; the next run is made when it is due. */
export async function failRun(
  { ledger, secretBox }: ReportWriter,
  run: OpenRun,
  { principal, failure }: { principal: Principal; failure: string },
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

/** There is none any more until its owner changes the report, which a mail says to them where there is somebody. */
export async function stopRun(
  { ledger, secretBox, log }: ReportWriter,
  run: OpenRun,
  reason: string,
): Promise<void> {
  const { id, name, owner } = run.report;
  await inTransaction(ledger, async (tx) => {
    if (!(await endRun(tx, run.jobId))) return;
    await failJob(tx, { id: run.jobId, failure: reason });
    await stopSavedReport(tx, { id, reason });
    const subject = formatId('savedReport', id);
    await appendAuditLog(tx, { actor: ACTOR, action: 'saved_report.stop', subject, after: { reason } });
    const to = await addressOfOwner(tx, owner);
    if (to === undefined) return;
    const text = `The report "${name}" is made no more: ${reason}.\n\nTo have it made again, change it in the saved reports of the portal.\n`;
    await queueMail(tx, secretBox, { to, subject: `Report stopped: ${name}`, text });
  });
  log.warn({ report: id, reason }, 'a saved report is made no more');
}

/** Of the user who owns it, or is behind the key that does. */
async function addressOf(tx: DatabaseTransaction, { userBehind }: Principal): Promise<string | undefined> {
  return userBehind === null ? undefined : (await getUser(tx, userBehind))?.email;
}

/** The same of an owner who may have no access any more: of a key that has ended, the user who is active yet. */
async function addressOfOwner(tx: DatabaseTransaction, owner: string): Promise<string | undefined> {
  const [, kind, number] = /^(key|user):([1-9]\d{0,8})$/.exec(owner) ?? [];
  const id = Number(number);
  const userId = kind === 'key' ? (await getApiKey(tx, id))?.userId : id;
  return userId ? (await findActiveUser(tx, userId))?.email : undefined;
}
