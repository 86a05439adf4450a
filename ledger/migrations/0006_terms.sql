-- Terms: what an affiliate is promised, versioned. A commission keeps the version it was computed with.

create table terms (
  id integer generated always as identity primary key,
  program_id integer not null,
  currency text not null,
  campaign_id integer,
  affiliate_id integer,
  validity tstzrange not null check (not isempty(validity)),
  commission_type text not null check (commission_type in ('percent', 'fixed', 'hybrid')),
  rate_bps integer not null check (rate_bps between 0 and 10000),
  fixed_minor bigint not null check (fixed_minor between 0 and 1000000000000),
  -- Rates of level 2, 3, …: level 1 is the affiliate's own commission above.
  level_rates_bps integer[] not null default '{300,100}'
    check (cardinality(level_rates_bps) <= 9 and array_position(level_rates_bps, null) is null and 0 <= all (level_rates_bps)),
  hold_days integer not null default 30 check (hold_days between 0 and 365),
  cookie_days integer not null default 30 check (cookie_days between 1 and 365),
  attribution_model text not null default 'last_click' check (attribution_model in ('last_click', 'first_click')),
  payout_min_minor bigint not null check (payout_min_minor between 0 and 1000000000000),
  rounding text not null default 'half_even' check (rounding = 'half_even'),
  created_at timestamptz not null default clock_timestamp(),
  -- From an affiliate's volume of a calendar month (UTC) on, its own rate is that of the tier; below the first, rate_bps.
  tier_from_minor bigint[] not null default '{}',
  tier_rates_bps integer[] not null default '{}',
  -- marginal: each part of an order at the rate of the tier it falls in; whole: the order at the rate reached before it.
  tier_mode text not null default 'marginal' check (tier_mode in ('marginal', 'whole')),
  -- Later orders of a customer are credited by the first one for so many months; 0: only the first.
  recurring_months integer not null default 0 check (recurring_months between 0 and 120),
  payout_schedule text not null default 'daily' check (payout_schedule in ('daily', 'weekly', 'monthly')),
  constraint terms_program_known foreign key (program_id, currency) references programs (id, currency),
  constraint terms_campaign_known foreign key (program_id, campaign_id) references campaigns (program_id, id),
  constraint terms_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint terms_rates_within_order check (
    greatest(rate_bps, max_of(tier_rates_bps)) + sum_of(level_rates_bps) <= 10000
  ),
  constraint terms_parts check (
    (commission_type = 'percent' and fixed_minor = 0)
    or (commission_type = 'fixed' and rate_bps = 0)
    or commission_type = 'hybrid'
  ),
  constraint terms_tiers check (
    cardinality(tier_from_minor) = cardinality(tier_rates_bps) and cardinality(tier_from_minor) <= 10
    and array_position(tier_from_minor, null) is null and array_position(tier_rates_bps, null) is null
    and is_rising(tier_from_minor) and 0 <= all (tier_rates_bps)
    and (commission_type <> 'fixed' or cardinality(tier_rates_bps) = 0)
  ),
  -- One version of a scope at any moment. Ranges of one integer stand in for equality, which GiST has only with btree_gist.
  constraint terms_no_overlap exclude using gist (
    int4range(program_id, program_id, '[]') with =,
    int4range(coalesce(campaign_id, 0), coalesce(campaign_id, 0), '[]') with =,
    int4range(coalesce(affiliate_id, 0), coalesce(affiliate_id, 0), '[]') with =,
    validity with &&
  )
);
create index on terms (program_id, campaign_id, affiliate_id);
create trigger append_only before delete on terms for each row execute function refuse_change();
create trigger no_truncate before truncate on terms for each statement execute function refuse_change();
grant select, insert, update (validity) on terms to afflux_app;

-- The only change of terms is their end: the past is never rewritten.
create function check_terms_change() returns trigger language plpgsql as $$
begin
  if upper(old.validity) is not null
    or lower(new.validity) is distinct from lower(old.validity)
    or upper(new.validity) is null
    or to_jsonb(new) - 'validity' is distinct from to_jsonb(old) - 'validity' then
    raise exception 'terms % can only be ended', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger only_ends before update on terms for each row execute function check_terms_change();

-- Sum of an affiliate's own attributed orders in a calendar month, UTC; refunds do not lower it.
create table affiliate_volumes (
  affiliate_id integer not null references affiliates,
  month date not null check (extract(day from month) = 1),
  volume_minor bigint not null check (volume_minor >= 0),
  primary key (affiliate_id, month)
);
grant select, insert, update (volume_minor) on affiliate_volumes to afflux_app;
