-- A fraud rule more: clicks that a page forced.
alter table conversions drop constraint conversions_reason_check;
alter table conversions add constraint conversions_reason_check check (reason in (
  'self_referral', 'affiliate_not_active', 'bot_click', 'forced_click', 'high_conversion_rate_from_ip',
  'instant_conversion', 'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch',
  'data_centre', 'repeat_orders', 'fast_conversions', 'fingerprint_match', 'first_order_in_review',
  'several_affiliates', 'invalid_click', 'no_click', 'invalid_click_id', 'click_not_found', 'click_of_other_program',
  'click_after_order', 'outside_window', 'no_terms', 'rejected_by_reviewer'
));
