-- An endpoint that is disabled is kept what it misses until then: 30 days, less once much waits for it. Null: it is active,
-- or its affiliate was terminated.
alter table webhook_endpoints add column keeps_until timestamptz;
grant update (keeps_until) on webhook_endpoints to afflux_app;
update webhook_endpoints e set keeps_until = clock_timestamp() + interval '30 days'
where status = 'disabled'
  and not exists (select from affiliates a where a.id = e.affiliate_id and a.status = 'terminated');

create function keep_missed_events() returns trigger language plpgsql as $$
begin
  new.keeps_until := case
    when new.status = 'active' then null
    when exists (select from affiliates where id = new.affiliate_id and status = 'terminated') then null
    else clock_timestamp() + interval '30 days'
  end;
  return new;
end $$;
create trigger keep_missed before update of status on webhook_endpoints
  for each row when (new.status <> old.status) execute function keep_missed_events();

-- Programs with an endpoint that hears of events, now or once it is active again; the others need no events.
create or replace function listened_programs() returns setof integer language sql stable as $$
  select distinct program_id from webhook_endpoints where status = 'active' or keeps_until > now()
$$;

-- What a conversion was at the event, where it may be something else when the message is made: columns that change, and none
-- of the customer, whom an erasure may remove in between. It is forgotten with the making of the message.
alter table webhook_events add column conversion jsonb;
grant update (conversion) on webhook_events to afflux_app;

create function conversion_at_event(conversion jsonb) returns jsonb language sql immutable parallel safe as $$
  select conversion - array['customer_id', 'customer_email_hash', 'customer_mailbox_hash', 'payment_account_hash', 'ip',
    'user_agent', 'fingerprint', 'payload_hash']
$$;

create or replace function note_conversions_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject, conversion)
  select 'conversion.created', program_id, affiliate_id, 'cnv_' || id, conversion_at_event(to_jsonb(new_rows)) from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;

-- The evidence and the click's address tell of the customer as well.
create or replace function note_conversions_changed() returns trigger language plpgsql
  set enable_nestloop = off as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject, conversion)
  select 'conversion.changed', n.program_id, n.affiliate_id, 'cnv_' || n.id,
    conversion_at_event(to_jsonb(n)) - array['evidence', 'click_ip']
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs())
    and (o.state, o.amount_minor, o.refunded_minor, o.awaits_shop)
      is distinct from (n.state, n.amount_minor, n.refunded_minor, n.awaits_shop)
  order by n.id;
  return null;
end $$;
