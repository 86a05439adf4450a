-- Webhooks: endpoints, events, deliveries, and every attempt.

create table webhook_endpoints (
  id integer generated always as identity primary key,
  program_id integer not null constraint webhook_endpoints_program_known references programs,
  -- An affiliate's endpoint receives that affiliate's own events only.
  affiliate_id integer,
  -- The role whose view the bodies show.
  role text not null check (role in ('operator', 'finance', 'fraud', 'affiliate', 'advertiser')),
  url text not null check (length(url) between 1 and 2000),
  -- Empty: every event.
  events text[] not null default '{}' check (cardinality(events) <= 50),
  secret bytea not null,
  -- After a rotation both sign until then.
  old_secret bytea,
  old_secret_until timestamptz,
  status text not null default 'active' check (status in ('active', 'disabled')),
  disabled_reason text check (length(disabled_reason) <= 500),
  failing_since timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  constraint webhook_endpoints_affiliate_known
    foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  check ((role = 'affiliate') = (affiliate_id is not null))
);
create index on webhook_endpoints (program_id) where status = 'active';
grant select, insert, update (url, events, secret, old_secret, old_secret_until, status, disabled_reason,
  failing_since), delete on webhook_endpoints to afflux_app;

-- Written in the transaction of what happened; delivered to the endpoints a moment later.
create table webhook_events (
  id bigint generated always as identity primary key,
  message_id text not null unique default 'evt_' || replace(gen_random_uuid()::text, '-', ''),
  type text not null,
  program_id integer not null,
  affiliate_id integer,
  -- For one endpoint only: a test.
  endpoint_id integer references webhook_endpoints,
  subject text not null,
  at timestamptz not null default clock_timestamp(),
  fanned_out boolean not null default false
);
create index on webhook_events (id) where not fanned_out;
create index on webhook_events (at);
grant select, insert, update (fanned_out), delete on webhook_events to afflux_app;

create table webhook_deliveries (
  id bigint generated always as identity primary key,
  endpoint_id integer not null references webhook_endpoints,
  event_id bigint not null references webhook_events on delete cascade,
  -- The same bytes at each attempt.
  body text not null check (length(body) <= 100000),
  state text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default clock_timestamp(),
  claimed_until timestamptz,
  last_status integer,
  last_error text check (length(last_error) <= 500),
  created_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  unique (endpoint_id, event_id)
);
create index on webhook_deliveries (next_attempt_at, id) where state = 'pending';
create index on webhook_deliveries (endpoint_id, id);
grant select, insert, update (state, attempts, next_attempt_at, claimed_until, last_status, last_error, done_at),
  delete on webhook_deliveries to afflux_app;

create table webhook_attempts (
  id bigint generated always as identity primary key,
  delivery_id bigint not null references webhook_deliveries on delete cascade,
  at timestamptz not null default clock_timestamp(),
  duration_ms integer not null,
  status integer,
  error text check (length(error) <= 500),
  response text check (length(response) <= 1000)
);
create index on webhook_attempts (delivery_id, id);
grant select, insert, delete on webhook_attempts to afflux_app;

-- Events are written by the statement: one look-up of listeners and one insert, however many rows a batch writes.
-- Programs with an active endpoint; the others need no events.
create function listened_programs() returns setof integer language sql stable as $$
  select distinct program_id from webhook_endpoints where status = 'active'
$$;

create function note_conversions_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.created', program_id, affiliate_id, 'cnv_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on conversions referencing new table as new_rows
  for each statement execute function note_conversions_created();

create function note_conversions_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.changed', n.program_id, n.affiliate_id, 'cnv_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs())
    and (o.state, o.refunded_minor) is distinct from (n.state, n.refunded_minor)
  order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on conversions referencing old table as old_rows new table as new_rows
  for each statement execute function note_conversions_changed();

create function note_conversions_paid() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.paid', n.program_id, n.affiliate_id, 'cnv_' || n.conversion_id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and n.level = 1 and n.state = 'paid' and o.state <> 'paid'
  order by n.id;
  return null;
end $$;
create trigger webhook_paid after update on commissions referencing old table as old_rows new table as new_rows
  for each statement execute function note_conversions_paid();

create function note_payouts_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'payout.created', program_id, affiliate_id, 'pay_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on payouts referencing new table as new_rows
  for each statement execute function note_payouts_created();

create function note_payouts_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'payout.changed', n.program_id, n.affiliate_id, 'pay_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and o.state <> n.state order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on payouts referencing old table as old_rows new table as new_rows
  for each statement execute function note_payouts_changed();

create function note_affiliates_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'affiliate.created', program_id, id, 'aff_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on affiliates referencing new table as new_rows
  for each statement execute function note_affiliates_created();

create function note_affiliates_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'affiliate.status_changed', n.program_id, n.id, 'aff_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and o.status <> n.status order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on affiliates referencing old table as old_rows new table as new_rows
  for each statement execute function note_affiliates_changed();
