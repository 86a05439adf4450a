import { InputError } from '../../core/errors.ts';
import { type RecordedConversion, recordConversions } from '../../ledger/conversions/conversions.ts';
import type { ReportedConversion } from '../../ledger/conversions/reported-conversion.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../../ledger/integrations/postback-calls.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { translateError } from '../http/translate-error.ts';

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

export function createIntake({ ledger }: { ledger: Database }): Intake {
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
        recordEntries(
          tx,
          batch.map(({ entry }) => entry),
        ),
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
  entries: readonly IntakeEntry[],
): Promise<IntakeAnswer[]> {
  const recorded = await recordConversions(
    tx,
    entries.map(({ order }) => order),
  );
  const calls = entries.map((entry, i) => callOf(entry, recorded[i] as RecordedConversion | InputError));
  const ids = await insertPostbackCalls(tx, calls);
  return recorded.map((answer, i) => ({ recorded: answer, callId: ids[i] as bigint }));
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
