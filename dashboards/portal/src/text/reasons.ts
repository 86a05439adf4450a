import type { Schemas } from '../data/api.ts';
import { words } from './format.ts';

/** Why a conversion was decided so, in a few words. */

type Reason = NonNullable<Schemas['Conversion']['reason']>;

const REASONS: Readonly<Record<Reason, string>> = {
  self_referral: 'The customer is the partner',
  affiliate_not_active: 'The partner was not active',
  bot_click: 'The click is a robot’s',
  high_conversion_rate_from_ip: 'Too many orders from one address',
  instant_conversion: 'Ordered too soon after the click',
  click_velocity_ip: 'Too many clicks from one address',
  click_velocity_subnet: 'Too many clicks from one network',
  click_velocity_fingerprint: 'Too many clicks from one browser',
  geo_mismatch: 'Click and order come from different countries',
  data_centre: 'The click came from a data centre, not from a visitor’s own network',
  repeat_orders: 'The same customer again and again',
  fast_conversions: 'Orders come too fast',
  fingerprint_match: 'Matched by the browser, not by a click id',
  first_order_in_review: 'The first order of the subscription is in review',
  several_affiliates: 'Clicks of several partners fit',
  invalid_click: 'The click does not count',
  no_click: 'No click was reported',
  invalid_click_id: 'The click id is not one of ours',
  click_not_found: 'There is no such click',
  click_of_other_program: 'The click is another programme’s',
  click_after_order: 'The click is younger than the order',
  outside_window: 'The order came too long after the click',
  no_terms: 'No terms were in force',
  rejected_by_reviewer: 'Rejected by a reviewer',
  unusual_traffic: 'Unusual traffic, being looked at',
  needs_review: 'Waits for a person to look at it',
};

export function reasonText(reason: Reason): string {
  return REASONS[reason] ?? words(reason);
}
