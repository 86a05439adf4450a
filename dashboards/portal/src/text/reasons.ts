import type { Schemas } from '../data/api.ts';
import { words } from './format.ts';

/** The reason of a decision in a few words; `whyText` says whether it still counts. */

type Reason = NonNullable<Schemas['Conversion']['reason']>;

const REASONS: Readonly<Record<Reason, string>> = {
  self_referral: 'The customer is the partner',
  affiliate_not_active: 'The partner was not active',
  bot_click: 'The click came from a bot',
  forced_click: 'A page loaded the link without a click',
  high_conversion_rate_from_ip: 'Too many orders from one address',
  instant_conversion: 'Ordered too soon after the click',
  click_velocity_ip: 'Too many clicks from one address',
  click_velocity_subnet: 'Too many clicks from one network',
  click_velocity_fingerprint: 'Too many clicks from one browser',
  geo_mismatch: 'Click and order come from different countries',
  data_centre: 'The click came from a data centre network',
  repeat_orders: 'Too many orders of one customer',
  coupon_without_click: 'Too many orders with one code and no click',
  fast_conversions: 'Too many orders shortly after the click',
  fingerprint_match: 'Matched by browser fingerprint, without a click ID',
  first_order_in_review: 'The first order of the subscription is in review',
  several_affiliates: 'Clicks or codes of several partners match',
  invalid_click: 'The click is not valid',
  no_click: 'No click was reported',
  invalid_click_id: 'The click ID is invalid',
  click_not_found: 'The click was not found',
  click_of_other_program: 'The click belongs to another program',
  click_after_order: 'The click is later than the order',
  unknown_coupon: 'No click, and no code of a partner',
  coupon_not_valid: 'The coupon code was not valid',
  subscription_ended: 'The months of the subscription are over',
  outside_window: 'The order is outside the attribution window',
  no_terms: 'No terms were in force',
  customer_not_eligible: 'No commission for this kind of customer',
  rejected_by_reviewer: 'Rejected by a reviewer',
  unusual_traffic: 'Unusual traffic',
  needs_review: 'A person has to look at it',
};

export function reasonText(reason: Reason): string {
  return REASONS[reason] ?? words(reason);
}
