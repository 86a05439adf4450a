-- Exchange rates, conversions with the decision of attribution, and refunds.

create table rates (
  id integer generated always as identity primary key,
  base text not null check (base ~ '^[A-Z]{3}$'),
  quote text not null check (quote ~ '^[A-Z]{3}$'),
  -- One whole unit of base is worth so many whole units of quote.
  rate numeric not null check (rate > 0 and rate < 1e12 and scale(rate) <= 12),
  source text not null check (length(source) between 1 and 200),
  valid_from timestamptz not null,
  -- Null: until there is a later one. A feed that has stopped must not price orders for ever.
  valid_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  constraint rates_once unique (base, quote, valid_from),
  constraint rates_currencies check (base <> quote),
  constraint rates_span check (valid_until > valid_from)
);
create index on rates (quote, valid_from);
create trigger append_only before update or delete on rates for each row execute function refuse_change();
create trigger no_truncate before truncate on rates for each statement execute function refuse_change();
grant select, insert on rates to afflux_app;

create table conversions (
  id bigint generated always as identity primary key,
  program_id integer not null,
  currency text not null,
  order_id text not null check (length(order_id) between 1 and 200),
  amount_minor bigint not null check (amount_minor between 0 and 1000000000000),
  refunded_minor bigint not null default 0,
  -- SHA-256 of what the shop reported: tells a repeated report from a contradicting one.
  payload_hash bytea not null check (length(payload_hash) = 32),
  state text not null default 'received',
  reason text check (reason in (
    'self_referral', 'affiliate_not_active', 'bot_click', 'high_conversion_rate_from_ip', 'instant_conversion',
    'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch', 'data_centre',
    'repeat_orders', 'fast_conversions', 'fingerprint_match', 'first_order_in_review', 'several_affiliates',
    'invalid_click', 'no_click', 'invalid_click_id', 'click_not_found', 'click_of_other_program', 'click_after_order',
    'outside_window', 'no_terms', 'rejected_by_reviewer'
  )),
  source text not null check (source in ('api', 'postback', 'pixel', 'import')),
  occurred_at timestamptz not null,
  received_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  click_id text check (length(click_id) between 1 and 200),
  click_ts timestamptz,
  click_node integer check (click_node between 0 and 65535),
  click_seq bigint check (click_seq between 0 and 4294967295),
  click_ip inet,
  campaign_id integer,
  affiliate_id integer,
  link_id integer,
  terms_id integer references terms,
  -- json, not jsonb: kept as it was written, and parsed whole.
  evidence json,
  customer_id text check (length(customer_id) between 1 and 200),
  customer_email_hash bytea check (length(customer_email_hash) = 32),
  ip inet,
  user_agent text check (length(user_agent) <= 4096),
  -- 64 unsigned bits, kept in a signed column.
  fingerprint bigint,
  attempts integer not null default 0,
  -- Null: no further attempt.
  next_attempt_at timestamptz default clock_timestamp(),
  claimed_until timestamptz,
  -- SHA-256 of the account the order was paid from, without its spaces and in lower case.
  payment_account_hash bytea check (length(payment_account_hash) = 32),
  -- The first order of the subscription by which this one is credited.
  recurring_of bigint references conversions,
  -- As the shop reported it; null: in the program's currency, so that amount_minor is what it reported.
  order_currency text,
  order_amount_minor bigint check (order_amount_minor between 0 and 1000000000000),
  rate_id integer constraint conversions_rate_known references rates,
  -- By way of a third currency: rate_id says what one of it is in the order's currency, this one in the program's.
  cross_rate_id integer constraint conversions_cross_rate_known references rates,
  constraint conversions_order_once unique (program_id, order_id),
  constraint conversions_program_known foreign key (program_id, currency) references programs (id, currency),
  foreign key (program_id, campaign_id) references campaigns (program_id, id),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  foreign key (program_id, link_id) references links (program_id, id),
  constraint conversions_refunded_within_amount check (refunded_minor between 0 and amount_minor),
  constraint conversions_credited check (
    state not in ('attributed', 'review', 'partially_refunded', 'refunded')
    or (affiliate_id is not null and campaign_id is not null and link_id is not null
        and terms_id is not null and click_ts is not null)
  ),
  constraint conversions_reasoned check (state not in ('rejected', 'review', 'unattributed') or reason is not null),
  constraint conversions_refund_state check (
    case state
      when 'partially_refunded' then refunded_minor > 0 and refunded_minor < amount_minor
      when 'refunded' then refunded_minor = amount_minor
      else true
    end
  ),
  constraint conversions_exchanged check (
    num_nonnulls(order_currency, order_amount_minor, rate_id) in (0, 3)
    and (cross_rate_id is null or rate_id is not null) and order_currency is distinct from currency
  )
);
create index conversions_due on conversions (next_attempt_at, id) where next_attempt_at is not null;
create index on conversions (program_id, click_ip, received_at) where click_ip is not null;
create index on conversions (program_id, customer_id, received_at) where customer_id is not null;
create index on conversions (affiliate_id, id) where affiliate_id is not null;
create index on conversions (program_id, state, id);
-- Orders are written nearly in the order of their time: a few pages of index find the days.
create index conversions_by_time on conversions using brin (occurred_at);
-- Later orders of a subscription are decided with the first one.
create index conversions_renewals_in_review on conversions (recurring_of, id) where state = 'review' and recurring_of is not null;

insert into transitions (entity, from_state, to_state)
select 'conversions', from_state, unnest(to_states) from (values
  ('new', array['received']),
  ('received', array['awaiting_click', 'attributed', 'unattributed', 'review', 'rejected']),
  ('awaiting_click', array['attributed', 'unattributed', 'review', 'rejected']),
  ('unattributed', array['attributed', 'review', 'rejected']),
  ('review', array['attributed', 'rejected', 'refunded']),
  ('attributed', array['partially_refunded', 'refunded']),
  ('partially_refunded', array['refunded'])
) as allowed (from_state, to_states);
create trigger first_state after insert on conversions referencing new table as new_rows
  for each statement execute function check_first_states();
create trigger transition after update on conversions referencing old table as old_rows new table as new_rows
  for each statement execute function check_state_changes();
-- The books refer to conversions without foreign keys (0008).
create trigger stays before delete on conversions for each row execute function refuse_change();

grant select, insert, update (state, reason, refunded_minor, decided_at, click_ts, click_node, click_seq, click_ip,
  campaign_id, affiliate_id, link_id, terms_id, evidence, attempts, next_attempt_at, claimed_until, recurring_of)
  on conversions to afflux_app;

-- The amount is what the rates make of the reported one, to half a unit, by rates in force at the time of the order.
create function check_exchange() returns trigger language plpgsql as $$
declare
  given rates;
  crossing rates;
  factor numeric;
  divisor numeric;
begin
  select * into given from rates where id = new.rate_id;
  if new.cross_rate_id is not null then
    select * into crossing from rates where id = new.cross_rate_id;
    if crossing.base = given.base and given.quote = new.order_currency and crossing.quote = new.currency
      and crossing.valid_from <= new.occurred_at and new.occurred_at < coalesce(crossing.valid_until, 'infinity') then
      factor := crossing.rate;
      divisor := given.rate;
    end if;
  elsif given.base = new.order_currency and given.quote = new.currency then
    factor := given.rate;
    divisor := 1;
  elsif given.base = new.currency and given.quote = new.order_currency then
    factor := 1;
    divisor := given.rate;
  end if;
  if factor is null or given.valid_from > new.occurred_at or new.occurred_at >= coalesce(given.valid_until, 'infinity')
    or abs(in_major_units(new.amount_minor, new.currency) * divisor
        - in_major_units(new.order_amount_minor, new.order_currency) * factor)
      > in_major_units(1, new.currency) * divisor / 2 then
    raise exception 'the amount of order % is not what its rate makes of it', new.order_id
      using errcode = 'check_violation', constraint = 'conversions_exchange';
  end if;
  return null;
end $$;
create trigger exchange after insert on conversions for each row when (new.rate_id is not null)
  execute function check_exchange();

create table refunds (
  id bigint generated always as identity primary key,
  conversion_id bigint not null references conversions,
  refund_ref text not null check (length(refund_ref) between 1 and 200),
  amount_minor bigint not null check (amount_minor >= 0),
  received_at timestamptz not null default clock_timestamp(),
  -- In the order's currency, where that is not the program's; then its amount may round to nothing.
  order_amount_minor bigint,
  constraint refunds_ref_once unique (conversion_id, refund_ref),
  constraint refunds_reported_amount check (coalesce(order_amount_minor, amount_minor) > 0)
);
create trigger append_only before update or delete on refunds for each row execute function refuse_change();
create trigger no_truncate before truncate on refunds for each statement execute function refuse_change();
grant select, insert on refunds to afflux_app;
