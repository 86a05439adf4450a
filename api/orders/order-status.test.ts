import { expect, test } from 'vitest';
import { parseOrderStatus } from './order-status.ts';

test.each([
  [
    'approved',
    ['approved', 'Paid', ' completed ', 'wc-completed', 'orders/paid', 'payment.succeeded', 'CONFIRMED'],
  ],
  [
    'pending',
    [
      'pending',
      'on-hold',
      'wc-pending',
      'Awaiting Payment',
      'payment_pending'.split('_').toReversed().join(' '),
    ],
  ],
  ['changed', ['changed', 'orders/updated', 'order.updated', 'adjustment']],
  ['refunded', ['refunded', 'REFUND', 'charge.refunded', 'refund.created', 'order_refunded']],
  ['partially_refunded', ['partially_refunded', 'partially-refunded', 'partial refund']],
  ['charged_back', ['chargeback', 'charge-back', 'charged back', 'charge.dispute.created', 'disputed']],
  ['cancelled', ['cancelled', 'canceled', 'CANCEL', 'void', 'voided', 'orders/cancelled', 'wc-cancelled']],
  ['rejected', ['rejected', 'declined', 'failed', 'wc-failed', 'fraud']],
  ['restored', ['restored', 'reinstated', 'dispute.won', 'refund_failed', 'refund.cancelled']],
  ['order', ['sale', 'Purchase', 'order', 'conversion']],
] as const)('%s in the spellings of shops', (status, words) => {
  expect(words.map((word) => [word, parseOrderStatus(word)])).toEqual(words.map((word) => [word, status]));
});

test.each(['', 'lead', 'wc-', 'order.', 'constructor', '__proto__', 'cancelled!', '1', 'not cancelled'])(
  '%j is no status',
  (word) => {
    expect(parseOrderStatus(word)).toBeUndefined();
  },
);
