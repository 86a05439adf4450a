import { z } from 'zod';
import { JOB_KINDS, JOB_STATES, type Job } from '../../ledger/integrations/jobs.ts';
import { READING_REPORTS, refusalOf } from '../http/admission.ts';
import type { Principal } from '../http/principal.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, timeText } from '../schemas/schemas.ts';

/** Work that outlasts a request, as it is shown. */
export const jobView = z
  .object({
    id: idText('job'),
    kind: z.enum(JOB_KINDS),
    program_id: idText('program').nullable(),
    state: z.enum(JOB_STATES),
    request: z.unknown().meta({ description: 'The request.' }),
    rows_total: z.string().meta({ description: '0 until it is known.' }),
    rows_done: z.string(),
    result: z.unknown().meta({
      description:
        'Of an import: dry_run, taken, refused, refused_rows with line, field and message. Of a report: download_url and bytes, null without the right to read reports. Of an audit: ok; the rest is in /v1/audit.',
    }),
    failure: z.string().nullable(),
    created_at: timeText,
    finished_at: timeText.nullable(),
  })
  .meta({ id: 'Job' });

/** The job as the principal sees it: the link of a report opens it to all, so it is for those who may read reports. */
export function formatJob(job: Job, principal: Principal): z.output<typeof jobView> {
  const hidesResult = job.kind === 'report' && refusalOf(principal, READING_REPORTS) !== undefined;
  return {
    id: formatId('job', job.id),
    kind: job.kind,
    program_id: formatOptionalId('program', job.programId),
    state: job.state,
    request: job.request,
    rows_total: String(job.rowsTotal),
    rows_done: String(job.rowsDone),
    result: hidesResult ? null : job.result,
    failure: job.failure,
    created_at: formatTime(job.createdAt),
    finished_at: formatOptionalTime(job.finishedAt),
  };
}
