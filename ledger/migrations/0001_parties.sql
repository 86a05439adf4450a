-- Programs, campaigns, affiliates, links: what the collectors serve and who may be credited.

-- Collectors poll these tables for rows written by transactions they have not seen yet (docs/architecture.md, Links).
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

-- The edges along which states may move; `new` is where a row begins. One trigger function reads it for every table.
create table state_edges (
  entity text not null,
  from_state text not null,
  to_state text not null,
  primary key (entity, from_state, to_state)
);

create function check_state_edge() returns trigger language plpgsql as $$
declare
  before text := 'new';
begin
  if tg_op = 'UPDATE' then
    before := old.state;
  end if;
  if before is distinct from new.state and not exists (
    select from state_edges where entity = tg_table_name and from_state = before and to_state = new.state
  ) then
    raise exception '% cannot go from % to %', tg_table_name, before, new.state
      using errcode = 'check_violation', constraint = tg_table_name || '_state_edge';
  end if;
  return new;
end $$;

create table programs (
  id integer generated always as identity primary key,
  name text not null check (length(name) between 1 and 200),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  status text not null default 'active' check (status in ('active', 'paused', 'ended')),
  fallback_url text,
  tracking_domain text constraint programs_tracking_domain_unique unique,
  fingerprint_match text not null default 'review' check (fingerprint_match in ('off', 'review', 'credit')),
  conversions_per_ip_hour integer not null default 10 check (conversions_per_ip_hour >= 0),
  instant_conversion_seconds integer not null default 30 check (instant_conversion_seconds >= 0),
  rules_version integer not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  -- Whatever holds money of a program refers to (id, currency): the currency of a program in use cannot change.
  unique (id, currency)
);
create index on programs (change_xid);
create trigger stamp before insert or update on programs for each row execute function stamp_change();

create function count_rules_version() returns trigger language plpgsql as $$
begin
  new.rules_version := old.rules_version + (
    (old.fingerprint_match, old.conversions_per_ip_hour, old.instant_conversion_seconds)
      is distinct from (new.fingerprint_match, new.conversions_per_ip_hour, new.instant_conversion_seconds)
  )::integer;
  return new;
end $$;
create trigger rules_version before update on programs for each row execute function count_rules_version();

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
  constraint campaigns_span check (starts_at is null or ends_at is null or starts_at < ends_at),
  unique (program_id, id)
);
create index on campaigns (change_xid);
create trigger stamp before insert or update on campaigns for each row execute function stamp_change();

create table affiliates (
  id integer generated always as identity primary key,
  program_id integer not null constraint affiliates_program_known references programs,
  ref_code text not null check (ref_code ~ '^[A-Za-z0-9_-]{1,64}$'),
  name text not null check (length(name) between 1 and 200),
  email text not null check (length(email) between 3 and 254),
  -- The affiliate's own customer id at the shop: an order by it is a self-referral.
  customer_ref text check (length(customer_ref) between 1 and 200),
  status text not null default 'pending' check (status in ('pending', 'active', 'suspended', 'terminated')),
  parent_id integer,
  approved_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  unique (program_id, id),
  constraint affiliates_ref_code_unique unique (program_id, ref_code),
  constraint affiliates_parent_known foreign key (program_id, parent_id) references affiliates (program_id, id)
);
create index on affiliates (change_xid);
create index on affiliates (parent_id) where parent_id is not null;
create trigger stamp before insert or update on affiliates for each row execute function stamp_change();

-- Refuses a cycle, and a tree deeper than 20, in the parents of a program.
create function check_affiliate_parent() returns trigger language plpgsql as $$
declare
  above integer;
  below integer;
  meets boolean;
begin
  if new.parent_id is null then
    return new;
  end if;
  -- Two transactions that each hang one under the other would both see no cycle: one waits for the other here.
  perform pg_advisory_xact_lock(hashtextextended('affiliates.parent', new.program_id));
  with recursive up (id, parent_id, depth) as (
    select id, parent_id, 1 from affiliates where id = new.parent_id
    union all
    select a.id, a.parent_id, up.depth + 1 from up join affiliates a on a.id = up.parent_id where up.depth <= 20
  )
  select max(depth), bool_or(id = new.id) into above, meets from up;
  if meets or new.parent_id = new.id then
    raise exception 'affiliate % would be its own ancestor', new.id
      using errcode = 'check_violation', constraint = 'affiliates_no_cycle';
  end if;
  with recursive down (id, depth) as (
    select new.id, 1
    union all
    select a.id, down.depth + 1 from down join affiliates a on a.parent_id = down.id where down.depth <= 20
  )
  select max(depth) into below from down;
  if coalesce(above, 0) + below > 20 then
    raise exception 'the tree above and below affiliate % would be deeper than 20', new.id
      using errcode = 'check_violation', constraint = 'affiliates_depth';
  end if;
  return new;
end $$;
create trigger parent before insert or update of parent_id on affiliates
  for each row execute function check_affiliate_parent();

create table links (
  id integer generated always as identity primary key,
  code text collate "C" not null constraint links_code_unique unique
    constraint links_code_form check (code ~ '^[A-Za-z0-9_-]{1,64}$'),
  program_id integer not null,
  campaign_id integer not null,
  affiliate_id integer not null,
  landing_url text not null check (length(landing_url) <= 2000),
  status text not null default 'active' check (status in ('active', 'paused')),
  expires_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  unique (program_id, id),
  constraint links_campaign_known foreign key (program_id, campaign_id) references campaigns (program_id, id),
  constraint links_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
create index on links (change_xid);
create index on links (affiliate_id, id);
create index on links (campaign_id, id);
create trigger stamp before insert or update on links for each row execute function stamp_change();

create table api_keys (
  id integer generated always as identity primary key,
  role text not null check (role in ('operator', 'finance', 'fraud', 'affiliate', 'advertiser')),
  program_id integer constraint api_keys_program_known references programs,
  affiliate_id integer,
  name text not null check (length(name) between 1 and 200),
  key_hash bytea not null unique check (length(key_hash) = 32),
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_keys_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  -- A partner's key is for one partner, a shop's for one program; the operator's own people may see every program.
  constraint api_keys_scope check (
    (role = 'affiliate') = (affiliate_id is not null)
    and (role in ('operator', 'finance', 'fraud') or program_id is not null)
  )
);

create table audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null check (length(actor) between 1 and 200),
  action text not null check (length(action) between 1 and 100),
  subject text not null check (length(subject) between 1 and 100),
  before jsonb,
  after jsonb
);
create index on audit_log (subject, id);
create trigger append_only before update or delete on audit_log for each row execute function refuse_change();
create trigger no_truncate before truncate on audit_log for each statement execute function refuse_change();
