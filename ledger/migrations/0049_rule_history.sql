-- Fraud rules that compare an order with those before it, and their reasons.
alter table conversions drop constraint conversions_reason_check;
alter table conversions add constraint conversions_reason_check check (reason in (
  'self_referral', 'affiliate_not_active', 'bot_click', 'forced_click', 'high_conversion_rate_from_ip',
  'instant_conversion', 'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch',
  'data_centre', 'repeat_orders', 'coupon_without_click', 'fast_conversions', 'repeat_payment_account',
  'shared_payout_account', 'leaked_coupon', 'forced_clicks_share', 'regular_click_to_order', 'conversion_rate',
  'anomaly', 'fingerprint_match', 'first_order_in_review', 'several_affiliates', 'blocked_click', 'invalid_click', 'no_click',
  'invalid_click_id', 'click_not_found', 'click_of_other_program', 'click_after_order', 'outside_window',
  'unknown_coupon', 'coupon_not_valid', 'subscription_ended', 'no_terms', 'customer_not_eligible',
  'rejected_by_reviewer'
));

-- The orders that one account paid.
create index on conversions (program_id, payment_account_hash, received_at) where payment_account_hash is not null;
-- What an affiliate's orders were like before, counted without reading the orders themselves.
create index conversions_of_affiliate on conversions (affiliate_id, received_at)
  where affiliate_id is not null and recurring_of is null and source <> 'import';
-- Who has sold by the valid clicks of a campaign in a time, each click once.
create index conversions_by_click on conversions (campaign_id, click_ts, click_node, click_seq)
  include (affiliate_id, received_at)
  where click_node is not null and affiliate_id is not null and recurring_of is null and source <> 'import'
    and reason is distinct from 'bot_click' and reason is distinct from 'forced_click';
-- Affiliates that are paid to one account.
create index on payout_methods (account_hash) where account_hash is not null;
