-- How shops report orders: their own parameter names, who may call, and every call.

create table postback_settings (
  program_id integer primary key references programs,
  -- Their name of a parameter to ours: {"transaction_id": "order_id"}.
  parameters jsonb not null default '{}' check (jsonb_typeof(parameters) = 'object'),
  -- Empty: calls may come from anywhere.
  allowed_ips cidr[] not null default '{}' check (cardinality(allowed_ips) <= 200),
  require_signature boolean not null default false,
  -- Whether orders may be reported by the customer's browser, which anybody can imitate.
  pixel boolean not null default false
);
grant select, insert, update (parameters, allowed_ips, require_signature, pixel) on postback_settings to afflux_app;

-- Every call by which an order or a refund was reported, also the refused ones.
create table postback_calls (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default clock_timestamp(),
  request_id text not null check (length(request_id) <= 100),
  via text not null check (via in ('postback', 'pixel', 'api', 'batch', 'refund', 'replay')),
  -- Null: the caller is unknown.
  program_id integer,
  actor text check (length(actor) <= 200),
  ip inet,
  -- As they came, under their own names; without keys and signatures, e-mail addresses as hashes.
  params jsonb not null,
  outcome text not null check (outcome in ('accepted', 'duplicate', 'rejected')),
  status integer not null,
  code text check (length(code) <= 100),
  detail text check (length(detail) <= 2000),
  order_id text check (length(order_id) <= 200),
  conversion_id bigint,
  replay_of bigint
);
create index on postback_calls (program_id, id);
create index on postback_calls (program_id, order_id, id) where order_id is not null;
create index on postback_calls (received_at);
-- Calls go when they are old; nobody edits one.
grant select, insert, delete on postback_calls to afflux_app;
