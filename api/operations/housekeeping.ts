import { HOUR_MS } from '../../core/time.ts';
import { forgetGuesses } from '../../ledger/access/guess-limits.ts';
import { forgetIdempotencyKeys } from '../../ledger/access/idempotency.ts';
import { forgetSessions } from '../../ledger/access/sessions.ts';
import { failAbandonedJobs } from '../../ledger/integrations/jobs.ts';
import {
  forgetPostbackCalls,
  forgetSignatures,
  forgetUnproven,
} from '../../ledger/integrations/postback-calls.ts';
import { forgetReportRuns } from '../../ledger/integrations/report-runs.ts';
import { forgetOrderNames } from '../../ledger/integrations/sources.ts';
import { forgetUnidentifiedCalls } from '../../ledger/integrations/unidentified-calls.ts';
import { forgetWaitingCalls } from '../../ledger/integrations/waiting-calls.ts';
import { forgetWebhookEvents } from '../../ledger/integrations/webhook-queue.ts';
import { forgetApplications } from '../../ledger/partners/applications.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Task } from '../../ledger/postgres/tasks.ts';
import { SIGNATURE_TOLERANCE_MS } from '../auth/signed-calls.ts';
import { IDEMPOTENCY_HOURS } from '../http/commit.ts';
import { removeOldReports } from '../reports/report-jobs.ts';

/** Shops dispute orders of the last quarter. */
const CALL_LOG_DAYS = 90;
/** Of a report that is made each day, a quarter; its files are gone after a week. */
const REPORT_RUN_DAYS = 90;
/** Strangers may have sent them; a wrong secret is noticed within days. */
const UNPROVEN_DAYS = 14;

function ago(ms: number): Date {
  return new Date(Date.now() - ms);
}

/** Forgets what has served its time. */
export function housekeepingTask({
  ledger,
  reportsFolder,
}: {
  ledger: Database;
  reportsFolder: string;
}): Task {
  return {
    name: 'housekeeping',
    async run() {
      await forgetIdempotencyKeys(ledger, { before: ago(IDEMPOTENCY_HOURS * HOUR_MS) });
      await forgetPostbackCalls(ledger, { before: ago(CALL_LOG_DAYS * 24 * HOUR_MS) });
      await forgetUnproven(ledger, { before: ago(UNPROVEN_DAYS * 24 * HOUR_MS), limit: 10_000 });
      await forgetUnidentifiedCalls(ledger, { before: ago(CALL_LOG_DAYS * 24 * HOUR_MS) });
      await forgetWaitingCalls(ledger, { limit: 10_000 });
      await forgetOrderNames(ledger);
      await forgetWebhookEvents(ledger, { limit: 10_000 });
      await removeOldReports(reportsFolder);
      await forgetReportRuns(ledger, { before: ago(REPORT_RUN_DAYS * 24 * HOUR_MS), limit: 10_000 });
      await failAbandonedJobs(ledger, { before: ago(24 * HOUR_MS) });
      await forgetSessions(ledger, { before: ago(24 * HOUR_MS) });
      await forgetApplications(ledger, { now: new Date() });
      await forgetGuesses(ledger);
      // What is older than the tolerance is refused for its age; twice as long, because clocks differ.
      await forgetSignatures(ledger, { before: ago(2 * SIGNATURE_TOLERANCE_MS) });
      return {};
    },
  };
}
