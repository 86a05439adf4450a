import { z } from 'zod';
import type { JsonValue } from '../../core/postgres/sql.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { getConversion, getConversionAsOf } from '../../ledger/conversions/conversions.ts';
import { getJob, type Job } from '../../ledger/integrations/jobs.ts';
import { WEBHOOK_EVENT_TYPES } from '../../ledger/integrations/webhook-endpoints.ts';
import type { WebhookEvent } from '../../ledger/integrations/webhook-queue.ts';
import { getPayout } from '../../ledger/payouts/payouts.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { formatPayout } from '../money/payout-view.ts';
import { formatConversion } from '../orders/conversion-view.ts';
import { formatAffiliate } from '../programs/affiliate-view.ts';
import { bigintId, formatId, integerId } from '../schemas/ids.ts';
import { formatTime, timeText } from '../schemas/schemas.ts';

/** The file of a saved report. */
function formatReadyReport({ id, request, rowsDone, result }: Job) {
  const { saved_report, from, to, format } = request as Record<string, JsonValue> & {
    saved_report: { id: number; name: string };
  };
  // Without one the job failed after the event was written.
  const made = (result ?? {}) as Readonly<Record<string, JsonValue>>;
  const { download_url = null, bytes = null, complete_to = null, orders_complete_to = null } = made;
  return {
    job_id: formatId('job', id),
    saved_report_id: formatId('savedReport', saved_report.id),
    name: saved_report.name,
    ...{ from, to, complete_to, orders_complete_to, format, download_url, bytes },
    rows: String(rowsDone),
  };
}

/** What a webhook carries: `type`, `timestamp`, `data`, as Standard Webhooks recommends. */
export const webhookBody = z
  .object({
    type: z.enum(WEBHOOK_EVENT_TYPES),
    timestamp: timeText.meta({ description: 'When it happened.' }),
    sequence: z.int().exactOptional().meta({
      description:
        'Grows with the events of one object, with gaps: of two messages the later has the higher one. Only messages of 1.0.0-alpha.1 lack it.',
    }),
    data: z.unknown().meta({
      description:
        'The conversion as it was at its creation or change, its status as of the making of the message, moments later; of other events the conversion, payout or affiliate as of then; of report.ready job_id, saved_report_id, name, from, to, complete_to, orders_complete_to, format, rows, bytes and download_url.',
    }),
  })
  .meta({ id: 'WebhookBody' });

/** The body of an event for the eyes of a role. */
export async function webhookBodyOf(sql: DatabaseSql, event: WebhookEvent, role: Role): Promise<string> {
  const data = await subjectOf(sql, event, role);
  return JSON.stringify({
    type: event.type,
    timestamp: formatTime(event.at),
    sequence: Number(event.id),
    data,
  });
}

async function subjectOf(
  sql: DatabaseSql,
  { subject, conversion: columns }: WebhookEvent,
  role: Role,
): Promise<unknown> {
  const conversionId = bigintId('conversion').safeParse(subject);
  if (conversionId.success) {
    const conversion =
      columns === null
        ? await getConversion(sql, conversionId.data)
        : await getConversionAsOf(sql, conversionId.data, columns);
    return conversion ? formatConversion(conversion, { role }) : null;
  }
  const payoutId = bigintId('payout').safeParse(subject);
  if (payoutId.success) {
    const payout = await getPayout(sql, payoutId.data);
    return payout ? formatPayout(payout, { role }) : null;
  }
  const affiliateId = integerId('affiliate').safeParse(subject);
  if (affiliateId.success) {
    const affiliate = await getAffiliate(sql, affiliateId.data);
    return affiliate ? formatAffiliate(affiliate) : null;
  }
  const jobId = bigintId('job').safeParse(subject);
  if (jobId.success) {
    const job = await getJob(sql, jobId.data);
    return job ? formatReadyReport(job) : null;
  }
  return { id: subject };
}
