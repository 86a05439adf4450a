-- Figures have one definition each: what is earned, and what is credited.

-- What affiliates have earned: commissions less what was taken back, without those that are held (by a review, or because
-- the shop has not approved the order) or rejected.
create view earned_commissions as
  select id, conversion_id, program_id, affiliate_id, level, currency, amount_minor - reversed_minor as earned_minor
  from commissions where state not in ('held', 'rejected');
grant select on earned_commissions to afflux_app;

-- The mirror keeps what is earned of each conversion: it is copied again when a commission stops being held or is rejected,
-- and when the shop approves the order.
create or replace function note_reversals() returns trigger language plpgsql set enable_nestloop = off as $$
begin
  insert into outbox (conversion_id)
  select distinct n.conversion_id from old_rows o join new_rows n on n.id = o.id
  where n.reversed_minor <> o.reversed_minor
    or (n.state in ('held', 'rejected')) <> (o.state in ('held', 'rejected'))
  order by n.conversion_id;
  return null;
end $$;
create or replace function note_changed_conversions() returns trigger language plpgsql set enable_nestloop = off as $$
begin
  insert into outbox (conversion_id)
  select n.id from old_rows o join new_rows n on n.id = o.id
  where (n.state, n.reason, n.amount_minor, n.refunded_minor, n.awaits_shop, n.campaign_id, n.affiliate_id, n.link_id,
      n.click_ts, n.click_ip)
    is distinct from (o.state, o.reason, o.amount_minor, o.refunded_minor, o.awaits_shop, o.campaign_id, o.affiliate_id,
      o.link_id, o.click_ts, o.click_ip)
  order by n.id;
  return null;
end $$;
insert into outbox (conversion_id)
select distinct conversion_id from commissions where state in ('held', 'rejected') order by conversion_id;

-- Debt is zero or negative everywhere, so that the places of a balance add up.
create or replace view grafana_balances as
  select b.program_id, p.name as program, b.affiliate_id, a.name as affiliate, b.currency,
    in_major_units(b.pending, b.currency) as pending, in_major_units(b.available, b.currency) as available,
    in_major_units(b.in_transit, b.currency) as in_transit, in_major_units(b.paid, b.currency) as paid,
    in_major_units(b.debt, b.currency) as debt, in_major_units(b.adjustments, b.currency) as adjustments
  from (
    select program_id, affiliate_id, currency,
      sum(balance_minor) filter (where kind = 'pending')::bigint as pending,
      sum(balance_minor) filter (where kind = 'available')::bigint as available,
      sum(balance_minor) filter (where kind = 'in_transit')::bigint as in_transit,
      sum(balance_minor) filter (where kind = 'paid')::bigint as paid,
      sum(balance_minor) filter (where kind = 'debt')::bigint as debt,
      sum(balance_minor) filter (where kind = 'adjustments')::bigint as adjustments
    from accounts where affiliate_id is not null group by program_id, affiliate_id, currency
  ) b
  join programs p on p.id = b.program_id
  join affiliates a on a.id = b.affiliate_id;

-- Who an affiliate, or (without one) a program, is to the tax office; stands on statements.
create table tax_data (
  id integer generated always as identity primary key,
  program_id integer not null references programs,
  affiliate_id integer,
  name text not null check (length(name) between 1 and 200),
  address text[] not null check (cardinality(address) between 1 and 5),
  -- ISO 3166-1.
  country text not null check (country ~ '^[A-Z]{2}$'),
  vat_id text check (vat_id ~ '^[A-Z0-9]{4,20}$'),
  us_form text check (us_form in ('w9', 'w8ben', 'w8bene', 'w8eci', 'w8exp', 'w8imy')),
  updated_at timestamptz not null default clock_timestamp(),
  changed_by text not null check (length(changed_by) between 1 and 200),
  constraint tax_data_once unique nulls not distinct (program_id, affiliate_id),
  constraint tax_data_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
create index on tax_data (affiliate_id);
grant select, insert, update on tax_data to afflux_app;

-- What a program asks of its affiliates' tax data, and which tax its statements show; without a row nothing.
create table tax_rules (
  program_id integer primary key references programs,
  required_for_payout boolean not null default false,
  vat text not null default 'none' check (vat in ('none', 'self_billing')),
  vat_rate numeric(7, 4) check (vat_rate between 0 and 100),
  constraint tax_rules_rate check ((vat = 'self_billing') = (vat_rate is not null))
);
grant select, insert, update on tax_rules to afflux_app;

-- Monthly statements: made once, numbered without gaps by program, never changed. The movements are those of the books,
-- which never change either; what could change is kept here as it was.
create table statement_documents (
  id bigint generated always as identity primary key,
  program_id integer not null,
  affiliate_id integer not null,
  -- Its first day, in UTC.
  month date not null check (month = date_trunc('month', month)),
  number integer not null check (number > 0),
  currency text not null,
  issuer jsonb not null check (jsonb_typeof(issuer) = 'object'),
  recipient jsonb not null check (jsonb_typeof(recipient) = 'object'),
  -- What became payable in the month less what was taken back of it; taxes are within it.
  payable_minor bigint not null,
  vat text not null check (vat in ('none', 'domestic', 'reverse_charge')),
  vat_rate numeric(7, 4) check (vat_rate between 0 and 100),
  vat_minor bigint not null,
  issued_at timestamptz not null default clock_timestamp(),
  constraint statement_documents_number_once unique (program_id, number),
  constraint statement_documents_month_once unique (affiliate_id, month),
  constraint statement_documents_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint statement_documents_tax check (
    (vat = 'domestic') = (vat_rate is not null) and (vat = 'domestic' or vat_minor = 0)
  )
);
create index on statement_documents (program_id, month);
create trigger append_only before update or delete on statement_documents for each row execute function refuse_change();
create trigger no_truncate before truncate on statement_documents for each statement execute function refuse_change();
grant select, insert on statement_documents to afflux_app;

create function check_statement_number() returns trigger language plpgsql as $$
begin
  if new.number > 1 and not exists (
    select from statement_documents where program_id = new.program_id and number = new.number - 1
  ) then
    raise exception 'statement % of program % would leave a gap', new.number, new.program_id
      using errcode = 'check_violation', constraint = 'statement_documents_no_gap';
  end if;
  return new;
end $$;
create trigger no_gap before insert on statement_documents for each row execute function check_statement_number();
