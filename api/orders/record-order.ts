import type { FastifyReply, FastifyRequest } from 'fastify';
import { assert, InputError } from '../../core/errors.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import type { Conversion } from '../../ledger/conversions/conversions.ts';
import type { ConversionSource } from '../../ledger/conversions/reported-conversion.ts';
import type { OrderOutcome, OrderReport, RecordedReport } from '../../ledger/decisions/order-reports.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { claimOf, commit } from '../http/commit.ts';
import type { ApiContext } from '../http/context.ts';
import { programRequired } from '../http/principal.ts';
import { invalidField, Problem } from '../http/problems.ts';
import { noteNewOrder } from '../http/wire/request-ids.ts';
import { formatId } from '../schemas/ids.ts';
import { formatMoney, formatTime } from '../schemas/schemas.ts';
import { callerOf } from './call-log.ts';
import { formatConversion } from './conversion-view.ts';
import {
  type Intake,
  type IntakeAnswer,
  type IntakeEntry,
  isNewOrder,
  type OrderChecks,
  recordEntries,
  UNKNOWN_ORDER,
} from './intake.ts';
import type { ShopReport } from './order.ts';
import { checkBrowser, checkCaller, type ShopSettings } from './shop-settings.ts';

/** What the routes of shops work with beside the rest. */
export interface ShopContext extends ApiContext, OrderChecks {
  readonly intake: Intake;
  readonly shopSettings: ShopSettings;
}

/** A report that is in the ledger, now or before. */
export interface ReportedOrder {
  readonly status: 'accepted' | 'duplicate';
  /** What it did. */
  readonly outcome: OrderOutcome;
  readonly conversion: Conversion;
  readonly callId: bigint;
}

/** Where the decision about an order is to be seen. */
export function statusUrl(conversionId: bigint): string {
  return `/v1/conversions/${formatId('conversion', conversionId)}`;
}

/**
 * The program that the caller reports to. A browser has no key: its program has to allow that.
 * @throws Problem `ip_not_allowed`, `signature_required`, or `forbidden`, also for an order of another program.
 */
export async function callProgram(
  { shopSettings }: Pick<ShopContext, 'shopSettings'>,
  request: FastifyRequest,
  asked: number | undefined,
): Promise<number> {
  const { principal } = request;
  const programId = principal ? programRequired(principal, asked) : asked;
  if (programId === undefined) throw invalidField('program_id', 'is required');
  const settings = await shopSettings.of(programId);
  if (principal) checkCaller(request, settings);
  else checkBrowser(request, settings);
  return programId;
}

/** A report in the ledger's terms. */
export function ledgerReport(
  { orderId, eventName, order, event }: ShopReport,
  { programId, source }: { programId: number; source: ConversionSource },
): OrderReport {
  return { programId, orderId, eventName, order: order && { ...order, programId, source }, event };
}

/**
 * Records a report once, with its line of the call log, and answers 200, or `newStatus` for a new order.
 * @throws Problem `conflict` that shows both, when the order is recorded with other content; `not_found` when something
 * happened to an order that is not known; InputError.
 */
export async function reportOrder<Body>(
  context: ShopContext,
  request: FastifyRequest,
  reply: FastifyReply,
  options: {
    report: ShopReport;
    source: ConversionSource;
    newStatus: 200 | 202;
    note?: string | undefined;
    /** What is written in the same transaction. */
    within?: ((tx: DatabaseTransaction, reported: ReportedOrder) => Promise<void>) | undefined;
    view: (reported: ReportedOrder) => Body;
  },
): Promise<Body> {
  const { report, source, newStatus, note, within, view } = options;
  // A browser sees of an order what an affiliate does.
  const role = request.principal?.role ?? 'affiliate';
  const programId = await callProgram(context, request, report.programId);
  const call = { ...callerOf(request), via: request.call?.via ?? 'api', params: request.call?.params ?? {} };
  const entry: IntakeEntry = { report: ledgerReport(report, { programId, source }), call, note };

  const read = ({ recorded, callId }: IntakeAnswer) => accepted(recorded, { report, callId, role });
  function answer(reported: ReportedOrder): { status: number; body: Body } {
    return { status: isNewOrder({ did: reported.outcome }) ? newStatus : 200, body: view(reported) };
  }
  function noteIfNew({ outcome, conversion }: ReportedOrder): void {
    if (isNewOrder({ did: outcome })) noteNewOrder(request, conversion.id);
  }
  if (claimOf(request) || within) {
    return await commit(context, request, reply, async (tx) => {
      const [recorded] = await recordEntries(tx, { ...context, entries: [entry] });
      assert(recorded, 'every order has an answer');
      const reported = read(recorded);
      await within?.(tx, reported);
      const answered = answer(reported);
      noteIfNew(reported);
      // What is refused leaves nothing in this transaction: its line is written with the answer.
      if (request.call) request.call.logged = true;
      return answered;
    });
  }
  const recorded = await context.intake.submit(entry);
  if (request.call) request.call.logged = true;
  const reported = read(recorded);
  noteIfNew(reported);
  const { status, body } = answer(reported);
  reply.code(status);
  return body;
}

/** The report as recorded. @throws Problem `conflict`, `not_found`, InputError. */
export function accepted(
  recorded: RecordedReport | InputError,
  { report, callId, role }: { report: Pick<ShopReport, 'order'>; callId: bigint; role: Role },
): ReportedOrder {
  if (recorded instanceof InputError) throw recorded;
  if (recorded.outcome === 'not_found') throw new Problem('not_found', { detail: UNKNOWN_ORDER });
  const { outcome, conversion } = recorded;
  if (outcome !== 'conflict') return { status: outcome, outcome: recorded.did, conversion, callId };
  const { differing, detail } = recorded;
  const { order } = report;
  throw new Problem('conflict', {
    detail,
    members: {
      ...(differing && { differing }),
      recorded: formatConversion(conversion, { role }),
      ...(order && {
        reported: {
          order_id: order.orderId,
          ...(order.eventName !== undefined && { event_name: order.eventName }),
          amount: formatMoney(order.amountMinor, order.currency),
          occurred_at: order.occurredAt === undefined ? null : formatTime(order.occurredAt),
          click_id: order.clickId ?? null,
          coupons: [...(order.coupons ?? [])],
          customer_id: order.customerId ?? null,
          ip: order.ip ?? null,
        },
      }),
    },
  });
}
