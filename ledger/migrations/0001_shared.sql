-- What the other files use: rights of the application's role, functions of several triggers, transitions, money.
-- The role afflux_app is created by ledger/postgres/migrate.ts, because roles belong to the server, not to a database.
--
-- Each table's grants stand beside it. Nobody but the owner deletes from the books or truncates; what is written there
-- stays as it is; of a row that moves through states only the columns that move can be updated.

grant select on schema_migrations to afflux_app;

-- Grafana reads a few views (0015) and nothing else. Its password is set by hand (docs/dashboards.md).
do $$
begin
  if not exists (select from pg_roles where rolname = 'afflux_grafana') then
    create role afflux_grafana nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;

-- Collectors poll some tables for rows written by transactions they have not seen yet (docs/architecture.md, Links).
create function stamp_change() returns trigger language plpgsql as $$
begin
  new.change_xid := pg_current_xact_id();
  return new;
end $$;

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, tg_op
    using errcode = 'restrict_violation', hint = 'corrections are new rows';
end $$;

-- Allowed changes of a state or status by table; `new` is where a row begins.
create table transitions (
  entity text not null,
  from_state text not null,
  to_state text not null,
  primary key (entity, from_state, to_state)
);
grant select on transitions to afflux_app;

-- Transitions of a whole statement at once: one row at a time they took half of the time of a batch of decisions.
create function check_first_states() returns trigger language plpgsql as $$
declare
  wrong text;
begin
  select state into wrong from (select distinct state from new_rows) s
  where not exists (
    select from transitions where entity = tg_table_name and from_state = 'new' and to_state = s.state
  );
  if found then
    raise exception '% cannot begin as %', tg_table_name, wrong
      using errcode = 'check_violation', constraint = tg_table_name || '_transition';
  end if;
  return null;
end $$;

create function check_state_changes() returns trigger language plpgsql as $$
declare
  wrong record;
begin
  select * into wrong from (
    select distinct o.state as before, n.state as after
    from old_rows o join new_rows n on n.id = o.id where n.state <> o.state
  ) s
  where not exists (
    select from transitions where entity = tg_table_name and from_state = s.before and to_state = s.after
  );
  if found then
    raise exception '% cannot go from % to %', tg_table_name, wrong.before, wrong.after
      using errcode = 'check_violation', constraint = tg_table_name || '_transition';
  end if;
  return null;
end $$;

-- The same for tables with a status that changes one row at a time.
create function check_status_change() returns trigger language plpgsql as $$
begin
  if old.status <> new.status and not exists (
    select from transitions where entity = tg_table_name and from_state = old.status and to_state = new.status
  ) then
    raise exception '% cannot go from % to %', tg_table_name, old.status, new.status
      using errcode = 'check_violation', constraint = tg_table_name || '_transition';
  end if;
  return new;
end $$;

create function sum_of(integer[]) returns bigint language sql immutable strict parallel safe as $$
  select coalesce(sum(rate), 0)::bigint from unnest($1) as rate
$$;
create function max_of(integer[]) returns integer language sql immutable strict parallel safe as $$
  select max(rate) from unnest($1) as rate
$$;
create function is_rising(bigint[]) returns boolean language sql immutable strict parallel safe as $$
  select coalesce(bool_and(above > below), true)
  from unnest($1, array[0]::bigint[] || $1) as pairs (above, below) where above is not null
$$;

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
