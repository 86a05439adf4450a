import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errorText, OperatingError } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Logger } from '../../core/service/log.ts';
import { DAY_MS } from '../../core/time.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { failJob, finishJob, type Job, reportBytes } from '../../ledger/integrations/jobs.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { type ExportFormat, exportReport, MAX_EXPORT_ROWS } from '../../warehouse/reports/report-export.ts';
import type { ReportOptions } from '../../warehouse/reports/reports.ts';
import type { Principal } from '../http/principal.ts';
import { Problem } from '../http/problems.ts';
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
  /** For tests; by default {@link FILE_LIMITS}. */
  readonly limits?: FileLimits;
}

/** So much the files of a party may have together: those of an affiliate, or of a role of a program. */
const MAX_PARTY_BYTES = 5 * 1024 ** 3;
/** Less than this is left alone: the stores and the clicks that wait on this disk need it. */
const LEAST_FREE_BYTES = 1024 ** 3;
/** The disk is looked at again after so much. */
const CHECKED_BYTES = 64 * 1024 ** 2;

export interface FileLimits {
  readonly partyBytes: number;
  readonly leastFreeBytes: number;
}
const FILE_LIMITS: FileLimits = { partyBytes: MAX_PARTY_BYTES, leastFreeBytes: LEAST_FREE_BYTES };

async function requireSpace(folder: string, leastFreeBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= leastFreeBytes) return;
  throw new Problem('unavailable', { detail: 'the disk of the reports has too little space left' });
}

/** The bytes as they come, while there is room for them. @throws Problem `limit_reached` or `unavailable`. */
async function* withinLimits(
  source: AsyncIterable<Buffer>,
  { folder, room, limits }: { folder: string; room: number; limits: FileLimits },
): AsyncGenerator<Buffer> {
  let bytes = 0;
  let unchecked = CHECKED_BYTES;
  for await (const chunk of source) {
    bytes += chunk.length;
    unchecked += chunk.length;
    if (bytes > room) {
      const most = Math.floor(limits.partyBytes / 1024 ** 2);
      throw new Problem('limit_reached', {
        detail: `the files of the last ${FILE_DAYS} days would take more than ${most} MB; request less, or wait until old ones are gone`,
      });
    }
    if (unchecked >= CHECKED_BYTES) {
      await requireSpace(folder, limits.leastFreeBytes);
      unchecked = 0;
    }
    yield chunk;
  }
}

/** What the job of a report says once its file is there. */
export type ReportResult = Readonly<{
  download_url: string;
  bytes: number;
  table: string;
  complete_to: string | null;
  /** Of orders: every change before this is in; null: the report has none, or did not wait for them. */
  orders_complete_to: string | null;
  rights: Readonly<Record<keyof Rights, string | number | null>>;
}>;

/** Writes the file of a job. @throws whatever the report, its rows or the disk do; then there is no file. */
export async function writeReport(
  { ledger, warehouse, secretBox, folder, limits = FILE_LIMITS }: Omit<ReportWriter, 'log'>,
  options: {
    job: Pick<Job, 'id'>;
    principal: Principal;
    report: ReportOptions & { format: ExportFormat };
    /** Before the path of the link; '' for one that is read in an answer of the API. */
    origin: string;
    /** Up to when orders are counted, if the report waited for them. */
    ordersCompleteTo?: Date | undefined;
    /** Ends it early. */
    signal?: AbortSignal;
  },
): Promise<{ rowsDone: number; result: ReportResult }> {
  const { job, principal, report, origin, ordersCompleteTo, signal } = options;
  const rights = { ...rightsOf(principal) };
  const path = fileOf(folder, job);
  const part = `${path}.${randomUUID()}.part`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const since = new Date(Date.now() - FILE_DAYS * DAY_MS);
    const room = limits.partyBytes - (await reportBytes(ledger, { rights, since }));
    const { stream, table, completeTo } = await exportReport(warehouse, report);
    // Under another name until it is complete; of its own, should two processes be at it. It is opened before anything can end
    // this: a stream that opens its file itself can do so after what has failed was removed.
    const file = await open(part, 'wx', 0o600).catch((error: unknown) => {
      stream.destroy();
      throw error;
    });
    await pipeline(
      stream,
      (source: AsyncIterable<Buffer>) => withinLimits(source, { folder, room, limits }),
      file.createWriteStream(),
      { signal },
    );
    await rename(part, path);
    const { size } = await stat(path);
    const result = {
      download_url: downloadUrl(secretBox, job, origin),
      bytes: size,
      table,
      complete_to: completeTo?.toISOString() ?? null,
      orders_complete_to: ordersCompleteTo?.toISOString() ?? null,
      rights,
    };
    return { rowsDone: await rowsInFile(path, report.format), result };
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined);
    throw error;
  }
}

const REPORT_FAILURE = 'the report failed; request a shorter range or fewer groups';
/** Of ClickHouse: TOO_MANY_ROWS_OR_BYTES. */
const TOO_MANY_ROWS = 396;

/** Why there is no file, for who asked for it. */
export function failureOf(error: unknown): string {
  if (error instanceof Problem) return error.message;
  if (error instanceof OperatingError && error.clickhouseCode === TOO_MANY_ROWS) {
    return `the report has more than ${MAX_EXPORT_ROWS} rows; request a shorter range or fewer groups, or CSV by hours`;
  }
  return REPORT_FAILURE;
}

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
    await failJob(ledger, { id: job.id, failure: failureOf(error) }).catch((again: unknown) =>
      log.warn({ reason: errorText(again) }, 'the failure of the job could not be recorded'),
    );
  }
}

/** Removes files whose links have expired, and what processes left that ended while they wrote. */
export async function removeOldReports(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    const days = name.endsWith('.part') ? 1 : FILE_DAYS;
    if (found && found.mtimeMs < Date.now() - days * DAY_MS) await rm(path, { force: true });
  }
}
