-- What Grafana's panels about orders, calls, webhooks and payment accounts read, and what the scheduler counts for Prometheus.

-- Without a customer, and without the address and the browser of anybody. The commission is a query of its own in the list of
-- columns, so that it is computed of the rows that a LIMIT leaves.
create view grafana_orders as
  select c.id, c.program_id, c.campaign_id, c.affiliate_id, c.link_id, l.code as link, c.order_id,
    case when c.awaits_shop and c.state in ('attributed', 'partially_refunded') then 'awaiting_shop' else c.state end as state,
    c.reason, c.currency, in_major_units(c.amount_minor, c.currency) as amount,
    in_major_units(
      coalesce((select sum(e.earned_minor) from earned_commissions e where e.conversion_id = c.id), 0)::bigint, c.currency
    ) as commission,
    c.occurred_at,
    case when c.click_node is not null then c.click_ts end as click_ts
  from conversions c
  left join links l on l.id = c.link_id;

-- Payouts that somebody has to look at, by the need: one that failed or came back only until a later one takes its place.
create view grafana_payouts_open as
  select o.*,
    case
      when o.state = 'unknown' then '1 no answer from the provider'
      when o.state in ('created', 'submitting', 'submitted') then '2 under way for more than a day'
      when o.state in ('failed', 'returned') then '3 failed or returned, no payout since'
      else '4 waits for approval'
    end as need
  from grafana_payouts o
  where o.state in ('unknown', 'awaiting_approval')
    or o.state in ('created', 'submitting', 'submitted') and o.created_at < clock_timestamp() - interval '1 day'
    or o.state in ('failed', 'returned') and not exists (
      select from payouts later
      where later.affiliate_id = o.affiliate_id and later.currency = o.currency and later.id > o.id
        and later.state <> 'canceled');

-- Calls that report orders, without what they carried.
create view grafana_postback_calls as
  select k.id, k.received_at, k.program_id, p.name as program, k.via, s.name as source, k.outcome, k.status, k.code,
    k.order_id, k.replay_of
  from postback_calls k
  left join programs p on p.id = k.program_id
  left join sources s on s.id = k.source_id;

create index webhook_deliveries_dead on webhook_deliveries (endpoint_id, done_at) where state = 'dead';

-- Webhooks and outgoing postbacks with what they have not got; of their addresses the host, because the rest can be a key.
create view grafana_webhooks as
  select e.id, e.program_id, p.name as program, e.affiliate_id, e.kind, substring(e.url from '^[a-z]+://([^/?#@]+)') as host,
    e.status, e.disabled_reason, w.pending, w.oldest_pending_at, x.dead, x.last_dead_at
  from webhook_endpoints e
  join programs p on p.id = e.program_id
  cross join lateral (
    select count(*) as pending, min(created_at) as oldest_pending_at
    from webhook_deliveries where endpoint_id = e.id and state = 'pending'
  ) w
  cross join lateral (
    select count(*) as dead, max(done_at) as last_dead_at
    from webhook_deliveries where endpoint_id = e.id and state = 'dead'
  ) x;

-- Whether an affiliate can be paid, not where.
create view grafana_payout_methods as
  select affiliate_id, kind, held_until, refused_at from payout_methods;

grant select on grafana_orders, grafana_payouts_open, grafana_postback_calls, grafana_webhooks, grafana_payout_methods
  to afflux_grafana;
grant select on grafana_payouts_open, grafana_postback_calls, grafana_webhooks to afflux_app;
