-- Cases: orders that the fraud team reviews as one.

create table cases (
  id integer generated always as identity primary key,
  program_id integer not null constraint cases_program_known references programs,
  title text not null check (length(title) between 1 and 200),
  -- Decided: none of its orders was in review any more when a decision had ended. Closed: by hand.
  state text not null default 'open' check (state in ('open', 'decided', 'closed')),
  -- Where it began; null: with orders alone, or it was erased.
  subject_kind text check (
    subject_kind in ('ip', 'subnet', 'asn', 'fingerprint', 'affiliate', 'link', 'customer', 'account')),
  subject text check (length(subject) between 1 and 200),
  assigned_to integer constraint cases_assigned_known references users,
  -- As the audit log names them.
  opened_by text not null check (length(opened_by) between 1 and 200),
  opened_at timestamptz not null default clock_timestamp(),
  -- Null while it is open.
  ended_at timestamptz,
  unique (id, state),
  check ((subject_kind is null) = (subject is null)),
  check ((state = 'open') = (ended_at is null))
);
create index on cases (program_id, state, id);
create index on cases (assigned_to) where assigned_to is not null;
create index on cases (subject_kind, subject) where subject is not null;
grant select, insert, update (title, state, assigned_to, ended_at) on cases to afflux_app;

create table case_orders (
  case_id integer not null,
  -- That of the case, so that an index can tell those of open cases.
  case_state text not null,
  conversion_id bigint not null references conversions,
  added_by text not null check (length(added_by) between 1 and 200),
  added_at timestamptz not null default clock_timestamp(),
  -- By a decision of this case, which it then stays in.
  decided_as text check (decided_as in ('approved', 'rejected')),
  -- Taken out since then. The row stays: what was written about the order is erased with its customer.
  removed_at timestamptz,
  primary key (case_id, conversion_id),
  check (decided_as is null or removed_at is null),
  constraint case_orders_case_known foreign key (case_id, case_state) references cases (id, state) on update cascade
);
create unique index case_orders_open_once on case_orders (conversion_id) where case_state = 'open' and removed_at is null;
create index on case_orders (conversion_id);
grant select, insert, update (added_by, added_at, decided_as, removed_at) on case_orders to afflux_app;

-- What was said, and what was done to the case.
create table case_notes (
  id bigint generated always as identity primary key,
  case_id integer not null references cases,
  act text not null check (act in ('note', 'decision', 'close', 'reopen')),
  -- As the audit log names them.
  author text not null check (length(author) between 1 and 200),
  text text not null check (length(text) between 1 and 2000),
  -- Orders, of a decision. The audit log of each says which decision of the case it was, from 1.
  approved integer check (approved >= 0),
  rejected integer check (rejected >= 0),
  at timestamptz not null default clock_timestamp(),
  check ((act = 'decision') = (approved is not null) and (act = 'decision') = (rejected is not null))
);
create index on case_notes (case_id, id);
grant select, insert on case_notes to afflux_app;

-- Of cases that hold or held these orders, and of those that began with one of these subjects, which are given by kind and
-- value (in one program; null: in each): what was written about them, which may say who somebody is, and where they began.
create function erase_cases(order_ids bigint[], of_program integer, kinds text[], subjects text[]) returns void
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  -- Locked in the order of their ids, as nobody else locks two.
  case_ids integer[] := array(
    select id from cases c
    where id in (select case_id from case_orders where conversion_id = any (order_ids))
      or ((of_program is null or program_id = of_program) and (subject_kind, subject) in (
        select kind, value from unnest(kinds, subjects) as named (kind, value)))
    order by id for no key update);
begin
  update case_notes set text = 'erased' where case_id = any (case_ids);
  update cases set title = 'erased', subject_kind = null, subject = null where id = any (case_ids);
end $$;
revoke execute on function erase_cases(bigint[], integer, text[], text[]) from public;
grant execute on function erase_cases(bigint[], integer, text[], text[]) to afflux_app;

-- As before, and cases.
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
    when 'cpn' then (select program_id from coupons where id = number)
    when 'trm' then (select program_id from terms where id = number)
    when 'key' then (select program_id from api_keys where id = number)
    when 'cnv' then (select program_id from conversions where id = number)
    when 'com' then (select program_id from commissions where id = number)
    when 'ref' then (select c.program_id from refunds r join conversions c on c.id = r.conversion_id where r.id = number)
    when 'pay' then (select program_id from payouts where id = number)
    when 'run' then (select program_id from payout_runs where id = number)
    when 'bat' then (select program_id from payout_batches where id = number)
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'app' then (select program_id from applications where id = number)
    when 'blk' then (select program_id from blocks where id = number)
    when 'rpt' then (select program_id from saved_reports where id = number)
    when 'cas' then (select program_id from cases where id = number)
    when 'src' then (select program_id from sources where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;
