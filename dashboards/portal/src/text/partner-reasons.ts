import type { Schemas } from '../data/api.ts';
import { t } from './t.ts';

/** What a program says to the partner about an order: by a code, and in the reviewer's own words. */

export type PartnerReason = NonNullable<Schemas['PartnerReason']>;
type Code = PartnerReason['code'];

const CODES: readonly Code[] = [
  'being_checked',
  'cancelled_by_customer',
  'returned',
  'not_paid',
  'test_order',
  'duplicate_order',
  'own_order',
  'not_a_new_customer',
  'against_conditions',
  'unusual_traffic',
  'other',
];

/** To choose from. */
export const REASON_CHOICES = CODES.map((value) => ({ value, text: t(`partnerReason.${value}`) }));

/** Of "other" the reviewer's words say it alone. */
export function partnerReasonText({ code, text }: Pick<PartnerReason, 'code' | 'text'>): string {
  const said = code === 'other' && text !== null ? null : t(`partnerReason.${code}`);
  return [said, text].filter((part) => part !== null).join(' ');
}
