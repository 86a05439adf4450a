-- What hangs on a user, a key or an affiliate ends with it; and calls without a valid key are counted, not kept.

-- A key works while the user behind it is active: the one who made it, or who made the key that made it.
alter table api_keys
  add column user_id integer constraint api_keys_user_known references users,
  -- Null: a user made it, or the command line.
  add column made_by integer constraint api_keys_made_by_known references api_keys;
create index on api_keys (made_by) where made_by is not null;
create index on api_keys (program_id, affiliate_id) where revoked_at is null;

alter table webhook_endpoints
  add column user_id integer constraint webhook_endpoints_user_known references users,
  add column made_by integer constraint webhook_endpoints_made_by_known references api_keys;

grant update (user_id, made_by) on webhook_endpoints to afflux_app;

-- Webhooks have a status that says why they are off, so they are disabled; keys ask for the user when they are used.
create function end_webhooks_of_user() returns trigger language plpgsql as $$
begin
  update webhook_endpoints set status = 'disabled', disabled_reason = 'the user who made it was disabled'
  where user_id = new.id and status = 'active';
  return null;
end $$;
create trigger webhooks_end after update of status on users
  for each row when (new.status = 'disabled' and old.status <> 'disabled') execute function end_webhooks_of_user();

create function end_webhooks_of_affiliate() returns trigger language plpgsql as $$
begin
  update webhook_endpoints set status = 'disabled', disabled_reason = 'the affiliate was terminated'
  where affiliate_id = new.id and status = 'active';
  return null;
end $$;
create trigger webhooks_end after update of status on affiliates
  for each row when (new.status = 'terminated' and old.status <> 'terminated')
  execute function end_webhooks_of_affiliate();

-- Calls that report something and were refused before their caller was known. A sample of them is in postback_calls.
create table unidentified_calls (
  hour timestamptz not null check (hour = date_trunc('hour', hour, 'UTC')),
  -- 0.0.0.0/0: of the addresses beyond those that are kept for an hour.
  network cidr not null,
  via text not null check (via in ('postback', 'pixel', 'api', 'batch', 'refund', 'replay')),
  -- The code of the problem that they were answered with.
  reason text not null check (length(reason) between 1 and 100),
  calls bigint not null check (calls > 0),
  primary key (hour, network, via, reason)
);
grant select, insert, update (calls), delete on unidentified_calls to afflux_app;
