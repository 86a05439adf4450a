-- Conversions: orders as shops report them, what attribution decided, and refunds.

create table conversions (
  id bigint generated always as identity primary key,
  program_id integer not null,
  currency text not null,
  order_id text not null check (length(order_id) between 1 and 200),
  amount_minor bigint not null check (amount_minor between 0 and 1000000000000),
  refunded_minor bigint not null default 0,
  -- SHA-256 of what the shop reported: tells a repeated report from a contradicting one.
  payload_hash bytea not null check (length(payload_hash) = 32),
  state text not null default 'received',
  reason text check (reason in (
    'self_referral', 'high_conversion_rate_from_ip', 'instant_conversion', 'fingerprint_match', 'invalid_click',
    'no_click', 'invalid_click_id', 'click_not_found', 'click_of_other_program', 'click_after_order',
    'outside_window', 'affiliate_not_active', 'no_terms', 'rejected_by_reviewer'
  )),
  source text not null check (source in ('api', 'postback')),
  occurred_at timestamptz not null,
  received_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  click_id text check (length(click_id) between 1 and 200),
  click_ts timestamptz,
  click_node integer check (click_node between 0 and 65535),
  click_seq bigint check (click_seq between 0 and 4294967295),
  click_ip inet,
  campaign_id integer,
  affiliate_id integer,
  link_id integer,
  terms_id integer references terms,
  evidence jsonb,
  customer_id text check (length(customer_id) between 1 and 200),
  customer_email_hash bytea check (length(customer_email_hash) = 32),
  ip inet,
  user_agent text check (length(user_agent) <= 4096),
  -- 64 unsigned bits, kept in a signed column.
  fingerprint bigint,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default clock_timestamp(),
  claimed_until timestamptz,
  constraint conversions_order_once unique (program_id, order_id),
  constraint conversions_program_known foreign key (program_id, currency) references programs (id, currency),
  foreign key (program_id, campaign_id) references campaigns (program_id, id),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  foreign key (program_id, link_id) references links (program_id, id),
  constraint conversions_refunded_within_amount check (refunded_minor between 0 and amount_minor),
  constraint conversions_credited check (
    state not in ('attributed', 'review', 'partially_refunded', 'refunded')
    or (affiliate_id is not null and campaign_id is not null and link_id is not null
        and terms_id is not null and click_ts is not null)
  ),
  constraint conversions_reasoned check (state not in ('rejected', 'review', 'unattributed') or reason is not null),
  constraint conversions_refund_state check (
    case state
      when 'partially_refunded' then refunded_minor > 0 and refunded_minor < amount_minor
      when 'refunded' then refunded_minor = amount_minor
      else true
    end
  )
);
create index conversions_due on conversions (next_attempt_at, id) where state in ('received', 'awaiting_click');
create index on conversions (program_id, click_ip, received_at) where click_ip is not null;
create index on conversions (affiliate_id, id) where affiliate_id is not null;
create index on conversions (program_id, state, id);
create trigger state_edge before insert or update of state on conversions
  for each row execute function check_state_edge();

insert into state_edges (entity, from_state, to_state)
select 'conversions', from_state, unnest(to_states) from (values
  ('new', array['received']),
  ('received', array['awaiting_click', 'attributed', 'unattributed', 'review', 'rejected']),
  ('awaiting_click', array['attributed', 'unattributed', 'review', 'rejected']),
  ('unattributed', array['attributed', 'review', 'rejected']),
  ('review', array['attributed', 'rejected', 'refunded']),
  ('attributed', array['partially_refunded', 'refunded']),
  ('partially_refunded', array['refunded'])
) as edges (from_state, to_states);

create table refunds (
  id bigint generated always as identity primary key,
  conversion_id bigint not null references conversions,
  refund_ref text not null check (length(refund_ref) between 1 and 200),
  amount_minor bigint not null check (amount_minor > 0),
  received_at timestamptz not null default clock_timestamp(),
  constraint refunds_ref_once unique (conversion_id, refund_ref)
);
create trigger append_only before update or delete on refunds for each row execute function refuse_change();
create trigger no_truncate before truncate on refunds for each statement execute function refuse_change();
