import type { Schemas } from '../data/api.ts';
import { partnerReasonText } from './partner-reasons.ts';
import { reasonText } from './reasons.ts';

type Order = Pick<Schemas['Conversion'], 'state' | 'status' | 'reason' | 'awaits_shop' | 'cancelled_at'> & {
  readonly partner_reason?: Schemas['PartnerReason'];
};

/** Why an order is where it is, in a sentence about now: the reason of a decision stays with it and may be of the past. */
export function whyText(order: Order): string {
  const { state, partner_reason: said } = order;
  if (!said) return ownText(order);
  const text = partnerReasonText(said);
  switch (state) {
    case 'review':
      return `In review. ${text}`;
    // What the program says stands for what it did.
    case 'rejected':
      return text;
    default:
      return `${ownText(order)} ${text}`;
  }
}

function ownText(order: Order): string {
  const { state, reason, cancelled_at } = order;
  if (cancelled_at !== null) return 'The shop cancelled the order.';
  switch (state) {
    case 'received':
      return 'Not decided yet.';
    case 'awaiting_click':
      return 'Waits until its click is counted.';
    case 'review':
      return `In review: ${sentence(reason ?? 'needs_review').toLowerCase()}`;
    case 'rejected':
    case 'unattributed':
      return reason === null ? 'Credited to no partner.' : sentence(reason);
    case 'refunded':
      return 'The shop refunded the order.';
    case 'partially_refunded':
      return `A part was refunded. ${creditedText(order)}`;
    case 'attributed':
      return creditedText(order);
  }
}

function creditedText({ status, reason, awaits_shop }: Order): string {
  if (awaits_shop) return 'The shop has not approved the order yet.';
  const afterReview = reason === null ? '' : ', approved after a review';
  switch (status) {
    case 'pending':
      return `In the hold for refunds${afterReview}.`;
    case 'confirmed':
      return `Available for the next payout${afterReview}.`;
    case 'paid':
      return `Paid${afterReview}.`;
    case 'rejected':
      return 'The commission was taken back.';
  }
}

function sentence(reason: NonNullable<Order['reason']>): string {
  return `${reasonText(reason)}.`;
}
