-- Other ids by which a source names an order: a payment provider reports an order by its invoice, and what is given back by
-- the payment.
create table order_names (
  source_id integer not null constraint order_names_source_known references sources on delete cascade,
  name text not null check (length(name) between 1 and 200),
  order_id text not null check (length(order_id) between 1 and 200),
  constraint order_names_once primary key (source_id, name)
);
create index on order_names (source_id, order_id);
grant select, insert on order_names to afflux_app;

-- Refused because their order was not known: they are done when it comes, by whatever way.
create index postback_calls_early on postback_calls (received_at)
  where source_id is not null and outcome = 'rejected' and replay_of is null and code = 'not_found';
