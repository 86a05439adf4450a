/**
 * What shops, carts and trackers send as the status of an order, in one table. A word that is not here is refused by
 * name: a report that was meant to take an order back must not count as a sale.
 */

const SPELLINGS = {
  /** The report of an order, which says nothing further. */
  order: 'order sale purchase conversion transaction checkout placed',
  pending: `pending hold on_hold held unconfirmed unpaid authorized authorised awaiting_payment pending_payment
    payment_review waiting`,
  approved: `approved approve accepted confirmed confirm valid validated paid payment_received captured settled processing
    processed complete completed success successful succeeded ok shipped fulfilled delivered`,
  changed:
    'changed change updated update adjusted adjustment adjust amended edited modified corrected correction',
  refunded: 'refunded refund refund_created fully_refunded full_refund',
  partially_refunded: 'partially_refunded partial_refund',
  charged_back: `charged_back chargedback chargeback charge_back disputed dispute dispute_created dispute_opened
    dispute_lost`,
  cancelled:
    'cancelled canceled cancel cancellation void voided reversed reversal expired abandoned deleted trash',
  rejected: `rejected reject declined decline denied deny failed failure payment_failed invalid invalidated disapproved
    fraud fraudulent`,
  restored: `restored restore reinstated reinstate reopened reactivated uncancelled uncanceled dispute_won chargeback_won
    chargeback_reversed refund_failed refund_cancelled refund_canceled refund_reversed`,
} as const;

/** Names under which shops say what a report means. */
export const STATUS_FIELDS = ['status', 'event', 'type'] as const;

/** What a status means. */
export type OrderStatus = keyof typeof SPELLINGS;

/** Words for what happened to an order cannot name an event: a cancelled order would be reported as a sale of that name. */
export function isTakenBack(word: string): boolean {
  const status = parseOrderStatus(word);
  return status !== undefined && status !== 'order' && status !== 'approved';
}

export const ORDER_STATUSES = Object.keys(SPELLINGS) as readonly OrderStatus[];

const STATUS_BY_WORD = new Map(
  ORDER_STATUSES.flatMap((status) => SPELLINGS[status].split(/\s+/).map((word) => [word, status] as const)),
);

/** The subject that webhooks and carts put before the status: `order.refunded`, `orders/paid`, `wc-cancelled`. */
const SUBJECT = /^(?:orders?|sale|payment|charge|conversion|transaction|wc)_(?=.)/;

/** The status that a word means, in any case and with any separator; undefined for a word that is not known. */
export function parseOrderStatus(word: string): OrderStatus | undefined {
  const plain = word
    .trim()
    .toLowerCase()
    .replace(/[\s./:-]+/g, '_');
  return STATUS_BY_WORD.get(plain) ?? STATUS_BY_WORD.get(plain.replace(SUBJECT, ''));
}
