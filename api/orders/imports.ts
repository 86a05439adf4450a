import { z } from 'zod';
import type { ImportEvidence } from '../../attribution/decide/evidence.ts';
import { BLOCK_ACTIONS, BLOCK_KINDS, MAX_BLOCK_VALUE_LENGTH } from '../../core/blocks/block.ts';
import { errorText, InputError, OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import {
  MAX_CODE_LENGTH,
  MAX_EMAIL_LENGTH,
  MAX_NOTE_LENGTH,
  MAX_REFERENCE_LENGTH,
} from '../../core/text-limits.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import {
  type BlockRoom,
  beyondRoom,
  checkBlockRoom,
  insertBlocks,
  readBlockRoom,
  roomAfter,
} from '../../ledger/blocks/blocks.ts';
import { type Conversion, findConversionByOrder } from '../../ledger/conversions/conversions.ts';
import { recordDecisions } from '../../ledger/decisions/decisions.ts';
import { recordReport } from '../../ledger/decisions/order-reports.ts';
import { failJob, finishJob, type Job, reportProgress } from '../../ledger/integrations/jobs.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { AFFILIATE_STATUSES, affiliatesOfEmail, createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCoupon } from '../../ledger/programs/coupons.ts';
import { createLink, findLink } from '../../ledger/programs/links.ts';
import { getProgram } from '../../ledger/programs/programs.ts';
import { termsInForce } from '../../ledger/programs/terms.ts';
import { faultsIn } from '../http/validation.ts';
import { amountReader, type CsvFile } from '../schemas/csv.ts';
import { formatId, integerId } from '../schemas/ids.ts';
import { nameText, plain, text, time, urlText } from '../schemas/schemas.ts';
import { logNewBlocks } from './block-view.ts';
import { orderInput, withoutEmptyMembers } from './order.ts';
import { ledgerReport } from './record-order.ts';
import { withEventName } from './shop-settings.ts';

/**
 * Affiliates, links, coupons, orders and entries of the block list from CSV. Every row is taken or refused by itself, all within
 * one transaction: a dry run does exactly what a run does and is rolled back.
 */

export const IMPORT_KINDS = ['affiliates', 'links', 'coupons', 'conversions', 'blocks'] as const;
export type ImportKind = (typeof IMPORT_KINDS)[number];

/** Rows of one transaction: a minute's work. */
export const MAX_IMPORT_ROWS = 50_000;
const PROGRESS_ROWS = 500;
/** Refused rows that are listed, the rest is counted; and rows with a notice. */
const MAX_LISTED = 1_000;

export type ImportResult = {
  readonly dry_run: boolean;
  readonly taken: number;
  readonly refused: number;
  /** `line` is where the row begins in the file, from 1. */
  readonly refused_rows: RowNotice[];
  /** Rows that were taken and that somebody should look at. */
  readonly noticed_rows: RowNotice[];
};

type RowNotice = { readonly line: number; readonly field: string; readonly message: string };

type Row = Readonly<Record<string, string>>;

const affiliateRow = z.strictObject({
  ref_code: plain(MAX_CODE_LENGTH),
  name: nameText,
  email: plain(MAX_EMAIL_LENGTH),
  customer_ref: plain(MAX_REFERENCE_LENGTH).optional(),
  status: z.enum(AFFILIATE_STATUSES).optional(),
  parent_ref_code: plain(MAX_CODE_LENGTH).optional(),
});
const linkRow = z.strictObject({
  affiliate_ref_code: plain(MAX_CODE_LENGTH),
  campaign_id: integerId('campaign'),
  landing_url: urlText,
  code: plain(MAX_CODE_LENGTH).optional(),
  expires_at: time.optional(),
});

const couponRow = z.strictObject({
  affiliate_ref_code: plain(MAX_CODE_LENGTH),
  code: plain(MAX_CODE_LENGTH),
  campaign_id: integerId('campaign').optional(),
  valid_from: time.optional(),
  valid_until: time.optional(),
});

const blockRow = z.strictObject({
  kind: z.enum(BLOCK_KINDS),
  value: text(MAX_BLOCK_VALUE_LENGTH),
  affiliate_ref_code: plain(MAX_CODE_LENGTH).optional(),
  sub: z.coerce.number().pipe(z.int().min(1).max(5)).optional(),
  action: z.enum(BLOCK_ACTIONS),
  reason: text(MAX_NOTE_LENGTH),
  ends_at: time.optional(),
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
  /** Of entries of the block list, counted once and then with each row. */
  blockRoom?: BlockRoom;
}

/** Takes a row, and returns what somebody should look at, if anything. @throws InputError. */
type TakeRow = (tx: DatabaseTransaction, importer: Importer, row: Row) => Promise<InputError | undefined>;

const IMPORTERS: Readonly<Record<ImportKind, TakeRow>> = {
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
    const [other] = await affiliatesOfEmail(tx, { programId, email: rest.email });
    await createAffiliate(tx, { ...rest, programId, refCode, customerRef, parentId });
    return other === undefined
      ? undefined
      : new InputError('email', `is the address of ${formatId('affiliate', other)} as well`);
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
    await createLink(tx, { campaignId, affiliateId, landingUrl, code, expiresAt: expires_at });
    return undefined;
  },
  async coupons(tx, { programId }, row) {
    const {
      affiliate_ref_code,
      code,
      campaign_id: campaignId,
      valid_from: validFrom,
      valid_until: validUntil,
    } = readRow(couponRow, row);
    const affiliateId = await affiliateByRef(tx, programId, affiliate_ref_code, 'affiliate_ref_code');
    await createCoupon(tx, { programId, affiliateId, campaignId, code, validFrom, validUntil });
    return undefined;
  },
  async blocks(tx, importer, row) {
    const { programId, actor } = importer;
    const { affiliate_ref_code: refCode, ends_at: endsAt, ...rest } = readRow(blockRow, row);
    const affiliateId =
      refCode === undefined ? undefined : await affiliateByRef(tx, programId, refCode, 'affiliate_ref_code');
    importer.blockRoom ??= await readBlockRoom(tx, programId);
    const left = roomAfter(importer.blockRoom, rest.kind);
    const beyond = beyondRoom(left);
    if (beyond !== undefined) throw new InputError('kind', `is one too many: ${beyond}`);
    const entries = [{ ...rest, affiliateId, endsAt }];
    const blocks = await insertBlocks(tx, { programId, actor, entries }).catch((error: unknown) => {
      throw error instanceof InputError
        ? new InputError(error.field.replace('entries.0.', ''), error.reason)
        : error;
    });
    await logNewBlocks(tx, { actor, blocks });
    importer.blockRoom = left;
    return undefined;
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
    return undefined;
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
  file: CsvFile;
}): Promise<void> {
  const { ledger, log, job, kind, programId, dryRun, file } = options;
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
      if (kind === 'blocks') await checkBlockRoom(tx, programId);
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
    if (result) await finishJob(ledger, { id, rowsDone: file.rows.length, result });
  } catch (error) {
    log.warn({ job: String(id), reason: errorText(error) }, 'import failed');
    const isRefused = error instanceof OperatingError && error.code === 'wrong_state';
    const failure = `${isRefused ? error.message : 'the server failed'}; nothing was imported`;
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
    file: CsvFile;
    onProgress: (rowsDone: number) => Promise<void>;
  },
): Promise<ImportResult> {
  const { kind, importer, dryRun, file, onProgress } = options;
  const amount = amountReader(file, 'amount');
  const refused: RowNotice[] = [];
  const noticed: RowNotice[] = [];
  let refusals = 0;
  for (const [i, { line, cells }] of file.rows.entries()) {
    try {
      if (cells instanceof InputError) throw cells;
      const row = cells.amount === undefined ? cells : { ...cells, amount: amount(cells.amount) };
      const notice = await tx.savepoint((point) => IMPORTERS[kind](point, importer, row));
      if (notice && noticed.length < MAX_LISTED) noticed.push(rowNotice(line, notice));
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      refusals++;
      if (refused.length < MAX_LISTED) refused.push(rowNotice(line, error));
    }
    if ((i + 1) % PROGRESS_ROWS === 0) await onProgress(i + 1);
  }
  return {
    dry_run: dryRun,
    taken: file.rows.length - refusals,
    refused: refusals,
    refused_rows: refused,
    noticed_rows: noticed,
  };
}

function rowNotice(line: number, { field, reason: message }: InputError): RowNotice {
  return { line, field, message };
}
