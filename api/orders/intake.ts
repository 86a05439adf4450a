import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { InputError } from '../../core/errors.ts';
import { CLOCK_TOLERANCE_MS } from '../../core/time.ts';
import { type RecordedConversion, recordConversions } from '../../ledger/conversions/conversions.ts';
import type { ReportedConversion } from '../../ledger/conversions/reported-conversion.ts';
import type { Author } from '../../ledger/decisions/order-changes.ts';
import {
  approveRecorded,
  type OrderOutcome,
  type OrderReport,
  type RecordedReport,
  recordReport,
} from '../../ledger/decisions/order-reports.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../ledger/integrations/postback-calls.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { createBatches } from './batches.ts';
import { clockOffset, type ShopClocks } from './shop-clocks.ts';

/**
 * The entry of reported orders, and of what happened to them, into the ledger: each with its line of the call log, in one
 * transaction.
 */

/** A report and the call it came by. */
export interface IntakeEntry {
  readonly report: OrderReport;
  /** Why, where a person changes an order. */
  readonly note?: string | undefined;
  readonly call: Pick<NewPostbackCall, 'requestId' | 'via' | 'actor' | 'ip' | 'params'> & {
    readonly replayOf?: bigint;
  };
}

export interface IntakeAnswer {
  /** InputError: the report itself is at fault, and nothing was recorded. */
  readonly recorded: RecordedReport | InputError;
  readonly callId: bigint;
}

export interface Intake {
  submit(entry: IntakeEntry): Promise<IntakeAnswer>;
}

/** What an order is checked with. */
export interface OrderChecks {
  readonly clickIds: ClickIdCodec;
  readonly shopClocks: ShopClocks;
}

export function createIntake({ ledger, ...checks }: OrderChecks & { ledger: Database }): Intake {
  return createBatches<IntakeEntry, IntakeAnswer>({
    work: (entries) => inTransaction(ledger, (tx) => recordEntries(tx, { entries, ...checks })),
    // What happened to an order locks commissions, payouts and accounts: no order waits for those.
    isAlone: ({ report }) => orderOf(report) === undefined,
  });
}

/** The order of a report of one, rather than of what happened to one. */
export function orderOf({ order, event }: OrderReport): ReportedConversion | undefined {
  return event === undefined || event.kind === 'approved' ? order : undefined;
}

/** Records reports with their calls; answers in their order. */
export async function recordEntries(
  tx: DatabaseTransaction,
  { entries, ...checks }: OrderChecks & { entries: readonly IntakeEntry[] },
): Promise<IntakeAnswer[]> {
  const done = await recordReports(tx, { reports: entries.map(reportOf), ...checks });
  const ids = await insertPostbackCalls(
    tx,
    entries.map((entry, i) => callOf(entry, done[i] as RecordedReport | InputError)),
  );
  return done.map((answer, i) => ({ recorded: answer, callId: ids[i] as bigint }));
}

/**
 * Records reports; answers in their order. Orders come first, so that what happened to an order finds it when both are in
 * one batch.
 */
export async function recordReports(
  tx: DatabaseTransaction,
  { reports, ...checks }: OrderChecks & { reports: readonly (OrderReport & Author)[] },
): Promise<(RecordedReport | InputError)[]> {
  const recorded = reports.map(
    ({ order }): RecordedReport | InputError | undefined => order && timeFault(order, checks),
  );
  const orders = reports.flatMap((report, i) => {
    const order = recorded[i] === undefined ? orderOf(report) : undefined;
    return order ? [{ i, order, report }] : [];
  });
  const answers = await recordConversions(
    tx,
    orders.map(({ order }) => order),
  );
  for (const [n, { i, report }] of orders.entries()) {
    const answer = answers[n] as RecordedConversion | InputError;
    recorded[i] = answer instanceof InputError ? answer : await approveRecorded(tx, report, answer);
  }
  for (const [i, report] of reports.entries()) {
    recorded[i] ??= await recordReport(tx, report).catch(inputFault);
  }
  return recorded as (RecordedReport | InputError)[];
}

function reportOf({ report, call, note }: IntakeEntry): OrderReport & Author {
  return { ...report, actor: call.actor ?? call.via, note };
}

/** The ledger checks a report before it writes, so one that is at fault leaves nothing behind. */
export function inputFault(error: unknown): InputError {
  if (error instanceof InputError) return error;
  throw error;
}

/**
 * A time by which the order would stay unattributed: later than now, or long before its own click. The shop's clock or time
 * zone is wrong; it hears of that at once and can report the order again. An id that no key decrypts is left to the decision.
 */
function timeFault(
  { programId, occurredAt, clickId }: ReportedConversion,
  { clickIds, shopClocks }: OrderChecks,
): InputError | undefined {
  if (occurredAt === undefined) return undefined;
  const nowMs = Date.now();
  const clickMs = clickId === undefined ? undefined : clickIds.decode(clickId)?.ts;
  const offMs = clockOffset(occurredAt.getTime(), { nowMs, clickMs });
  shopClocks.note({ programId, occurredAt }, offMs);
  if (Math.abs(offMs) <= CLOCK_TOLERANCE_MS) return undefined;
  const other = new Date(occurredAt.getTime() - offMs).toISOString();
  const message =
    offMs > 0
      ? `must not be more than 5 minutes in the future; it is ${other} here`
      : `must not be more than 5 minutes before the click of click_id, which was at ${other}`;
  return new InputError('occurred_at', message);
}

function callOf({ report, call }: IntakeEntry, recorded: RecordedReport | InputError): NewPostbackCall {
  const { replayOf = null, ...rest } = call;
  const { programId, orderId } = report;
  const known = { ...rest, replayOf, programId, orderId, conversionId: null };
  const refused = { ...known, outcome: 'rejected' } as const;
  if (recorded instanceof InputError) {
    return { ...refused, status: 422, code: recorded.code, detail: recorded.message };
  }
  if (recorded.outcome === 'not_found') {
    return { ...refused, status: 404, code: 'not_found', detail: UNKNOWN_ORDER };
  }
  const { outcome, conversion } = recorded;
  const conversionId = conversion.id;
  if (outcome === 'conflict') {
    return { ...refused, status: 409, code: 'conflict', detail: recorded.detail, conversionId };
  }
  const status = isNewOrder(recorded) ? 202 : 200;
  return { ...known, outcome, status, code: null, detail: null, conversionId };
}

/** What is answered, and logged, of something that happened to an order before the order was reported. */
export const UNKNOWN_ORDER =
  'the order is not known here: report it with amount and currency, then repeat the call';

/** Whether a report was of an order that is decided from now on. */
export function isNewOrder(recorded: { readonly did: OrderOutcome }): boolean {
  return recorded.did === 'recorded' || recorded.did === 'pending';
}
