import { assert, InputError } from '../../core/errors.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import {
  type OrderEvent,
  type OrderOutcome,
  type RecordedReport,
  recordReport,
} from '../../ledger/decisions/order-reports.ts';
import {
  type CallOutcome,
  insertPostbackCalls,
  type NewPostbackCall,
} from '../../ledger/integrations/postback-calls.ts';
import {
  addOrderNames,
  findDoneBodies,
  findNamedOrders,
  findOutdated,
  type Source,
} from '../../ledger/integrations/sources.ts';
import { addWaitingCalls, type NamedOrder } from '../../ledger/integrations/waiting-calls.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { DEFAULT_EVENT } from '../../ledger/programs/events.ts';
import type { FieldFault, ProblemCode } from '../http/problems.ts';
import { loggedParams } from '../orders/call-log.ts';
import { inputFault, type OrderChecks, orderOf, recordReports, UNKNOWN_ORDER } from '../orders/intake.ts';
import { ledgerReport } from '../orders/record-order.ts';
import { formatId } from '../schemas/ids.ts';
import type { Reading, ReadReport } from './read-call.ts';

/** A call of a source that was read, or that cannot be; either way it is stored. */
export interface ReadCall {
  readonly source: Pick<Source, 'id' | 'programId'>;
  readonly caller: Pick<NewPostbackCall, 'requestId' | 'actor' | 'ip'>;
  /** Encrypted; undefined: of a replay, which names the call that has it. */
  readonly request: Buffer | undefined;
  readonly replayOf: bigint | null;
  /** Of a body whose signature is right: the same one is done once. Undefined: it may come as often as it likes. */
  readonly bodyHash: Buffer | undefined;
  readonly reading: Reading | Refusal;
}

export interface Refusal {
  readonly code: ProblemCode;
  readonly detail: string;
}

/** What became of a call. */
export interface CallAnswer {
  readonly callId: bigint;
  readonly outcome: CallOutcome;
  /** What each of its reports did; null: it was refused. */
  readonly did: readonly (OrderOutcome | null)[];
  readonly conversionId: bigint | null;
  readonly refusal: Refusal | undefined;
  /** Orders to which something happened that are not known: the call waits for them. */
  readonly unknownOrders: readonly NamedOrder[];
  /** Why it was ignored. */
  readonly ignored: string | undefined;
}

export function isRefusal(reading: Reading | Refusal): reading is Refusal {
  return 'code' in reading;
}

/** Whether a call only reports orders, which lock nothing that others wait for. */
export function reportsOrdersOnly({ reading }: ReadCall): boolean {
  if (isRefusal(reading)) return true;
  return reading.reports.every(({ report }) => !report || orderOf(withProgram(report, 0)) !== undefined);
}

const withProgram = (report: NonNullable<ReadReport['report']>, programId: number) =>
  ledgerReport(report, { programId, source: 'postback' });

/**
 * Records what calls report, with one line of the log for each, and answers in their order; undefined for a call among others
 * that changes an order and must come alone.
 */
export async function recordCalls(
  tx: DatabaseTransaction,
  { calls: given, ...checks }: OrderChecks & { calls: readonly ReadCall[] },
): Promise<(CallAnswer | undefined)[]> {
  const bodies = given.flatMap(({ source, bodyHash }) =>
    bodyHash ? [{ sourceId: source.id, bodyHash }] : [],
  );
  const doneBodies = await findDoneBodies(tx, bodies);
  const isDone = ({ source, bodyHash, replayOf }: ReadCall) =>
    replayOf === null && bodyHash !== undefined && doneBodies.has(`${source.id} ${bodyHash.toString('hex')}`);
  const calls = await underOwnIds(tx, given, isDone);
  const reports = calls.flatMap((call, i) => {
    if (isRefusal(call.reading) || isDone(call)) return [];
    return call.reading.reports.flatMap((read, n) => {
      const { report } = read;
      if (!report) return [];
      const { source } = call;
      const entry = { ...withProgram(report, source.programId), actor: actorOf(source), note: undefined };
      return [{ i, n, read, entry }];
    });
  });
  const outdated = await findOutdated(
    tx,
    calls.flatMap(({ replayOf }) => replayOf ?? []),
  );
  const recorded = await recordReports(tx, { reports: reports.map(({ entry }) => entry), ...checks });
  const results = calls.map((): Map<number, RecordedReport | InputError> => new Map());
  const alone = new Set<number>();
  for (const [k, { i, n, read, entry }] of reports.entries()) {
    const first = recorded[k] as RecordedReport | InputError;
    const { replayOf } = calls[i] as ReadCall;
    // The state of an order of then does not undo what has come since.
    const events = replayOf !== null && outdated.has(replayOf) ? [] : furtherEvents(read, first);
    if (events.length > 0 && calls.length > 1) alone.add(i);
    results[i]?.set(
      n,
      events.length > 0 && calls.length === 1 ? await follow(tx, entry, { first, events }) : first,
    );
  }
  const answers = calls.map((call, i) =>
    alone.has(i) ? undefined : answerOf(call, { done: isDone(call), results: results[i] ?? new Map() }),
  );
  const lines = calls.flatMap((call, i) => {
    const answer = answers[i];
    return answer ? [lineOf(call, answer)] : [];
  });
  const ids = await insertPostbackCalls(tx, lines);
  let next = 0;
  const done = answers.map((answer) => {
    if (!answer) return undefined;
    const callId = ids[next++];
    assert(callId, 'a line that is written has an id');
    return { ...answer, callId };
  });
  await letWait(tx, calls, done);
  return done;
}

/** Calls that name unknown orders are done when these come; of replays the first call is. */
async function letWait(
  tx: DatabaseTransaction,
  calls: readonly ReadCall[],
  answers: readonly (CallAnswer | undefined)[],
): Promise<void> {
  const waiting = answers.flatMap((answer, i) => {
    const { source, replayOf } = calls[i] as ReadCall;
    if (!answer || answer.unknownOrders.length === 0) return [];
    const { callId, unknownOrders: orders } = answer;
    return [{ callId: replayOf ?? callId, sourceId: source.id, programId: source.programId, orders }];
  });
  await addWaitingCalls(tx, waiting);
}

/**
 * The calls with the ids of orders that they name otherwise: a payment provider reports what is given back by the payment, and
 * the order by its invoice. Keeps what they say of such ids.
 */
async function underOwnIds(
  tx: DatabaseTransaction,
  calls: readonly ReadCall[],
  isDone: (call: ReadCall) => boolean,
): Promise<ReadCall[]> {
  const readings = calls.map((call) =>
    isRefusal(call.reading) || isDone(call) ? undefined : { call, reading: call.reading },
  );
  await addOrderNames(
    tx,
    readings.flatMap((read) =>
      (read?.reading.names ?? []).flatMap(({ orderId, otherIds }) =>
        otherIds.map((name) => ({ sourceId: read?.call.source.id ?? 0, orderId, name })),
      ),
    ),
  );
  const events = readings.flatMap((read) =>
    (read?.reading.reports ?? []).flatMap(({ report }) =>
      read && report && !report.order
        ? [{ report, sourceId: read.call.source.id, programId: read.call.source.programId }]
        : [],
    ),
  );
  const found = await findNamedOrders(
    tx,
    events.map(({ report, ...of }) => ({ ...of, orderId: report.orderId })),
  );
  const own = new Map(
    events.flatMap(({ report }, i) => (found[i] === undefined ? [] : [[report, found[i]]])),
  );
  if (own.size === 0) return [...calls];
  const renamed = (read: ReadReport): ReadReport => {
    const orderId = read.report && own.get(read.report);
    if (!read.report || orderId === undefined) return read;
    const params = { ...read.params, order_id: orderId, named_as: read.report.orderId };
    return { ...read, params, report: { ...read.report, orderId } };
  };
  return calls.map((call) =>
    isRefusal(call.reading)
      ? call
      : { ...call, reading: { ...call.reading, reports: call.reading.reports.map(renamed) } },
  );
}

export function actorOf({ id }: Pick<Source, 'id'>): string {
  return formatId('source', id);
}

/** Fields in which a snapshot may not differ from the order as it was reported first: who is credited, and in what. */
const FIXED = new Set(['currency', 'click_id', 'coupon']);

/** What a snapshot of a known order changes beside what its report did. */
function furtherEvents({ report, snapshot }: ReadReport, first: RecordedReport | InputError): OrderEvent[] {
  const order = report?.order;
  const isApproval = report?.event === undefined || report.event.kind === 'approved';
  if (!snapshot || !order || !isApproval) return [];
  if (first instanceof InputError || first.outcome === 'not_found') return [];
  const { conversion } = first;
  const differing = first.outcome === 'conflict' ? (first.differing ?? ['currency']) : [];
  if (differing.some((field) => FIXED.has(field))) return [];
  const { amountMinor, currency, awaitsShop } = order;
  const isConflict = differing.length > 0;
  // Equal to the order as it was reported first, which may have changed since: of equal totals nothing is done.
  const isRepeated = first.outcome === 'duplicate';
  const isCancelled = conversion.cancelledAt !== null;
  return [
    ...(isConflict || isRepeated ? [{ kind: 'changed', total: { amountMinor, currency } } as const] : []),
    ...(isCancelled && snapshot === 'all' ? [{ kind: 'restored', only: 'cancellation' } as const] : []),
    ...(isConflict && conversion.awaitsShop && !awaitsShop ? [{ kind: 'approved' } as const] : []),
  ];
}

async function follow(
  tx: DatabaseTransaction,
  entry: Parameters<typeof recordReport>[1],
  { first, events }: { first: RecordedReport | InputError; events: readonly OrderEvent[] },
): Promise<RecordedReport | InputError> {
  let last = first;
  for (const event of events) {
    const now = await recordReport(tx, { ...entry, order: undefined, event }).catch(inputFault);
    if (now instanceof InputError || now.outcome === 'conflict') return now;
    const isDone = !(last instanceof InputError) && last.outcome === 'accepted';
    if (now.outcome === 'accepted' || !isDone) last = now;
  }
  return last;
}

type Results = ReadonlyMap<number, RecordedReport | InputError>;

function answerOf(
  call: ReadCall,
  { done, results }: { done: boolean; results: Results },
): Omit<CallAnswer, 'callId'> {
  const none = { did: [], conversionId: null, unknownOrders: [] };
  const { reading } = call;
  if (isRefusal(reading)) return { ...none, outcome: 'rejected', refusal: reading, ignored: undefined };
  if (done) return { ...none, outcome: 'duplicate', refusal: undefined, ignored: 'it was done before' };
  if (reading.faults.length > 0) {
    const refusal = { code: 'invalid_input', detail: textOf(reading.faults) } as const;
    return { ...none, outcome: 'rejected', refusal, ignored: undefined };
  }
  const { ignored } = reading;
  if (ignored !== undefined) return { ...none, outcome: 'ignored', refusal: undefined, ignored };
  const refusals = reading.reports.flatMap((read, n) => refusalOf(read, results.get(n)) ?? []);
  const recorded = [...results.values()].filter(
    (one) => !(one instanceof InputError) && one.outcome !== 'not_found',
  );
  const conversions = recorded.flatMap((one) => ('conversion' in one ? [one.conversion] : []));
  const did = reading.reports.map((_, n) => didOf(results.get(n)));
  const changed = [...results.values()].some((one) => 'outcome' in one && one.outcome === 'accepted');
  const [refusal] = refusals;
  return {
    did,
    conversionId: conversions[0]?.id ?? null,
    outcome: refusal ? 'rejected' : changed ? 'accepted' : 'duplicate',
    refusal: refusal && { code: refusal.code, detail: refusals.map(({ detail }) => detail).join('; ') },
    unknownOrders: reading.reports.flatMap(({ report }, n) => {
      const one = results.get(n);
      return report && one && 'outcome' in one && one.outcome === 'not_found'
        ? [{ orderId: report.orderId, eventName: report.eventName ?? DEFAULT_EVENT }]
        : [];
    }),
    ignored: undefined,
  };
}

function didOf(recorded: RecordedReport | InputError | undefined): OrderOutcome | null {
  return recorded && 'did' in recorded ? recorded.did : null;
}

function refusalOf(read: ReadReport, recorded: RecordedReport | InputError | undefined): Refusal | undefined {
  if (read.faults.length > 0) return { code: 'invalid_input', detail: textOf(read.faults) };
  assert(recorded, 'a report without faults is recorded');
  if (recorded instanceof InputError) return { code: 'invalid_input', detail: recorded.message };
  if (recorded.outcome === 'not_found') return { code: 'not_found', detail: UNKNOWN_ORDER };
  return recorded.outcome === 'conflict' ? { code: 'conflict', detail: recorded.detail } : undefined;
}

export function textOf(faults: readonly FieldFault[]): string {
  return faults.map(({ field, message }) => `${field} ${message}`).join('; ');
}

/** How a call is answered that is stored and not done: its sender must not take the address for broken. */
export const STORED_STATUS = 202;

function lineOf(call: ReadCall, answer: Omit<CallAnswer, 'callId'>): NewPostbackCall {
  const { source, caller, reading, request, replayOf, bodyHash } = call;
  const reads = isRefusal(reading) ? [] : reading.reports;
  const [first, ...others] = reads.map(({ params }) => loggedParams(params));
  const params: { [name: string]: JsonValue } = {
    ...first,
    ...(others.length > 0 && { further: others }),
    ...(!isRefusal(reading) && reading.notes.length > 0 && { notes: [...reading.notes] }),
  };
  const orderId = reads.map(({ params: { order_id: id } }) => id).find((id) => typeof id === 'string');
  const { outcome, conversionId, refusal, ignored } = answer;
  return {
    ...caller,
    via: replayOf === null ? 'source' : 'replay',
    programId: source.programId,
    sourceId: source.id,
    params,
    outcome,
    status: outcome === 'rejected' ? STORED_STATUS : 200,
    code: refusal?.code ?? null,
    detail: refusal?.detail ?? ignored ?? null,
    orderId: typeof orderId === 'string' ? orderId : null,
    conversionId,
    replayOf,
    ...(request && { request }),
    bodyHash: replayOf === null ? bodyHash : undefined,
  };
}
