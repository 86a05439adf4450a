-- Programs with their fraud rules, and campaigns.

create table programs (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  status text not null default 'active' check (status in ('active', 'paused', 'ended')),
  fallback_url text,
  tracking_domain text constraint programs_tracking_domain_unique unique,
  fingerprint_match text not null default 'review' check (fingerprint_match in ('off', 'review', 'credit')),
  rules_version integer not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  -- Addresses are cut to /24 or /48 before they are written.
  anonymise_ip boolean not null default false,
  -- Whether redirects set the click cookie.
  cookies boolean not null default true,
  -- DNT: 1 or Sec-GPC: 1 means no cookie, a cut address and no fingerprint.
  honour_opt_out boolean not null default false,
  -- Thresholds by rule, where they differ from the defaults in ledger/programs/fraud-rules.ts; false: the rule is off.
  fraud_rules jsonb not null default '{}' check (jsonb_typeof(fraud_rules) = 'object'),
  -- Debt this old, in days, is written off; null: never.
  debt_write_off_days integer default 180 check (debt_write_off_days between 1 and 3650),
  -- Tables that hold money of a program refer to (id, currency): the currency of a program in use cannot change.
  unique (id, currency)
);
create index on programs (change_xid);
create trigger stamp before insert or update on programs for each row execute function stamp_change();
grant select, insert, update (name, status, fallback_url, tracking_domain, fingerprint_match, anonymise_ip, cookies,
  honour_opt_out, fraud_rules, debt_write_off_days) on programs to afflux_app;

create function count_rules_version() returns trigger language plpgsql as $$
begin
  new.rules_version := old.rules_version + (
    (old.fingerprint_match, old.fraud_rules) is distinct from (new.fingerprint_match, new.fraud_rules)
  )::integer;
  return new;
end $$;
create trigger rules_version before update on programs for each row execute function count_rules_version();

-- Every version of a program's rules: a decision is recomputed with those it was made by.
create table program_rules (
  program_id integer not null references programs,
  version integer not null,
  fingerprint_match text not null,
  fraud_rules jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (program_id, version)
);
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

create table campaigns (
  id integer generated always as identity primary key,
  program_id integer not null constraint campaigns_program_known references programs,
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'paused', 'ended')),
  starts_at timestamptz,
  ends_at timestamptz,
  fallback_url text,
  -- Life of the click cookie; the attribution window is cookie_days of the terms.
  cookie_days integer not null default 30 check (cookie_days between 1 and 365),
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  -- Valid clicks of a UTC day after which its links lead to their fallback; null: no cap.
  daily_click_cap integer check (daily_click_cap between 1 and 1000000000),
  constraint campaigns_span check (starts_at is null or ends_at is null or starts_at < ends_at),
  unique (program_id, id)
);
create index on campaigns (change_xid);
create trigger stamp before insert or update on campaigns for each row execute function stamp_change();
grant select, insert, update (name, status, starts_at, ends_at, fallback_url, cookie_days, daily_click_cap)
  on campaigns to afflux_app;
