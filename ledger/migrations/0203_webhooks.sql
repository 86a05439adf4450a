-- Webhooks: where they go, what happened, what is to be delivered, and every attempt.

create table webhook_endpoints (
  id integer generated always as identity primary key,
  program_id integer not null constraint webhook_endpoints_program_known references programs,
  -- An affiliate's endpoint is told of that affiliate's own things only.
  affiliate_id integer,
  -- Whose eyes the bodies are written for.
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

-- Written in the transaction of what happened; told to the endpoints a moment later.
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

create or replace function program_of(subject text) returns integer language plpgsql stable as $$
declare
  number bigint;
begin
  if subject !~ '^[a-z]{3}_[1-9][0-9]{0,17}$' then
    return null;
  end if;
  number := substr(subject, 5)::bigint;
  return case left(subject, 3)
    when 'prg' then (select id from programs where id = number)
    when 'cmp' then (select program_id from campaigns where id = number)
    when 'aff' then (select program_id from affiliates where id = number)
    when 'lnk' then (select program_id from links where id = number)
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;

create function note_webhook_event(event_type text, program integer, affiliate integer, about text) returns void
  language sql as $$
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select event_type, program, affiliate, about
  -- Nobody listens: nothing to write.
  where exists (select from webhook_endpoints where program_id = program and status = 'active')
$$;

create function note_conversion_event() returns trigger language plpgsql as $$
begin
  perform note_webhook_event(
    case tg_op when 'INSERT' then 'conversion.created' else 'conversion.changed' end,
    new.program_id, new.affiliate_id, 'cnv_' || new.id);
  return null;
end $$;
create trigger webhook_created after insert on conversions for each row execute function note_conversion_event();
create trigger webhook_changed after update of state, refunded_minor on conversions for each row
  when ((old.state, old.refunded_minor) is distinct from (new.state, new.refunded_minor))
  execute function note_conversion_event();

create function note_conversion_paid() returns trigger language plpgsql as $$
begin
  perform note_webhook_event('conversion.paid', new.program_id, new.affiliate_id, 'cnv_' || new.conversion_id);
  return null;
end $$;
create trigger webhook_paid after update of state on commissions for each row
  when (new.state = 'paid' and old.state <> 'paid' and new.level = 1)
  execute function note_conversion_paid();

create function note_payout_event() returns trigger language plpgsql as $$
begin
  perform note_webhook_event(
    case tg_op when 'INSERT' then 'payout.created' else 'payout.changed' end,
    new.program_id, new.affiliate_id, 'pay_' || new.id);
  return null;
end $$;
create trigger webhook_created after insert on payouts for each row execute function note_payout_event();
create trigger webhook_changed after update of state on payouts for each row
  when (old.state is distinct from new.state) execute function note_payout_event();

create function note_affiliate_event() returns trigger language plpgsql as $$
begin
  perform note_webhook_event(
    case tg_op when 'INSERT' then 'affiliate.created' else 'affiliate.status_changed' end,
    new.program_id, new.id, 'aff_' || new.id);
  return null;
end $$;
create trigger webhook_created after insert on affiliates for each row execute function note_affiliate_event();
create trigger webhook_changed after update of status on affiliates for each row
  when (old.status is distinct from new.status) execute function note_affiliate_event();

grant select, insert, update (url, events, secret, old_secret, old_secret_until, status, disabled_reason,
  failing_since), delete on webhook_endpoints to afflux_app;
grant select, insert, update (fanned_out), delete on webhook_events to afflux_app;
grant select, insert, update (state, attempts, next_attempt_at, claimed_until, last_status, last_error, done_at),
  delete on webhook_deliveries to afflux_app;
grant select, insert, delete on webhook_attempts to afflux_app;
