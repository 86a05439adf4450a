-- The log of what was delivered to webhooks is proof against "we were not notified": a process cannot remove from it what
-- is young or what failed, and an endpoint takes its log with it only as a whole.
revoke delete on webhook_endpoints, webhook_events, webhook_deliveries, webhook_attempts from afflux_app;

-- Forgets at most `up_to` events of more than 30 days ago that have nothing left to deliver, with their deliveries.
create function forget_webhook_events(up_to integer) returns void language sql
  security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from webhook_events where id in (
    select id from webhook_events v
    where at < clock_timestamp() - interval '30 days' and fanned_out
      and not exists (select from webhook_deliveries d where d.event_id = v.id and d.state <> 'delivered')
    order by id limit up_to
  )
$$;

-- Removes an endpoint with everything that was or is to be delivered to it.
create function remove_webhook_endpoint(endpoint integer) returns void language sql
  security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from webhook_deliveries where endpoint_id = endpoint;
  delete from webhook_events where endpoint_id = endpoint;
  delete from webhook_endpoints where id = endpoint;
$$;

revoke execute on function forget_webhook_events(integer), remove_webhook_endpoint(integer) from public;
grant execute on function forget_webhook_events(integer), remove_webhook_endpoint(integer) to afflux_app;
