import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { InputError } from '../../core/errors.ts';
import { CLOCK_TOLERANCE_MS } from '../../core/time.ts';
import { type RecordedConversion, recordConversions } from '../../ledger/conversions/conversions.ts';
import type { ReportedConversion } from '../../ledger/conversions/reported-conversion.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../ledger/integrations/postback-calls.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { translateError } from '../http/translate-error.ts';
import { clockOffset, type ShopClocks } from './shop-clocks.ts';

/**
 * The entry of reported orders into the ledger: each with its line of the call log, in one transaction. While transactions
 * are in flight the next orders gather, and go together when one ends: a lone order never waits, and under load one
 * commit makes many durable.
 */

/** A reported order and the call it came by. */
export interface IntakeEntry {
  readonly order: ReportedConversion;
  readonly call: Pick<NewPostbackCall, 'requestId' | 'via' | 'actor' | 'ip' | 'params'> & {
    readonly replayOf?: bigint;
  };
}

export interface IntakeAnswer {
  /** InputError: the order itself is at fault, and was not recorded. */
  readonly recorded: RecordedConversion | InputError;
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
        queue.push({ entry, resolve, reject });
        pump();
      }),
  };
}

/** Records orders with their calls; answers in their order. */
export async function recordEntries(
  tx: DatabaseTransaction,
  { entries, ...checks }: OrderChecks & { entries: readonly IntakeEntry[] },
): Promise<IntakeAnswer[]> {
  const faults = entries.map(({ order }) => timeFault(order, checks));
  const sound = entries.flatMap(({ order }, i) => (faults[i] ? [] : [order]));
  const answers = (await recordConversions(tx, sound)).values();
  const recorded = faults.map((fault) => fault ?? (answers.next().value as RecordedConversion | InputError));
  const calls = entries.map((entry, i) => callOf(entry, recorded[i] as RecordedConversion | InputError));
  const ids = await insertPostbackCalls(tx, calls);
  return recorded.map((answer, i) => ({ recorded: answer, callId: ids[i] as bigint }));
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

function callOf({ order, call }: IntakeEntry, recorded: RecordedConversion | InputError): NewPostbackCall {
  const { replayOf = null, ...rest } = call;
  const known = { ...rest, replayOf, programId: order.programId, orderId: order.orderId };
  if (recorded instanceof InputError) {
    const refused = {
      outcome: 'rejected',
      status: 422,
      code: recorded.code,
      detail: recorded.message,
    } as const;
    return { ...known, ...refused, conversionId: null };
  }
  const { outcome, conversion } = recorded;
  if (outcome === 'conflict') {
    const detail = `recorded with another ${recorded.differing.join(', ')}`;
    const refused = { outcome: 'rejected', status: 409, code: 'conflict', detail } as const;
    return { ...known, ...refused, conversionId: conversion.id };
  }
  const status = outcome === 'accepted' ? 202 : 200;
  return { ...known, outcome, status, code: null, detail: null, conversionId: conversion.id };
}
