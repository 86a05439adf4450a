import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errorText } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { DAY_MS } from '../../core/time.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { failJob, finishJob, type Job } from '../../ledger/integrations/jobs.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { type ExportFormat, exportReport } from '../../warehouse/reports/report-export.ts';
import type { ReportOptions } from '../../warehouse/reports/reports.ts';
import type { Principal } from '../http/principal.ts';
import { formatId } from '../schemas/ids.ts';
import { rowsInFile } from './file-rows.ts';

/** Reports that are written to a file in the background, and fetched by a signed link. */

/** How long a file and its link live. */
const FILE_DAYS = 7;
const PURPOSE = 'report file';

function fileOf(folder: string, job: Pick<Job, 'id'>): string {
  return join(folder, formatId('job', job.id));
}

/** The signed link of a report's file, behind `origin`; valid for a week, without further authentication. */
function downloadUrl(secretBox: SecretBox, job: Pick<Job, 'id'>, origin: string): string {
  const expires = Math.floor((Date.now() + FILE_DAYS * DAY_MS) / 1_000);
  const id = formatId('job', job.id);
  return `${origin}/v1/jobs/${id}/download?expires=${expires}&signature=${secretBox.sign(PURPOSE, `${id}.${expires}`)}`;
}

export function isDownloadSigned(
  secretBox: SecretBox,
  job: Pick<Job, 'id'>,
  { expires, signature }: { expires: number; signature: string },
): boolean {
  if (!(expires * 1_000 > Date.now())) return false;
  return secretBox.verify(PURPOSE, `${formatId('job', job.id)}.${expires}`, signature);
}

/** The finished file of a job with its length; undefined when it is not there, or not any more. */
export async function reportFile(
  folder: string,
  job: Pick<Job, 'id'>,
): Promise<{ path: string; bytes: number } | undefined> {
  const path = fileOf(folder, job);
  const found = await stat(path).catch(() => undefined);
  return found && { path, bytes: found.size };
}

/** Whose figures a file has: who has other rights by now does not get it. */
export interface Rights {
  readonly role: Role;
  readonly program_id: number | null;
  readonly affiliate_id: number | null;
}

export function rightsOf({ role, programId, affiliateId }: Principal): Rights {
  return { role, program_id: programId, affiliate_id: affiliateId };
}

export interface ReportWriter {
  readonly ledger: Database;
  readonly warehouse: Warehouse;
  readonly secretBox: SecretBox;
  readonly log: Logger;
  /** Where the files are. */
  readonly folder: string;
}

/** What the job of a report says once its file is there. */
export type ReportResult = Readonly<{
  download_url: string;
  bytes: number;
  table: string;
  complete_to: string | null;
  rights: Readonly<Record<keyof Rights, string | number | null>>;
}>;

/** Writes the file of a job. @throws whatever the report, its rows or the disk do; then there is no file. */
export async function writeReport(
  { warehouse, secretBox, folder }: Omit<ReportWriter, 'ledger' | 'log'>,
  options: {
    job: Pick<Job, 'id'>;
    principal: Principal;
    report: ReportOptions & { format: ExportFormat };
    /** Before the path of the link; '' for one that is read in an answer of the API. */
    origin: string;
  },
): Promise<{ rowsDone: number; result: ReportResult }> {
  const { job, principal, report, origin } = options;
  const path = fileOf(folder, job);
  const part = `${path}.${randomUUID()}.part`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { stream, table, completeTo } = await exportReport(warehouse, report);
    // Under another name until it is complete; of its own, should two processes be at it.
    await pipeline(stream, createWriteStream(part, { mode: 0o600 }));
    await rename(part, path);
    const { size } = await stat(path);
    const result = {
      download_url: downloadUrl(secretBox, job, origin),
      bytes: size,
      table,
      complete_to: completeTo?.toISOString() ?? null,
      rights: { ...rightsOf(principal) },
    };
    return { rowsDone: await rowsInFile(path, report.format), result };
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined);
    throw error;
  }
}

export const REPORT_FAILURE = 'the report failed; request a shorter range or fewer groups';

/** Writes the report and records the outcome in its job; never throws. */
export async function runReportJob(
  options: ReportWriter & {
    job: Job;
    principal: Principal;
    report: ReportOptions & { format: ExportFormat };
  },
): Promise<void> {
  const { ledger, log, job } = options;
  try {
    const { rowsDone, result } = await writeReport(options, { ...options, origin: '' });
    await finishJob(ledger, { id: job.id, rowsDone, result });
  } catch (error) {
    log.warn({ job: String(job.id), reason: errorText(error) }, 'report job failed');
    await failJob(ledger, { id: job.id, failure: REPORT_FAILURE }).catch((again: unknown) =>
      log.warn({ reason: errorText(again) }, 'the failure of the job could not be recorded'),
    );
  }
}

/** Removes files whose links have expired. */
export async function removeOldReports(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found && found.mtimeMs < Date.now() - FILE_DAYS * DAY_MS) await rm(path, { force: true });
  }
}
