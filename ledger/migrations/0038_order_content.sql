-- What an order is of (its event), what it contains (its items) and who bought, and what each of them earns.

alter table programs
  -- What orders of the program may be of; an order that names none is a sale.
  add column events text[] not null default '{sale}' constraint programs_events check (
    'sale' = any (events) and cardinality(events) <= 20 and array_position(events, null) is null
    and array_to_string(events, ' ') ~ '^[a-z][a-z0-9_]{0,39}( [a-z][a-z0-9_]{0,39})*$'
  ),
  -- What of an order's items earns.
  add column commission_base text not null default 'order_amount'
    check (commission_base in ('order_amount', 'net_of_tax', 'net_of_tax_and_shipping'));
grant update (events, commission_base) on programs to afflux_app;

alter table conversions
  add column event_name text not null default 'sale' check (event_name ~ '^[a-z][a-z0-9_]{0,39}$'),
  -- As the shop reported it.
  add column customer_status text check (customer_status in ('new', 'returning')),
  -- One column instead of a table: an order and its items are written once, read whole, and most orders have none.
  add column items jsonb check (jsonb_typeof(items) = 'array'),
  -- By which customer rate and on what it earns; written with the decision.
  add column customer_kind text check (customer_kind in ('new', 'returning', 'renewal')),
  add column commission_base text check (commission_base in ('order_amount', 'net_of_tax', 'net_of_tax_and_shipping')),
  drop constraint conversions_order_once,
  add constraint conversions_order_once unique (program_id, order_id, event_name),
  drop constraint conversions_reason_check,
  add constraint conversions_reason_check check (reason in (
    'self_referral', 'affiliate_not_active', 'bot_click', 'forced_click', 'high_conversion_rate_from_ip',
    'instant_conversion', 'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch',
    'data_centre', 'repeat_orders', 'coupon_without_click', 'fast_conversions', 'fingerprint_match',
    'first_order_in_review', 'several_affiliates', 'invalid_click', 'no_click', 'invalid_click_id', 'click_not_found',
    'click_of_other_program', 'click_after_order', 'outside_window', 'unknown_coupon', 'coupon_not_valid',
    'subscription_ended', 'no_terms', 'customer_not_eligible', 'rejected_by_reviewer'
  ));
grant update (customer_kind, commission_base) on conversions to afflux_app;

drop view conversions_with_status;
create view conversions_with_status as
  select c.*, conversion_status(c.state, (
    select m.state from commissions m where m.conversion_id = c.id and m.level = 1
    order by array_position(
      array['held', 'pending', 'available', 'in_payout', 'paid', 'rejected', 'reversed'], m.state) limit 1
  )) as status
  from conversions c;
grant select on conversions_with_status to afflux_app;

-- Every rate within JSON.
create function rates_in(jsonb) returns integer[] language sql immutable strict parallel safe as $$
  select coalesce(array_agg((rate #>> '{}')::integer), '{}') from jsonb_path_query($1, 'strict $.**.rateBps') as rate
$$;
-- The largest fixed amount within JSON.
create function max_fixed_in(jsonb) returns bigint language sql immutable strict parallel safe as $$
  select max((amount #>> '{}')::bigint) from jsonb_path_query($1, 'strict $.**.fixedMinor') as amount
$$;
-- GiST compares ranges without an extension: a range of one text stands for equality.
create type text_range as range (subtype = text, collation = "C");

alter table terms
  -- Null: every event that has no terms of its own.
  add column event_name text check (event_name ~ '^[a-z][a-z0-9_]{0,39}$'),
  -- Instead of the rate and the fixed amount: {"new": {"rateBps": 2000}, "returning": {"fixedMinor": "100"}, "renewal": …}.
  add column customer_rates jsonb not null default '{}',
  -- Of items, the more specific first: [{"by": "sku", "name": "A-1", "rateBps": 0}, …].
  add column item_rates jsonb not null default '[]',
  add constraint terms_special_rates check (
    jsonb_typeof(customer_rates) = 'object' and jsonb_typeof(item_rates) = 'array' and jsonb_array_length(item_rates) <= 500
    and 0 <= all (rates_in(customer_rates)) and 0 <= all (rates_in(item_rates))
    and (commission_type <> 'percent' or max_fixed_in(customer_rates) is null)
    and (commission_type <> 'fixed'
      or coalesce(greatest(max_of(rates_in(customer_rates)), max_of(rates_in(item_rates))), 0) = 0)
  ),
  drop constraint terms_rates_within_order,
  add constraint terms_rates_within_order check (
    greatest(rate_bps, max_of(tier_rates_bps), max_of(rates_in(customer_rates)), max_of(rates_in(item_rates)))
      + sum_of(level_rates_bps) <= 10000
  ),
  drop constraint terms_no_overlap,
  add constraint terms_no_overlap exclude using gist (
    int4range(program_id, program_id, '[]') with =,
    int4range(coalesce(campaign_id, 0), coalesce(campaign_id, 0), '[]') with =,
    int4range(coalesce(affiliate_id, 0), coalesce(affiliate_id, 0), '[]') with =,
    text_range(coalesce(event_name, ''), coalesce(event_name, ''), '[]') with =,
    validity with &&
  );

-- What of a commission is earned by each item of its order, so that a refund of an item takes back what that earned. Null: the
-- order had no items when it was decided, or the commission is a further part.
alter table commissions
  add column item_minor bigint[] check (array_position(item_minor, null) is null and 0 <= all (item_minor));

-- What was refunded of each item: [{"item": 0, "quantity": 1, "amount": "500"}], in minor units of the order's currency.
alter table refunds add column items jsonb check (jsonb_typeof(items) = 'array');
