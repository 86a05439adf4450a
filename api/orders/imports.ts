import { setImmediate as nextTurn } from 'node:timers/promises';
import { parse } from 'csv-parse';
import { z } from 'zod';
import type { ImportEvidence } from '../../attribution/decide/evidence.ts';
import { errorText, InputError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { MAX_CODE_LENGTH, MAX_EMAIL_LENGTH, MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { type Conversion, findConversionByOrder } from '../../ledger/conversions/conversions.ts';
import { recordDecisions } from '../../ledger/decisions/decisions.ts';
import { recordReport } from '../../ledger/decisions/order-reports.ts';
import { failJob, finishJob, type Job, reportProgress } from '../../ledger/integrations/jobs.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { AFFILIATE_STATUSES, createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createLink, findLink } from '../../ledger/programs/links.ts';
import { getProgram } from '../../ledger/programs/programs.ts';
import { termsInForce } from '../../ledger/programs/terms.ts';
import { faultsIn } from '../http/validation.ts';
import { formatId, integerId } from '../schemas/ids.ts';
import { nameText, text, time, urlText } from '../schemas/schemas.ts';
import { orderInput, withoutEmptyMembers } from './order.ts';
import { ledgerReport } from './record-order.ts';
import { withEventName } from './shop-settings.ts';

/**
 * Affiliates, links and orders from CSV. Every row is taken or refused by itself, all within one transaction: a dry run
 * does exactly what a run does and is rolled back.
 */

export const IMPORT_KINDS = ['affiliates', 'links', 'conversions'] as const;
export type ImportKind = (typeof IMPORT_KINDS)[number];

/** Rows of one transaction: a minute's work. */
export const MAX_IMPORT_ROWS = 50_000;
const PROGRESS_ROWS = 500;
/** Refused rows that are listed; the rest is counted. */
const MAX_REFUSED = 1_000;

export type ImportResult = {
  readonly dry_run: boolean;
  readonly taken: number;
  readonly refused: number;
  /** `line` counts from 1, the header being line 1. */
  readonly refused_rows: { readonly line: number; readonly field: string; readonly message: string }[];
};

type Row = Record<string, string>;

/** Characters that are parsed in one turn: of the shortest rows some milliseconds, in which the server does nothing else. */
const PARSED_AT_ONCE = 8 * 1024;

/**
 * The rows of a CSV with a header. Parsed piece by piece, so that other requests are answered meanwhile, and no further
 * than the limit of rows. @throws InputError `body`.
 */
export async function readCsv(csv: string): Promise<Row[]> {
  const parser = parse({
    columns: true,
    bom: true,
    skip_empty_lines: true,
    trim: true,
    max_record_size: 100_000,
  });
  let failure: Error | undefined;
  parser.on('error', (error) => {
    failure = error;
  });
  const rows: Row[] = [];
  const takeParsed = (): void => {
    for (let row = parser.read() as Row | null; row !== null; row = parser.read() as Row | null)
      rows.push(row);
    if (failure) throw new InputError('body', `is not CSV: ${errorText(failure)}`);
    if (rows.length > MAX_IMPORT_ROWS)
      throw new InputError('body', `must not exceed ${MAX_IMPORT_ROWS} rows`);
  };
  try {
    for (let at = 0; at < csv.length; at += PARSED_AT_ONCE) {
      parser.write(csv.slice(at, at + PARSED_AT_ONCE));
      takeParsed();
      await nextTurn();
    }
    parser.end();
    await nextTurn();
    takeParsed();
  } finally {
    parser.destroy();
  }
  if (rows.length === 0) throw new InputError('body', 'has no rows');
  return rows;
}

const affiliateRow = z.strictObject({
  ref_code: text(MAX_CODE_LENGTH),
  name: nameText,
  email: text(MAX_EMAIL_LENGTH),
  customer_ref: text(MAX_REFERENCE_LENGTH).optional(),
  status: z.enum(AFFILIATE_STATUSES).optional(),
  parent_ref_code: text(MAX_CODE_LENGTH).optional(),
});
const linkRow = z.strictObject({
  affiliate_ref_code: text(MAX_CODE_LENGTH),
  campaign_id: integerId('campaign'),
  landing_url: urlText,
  code: text(MAX_CODE_LENGTH).optional(),
  expires_at: time.optional(),
});

function readRow<Schema extends z.ZodType>(schema: Schema, row: unknown): z.output<Schema> {
  const read = schema.safeParse(withoutEmptyMembers(row));
  if (read.success) return read.data;
  const [fault] = faultsIn(read.error);
  throw new InputError(fault?.field ?? 'row', fault?.message ?? 'is not valid');
}

async function affiliateByRef(
  tx: DatabaseTransaction,
  programId: number,
  refCode: string,
  field: string,
): Promise<number> {
  const [found] = await tx<{ id: number }[]>`
    select id from affiliates where program_id = ${programId} and ref_code = ${refCode}`;
  if (!found) throw new InputError(field, 'there is no such affiliate');
  return found.id;
}

/** The program of the rows, and who imports them. */
interface Importer {
  readonly programId: number;
  /** Of the program. */
  readonly events: readonly string[];
  readonly actor: string;
}

const IMPORTERS: Readonly<
  Record<ImportKind, (tx: DatabaseTransaction, importer: Importer, row: Row) => Promise<unknown>>
> = {
  async affiliates(tx, { programId }, row) {
    const {
      parent_ref_code,
      ref_code: refCode,
      customer_ref: customerRef,
      ...rest
    } = readRow(affiliateRow, row);
    const parentId =
      parent_ref_code === undefined
        ? undefined
        : await affiliateByRef(tx, programId, parent_ref_code, 'parent_ref_code');
    return await createAffiliate(tx, { ...rest, programId, refCode, customerRef, parentId });
  },
  async links(tx, { programId }, row) {
    const {
      affiliate_ref_code,
      campaign_id: campaignId,
      landing_url: landingUrl,
      code,
      expires_at,
    } = readRow(linkRow, row);
    const affiliateId = await affiliateByRef(tx, programId, affiliate_ref_code, 'affiliate_ref_code');
    return await createLink(tx, { campaignId, affiliateId, landingUrl, code, expiresAt: expires_at });
  },
  async conversions(tx, { programId, events, actor }, row) {
    const { link_code: code = '', commission_paid: paid = '', ...rest } = row;
    if (!['', 'true', 'false'].includes(paid))
      throw new InputError('commission_paid', 'must be true or false');
    if (paid !== '' && code === '') throw new InputError('commission_paid', 'needs a link_code');
    const named = withEventName(withoutEmptyMembers(rest), { events });
    const report = ledgerReport(readRow(orderInput, named), { programId, source: 'import' });
    const known = await findConversionByOrder(tx, report);
    if (paid !== '' && known)
      throw new InputError('commission_paid', 'is of an order that is not recorded yet');
    const recorded = await recordReport(tx, { ...report, actor });
    if (recorded.outcome === 'not_found') throw new InputError('order_id', 'is no order that is known');
    const { conversion } = recorded;
    if (recorded.outcome !== 'accepted') {
      const reason = recorded.outcome === 'conflict' && !recorded.differing ? recorded.detail : undefined;
      const id = formatId('conversion', conversion.id);
      throw new InputError('order_id', reason ?? `is recorded already, as ${id}`);
    }
    if (code !== '' && !known) {
      await creditLink(tx, { conversion, code, actor, paidOutside: paid === 'true' });
    }
  },
};

/**
 * Credits an order of the past to the link it came by, as the books before these had it: no click is looked for and no
 * rule applies. It earns by the terms in force when it occurred, and its hold begins with the import; what was paid before
 * is booked as paid.
 */
async function creditLink(
  tx: DatabaseTransaction,
  options: { conversion: Conversion; code: string; actor: string; paidOutside: boolean },
): Promise<void> {
  const { conversion, code, actor, paidOutside } = options;
  const { id: conversionId, programId, eventName, occurredAt, clickId } = conversion;
  if (clickId !== null) throw new InputError('link_code', 'stands instead of click_id');
  const link = await findLink(tx, { programId, code });
  if (!link) throw new InputError('link_code', 'there is no such link');
  const { id: linkId, campaignId, affiliateId } = link;
  const [terms] = await termsInForce(tx, [{ programId, campaignId, affiliateId, eventName, at: occurredAt }]);
  if (!terms) throw new InputError('occurred_at', 'no terms were in force then');
  const evidence: ImportEvidence = { schema: 'import', creditedBy: actor, linkId, paidOutside };
  await recordDecisions(tx, [
    {
      conversionId,
      outcome: 'attributed',
      click: { ts: occurredAt.getTime(), node: null, seq: null, ip: null, linkId, campaignId, affiliateId },
      reason: null,
      evidence,
      termsId: terms.id,
      paidOutside,
      now: new Date(),
    },
  ]);
}

/** Ends a transaction that did what it should and is not to stay. */
class DryRun extends Error {}

/** Does an import and writes down what became of it; never throws. */
export async function runImport(options: {
  ledger: Database;
  log: Logger;
  job: Job;
  kind: ImportKind;
  programId: number;
  dryRun: boolean;
  rows: readonly Row[];
}): Promise<void> {
  const { ledger, log, job, kind, programId, dryRun, rows } = options;
  const { id } = job;
  let result: ImportResult | undefined;
  try {
    await inTransaction(ledger, async (tx) => {
      const program = await getProgram(tx, programId);
      result = await takeRows(tx, {
        ...options,
        importer: { programId, events: program?.events ?? [], actor: job.actor },
        onProgress: (rowsDone) => reportProgress(ledger, { id, rowsDone }),
      });
      const subject = formatId('program', programId);
      if (dryRun) throw new DryRun();
      const { taken, refused } = result;
      await appendAuditLog(tx, {
        actor: job.actor,
        action: `import.${kind}`,
        subject,
        after: { taken, refused },
      });
    }).catch((error: unknown) => {
      if (!(error instanceof DryRun)) throw error;
    });
    if (result) await finishJob(ledger, { id, rowsDone: rows.length, result });
  } catch (error) {
    log.warn({ job: String(id), reason: errorText(error) }, 'import failed');
    const failure = 'the server failed; nothing was imported';
    await failJob(ledger, { id, failure }).catch((again: unknown) => {
      log.warn({ job: String(id), reason: errorText(again) }, 'the failure of the job could not be recorded');
    });
  }
}

async function takeRows(
  tx: DatabaseTransaction,
  options: {
    kind: ImportKind;
    importer: Importer;
    dryRun: boolean;
    rows: readonly Row[];
    onProgress: (rowsDone: number) => Promise<void>;
  },
): Promise<ImportResult> {
  const { kind, importer, dryRun, rows, onProgress } = options;
  const refused: { line: number; field: string; message: string }[] = [];
  let refusals = 0;
  for (const [i, row] of rows.entries()) {
    try {
      await tx.savepoint((point) => IMPORTERS[kind](point, importer, row));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      refusals++;
      const { field, reason } = error;
      if (refused.length < MAX_REFUSED) refused.push({ line: i + 2, field, message: reason });
    }
    if ((i + 1) % PROGRESS_ROWS === 0) await onProgress(i + 1);
  }
  return { dry_run: dryRun, taken: rows.length - refusals, refused: refusals, refused_rows: refused };
}
