import type { Schemas } from '../data/api.ts';
import { reasonText } from './reasons.ts';
import { t } from './t.ts';

type Order = Pick<Schemas['Conversion'], 'state' | 'status' | 'reason' | 'awaits_shop' | 'cancelled_at'>;

/** Why an order is where it is, in a sentence about now: the reason of a decision stays with it and may be of the past. */
export function whyText(order: Order): string {
  const { state, reason, cancelled_at } = order;
  if (cancelled_at !== null) return t('why.the_shop_cancelled_the_order');
  switch (state) {
    case 'received':
      return t('why.not_decided_yet');
    case 'awaiting_click':
      return t('why.waits_until_its_click_is');
    case 'review':
      return t('why.in_review', { reason: reasonText(reason ?? 'needs_review').toLowerCase() });
    case 'rejected':
    case 'unattributed':
      return reason === null ? t('why.credited_to_no_partner') : sentence(reason);
    case 'refunded':
      return t('why.the_shop_refunded_the_order');
    case 'partially_refunded':
      return t('why.part_refunded', { rest: creditedText(order) });
    case 'attributed':
      return creditedText(order);
  }
}

function creditedText({ status, reason, awaits_shop }: Order): string {
  if (awaits_shop) return t('why.the_shop_has_not_approved');
  const isReviewed = reason !== null;
  switch (status) {
    case 'pending':
      return isReviewed ? t('why.in_hold_after_review') : t('why.in_hold');
    case 'confirmed':
      return isReviewed ? t('why.available_after_review') : t('why.available');
    case 'paid':
      return isReviewed ? t('why.paid_after_review') : t('why.paid');
    case 'rejected':
      return t('why.the_commission_was_taken_back');
  }
}

function sentence(reason: NonNullable<Order['reason']>): string {
  return `${reasonText(reason)}.`;
}
