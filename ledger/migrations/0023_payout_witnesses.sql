-- Money needs a witness: where a payout goes and who set that, a hold after each change of it, who started a run, and,
-- where a program asks for it, a second person who approves before anything is handed over.

alter table programs
  -- Days without payouts to a destination after it was changed.
  add column payout_method_hold_days integer not null default 3 check (payout_method_hold_days between 0 and 90),
  add column payouts_need_approval boolean not null default false;
grant update (payout_method_hold_days, payouts_need_approval) on programs to afflux_app;

-- A run of payouts in one program: what was started together is approved or rejected together.
create table payout_runs (
  id bigint generated always as identity primary key,
  program_id integer not null references programs,
  provider text not null check (length(provider) between 1 and 100),
  state text not null,
  started_at timestamptz not null default clock_timestamp(),
  -- Such as `user:3`, `key:7`, `command line` or `scheduler`.
  started_by text not null check (length(started_by) between 1 and 200),
  decided_at timestamptz,
  decided_by text,
  constraint payout_runs_decided check (
    (state in ('approved', 'rejected')) = (decided_at is not null)
    and (decided_at is null) = (decided_by is null) and length(coalesce(decided_by, '-')) between 1 and 200
  ),
  constraint payout_runs_second_person check (state <> 'approved' or decided_by <> started_by)
);
create index on payout_runs (program_id, id);
grant select, insert, update (state, decided_at, decided_by) on payout_runs to afflux_app;

insert into transitions (entity, from_state, to_state)
select 'payout_runs', from_state, unnest(to_states) from (values
  ('new', array['confirmed', 'awaiting_approval']),
  ('awaiting_approval', array['approved', 'rejected'])
) as allowed (from_state, to_states);

-- The runs of before, one a batch. Nobody knows who started them.
insert into payout_runs (id, program_id, provider, state, started_at, started_by)
overriding system value
select id, program_id, provider, 'confirmed', created_at, 'unknown' from payout_batches;
select setval(pg_get_serial_sequence('payout_runs', 'id'), max(id)) from payout_runs having max(id) is not null;

create trigger first_state after insert on payout_runs referencing new table as new_rows
  for each statement execute function check_first_states();
create trigger transition after update on payout_runs referencing old table as old_rows new table as new_rows
  for each statement execute function check_state_changes();

-- The program decides whether its runs wait, not who starts them.
create function check_run_waits() returns trigger language plpgsql as $$
begin
  if (new.state = 'awaiting_approval')
    is distinct from (select payouts_need_approval from programs where id = new.program_id) then
    raise exception 'a run of program % begins as the program requires it', new.program_id
      using errcode = 'check_violation', constraint = 'payout_runs_waits';
  end if;
  return null;
end $$;
create trigger waits after insert on payout_runs for each row execute function check_run_waits();

alter table payout_batches add column run_id bigint references payout_runs;
update payout_batches set run_id = id;
alter table payout_batches alter column run_id set not null;
create index on payout_batches (run_id);

-- Where the money goes, as it was when the payout was built. Nothing else is ever handed over.
alter table payouts
  -- Null: the affiliate had no account, or (of before) it was not kept.
  add column destination_kind text check (destination_kind in ('bank', 'paypal', 'stripe', 'email')),
  -- A copy of payout_methods.details, encrypted.
  add column destination_details bytea,
  -- Instead, where the provider pays to the affiliate's address.
  add column destination_email text,
  -- Enough to recognise it by.
  add column destination_hint text check (length(destination_hint) between 1 and 100),
  add column method_version integer,
  -- Who set it: may not approve the payout.
  add column destination_set_by text,
  add constraint payouts_destination check (case
    when destination_kind is null
      then num_nonnulls(destination_details, destination_email, destination_hint, method_version) = 0
    when destination_kind = 'email'
      then num_nonnulls(destination_email, destination_hint) = 2 and num_nonnulls(destination_details, method_version) = 0
    else num_nonnulls(destination_details, destination_hint, method_version) = 3 and destination_email is null
  end);

insert into transitions (entity, from_state, to_state) values
  ('payouts', 'new', 'awaiting_approval'),
  ('payouts', 'awaiting_approval', 'created'),
  ('payouts', 'awaiting_approval', 'canceled');
drop index payouts_one_open;
create unique index payouts_one_open on payouts (affiliate_id, currency)
  where state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown');

-- Whatever is handed over belongs to a run that needs no approval, or has it.
create function check_payouts_approved() returns trigger language plpgsql as $$
begin
  if exists (
    select from new_rows n join payout_batches b on b.id = n.batch_id join payout_runs r on r.id = b.run_id
    where n.state in ('created', 'submitting') and r.state not in ('confirmed', 'approved')
  ) then
    raise exception 'a payout of a run without approval cannot be handed over'
      using errcode = 'check_violation', constraint = 'payouts_approved';
  end if;
  return null;
end $$;
create trigger approved_first after insert on payouts referencing new table as new_rows
  for each statement execute function check_payouts_approved();
create trigger approved after update on payouts referencing new table as new_rows
  for each statement execute function check_payouts_approved();

-- A method's account: each other one is a new version, with a hold before money goes there.
alter table payout_methods
  add column version integer not null default 1,
  add column changed_by text not null default 'unknown' check (length(changed_by) between 1 and 200),
  add column held_until timestamptz not null default '-infinity';
grant update (changed_by) on payout_methods to afflux_app;

-- Until when no money goes to a destination that is changed now.
create function destination_held_until(affiliate_program_id integer) returns timestamptz language sql stable as $$
  select coalesce(
    (select clock_timestamp() + make_interval(days => payout_method_hold_days)
      from programs where id = affiliate_program_id and payout_method_hold_days > 0),
    '-infinity')
$$;

create function hold_payout_method() returns trigger language plpgsql as $$
declare
  affiliate_program_id integer;
begin
  -- Payouts lock the affiliate while they are built and while they are handed over: they see this change or come first.
  select program_id into affiliate_program_id from affiliates where id = new.affiliate_id for no key update;
  if tg_op = 'UPDATE' and new.kind = old.kind and new.account_hash = old.account_hash then
    new.version := old.version;
    new.updated_at := old.updated_at;
    new.changed_by := old.changed_by;
    new.held_until := old.held_until;
    return new;
  end if;
  new.version := case tg_op when 'UPDATE' then old.version + 1 else 1 end;
  new.updated_at := clock_timestamp();
  new.held_until := destination_held_until(affiliate_program_id);
  return new;
end $$;
create trigger hold before insert or update on payout_methods for each row execute function hold_payout_method();

-- The address of an affiliate, for providers that pay to it.
alter table affiliates
  add column email_changed_at timestamptz,
  add column email_changed_by text check (length(email_changed_by) between 1 and 200),
  add column email_held_until timestamptz not null default '-infinity';
grant update (email_changed_by) on affiliates to afflux_app;

create function hold_affiliate_email() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and lower(new.email) = lower(old.email) then
    new.email_changed_at := old.email_changed_at;
    new.email_changed_by := old.email_changed_by;
    new.email_held_until := old.email_held_until;
    return new;
  end if;
  new.email_changed_at := clock_timestamp();
  new.email_held_until := destination_held_until(new.program_id);
  return new;
end $$;
create trigger hold_email before insert or update of email, email_changed_by on affiliates
  for each row execute function hold_affiliate_email();

-- What is open goes where it would have gone.
update payouts p set destination_kind = m.kind, destination_details = m.details, destination_hint = m.hint,
  method_version = m.version, destination_set_by = m.changed_by
from payout_methods m
where m.affiliate_id = p.affiliate_id and p.state in ('created', 'submitting', 'unknown')
  and (p.provider <> 'paypal_csv' or m.kind = 'paypal');
update payouts p set destination_kind = 'email', destination_email = f.email,
  destination_hint = left(f.email, 1) || '…@' || left(split_part(f.email, '@', 2), 90)
from affiliates f
where f.id = p.affiliate_id and p.state in ('created', 'submitting', 'unknown')
  and p.provider = 'paypal_csv' and p.destination_kind is null;

-- As before, and runs.
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
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'run' then (select program_id from payout_runs where id = number)
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;
