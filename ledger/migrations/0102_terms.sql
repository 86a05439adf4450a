-- Terms with volume tiers, subscriptions and a payout schedule.

create function max_of(integer[]) returns integer language sql immutable strict parallel safe as $$
  select max(rate) from unnest($1) as rate
$$;
create function is_rising(bigint[]) returns boolean language sql immutable strict parallel safe as $$
  select coalesce(bool_and(above > below), true)
  from unnest($1, array[0]::bigint[] || $1) as pairs (above, below) where above is not null
$$;

alter table terms
  -- From an affiliate's volume of a calendar month (UTC) on, its own rate is that of the tier; below the first, rate_bps.
  add tier_from_minor bigint[] not null default '{}',
  add tier_rates_bps integer[] not null default '{}',
  -- marginal: each part of an order at the rate of the tier it falls in; whole: the order at the rate reached before it.
  add tier_mode text not null default 'marginal' check (tier_mode in ('marginal', 'whole')),
  -- Later orders of a customer are credited by the first one for so many months; 0: only the first.
  add recurring_months integer not null default 0 check (recurring_months between 0 and 120),
  add payout_schedule text not null default 'daily' check (payout_schedule in ('daily', 'weekly', 'monthly')),
  add constraint terms_tiers check (
    cardinality(tier_from_minor) = cardinality(tier_rates_bps) and cardinality(tier_from_minor) <= 10
    and array_position(tier_from_minor, null) is null and array_position(tier_rates_bps, null) is null
    and is_rising(tier_from_minor) and 0 <= all (tier_rates_bps)
    and (commission_type <> 'fixed' or cardinality(tier_rates_bps) = 0)
  ),
  drop constraint terms_rates_within_order,
  add constraint terms_rates_within_order check (
    greatest(rate_bps, max_of(tier_rates_bps)) + sum_of(level_rates_bps) <= 10000
  );

-- What an affiliate's own attributed orders came to in a calendar month, UTC; refunds do not lower it.
create table affiliate_volumes (
  affiliate_id integer not null references affiliates,
  month date not null check (extract(day from month) = 1),
  volume_minor bigint not null check (volume_minor >= 0),
  primary key (affiliate_id, month)
);
grant select, insert, update (volume_minor) on affiliate_volumes to afflux_app;

alter table commissions
  -- Level 1 under tiers: the affiliate's volume of the month before this order.
  add volume_before_minor bigint check (volume_before_minor >= 0);
