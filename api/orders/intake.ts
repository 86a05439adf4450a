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
import { translateError } from '../http/translate-error.ts';
import { clockOffset, type ShopClocks } from './shop-clocks.ts';

/**
 * The entry of reported orders, and of what happened to them, into the ledger: each with its line of the call log, in one transaction. While transactions
 * are in flight the next orders gather, and go together when one ends: a lone order never waits, and under load one
 * commit makes many durable.
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

/** Orders of one transaction: more would hold its locks for long and gain little. */
const MAX_BATCH = 200;
/** Two keep PostgreSQL busy while one of them waits for the disk; more only make the batches smaller. */
const MAX_IN_FLIGHT = 2;

interface Waiting {
  readonly entry: IntakeEntry;
  readonly resolve: (answer: IntakeAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** What an order is checked with. */
export interface OrderChecks {
  readonly clickIds: ClickIdCodec;
  readonly shopClocks: ShopClocks;
}

export function createIntake({ ledger, ...checks }: OrderChecks & { ledger: Database }): Intake {
  const queue: Waiting[] = [];
  let inFlight = 0;

  function pump(): void {
    while (inFlight < MAX_IN_FLIGHT && queue.length > 0) {
      const batch = queue.splice(0, MAX_BATCH);
      inFlight++;
      void settle(batch).finally(() => {
        inFlight--;
        pump();
      });
    }
  }

  async function settle(batch: readonly Waiting[]): Promise<void> {
    try {
      const answers = await inTransaction(ledger, (tx) =>
        recordEntries(tx, { entries: batch.map(({ entry }) => entry), ...checks }),
      );
      for (const [i, { resolve }] of batch.entries()) resolve(answers[i] as IntakeAnswer);
    } catch (error) {
      // An order that the database refuses must not fail the others.
      if (batch.length > 1 && translateError(error).code === 'internal') {
        await Promise.all(batch.map((one) => settle([one])));
      } else {
        for (const { reject } of batch) reject(error);
      }
    }
  }

  return {
    submit: (entry) =>
      new Promise((resolve, reject) => {
        const one = { entry, resolve, reject };
        if (orderOf(entry)) {
          queue.push(one);
          pump();
        } else {
          // It locks commissions, payouts and accounts: no order waits for those.
          void settle([one]);
        }
      }),
  };
}

/** The order of an entry that reports one, rather than what happened to one. */
function orderOf({ report: { order, event } }: IntakeEntry): ReportedConversion | undefined {
  return event === undefined || event.kind === 'approved' ? order : undefined;
}

/**
 * Records reports with their calls; answers in their order. Orders come first, so that what happened to an order finds it
 * when both are in one batch.
 */
export async function recordEntries(
  tx: DatabaseTransaction,
  { entries, ...checks }: OrderChecks & { entries: readonly IntakeEntry[] },
): Promise<IntakeAnswer[]> {
  const recorded = entries.map(
    ({ report: { order } }): RecordedReport | InputError | undefined => order && timeFault(order, checks),
  );
  const orders = entries.flatMap((entry, i) => {
    const order = recorded[i] === undefined ? orderOf(entry) : undefined;
    return order ? [{ i, order, report: reportOf(entry) }] : [];
  });
  const answers = await recordConversions(
    tx,
    orders.map(({ order }) => order),
  );
  for (const [n, { i, report }] of orders.entries()) {
    const answer = answers[n] as RecordedConversion | InputError;
    recorded[i] = answer instanceof InputError ? answer : await approveRecorded(tx, report, answer);
  }
  for (const [i, entry] of entries.entries()) {
    recorded[i] ??= await recordReport(tx, reportOf(entry)).catch(inputFault);
  }
  const done = recorded as (RecordedReport | InputError)[];
  const ids = await insertPostbackCalls(
    tx,
    entries.map((entry, i) => callOf(entry, done[i] as RecordedReport | InputError)),
  );
  return done.map((answer, i) => ({ recorded: answer, callId: ids[i] as bigint }));
}

function reportOf({ report, call, note }: IntakeEntry): OrderReport & Author {
  return { ...report, actor: call.actor ?? call.via, note };
}

/** The ledger checks a report before it writes, so one that is at fault leaves nothing behind. */
function inputFault(error: unknown): InputError {
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
