-- What attribution is told and keeps: fraud rules as versioned data, orders without a click that may be opened again,
-- payment accounts and sessions that give a self-referral away.

alter table programs
  -- Thresholds by rule, where they differ from the defaults in ledger/programs/fraud-rules.ts; false: the rule is off.
  add fraud_rules jsonb not null default '{}' check (jsonb_typeof(fraud_rules) = 'object');
update programs set fraud_rules = jsonb_build_object(
  'high_conversion_rate_from_ip', conversions_per_ip_hour, 'instant_conversion', instant_conversion_seconds);
alter table programs drop conversions_per_ip_hour, drop instant_conversion_seconds;
grant update (fraud_rules) on programs to afflux_app;

create or replace function count_rules_version() returns trigger language plpgsql as $$
begin
  new.rules_version := old.rules_version + (
    (old.fingerprint_match, old.fraud_rules) is distinct from (new.fingerprint_match, new.fraud_rules)
  )::integer;
  return new;
end $$;

-- Every version of a program's rules: a decision is recomputed with those it was made by.
create table program_rules (
  program_id integer not null references programs,
  version integer not null,
  fingerprint_match text not null,
  fraud_rules jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (program_id, version)
);
insert into program_rules (program_id, version, fingerprint_match, fraud_rules)
select id, rules_version, fingerprint_match, fraud_rules from programs;
create trigger append_only before update or delete on program_rules for each row execute function refuse_change();
create trigger no_truncate before truncate on program_rules for each statement execute function refuse_change();
grant select on program_rules to afflux_app;

create function keep_rules() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  insert into program_rules (program_id, version, fingerprint_match, fraud_rules)
  values (new.id, new.rules_version, new.fingerprint_match, new.fraud_rules)
  on conflict do nothing;
  return null;
end $$;
create trigger keep_rules after insert or update of fingerprint_match, fraud_rules on programs
  for each row execute function keep_rules();

alter table affiliates
  -- Where its money goes: an IBAN, a PayPal address, a Stripe account.
  add payout_account text check (length(payout_account) between 1 and 200);
grant update (payout_account) on affiliates to afflux_app;

-- From where an affiliate itself uses the platform: an order from there is its own.
create table affiliate_sessions (
  program_id integer not null,
  affiliate_id integer not null,
  ip inet not null,
  fingerprint bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (affiliate_id, ip, fingerprint),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
grant select, insert, update (seen_at) on affiliate_sessions to afflux_app;

alter table conversions
  -- SHA-256 of the account the order was paid from, without its spaces and in lower case.
  add payment_account_hash bytea check (length(payment_account_hash) = 32),
  -- The first order of the subscription by which this one is credited.
  add recurring_of bigint references conversions,
  drop constraint conversions_reason_check,
  add constraint conversions_reason_check check (reason in (
    'self_referral', 'affiliate_not_active', 'bot_click', 'high_conversion_rate_from_ip', 'instant_conversion',
    'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch', 'repeat_orders',
    'fast_conversions', 'fingerprint_match', 'several_affiliates', 'invalid_click', 'no_click', 'invalid_click_id',
    'click_not_found', 'click_of_other_program', 'click_after_order', 'outside_window', 'no_terms',
    'rejected_by_reviewer'
  )),
  -- Null: nothing is to be tried any more.
  alter next_attempt_at drop not null;
update conversions set next_attempt_at = null where state not in ('received', 'awaiting_click');
drop index conversions_due;
create index conversions_due on conversions (next_attempt_at, id) where next_attempt_at is not null;
create index on conversions (program_id, customer_id, received_at) where customer_id is not null;
grant update (recurring_of) on conversions to afflux_app;

-- A view keeps the columns its table had when it was made.
drop view reported_conversions;
create view reported_conversions as
  select c.*, conversion_status(c.state, m.state) as status
  from conversions c left join commissions m on m.conversion_id = c.id and m.level = 1;
grant select on reported_conversions to afflux_app;
