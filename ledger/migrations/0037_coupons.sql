-- Coupon codes of affiliates, and orders that are credited by them or by a person: neither came by a link.

-- One code as a range, so that GiST compares it for equality without btree_gist.
create type code_range as range (subtype = text, collation = "C");

create table coupons (
  id integer generated always as identity primary key,
  program_id integer not null,
  campaign_id integer not null,
  affiliate_id integer not null,
  -- As the affiliate shares it.
  code text not null check (length(code) between 1 and 64),
  -- In lower case: a code is the same in any case.
  code_key text collate "C" not null check (length(code_key) between 1 and 128),
  -- Null: from the beginning of time.
  valid_from timestamptz,
  -- Outside of the time in which it is valid; null: without an end.
  valid_until timestamptz,
  withdrawn_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  unique (program_id, id),
  constraint coupons_campaign_known foreign key (program_id, campaign_id) references campaigns (program_id, id),
  constraint coupons_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint coupons_span check (valid_from < valid_until),
  -- At any moment a code is of one affiliate at the most. It may be another's later.
  constraint coupons_code_once exclude using gist (
    int4range(program_id, program_id, '[]') with =,
    code_range(code_key, code_key, '[]') with =,
    (case when coalesce(valid_from, '-infinity') < coalesce(least(valid_until, withdrawn_at), 'infinity')
      then tstzrange(valid_from, least(valid_until, withdrawn_at)) else 'empty' end) with &&
  )
);
create index on coupons (program_id, code_key);
create index on coupons (affiliate_id, id);
-- Orders were credited by it: whose it was stays known.
create trigger stays before delete on coupons for each row execute function refuse_change();
create function check_coupon_withdrawn() returns trigger language plpgsql as $$
begin
  raise exception 'coupon % is withdrawn', old.id using errcode = 'check_violation', constraint = 'coupons_withdrawn';
end $$;
create trigger withdrawn before update on coupons for each row when (old.withdrawn_at is not null)
  execute function check_coupon_withdrawn();
grant select, insert, update (affiliate_id, valid_from, valid_until, withdrawn_at) on coupons to afflux_app;

alter table conversions
  -- Coupon codes that the shop reported with it.
  add column coupons text[] not null default '{}'
    check (cardinality(coupons) <= 20 and array_position(coupons, null) is null),
  -- The coupon that credits it.
  add column coupon_id integer,
  add constraint conversions_coupon_known foreign key (program_id, coupon_id) references coupons (program_id, id),
  -- Without a click there need be no link.
  drop constraint conversions_credited,
  add constraint conversions_credited check (
    state not in ('attributed', 'review', 'partially_refunded', 'refunded')
    or (affiliate_id is not null and campaign_id is not null and terms_id is not null and click_ts is not null
        and (link_id is not null or click_node is null))
  ),
  drop constraint conversions_reason_check,
  add constraint conversions_reason_check check (reason in (
    'self_referral', 'affiliate_not_active', 'bot_click', 'forced_click', 'high_conversion_rate_from_ip',
    'instant_conversion', 'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch',
    'data_centre', 'repeat_orders', 'coupon_without_click', 'fast_conversions', 'fingerprint_match',
    'first_order_in_review', 'several_affiliates', 'invalid_click', 'no_click', 'invalid_click_id', 'click_not_found',
    'click_of_other_program', 'click_after_order', 'outside_window', 'unknown_coupon', 'coupon_not_valid',
    'subscription_ended', 'no_terms', 'rejected_by_reviewer'
  ));
grant update (coupon_id) on conversions to afflux_app;
create index on conversions (coupon_id, received_at) where coupon_id is not null;

-- Which of two counts when a click is of one affiliate and a coupon of another: of the settings that decisions are made by.
alter table programs add column coupon_evidence text not null default 'coupon_wins'
  check (coupon_evidence in ('coupon_wins', 'click_wins'));
grant update (coupon_evidence) on programs to afflux_app;
alter table program_rules add column coupon_evidence text not null default 'coupon_wins';

create or replace function count_rules_version() returns trigger language plpgsql as $$
begin
  new.rules_version := old.rules_version + (
    (old.fingerprint_match, old.fraud_rules, old.coupon_evidence)
      is distinct from (new.fingerprint_match, new.fraud_rules, new.coupon_evidence)
  )::integer;
  return new;
end $$;

create or replace function keep_rules() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into program_rules (program_id, version, fingerprint_match, fraud_rules, coupon_evidence)
  values (new.id, new.rules_version, new.fingerprint_match, new.fraud_rules, new.coupon_evidence)
  on conflict do nothing;
  return null;
end $$;
drop trigger keep_rules on programs;
create trigger keep_rules after insert or update of fingerprint_match, fraud_rules, coupon_evidence on programs
  for each row execute function keep_rules();

-- As before, and coupons and batches of payouts.
create or replace function program_of(subject text) returns integer language plpgsql stable as $$
declare
  number bigint;
begin
  if subject !~ '^[a-z]{3}_[1-9][0-9]{0,17}$' then
    return null;
  end if;
  number := substr(subject, 5)::bigint;
  return case left(subject, 3)
    when 'prg' then (select id from programs where id = number)
    when 'cmp' then (select program_id from campaigns where id = number)
    when 'aff' then (select program_id from affiliates where id = number)
    when 'lnk' then (select program_id from links where id = number)
    when 'cpn' then (select program_id from coupons where id = number)
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'run' then (select program_id from payout_runs where id = number)
    when 'bat' then (select program_id from payout_batches where id = number)
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;
