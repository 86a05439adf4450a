-- Block lists: clicks that never earn, by what they came from.

create table blocks (
  id integer generated always as identity primary key,
  -- Null: of every program.
  program_id integer constraint blocks_program_known references programs,
  kind text not null check (kind in ('address', 'network', 'asn', 'country', 'user_agent', 'referrer', 'sub_id')),
  -- Canonical: core/blocks/block.ts.
  value text collate "C" not null check (length(value) between 1 and 200),
  -- Of a sub id: whose, and which of sub1 to sub5.
  affiliate_id integer,
  sub smallint check (sub between 1 and 5),
  action text not null check (action in ('redirect', 'fallback')),
  reason text not null check (length(reason) between 1 and 2000),
  -- As the audit log names them.
  created_by text not null check (length(created_by) between 1 and 200),
  created_at timestamptz not null default clock_timestamp(),
  -- Outside of the time in which it is in force; null: until somebody ends it.
  ends_at timestamptz,
  -- Who ended it; null: its date, or not ended.
  ended_by text check (length(ended_by) between 1 and 200),
  change_xid xid8 not null,
  constraint blocks_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint blocks_sub_id check (
    (kind = 'sub_id') = (affiliate_id is not null) and (kind = 'sub_id') = (sub is not null)
    and (kind <> 'sub_id' or program_id is not null)),
  constraint blocks_span check (ends_at > created_at),
  -- In force at a moment at most once: ending it ends it.
  constraint blocks_once exclude using gist (
    int4range(coalesce(program_id, 0), coalesce(program_id, 0), '[]') with =,
    code_range(kind || ' ' || coalesce(affiliate_id || ' ' || sub, '') || ' ' || value,
      kind || ' ' || coalesce(affiliate_id || ' ' || sub, '') || ' ' || value, '[]') with =,
    tstzrange(created_at, ends_at) with &&
  )
);
create index on blocks (change_xid);
create index on blocks (program_id, id);
-- How many are in force: of a program, and of all.
create index on blocks (program_id, ends_at);
create index on blocks (ends_at);
create index on blocks (kind, value);
create index on blocks (affiliate_id) where affiliate_id is not null;
create trigger stamp before insert or update on blocks for each row execute function stamp_change();
-- Clicks were blocked by it: what it said, and when, stays known.
create trigger stays before delete on blocks for each row execute function refuse_change();
create trigger no_truncate before truncate on blocks for each statement execute function refuse_change();
-- The one change is its end, which is now: a click that was blocked before has an entry that says so.
create function end_block() returns trigger language plpgsql as $$
begin
  if old.ends_at <= clock_timestamp() then
    raise exception 'block % has ended', old.id using errcode = 'check_violation', constraint = 'blocks_ended';
  end if;
  new.ends_at := clock_timestamp();
  return new;
end $$;
create trigger ends before update on blocks for each row execute function end_block();
grant select, insert, update (ends_at, ended_by) on blocks to afflux_app;

alter table conversions
  drop constraint conversions_reason_check,
  add constraint conversions_reason_check check (reason in (
    'self_referral', 'affiliate_not_active', 'bot_click', 'forced_click', 'high_conversion_rate_from_ip',
    'instant_conversion', 'click_velocity_ip', 'click_velocity_subnet', 'click_velocity_fingerprint', 'geo_mismatch',
    'data_centre', 'repeat_orders', 'coupon_without_click', 'fast_conversions', 'fingerprint_match',
    'first_order_in_review', 'several_affiliates', 'blocked_click', 'invalid_click', 'no_click', 'invalid_click_id',
    'click_not_found', 'click_of_other_program', 'click_after_order', 'outside_window', 'unknown_coupon',
    'coupon_not_valid', 'subscription_ended', 'no_terms', 'customer_not_eligible', 'rejected_by_reviewer'
  ));

-- As before, and blocks.
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
    when 'blk' then (select program_id from blocks where id = number)
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
    when 'app' then (select program_id from applications where id = number)
    when 'src' then (select program_id from sources where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;
