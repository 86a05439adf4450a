-- Rates of terms have up to two decimals of a basis point, so four of a percent: 712.5 is 7.125 %. The table of terms alone
-- has rates, in a row for each version; commissions have amounts. It is written anew once, by one statement.
alter table terms
  drop constraint terms_rate_bps_check,
  drop constraint terms_level_rates_bps_check,
  drop constraint terms_tiers,
  drop constraint terms_special_rates,
  drop constraint terms_rates_within_order;
drop function rates_in(jsonb), sum_of(integer[]), max_of(integer[]);

create function are_rates(numeric[]) returns boolean language sql immutable strict parallel safe as $$
  select coalesce(bool_and(rate is not null and rate between 0 and 10000 and scale(rate) <= 2), true)
  from unnest($1) as rate
$$;
create function sum_of(numeric[]) returns numeric language sql immutable strict parallel safe as $$
  select coalesce(sum(rate), 0) from unnest($1) as rate
$$;
create function max_of(numeric[]) returns numeric language sql immutable strict parallel safe as $$
  select max(rate) from unnest($1) as rate
$$;
-- Every rate within JSON.
create function rates_in(jsonb) returns numeric[] language sql immutable strict parallel safe as $$
  select coalesce(array_agg((rate #>> '{}')::numeric), '{}') from jsonb_path_query($1, 'strict $.**.rateBps') as rate
$$;

alter table terms
  alter column rate_bps type numeric,
  alter column level_rates_bps type numeric[],
  alter column tier_rates_bps type numeric[],
  add constraint terms_rate_bps_check check (rate_bps between 0 and 10000 and scale(rate_bps) <= 2),
  add constraint terms_level_rates_bps_check check (cardinality(level_rates_bps) <= 9 and are_rates(level_rates_bps)),
  add constraint terms_tiers check (
    cardinality(tier_from_minor) = cardinality(tier_rates_bps) and cardinality(tier_from_minor) <= 10
    and array_position(tier_from_minor, null) is null and is_rising(tier_from_minor) and are_rates(tier_rates_bps)
    and (commission_type <> 'fixed' or cardinality(tier_rates_bps) = 0)
  ),
  add constraint terms_special_rates check (
    jsonb_typeof(customer_rates) = 'object' and jsonb_typeof(item_rates) = 'array' and jsonb_array_length(item_rates) <= 500
    and are_rates(rates_in(customer_rates)) and are_rates(rates_in(item_rates))
    and (commission_type <> 'percent' or max_fixed_in(customer_rates) is null)
    and (commission_type <> 'fixed'
      or coalesce(greatest(max_of(rates_in(customer_rates)), max_of(rates_in(item_rates))), 0) = 0)
  ),
  add constraint terms_rates_within_order check (
    greatest(rate_bps, max_of(tier_rates_bps), max_of(rates_in(customer_rates)), max_of(rates_in(item_rates)))
      + sum_of(level_rates_bps) <= 10000
  );

-- What a bank has booked of a payout (camt.054), so that a debit which it has booked twice, and one of the two given back,
-- is no return of the payout. Kept from file to file: the correction usually comes in a later one.
create table payout_bookings (
  id bigint generated always as identity primary key,
  payout_id bigint not null references payouts,
  direction text not null check (direction in ('debit', 'credit')),
  -- The bank's own reference of the booking, or the day with a number: the same booking in another file has the same one.
  reference text not null check (char_length(reference) between 1 and 200),
  read_at timestamptz not null default clock_timestamp(),
  constraint payout_bookings_once unique (payout_id, direction, reference)
);
create trigger append_only before update or delete on payout_bookings for each row execute function refuse_change();
create trigger no_truncate before truncate on payout_bookings for each statement execute function refuse_change();
grant select, insert on payout_bookings to afflux_app;
