-- sub1 to sub5 of the click that won an order, '' where it has none: affiliates tell by them what earned. Null without a
-- click, and of orders that were decided before.
alter table conversions
  add column click_subs text[] constraint conversions_click_subs
    check (cardinality(click_subs) = 5 and array_position(click_subs, null) is null);
grant update (click_subs) on conversions to afflux_app;

drop view conversions_with_status;
create view conversions_with_status as
  select c.*, conversion_status(c.state, (
    select m.state from commissions m where m.conversion_id = c.id and m.level = 1
    order by array_position(
      array['held', 'pending', 'available', 'in_payout', 'paid', 'rejected', 'reversed'], m.state) limit 1
  )) as status
  from conversions c;
grant select on conversions_with_status to afflux_app;

-- Outgoing postbacks are endpoints beside the webhooks: the url has macros, and they hear of conversions alone.
alter table webhook_endpoints
  add column kind text not null default 'webhook' check (kind in ('webhook', 'outgoing_postback')),
  add column method text not null default 'POST' check (method in ('GET', 'POST')),
  -- Of the conversions it hears of; empty: every one.
  add column statuses text[] not null default '{}' check (statuses <@ array['pending', 'confirmed', 'rejected', 'paid']),
  add column event_names text[] not null default '{}' check (cardinality(event_names) <= 20),
  add constraint webhook_endpoints_kind check (
    kind = 'outgoing_postback' or (method = 'POST' and statuses = '{}' and event_names = '{}')
  );
grant update (method, statuses, event_names) on webhook_endpoints to afflux_app;

-- Superseded: a later postback or status of the same conversion took its place before it was delivered.
alter table webhook_deliveries
  drop constraint webhook_deliveries_state_check,
  add constraint webhook_deliveries_state_check check (state in ('pending', 'delivered', 'dead', 'superseded'));
-- An attempt goes on when its delivery is superseded.
drop index webhook_deliveries_claimed;
create index webhook_deliveries_claimed on webhook_deliveries (endpoint_id) where claimed_until is not null;
-- What an endpoint has received last of a conversion.
create index webhook_events_of_subject on webhook_events (subject, id);

create or replace function forget_webhook_events(up_to integer) returns void language sql
  security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from webhook_events where id in (
    select id from webhook_events v
    where at < clock_timestamp() - interval '30 days' and fanned_out
      and not exists (select from webhook_deliveries d where d.event_id = v.id and d.state in ('pending', 'dead'))
    order by id limit up_to
  )
$$;

-- The end of the hold and the return of a payout change the status of a conversion, and no row of it. A payout that fails
-- does not: what is in one is confirmed.
create function note_conversions_confirmed() returns trigger language plpgsql set enable_nestloop = off as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select distinct 'conversion.confirmed', n.program_id, n.affiliate_id, 'cnv_' || n.conversion_id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and n.level = 1
    and o.state in ('pending', 'paid') and n.state = 'available';
  return null;
end $$;
create trigger webhook_confirmed after update on commissions referencing old table as old_rows new table as new_rows
  for each statement execute function note_conversions_confirmed();
