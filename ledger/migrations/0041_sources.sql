-- What sends orders to a program: shops, payment providers, trackers. Each has an address of its own, under which calls
-- come as their sender makes them, and a mapping that reads them.

create table sources (
  id integer generated always as identity primary key,
  program_id integer not null constraint sources_program_known references programs,
  kind text not null check (kind ~ '^[a-z_]{1,40}$'),
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'disabled')),
  -- The part of the address that cannot be guessed: encrypted, and the SHA-256 by which it is found.
  address bytea not null,
  address_hash bytea not null constraint sources_address_once unique check (length(address_hash) = 32),
  -- A host name whose calls of /aff_lsr come to this source.
  host text constraint sources_host_unique unique check (host = lower(host) and length(host) between 1 and 253),
  -- What its calls are signed with, encrypted. Null: it signs none, or the secret is not known yet.
  secret bytea,
  old_secret bytea,
  -- The old secret is right as well until then.
  old_secret_until timestamptz,
  -- Null: the mapping of the kind.
  mapping jsonb check (jsonb_typeof(mapping) = 'object'),
  created_at timestamptz not null default clock_timestamp(),
  check ((old_secret is null) = (old_secret_until is null))
);
create index on sources (program_id, id);
grant select, insert, delete,
  update (name, status, host, secret, old_secret, old_secret_until, mapping) on sources to afflux_app;

alter table postback_calls
  drop constraint postback_calls_via_check,
  add constraint postback_calls_via_check
    check (via in ('postback', 'pixel', 'api', 'batch', 'refund', 'replay', 'source')),
  drop constraint postback_calls_outcome_check,
  add constraint postback_calls_outcome_check check (outcome in ('accepted', 'duplicate', 'rejected', 'ignored')),
  -- The line stays when the source is removed.
  add column source_id integer,
  -- The request as it came, compressed and encrypted: its method, query, the headers that matter, its body.
  add column request bytea,
  -- SHA-256 of a signed body: the same delivery is done once.
  add column body_hash bytea check (length(body_hash) = 32);
create index on postback_calls (source_id, id) where source_id is not null;
create index on postback_calls (source_id, received_at) where source_id is not null;
create index on postback_calls (source_id, body_hash) where body_hash is not null;
create index on postback_calls (replay_of) where replay_of is not null;
-- What came before its order, or what came after a call that is done again.
create index on postback_calls (source_id, order_id, id) where source_id is not null;
-- The refusals that a source shows, and those to do again.
create index postback_calls_refused on postback_calls (source_id, id)
  where source_id is not null and outcome = 'rejected' and replay_of is null;

-- As before, and sources.
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
    when 'cpn' then (select program_id from coupons where id = number)
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'run' then (select program_id from payout_runs where id = number)
    when 'bat' then (select program_id from payout_batches where id = number)
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'src' then (select program_id from sources where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;

-- Removes who the customer of these orders was, and of the calls that reported them all but the outcome. A call that was
-- refused is of no order: it is known by the customer's id or the hash of the address. No late click reopens such an order,
-- because the decision would say again where its customer was.
create function erase_customer(order_ids bigint[], of_program integer, named_id text, named_email text) returns void
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  update conversions set customer_id = null, customer_email_hash = null, customer_mailbox_hash = null,
    payment_account_hash = null, ip = null, click_ip = null, user_agent = null, fingerprint = null, evidence = null,
    next_attempt_at = null
  where id = any (order_ids);
  update postback_calls set params = '{}', ip = null, request = null
  where program_id = of_program and (
    conversion_id = any (order_ids) or params ->> 'customer_id' = named_id or params ->> 'customer_email' = named_email
  );
end $$;
revoke execute on function erase_customer(bigint[], integer, text, text) from public;
grant execute on function erase_customer(bigint[], integer, text, text) to afflux_app;
