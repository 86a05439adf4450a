-- Calls of sources that name orders which are not known yet. They are done when these are, by whatever way they come.
create table waiting_calls (
  call_id bigint primary key constraint waiting_calls_call_known references postback_calls on delete cascade,
  source_id integer not null constraint waiting_calls_source_known references sources on delete cascade,
  since timestamptz not null default clock_timestamp(),
  -- Looked at when every transaction before this one has ended; 0: at once. Null: when one of the orders, or a name, is recorded.
  due xid8 default '0',
  -- The orders were not there when every transaction had ended that could not see that this call waits for them.
  settled boolean not null default false,
  attempts smallint not null default 0,
  claimed_until timestamptz,
  -- Of a signed body: the same one waits once.
  body_hash bytea,
  constraint waiting_calls_body_once unique (source_id, body_hash)
);
create index waiting_calls_due on waiting_calls (due) where due is not null;
create index waiting_calls_since on waiting_calls (since);
grant select, insert, delete, update (due, settled, attempts, claimed_until) on waiting_calls to afflux_app;

create table waiting_orders (
  call_id bigint not null constraint waiting_orders_call_known references waiting_calls on delete cascade,
  program_id integer not null,
  -- By which the call names the order, and by which it may be recorded.
  order_id text not null,
  known_as text not null,
  event_name text not null,
  constraint waiting_orders_once primary key (call_id, order_id, known_as, event_name)
);
create index waiting_orders_known on waiting_orders (program_id, known_as, event_name);
grant select, insert, delete on waiting_orders to afflux_app;

-- Calls of which an order, or a name of one, was recorded: the next look makes them due. To make them due at once would lock
-- them until the end of the transaction, in the order of its statements: two that record orders would wait for each other.
create table woken_calls (
  id bigint generated always as identity primary key,
  call_id bigint not null
);
grant select, insert, delete, update (call_id) on woken_calls to afflux_app;

-- The planner may take the tables for the empty ones that they were: what waits is found by its index.
create function wake_calls_of_orders() returns trigger language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  insert into woken_calls (call_id)
  select distinct o.call_id from new_rows n join waiting_orders o
    on o.program_id = n.program_id and o.known_as = n.order_id and o.event_name = n.event_name;
  return null;
end $$;
create trigger wake_calls after insert on conversions referencing new table as new_rows
  for each statement execute function wake_calls_of_orders();

create function wake_calls_of_names() returns trigger language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  insert into woken_calls (call_id)
  select distinct o.call_id from new_rows n join sources s on s.id = n.source_id
    join waiting_orders o on o.program_id = s.program_id and o.known_as = any (array[n.name, n.order_id])
    join waiting_calls c on c.call_id = o.call_id and c.source_id = n.source_id;
  return null;
end $$;
create trigger wake_calls after insert on order_names referencing new table as new_rows
  for each statement execute function wake_calls_of_names();

-- What waits already.
with waiting as (
  select r.id, r.source_id, r.program_id, r.order_id, r.received_at, r.body_hash, r.params
  from postback_calls r join sources s on s.id = r.source_id
  where r.outcome = 'rejected' and r.replay_of is null and r.code = 'not_found' and r.request is not null
    and r.order_id is not null and r.program_id is not null and r.received_at > now() - interval '30 days'
    and not exists (select from postback_calls p where p.replay_of = r.id and p.outcome <> 'rejected')
), calls as (
  insert into waiting_calls (call_id, source_id, since, body_hash)
  select id, source_id, received_at, body_hash from waiting order by id
  on conflict (source_id, body_hash) do nothing returning call_id
)
insert into waiting_orders (call_id, program_id, order_id, known_as, event_name)
select distinct id, program_id, o.order_id, o.order_id, coalesce(nullif(o.event_name, ''), 'sale')
from waiting join calls on call_id = id cross join lateral (
  select waiting.order_id, case when params ->> 'order_id' = waiting.order_id then params ->> 'event_name' end
  union all select f ->> 'order_id', f ->> 'event_name' from jsonb_array_elements(
    case jsonb_typeof(params -> 'further') when 'array' then params -> 'further' else '[]' end) f
) o (order_id, event_name)
where o.order_id is not null;
drop index postback_calls_early;

-- Calls that prove nothing are counted by source, and forgotten early.
create index postback_calls_unproven on postback_calls (source_id, received_at)
  where code = 'signature_required' and replay_of is null and request is not null;

-- A name is kept while its order is known. Null: that was seen.
alter table order_names add column unseen_until timestamptz default clock_timestamp() + interval '90 days';
create index order_names_unseen on order_names (unseen_until) where unseen_until is not null;
grant delete, update (unseen_until) on order_names to afflux_app;

-- A disabled endpoint is kept nothing once its affiliate is terminated or merged, whichever comes first.
create or replace function end_webhooks_of_affiliate() returns trigger language plpgsql as $$
begin
  update webhook_endpoints set status = 'disabled', keeps_until = null,
    disabled_reason = case status when 'active' then 'the affiliate was terminated' else disabled_reason end
  where affiliate_id = new.id and (status = 'active' or keeps_until is not null);
  return null;
end $$;
update webhook_endpoints e set keeps_until = null
where keeps_until is not null and exists (select from affiliates a where a.id = e.affiliate_id and a.status = 'terminated');

-- As before, and what waits for a disabled endpoint: at once where it is never sent, else once the endpoint is kept nothing any
-- more, each after 30 days.
create or replace function forget_webhook_events(up_to integer) returns void language sql
  security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from webhook_deliveries where id in (
    select d.id from webhook_endpoints e join webhook_deliveries d on d.endpoint_id = e.id
    where e.status = 'disabled' and d.state = 'pending' and (
      e.keeps_until is null
      or (e.keeps_until <= clock_timestamp() and d.created_at < clock_timestamp() - interval '30 days')
    )
    order by d.id limit up_to
  );
  delete from webhook_events where id in (
    select id from webhook_events v
    where at < clock_timestamp() - interval '30 days' and fanned_out
      and not exists (select from webhook_deliveries d where d.event_id = v.id and d.state in ('pending', 'dead'))
    order by id limit up_to
  );
$$;

-- As before, and what program and partner wrote about these orders, which may name the customer; of webhooks about them, whether
-- or not they have arrived, the members that tell of the customer, and answers, which may repeat them.
create or replace function erase_customer(order_ids bigint[], of_program integer, named_id text, named_email text) returns void
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  subjects text[] := array(select 'cnv_' || id from unnest(order_ids) as id);
  -- As calls name these orders.
  ids text[] := array(select order_id from conversions where id = any (order_ids));
begin
  ids := ids || array(
    select case when n.name = any (ids) then n.order_id else n.name end
    from order_names n join sources s on s.id = n.source_id
    where s.program_id = of_program and (n.name = any (ids) or n.order_id = any (ids)));
  update conversions set customer_id = null, customer_email_hash = null, customer_mailbox_hash = null,
    payment_account_hash = null, ip = null, click_ip = null, user_agent = null, fingerprint = null, evidence = null,
    next_attempt_at = null
  where id = any (order_ids);
  -- A call that was refused first, and done later, has its whole request in a line that names no conversion.
  update postback_calls set params = '{}', ip = null, request = null
  where program_id = of_program and (
    conversion_id = any (order_ids) or params ->> 'customer_id' = named_id or params ->> 'customer_email' = named_email
    or order_id = any (ids)
    or id in (select replay_of from postback_calls where program_id = of_program and conversion_id = any (order_ids))
    or params ? 'further' and exists (
      select from jsonb_array_elements(
        case jsonb_typeof(params -> 'further') when 'array' then params -> 'further' else '[]' end) f
      where f ->> 'order_id' = any (ids) or f ->> 'customer_id' = named_id or f ->> 'customer_email' = named_email)
  );
  update partner_reasons set text = null where conversion_id = any (order_ids);
  update order_messages set text = 'erased', is_open = false where conversion_id = any (order_ids);
  update webhook_events set conversion = conversion - array['evidence', 'click_ip']
  where subject = any (subjects) and conversion is not null;
  update webhook_attempts a set response = null
  from webhook_events v join webhook_deliveries d on d.event_id = v.id
  where v.subject = any (subjects) and a.delivery_id = d.id and a.response is not null;
  update webhook_deliveries d set body = jsonb_set(body::jsonb, '{data}', body::jsonb -> 'data'
    || '{"customer_id": null, "customer_email_hash": null, "ip": null, "user_agent": null, "evidence": null}')::text
  from webhook_events v
  where v.subject = any (subjects) and d.event_id = v.id and body::jsonb -> 'data' ? 'customer_id';
end $$;
