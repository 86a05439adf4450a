import { expect, test } from 'vitest';
import { whyText } from './why.ts';

const order = {
  state: 'attributed',
  status: 'pending',
  reason: null,
  awaits_shop: false,
  cancelled_at: null,
} as const;

const said = <Code extends string>(code: Code, text: string | null) => ({ code, text, at: '' });

test.each([
  [{ state: 'received' }, 'Not decided yet.'],
  [{ state: 'awaiting_click' }, 'Waits until its click is counted.'],
  [{ state: 'review', reason: 'unusual_traffic' }, 'In review: unusual traffic.'],
  [{ state: 'review', reason: 'needs_review' }, 'In review: a person has to look at it.'],
  [{}, 'In the hold for refunds.'],
  [{ awaits_shop: true }, 'The shop has not approved the order yet.'],
  // The reason of its review stays with an order that was approved, paid and refunded.
  [{ reason: 'unusual_traffic' }, 'In the hold for refunds, approved after a review.'],
  [{ status: 'paid', reason: 'unusual_traffic' }, 'Paid, approved after a review.'],
  [{ state: 'refunded', status: 'rejected', reason: 'unusual_traffic' }, 'The shop refunded the order.'],
  [
    { state: 'partially_refunded', status: 'confirmed' },
    'A part was refunded. Available for the next payout.',
  ],
  [{ status: 'confirmed' }, 'Available for the next payout.'],
  [{ state: 'refunded', cancelled_at: '2026-11-24T00:00:00Z' }, 'The shop cancelled the order.'],
  [{ state: 'rejected', status: 'rejected', reason: 'rejected_by_reviewer' }, 'Rejected by a reviewer.'],
  [{ state: 'rejected', reason: 'rejected_by_reviewer', partner_reason: said('other', 'Spam.') }, 'Spam.'],
  [
    { state: 'review', reason: 'needs_review', partner_reason: said('being_checked', null) },
    'In review. The program is checking the order.',
  ],
  [
    { state: 'refunded', partner_reason: said('returned', 'All of it.') },
    'The shop refunded the order. The customer returned the goods. All of it.',
  ],
  [{ state: 'unattributed', status: 'rejected', reason: 'no_click' }, 'No click was reported.'],
] as const)('%j: %s', (given, text) => {
  expect(whyText({ ...order, ...given })).toBe(text);
});
