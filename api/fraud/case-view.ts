import { z } from 'zod';
import {
  type CaseOrder,
  listCaseOrders,
  MAX_CASE_ORDERS,
  MAX_COMPARED,
  type RelatedOrder,
  SHARED_KINDS,
  sharedInCase,
} from '../../ledger/cases/case-orders.ts';
import { CASE_ACTS, CASE_STATES, type Case, getCase, listCaseNotes } from '../../ledger/cases/cases.ts';
import { SUBJECT_KINDS } from '../../ledger/cases/subjects.ts';
import { CONVERSION_REASONS, CONVERSION_STATES } from '../../ledger/conversions/conversions.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { inProgram, type Principal } from '../http/principal.ts';
import { bigintId, formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import {
  formatMoney,
  formatOptionalTime,
  formatTime,
  moneyText,
  plain,
  timeText,
} from '../schemas/schemas.ts';

/** Cases in answers: for operators and the fraud team, who see the evidence of orders. */

export const WHAT_CASE = 'case with this id';
/** Longest value that a case can begin with. */
const MAX_SUBJECT_LENGTH = 200;
/** Notes of a case that are shown: the latest. */
const MAX_NOTES = 500;

export const conversionIds = z.array(bigintId('conversion')).max(MAX_CASE_ORDERS);

export const subjectInput = z
  .strictObject({ kind: z.enum(SUBJECT_KINDS), value: plain(MAX_SUBJECT_LENGTH) })
  .meta({
    description:
      'What the case began with, as the explorer names it: ip: an address; subnet: a network, /24 of IPv4 and /64 of IPv6; asn: AS680; fingerprint: a number; affiliate, link: an id; customer: the id at the shop, or an e-mail address, of which the hash is kept; account: the payout account of the affiliate with this id.',
    examples: [{ kind: 'ip', value: '203.0.113.7' }],
  });

export const caseView = z
  .object({
    id: idText('case'),
    program_id: idText('program'),
    title: z.string(),
    state: z.enum(CASE_STATES).meta({
      description: 'decided: none of its orders was in review any more after a decision. closed: by hand.',
    }),
    subject: z.object({ kind: z.enum(SUBJECT_KINDS), value: z.string() }).nullable(),
    assigned_to: idText('user').nullable(),
    opened_by: z.string().meta({ description: 'As the audit log names them.' }),
    opened_at: timeText,
    ended_at: timeText.nullable(),
    orders: z.int(),
    in_review: z.int().meta({ description: 'Its orders that wait for a reviewer.' }),
    in_review_amount: moneyText.meta({ description: 'What these come to.' }),
  })
  .meta({ id: 'Case' });

const noteView = z.object({
  act: z.enum(CASE_ACTS),
  author: z.string().meta({ description: 'As the audit log names them.' }),
  text: z.string(),
  approved: z.int().nullable().meta({ description: 'Orders of a decision; null for all else.' }),
  rejected: z.int().nullable(),
  at: timeText,
});

const orderView = z.object({
  conversion_id: idText('conversion'),
  order_id: z.string(),
  event_name: z.string(),
  state: z.enum(CONVERSION_STATES),
  reason: z.enum(CONVERSION_REASONS).nullable(),
  affiliate_id: idText('affiliate').nullable(),
  link_id: idText('link').nullable(),
  amount: moneyText,
  refunded: moneyText,
  commission: moneyText.meta({ description: 'What all levels have by it, held or not.' }),
  occurred_at: timeText,
  clicked_at: timeText.nullable(),
  ip: z.string().nullable().meta({ description: 'Of the customer.' }),
  click_ip: z.string().nullable(),
  fingerprint: z
    .string()
    .nullable()
    .meta({ description: 'As the shop sent it with the order; that of the click is not known here.' }),
  customer_id: z.string().nullable(),
  recurring_of: idText('conversion').nullable().meta({
    description: 'The first order of its subscription, with which it is decided unless it is named itself.',
  }),
  added_at: timeText,
  decided_as: z
    .enum(['approved', 'rejected'])
    .nullable()
    .meta({ description: 'By a decision of this case.' }),
});

export const sharedKind = z.enum(SHARED_KINDS).meta({
  description:
    'ip: an address that is known whole; subnet: its network, /24 of IPv4 and /64 of IPv6, of shortened ones /48; fingerprint: the one that the shop sent with the order.',
});

const sharedView = z.object({
  kind: sharedKind,
  value: z.string().meta({ description: 'Of accounts the beginning of a hash.' }),
  orders: z.int(),
  affiliates: z.int(),
});

export const caseDetailsView = caseView
  .extend({
    case_orders: z.array(orderView).meta({ description: 'The one that was recorded first comes first.' }),
    shared: z
      .array(sharedView)
      .meta({ description: 'What at least two of its orders have in common, 20 values of a kind at most.' }),
    notes: z.array(noteView).meta({ description: `The latest ${MAX_NOTES}, the first one first.` }),
  })
  .meta({ id: 'CaseDetails' });

export const caseOpenedView = caseDetailsView
  .extend({
    has_more: z.boolean().meta({ description: 'Of `related` there are orders that are not in it.' }),
  })
  .meta({ id: 'CaseOpened' });

export type CaseDetails = z.output<typeof caseDetailsView>;

export const relatedView = z.object({
  data: z.array(
    z.object({
      conversion_id: idText('conversion'),
      order_id: z.string(),
      reason: z.enum(CONVERSION_REASONS).nullable(),
      affiliate_id: idText('affiliate').nullable(),
      amount: moneyText,
      shared: z.array(sharedKind),
    }),
  ),
  has_more: z.boolean().meta({
    description: `There are more than a case holds, or more in review than the ${MAX_COMPARED} latest, which are looked at.`,
  }),
});

export function formatCase(found: Case): z.output<typeof caseView> {
  return {
    id: formatId('case', found.id),
    program_id: formatId('program', found.programId),
    title: found.title,
    state: found.state,
    subject: found.subject && { ...found.subject },
    assigned_to: formatOptionalId('user', found.assignedTo),
    opened_by: found.openedBy,
    opened_at: formatTime(found.openedAt),
    ended_at: formatOptionalTime(found.endedAt),
    orders: found.orders,
    in_review: found.inReview,
    in_review_amount: formatMoney(found.inReviewMinor, found.currency),
  };
}

function formatOrder(order: CaseOrder): z.output<typeof orderView> {
  const { currency } = order;
  return {
    conversion_id: formatId('conversion', order.conversionId),
    order_id: order.orderId,
    event_name: order.eventName,
    state: order.state,
    reason: order.reason,
    affiliate_id: formatOptionalId('affiliate', order.affiliateId),
    link_id: formatOptionalId('link', order.linkId),
    amount: formatMoney(order.amountMinor, currency),
    refunded: formatMoney(order.refundedMinor, currency),
    commission: formatMoney(order.commissionMinor, currency),
    occurred_at: formatTime(order.occurredAt),
    clicked_at: formatOptionalTime(order.clickTs),
    ip: order.ip,
    click_ip: order.clickIp,
    fingerprint: order.fingerprint,
    customer_id: order.customerId,
    recurring_of: formatOptionalId('conversion', order.recurringOf),
    added_at: formatTime(order.addedAt),
    decided_as: order.decidedAs,
  };
}

export function formatRelated(order: RelatedOrder): z.output<typeof relatedView>['data'][number] {
  return {
    conversion_id: formatId('conversion', order.conversionId),
    order_id: order.orderId,
    reason: order.reason,
    affiliate_id: formatOptionalId('affiliate', order.affiliateId),
    amount: formatMoney(order.amountMinor, order.currency),
    shared: [...order.shared],
  };
}

/** A case with all that belongs to it. @throws Problem `not_found`. */
export async function readCase(sql: DatabaseSql, principal: Principal, id: number): Promise<CaseDetails> {
  const found = inProgram(principal, await getCase(sql, id), WHAT_CASE);
  const notes = await listCaseNotes(sql, { caseId: id, limit: MAX_NOTES });
  return {
    ...formatCase(found),
    case_orders: (await listCaseOrders(sql, id)).map(formatOrder),
    shared: (await sharedInCase(sql, id)).map((one) => ({ ...one })),
    notes: notes.map(({ at, id: _, ...note }) => ({ ...note, at: formatTime(at) })),
  };
}
