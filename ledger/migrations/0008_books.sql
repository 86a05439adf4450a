-- The books: double entry. Positive amounts are what an affiliate has; the program's accounts mirror them below zero:
--   commission_expense = −(pending + available + in_transit + debt)   what is earned and not yet paid
--   cash_clearing      = −paid                                        what has left in cash
-- debt is zero or negative: money paid for orders that were refunded afterwards.
--
-- Rows that the books refer to are never deleted, so it is enough that they are there when the books are written: one
-- look-up a statement does that, where foreign keys took a third of the time of a batch. Parents are counted by their
-- keys, never joined: the planner knows nothing of a statement's new rows, and would read whole tables.

create table accounts (
  id bigint generated always as identity primary key,
  program_id integer not null,
  affiliate_id integer,
  currency text not null,
  kind text not null,
  -- Cached sum of the account's entries, kept by a trigger in the transaction that writes them.
  balance_minor bigint not null default 0,
  unique (id, currency),
  foreign key (program_id, currency) references programs (id, currency),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint accounts_kind check (
    case when affiliate_id is null
      then kind in ('commission_expense', 'cash_clearing')
      else kind in ('pending', 'available', 'in_transit', 'paid', 'debt')
    end
  ),
  constraint accounts_sign check (
    case when kind in ('pending', 'available', 'in_transit', 'paid') then balance_minor >= 0
      when kind in ('debt', 'cash_clearing') then balance_minor <= 0
      else true
    end
  )
);
-- Accounts are found by one key, also those of a program, which have no affiliate.
create unique index accounts_once on accounts (program_id, coalesce(affiliate_id, 0), currency, kind);
create index on accounts (affiliate_id) where affiliate_id is not null;
create trigger stays before delete on accounts for each row execute function refuse_change();
grant select on accounts to afflux_app;

create function open_program_accounts() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  insert into accounts (program_id, currency, kind)
  select new.id, new.currency, unnest(array['commission_expense', 'cash_clearing']);
  return null;
end $$;
create trigger open_accounts after insert on programs for each row execute function open_program_accounts();

create function open_affiliate_accounts() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  insert into accounts (program_id, affiliate_id, currency, kind)
  select new.program_id, new.id, p.currency, unnest(array['pending', 'available', 'in_transit', 'paid', 'debt'])
  from programs p where p.id = new.program_id;
  return null;
end $$;
create trigger open_accounts after insert on affiliates for each row execute function open_affiliate_accounts();

create table commissions (
  id bigint generated always as identity primary key,
  conversion_id bigint not null,
  program_id integer not null,
  affiliate_id integer not null,
  level integer not null check (level between 1 and 10),
  terms_id integer not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor > 0),
  -- Sum taken back by refunds and rejections.
  reversed_minor bigint not null default 0,
  -- The part of it taken back after the money was on its way: owed as debt, still in the payout.
  clawback_minor bigint not null default 0,
  state text not null,
  available_at timestamptz not null,
  created_at timestamptz not null default clock_timestamp(),
  -- Level 1 under tiers: the affiliate's volume of the month before this order.
  volume_before_minor bigint check (volume_before_minor >= 0),
  constraint commissions_level_once unique (conversion_id, level),
  constraint commissions_affiliate_once unique (conversion_id, affiliate_id),
  constraint commissions_reversed_within check (
    reversed_minor between 0 and amount_minor and clawback_minor between 0 and reversed_minor
  ),
  -- Rejected and reversed commissions are wholly taken back, and only they are.
  constraint commissions_reversed_state check (
    (state in ('rejected', 'reversed')) = (reversed_minor - clawback_minor = amount_minor)
  )
);
create index commissions_vesting on commissions (available_at, id) where state = 'pending';
create index commissions_payable on commissions (program_id, affiliate_id, id) where state = 'available';
-- Dashboards ask every minute, and few among many are held.
create index commissions_held on commissions (program_id, affiliate_id) where state = 'held';
create index on commissions (affiliate_id, id);
create trigger stays before delete on commissions for each row execute function refuse_change();
grant select, insert, update (state, reversed_minor, clawback_minor, available_at) on commissions to afflux_app;

insert into transitions (entity, from_state, to_state)
select 'commissions', from_state, unnest(to_states) from (values
  ('new', array['pending', 'held']),
  ('pending', array['held', 'available', 'rejected', 'reversed']),
  ('held', array['pending', 'rejected', 'reversed']),
  ('available', array['in_payout', 'reversed']),
  ('in_payout', array['available', 'paid']),
  ('paid', array['available'])
) as allowed (from_state, to_states);
create trigger first_state after insert on commissions referencing new table as new_rows
  for each statement execute function check_first_states();
create trigger transition after update on commissions referencing old table as old_rows new table as new_rows
  for each statement execute function check_state_changes();

create function check_commission_parents() returns trigger language plpgsql as $$
declare
  part record;
begin
  for part in
    select program_id, currency, array_agg(distinct conversion_id) as conversion_ids,
      array_agg(distinct terms_id) as terms_ids, array_agg(distinct affiliate_id) as affiliate_ids
    from new_rows group by program_id, currency
  loop
    if (select count(*) from conversions
        where id = any (part.conversion_ids) and program_id = part.program_id and currency = part.currency)
        <> cardinality(part.conversion_ids)
      or (select count(*) from terms where id = any (part.terms_ids) and program_id = part.program_id)
        <> cardinality(part.terms_ids)
      or (select count(*) from affiliates where id = any (part.affiliate_ids) and program_id = part.program_id)
        <> cardinality(part.affiliate_ids) then
      raise exception 'a commission belongs to a conversion, terms and an affiliate of one program'
        using errcode = 'foreign_key_violation', constraint = 'commissions_parents';
    end if;
  end loop;
  return null;
end $$;
create trigger parents after insert on commissions referencing new table as new_rows
  for each statement execute function check_commission_parents();

create table journals (
  id bigint generated always as identity primary key,
  idempotency_key text not null constraint journals_key_once unique,
  kind text not null check (kind in (
    'earning', 'vesting', 'rejection', 'refund', 'payout_build', 'payout_paid', 'payout_failure',
    'payout_cancellation', 'payout_return', 'debt_write_off'
  )),
  program_id integer not null references programs,
  conversion_id bigint references conversions,
  -- References payouts (0009).
  payout_id bigint,
  created_at timestamptz not null default clock_timestamp(),
  created_xid xid8 not null
);
create index on journals (conversion_id) where conversion_id is not null;
create index on journals (payout_id) where payout_id is not null;
-- Journals are written in the order of time: a few pages of index find the days.
create index journals_by_time on journals using brin (created_at);
create trigger append_only before update or delete on journals for each row execute function refuse_change();
create trigger no_truncate before truncate on journals for each statement execute function refuse_change();
grant select, insert on journals to afflux_app;

create function stamp_journal() returns trigger language plpgsql as $$
begin
  new.created_xid := pg_current_xact_id();
  return new;
end $$;
create trigger stamp before insert on journals for each row execute function stamp_journal();

create table entries (
  id bigint generated always as identity primary key,
  journal_id bigint not null,
  account_id bigint not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor <> 0),
  commission_id bigint
);
create index on entries (journal_id, id);
create index on entries (account_id, id);
create index on entries (commission_id) where commission_id is not null;
create trigger append_only before update or delete on entries for each row execute function refuse_change();
create trigger no_truncate before truncate on entries for each statement execute function refuse_change();
grant select, insert on entries to afflux_app;

-- Entries belong to a journal of the same transaction and move the cached balances with them. They come balanced: the
-- entries of a journal that one statement writes sum to zero.
create function apply_entries() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
declare
  part record;
  unbalanced record;
  journal_ids bigint[] := array(select distinct journal_id from new_entries);
  account_ids bigint[] := array(select distinct account_id from new_entries);
  commission_ids bigint[] := array(select distinct commission_id from new_entries where commission_id is not null);
begin
  if (select count(*) from journals where id = any (journal_ids) and created_xid = pg_current_xact_id())
    <> cardinality(journal_ids) then
    raise exception 'a journal takes entries only in the transaction that wrote it'
      using errcode = 'restrict_violation', constraint = 'entries_journal_open';
  end if;
  select journal_id, currency into unbalanced from new_entries
  group by journal_id, currency having sum(amount_minor) <> 0 limit 1;
  if found then
    raise exception 'entries of journal % do not sum to zero in %', unbalanced.journal_id, unbalanced.currency
      using errcode = 'check_violation', constraint = 'journals_balance';
  end if;
  -- Locked by id first: two transactions that touch the same accounts then wait for each other, never in a circle.
  perform from accounts where id = any (account_ids) order by id for no key update;
  for part in
    select currency, array_agg(distinct account_id) as account_ids from new_entries group by currency
  loop
    if (select count(*) from accounts where id = any (part.account_ids) and currency = part.currency)
      <> cardinality(part.account_ids) then
      raise exception 'an entry belongs to an account of its currency'
        using errcode = 'foreign_key_violation', constraint = 'entries_parents';
    end if;
  end loop;
  if (select count(*) from commissions where id = any (commission_ids)) <> cardinality(commission_ids) then
    raise exception 'an entry belongs to a commission, if it names one'
      using errcode = 'foreign_key_violation', constraint = 'entries_parents';
  end if;
  update accounts a set balance_minor = a.balance_minor + moved.amount_minor
  from (select account_id, sum(amount_minor) as amount_minor from new_entries group by account_id) moved
  where a.id = moved.account_id and moved.amount_minor <> 0;
  return null;
end $$;
create trigger apply_entries after insert on entries referencing new table as new_entries
  for each statement execute function apply_entries();

-- That a journal has entries at all is seen when its transaction ends.
create function check_journal_balance() returns trigger language plpgsql as $$
declare
  entry_count bigint;
  is_balanced boolean;
begin
  select sum(entries), bool_and(total = 0) into entry_count, is_balanced from (
    select count(*) as entries, sum(amount_minor) as total from entries where journal_id = new.id group by currency
  ) currencies;
  if entry_count is null or entry_count < 2 or not is_balanced then
    raise exception 'journal % does not balance: % entries', new.id, coalesce(entry_count, 0)
      using errcode = 'check_violation', constraint = 'journals_balance';
  end if;
  return null;
end $$;
create constraint trigger balance after insert on journals deferrable initially deferred
  for each row execute function check_journal_balance();

-- Earning, reversals and clawbacks of a commission, line by line; a correction is a new line.
create table commission_lines (
  id bigint generated always as identity primary key,
  commission_id bigint not null,
  kind text not null check (kind in ('earning', 'reversal', 'clawback')),
  amount_minor bigint not null check ((kind = 'earning') = (amount_minor > 0) and amount_minor <> 0),
  journal_id bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint commission_lines_journal_once unique (commission_id, journal_id)
);
create unique index commission_lines_earning_once on commission_lines (commission_id) where kind = 'earning';
-- Sum of the last days' clawbacks, for each affiliate in debt.
create index commission_lines_clawbacks on commission_lines (created_at) where kind = 'clawback';
create trigger append_only before update or delete on commission_lines for each row execute function refuse_change();
create trigger no_truncate before truncate on commission_lines for each statement execute function refuse_change();
grant select, insert on commission_lines to afflux_app;

create function check_line_parents() returns trigger language plpgsql as $$
declare
  commission_ids bigint[] := array(select distinct commission_id from new_rows);
  journal_ids bigint[] := array(select distinct journal_id from new_rows);
begin
  if (select count(*) from commissions where id = any (commission_ids)) <> cardinality(commission_ids)
    or (select count(*) from journals where id = any (journal_ids)) <> cardinality(journal_ids) then
    raise exception 'a line belongs to a commission and a journal'
      using errcode = 'foreign_key_violation', constraint = 'commission_lines_parents';
  end if;
  return null;
end $$;
create trigger parents after insert on commission_lines referencing new table as new_rows
  for each statement execute function check_line_parents();

-- Four statuses are shown outside. The commission of level 1 says how far a credited conversion has come.
create function conversion_status(conversion_state text, level_one_state text) returns text
  language sql immutable parallel safe as $$
  select case
    when conversion_state in ('received', 'awaiting_click', 'review') then 'pending'
    when conversion_state in ('rejected', 'unattributed', 'refunded') then 'rejected'
    when level_one_state in ('pending', 'held') then 'pending'
    when level_one_state = 'paid' then 'paid'
    when level_one_state in ('rejected', 'reversed') then 'rejected'
    else 'confirmed'
  end
$$;
-- A view keeps the columns its table had when it was made: a migration that adds one makes the view again.
create view conversions_with_status as
  select c.*, conversion_status(c.state, m.state) as status
  from conversions c left join commissions m on m.conversion_id = c.id and m.level = 1;
grant select on conversions_with_status to afflux_app;
