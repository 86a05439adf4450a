import type { Schemas } from '../data/api.ts';

/** What a program says to the partner about an order: by a code, and in the reviewer's own words. */

export type PartnerReason = NonNullable<Schemas['PartnerReason']>;

const REASONS: Readonly<Record<PartnerReason['code'], string>> = {
  being_checked: 'The program is checking the order.',
  cancelled_by_customer: 'The customer cancelled the order.',
  returned: 'The customer returned the goods.',
  not_paid: 'The order was not paid.',
  test_order: 'It was a test order.',
  duplicate_order: 'The order was reported twice.',
  own_order: 'It was an order of the partner.',
  not_a_new_customer: 'The customer had ordered before.',
  against_conditions: 'It came about against the conditions of participation.',
  unusual_traffic: 'The traffic that led to it was unusual.',
  other: '',
};

/** To choose from; the words of "other" are the reviewer's own. */
export const REASON_CHOICES = Object.entries(REASONS).map(([value, text]) => ({
  value,
  text: text === '' ? 'Another reason' : text,
}));

export function partnerReasonText({ code, text }: Pick<PartnerReason, 'code' | 'text'>): string {
  return [REASONS[code], text].filter(Boolean).join(' ');
}
