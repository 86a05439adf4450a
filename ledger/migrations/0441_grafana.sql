-- What Grafana may see of the ledger: four views and nothing else, under a role that can only read them. It gets its
-- password by hand (docs/dashboards.md).

do $$
begin
  if not exists (select from pg_roles where rolname = 'afflux_grafana') then
    create role afflux_grafana nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;

-- Results of `afflux audit`, a row for each check: proofs are looked at where the money is.
create table proofs (
  at timestamptz not null,
  store text not null check (store in ('clicks', 'ledger')),
  name text not null check (length(name) between 1 and 100),
  ok boolean not null,
  detail text not null check (length(detail) <= 2000),
  primary key (at, store, name)
);
create trigger append_only before update or delete on proofs for each row execute function refuse_change();
create trigger no_truncate before truncate on proofs for each statement execute function refuse_change();
grant insert, select on proofs to afflux_app;

-- Journals are written in the order of time: a few pages of index find the days.
create index journals_by_time on journals using brin (created_at);

-- The amount in the currency's own unit, for people; core/money.ts has the same exponents, and a test compares.
create function in_major_units(amount_minor bigint, currency text) returns numeric
  language sql immutable strict parallel safe
  return amount_minor / case
    when currency in ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
      'XAF', 'XOF', 'XPF') then 1.0
    when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 1000.0
    when currency in ('CLF', 'UYW') then 10000.0
    else 100.0
  end;

create view grafana_balances as
  select b.program_id, p.name as program, b.affiliate_id, a.name as affiliate, b.currency,
    in_major_units(b.pending, b.currency) as pending, in_major_units(b.available, b.currency) as available,
    in_major_units(b.in_transit, b.currency) as in_transit, in_major_units(b.paid, b.currency) as paid,
    in_major_units(b.debt, b.currency) as debt
  from (
    select program_id, affiliate_id, currency,
      sum(balance_minor) filter (where kind = 'pending')::bigint as pending,
      sum(balance_minor) filter (where kind = 'available')::bigint as available,
      sum(balance_minor) filter (where kind = 'in_transit')::bigint as in_transit,
      sum(balance_minor) filter (where kind = 'paid')::bigint as paid,
      -sum(balance_minor) filter (where kind = 'debt')::bigint as debt
    from accounts where affiliate_id is not null group by program_id, affiliate_id, currency
  ) b
  join programs p on p.id = b.program_id
  join affiliates a on a.id = b.affiliate_id;

create view grafana_payouts as
  select o.id, o.batch_id, o.program_id, p.name as program, o.affiliate_id, a.name as affiliate, o.currency,
    in_major_units(o.amount_minor, o.currency) as amount, o.state, o.provider, o.failure, o.created_at, o.submitted_at,
    o.closed_at
  from payouts o
  join programs p on p.id = o.program_id
  join affiliates a on a.id = o.affiliate_id;

-- What was posted to affiliates' accounts, an entry a row.
create view grafana_movements as
  select j.created_at as at, j.kind, a.kind as account, a.program_id, a.affiliate_id, e.currency,
    in_major_units(e.amount_minor, e.currency) as amount
  from journals j
  join entries e on e.journal_id = j.id
  join accounts a on a.id = e.account_id
  where a.affiliate_id is not null;

create view grafana_proofs as
  select at, store, name, ok, detail from proofs;

grant select on grafana_balances, grafana_payouts, grafana_movements, grafana_proofs to afflux_grafana;
