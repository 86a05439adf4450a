-- Exchange rates with their sources, and orders reported in another currency than their program's.

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

alter table conversions
  -- As the shop reported it; null: in the program's currency, so that amount_minor is what it reported.
  add order_currency text,
  add order_amount_minor bigint check (order_amount_minor between 0 and 1000000000000),
  add rate_id integer constraint conversions_rate_known references rates,
  -- By way of a third currency: rate_id says what one of it is in the order's currency, this one in the program's.
  add cross_rate_id integer constraint conversions_cross_rate_known references rates,
  add constraint conversions_exchanged check (
    num_nonnulls(order_currency, order_amount_minor, rate_id) in (0, 3)
    and (cross_rate_id is null or rate_id is not null) and order_currency is distinct from currency
  );

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

alter table refunds
  -- In the order's currency, where that is not the program's; then what it comes to may round to nothing.
  add order_amount_minor bigint,
  drop constraint refunds_amount_minor_check,
  add constraint refunds_amount_minor_check check (amount_minor >= 0),
  add constraint refunds_reported_amount check (coalesce(order_amount_minor, amount_minor) > 0);

drop view reported_conversions;
create view reported_conversions as
  select c.*, conversion_status(c.state, m.state) as status
  from conversions c left join commissions m on m.conversion_id = c.id and m.level = 1;
grant select on reported_conversions to afflux_app;
