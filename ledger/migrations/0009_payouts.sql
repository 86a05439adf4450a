-- Payouts: money submitted to a provider, in payout batches whose keys are committed before the call.

-- The account that an affiliate is paid to.
create table payout_methods (
  affiliate_id integer primary key references affiliates,
  kind text not null check (kind in ('bank', 'paypal', 'stripe')),
  -- Encrypted JSON; unreadable without a data key.
  details bytea not null,
  -- Enough to recognise it by.
  hint text not null check (length(hint) between 1 and 100),
  updated_at timestamptz not null default clock_timestamp(),
  -- Tells whether an order was paid from this account.
  account_hash bytea check (length(account_hash) = 32)
);
grant select, insert, update (kind, details, hint, updated_at, account_hash) on payout_methods to afflux_app;

create table payout_batches (
  id bigint generated always as identity primary key,
  batch_key text not null unique default 'bat_' || replace(gen_random_uuid()::text, '-', ''),
  program_id integer not null references programs,
  provider text not null check (length(provider) between 1 and 100),
  created_at timestamptz not null default clock_timestamp(),
  -- Until then another run leaves the hand-over to the run that claimed it.
  claimed_until timestamptz not null default '-infinity',
  handed_over_at timestamptz
);
create index payout_batches_open on payout_batches (id) where handed_over_at is null;
grant select, insert, update (claimed_until, handed_over_at) on payout_batches to afflux_app;

create table payouts (
  id bigint generated always as identity primary key,
  batch_id bigint not null references payout_batches,
  program_id integer not null,
  affiliate_id integer not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor > 0),
  state text not null default 'created',
  provider text not null,
  provider_key text not null constraint payouts_provider_key_once unique
    default 'pay_' || replace(gen_random_uuid()::text, '-', ''),
  failure text check (length(failure) between 1 and 1000),
  created_at timestamptz not null default clock_timestamp(),
  submitted_at timestamptz,
  closed_at timestamptz,
  foreign key (program_id, currency) references programs (id, currency),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
create unique index payouts_one_open on payouts (affiliate_id, currency)
  where state in ('created', 'submitting', 'submitted', 'unknown');
-- Payouts to be reconciled with their provider.
create index payouts_unknown on payouts (provider, id) where state = 'unknown';
create index on payouts (batch_id);
create index on payouts (affiliate_id, id);
create index on payouts (program_id, state, id);
alter table journals add foreign key (payout_id) references payouts;
grant select, insert, update (state, failure, submitted_at, closed_at) on payouts to afflux_app;

insert into transitions (entity, from_state, to_state)
select 'payouts', from_state, unnest(to_states) from (values
  ('new', array['created']),
  ('created', array['submitting', 'canceled']),
  ('submitting', array['submitted', 'unknown', 'failed']),
  ('unknown', array['submitted', 'paid', 'failed']),
  ('submitted', array['paid', 'failed']),
  ('paid', array['returned'])
) as allowed (from_state, to_states);
create trigger first_state after insert on payouts referencing new table as new_rows
  for each statement execute function check_first_states();
create trigger transition after update on payouts referencing old table as old_rows new table as new_rows
  for each statement execute function check_state_changes();

-- An item pays one commission, or (negative) nets debt. `live` ends when the payout did not reach the affiliate.
create table payout_items (
  id bigint generated always as identity primary key,
  payout_id bigint not null references payouts,
  kind text not null check (kind in ('commission', 'debt')),
  commission_id bigint references commissions,
  amount_minor bigint not null check ((kind = 'commission') = (amount_minor > 0) and amount_minor <> 0),
  live boolean not null default true,
  check ((kind = 'commission') = (commission_id is not null))
);
create unique index payout_items_commission_once on payout_items (commission_id) where live and commission_id is not null;
create index on payout_items (payout_id);
create trigger append_only before delete on payout_items for each row execute function refuse_change();
create trigger no_truncate before truncate on payout_items for each statement execute function refuse_change();
grant select, insert on payout_items to afflux_app;

create function check_item_change() returns trigger language plpgsql as $$
begin
  if not old.live or new.live or to_jsonb(new) - 'live' is distinct from to_jsonb(old) - 'live' then
    raise exception 'a payout item only ends with its payout' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger only_ends before update on payout_items for each row execute function check_item_change();

create function end_payout_items() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  update payout_items set live = false where payout_id = new.id and live;
  return null;
end $$;
create trigger end_items after update of state on payouts for each row
  when (new.state in ('failed', 'canceled', 'returned')) execute function end_payout_items();

-- A payout is the sum of its items when its transaction ends.
create function check_payout_total() returns trigger language plpgsql as $$
begin
  if new.amount_minor is distinct from (select sum(amount_minor) from payout_items where payout_id = new.id) then
    raise exception 'payout % is not the sum of its items', new.id
      using errcode = 'check_violation', constraint = 'payouts_total';
  end if;
  return null;
end $$;
create constraint trigger total after insert on payouts deferrable initially deferred
  for each row execute function check_payout_total();
