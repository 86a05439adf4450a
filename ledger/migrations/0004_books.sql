-- Double entry. Positive amounts are what an affiliate has; the program's accounts mirror them below zero:
--   commission_expense = −(pending + available + in_transit + debt)   what is earned and not yet paid
--   cash_clearing      = −paid                                        what has left in cash
-- debt is zero or negative: money paid for orders that were refunded afterwards.

create table accounts (
  id bigint generated always as identity primary key,
  program_id integer not null,
  affiliate_id integer,
  currency text not null,
  kind text not null,
  -- Cached sum of the account's entries, kept by a trigger in the transaction that writes them.
  balance_minor bigint not null default 0,
  unique nulls not distinct (program_id, affiliate_id, currency, kind),
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
create index on accounts (affiliate_id) where affiliate_id is not null;

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
  conversion_id bigint not null references conversions,
  program_id integer not null,
  affiliate_id integer not null,
  level integer not null check (level between 1 and 10),
  terms_id integer not null references terms,
  currency text not null,
  amount_minor bigint not null check (amount_minor > 0),
  -- What refunds and rejections took back in all.
  reversed_minor bigint not null default 0,
  -- The part of it taken back after the money was on its way: owed as debt, still in the payout.
  clawback_minor bigint not null default 0,
  state text not null,
  available_at timestamptz not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint commissions_level_once unique (conversion_id, level),
  constraint commissions_affiliate_once unique (conversion_id, affiliate_id),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
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
create index on commissions (affiliate_id, id);
create trigger state_edge before insert or update of state on commissions
  for each row execute function check_state_edge();

insert into state_edges (entity, from_state, to_state)
select 'commissions', from_state, unnest(to_states) from (values
  ('new', array['pending', 'held']),
  ('pending', array['held', 'available', 'rejected', 'reversed']),
  ('held', array['pending', 'rejected', 'reversed']),
  ('available', array['in_payout', 'reversed']),
  ('in_payout', array['available', 'paid']),
  ('paid', array['available'])
) as edges (from_state, to_states);

create table journals (
  id bigint generated always as identity primary key,
  idempotency_key text not null constraint journals_key_once unique,
  kind text not null check (kind in (
    'earning', 'vesting', 'rejection', 'refund', 'payout_build', 'payout_settlement', 'payout_failure'
  )),
  program_id integer not null references programs,
  conversion_id bigint references conversions,
  payout_id bigint,
  created_at timestamptz not null default clock_timestamp(),
  created_xid xid8 not null
);
create index on journals (conversion_id) where conversion_id is not null;

create table entries (
  id bigint generated always as identity primary key,
  journal_id bigint not null references journals,
  account_id bigint not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor <> 0),
  commission_id bigint references commissions,
  foreign key (account_id, currency) references accounts (id, currency)
);
create index on entries (journal_id, id);
create index on entries (account_id, id);
create index on entries (commission_id) where commission_id is not null;

-- What a commission earned and gave back, line by line; a correction is a new line.
create table commission_lines (
  id bigint generated always as identity primary key,
  commission_id bigint not null references commissions,
  kind text not null check (kind in ('earning', 'reversal', 'clawback')),
  amount_minor bigint not null check ((kind = 'earning') = (amount_minor > 0) and amount_minor <> 0),
  journal_id bigint not null references journals,
  created_at timestamptz not null default clock_timestamp(),
  constraint commission_lines_journal_once unique (commission_id, journal_id)
);
create unique index commission_lines_earning_once on commission_lines (commission_id) where kind = 'earning';

create trigger append_only before update or delete on journals for each row execute function refuse_change();
create trigger no_truncate before truncate on journals for each statement execute function refuse_change();
create trigger append_only before update or delete on entries for each row execute function refuse_change();
create trigger no_truncate before truncate on entries for each statement execute function refuse_change();
create trigger append_only before update or delete on commission_lines for each row execute function refuse_change();
create trigger no_truncate before truncate on commission_lines for each statement execute function refuse_change();

create function stamp_journal() returns trigger language plpgsql as $$
begin
  new.created_xid := pg_current_xact_id();
  return new;
end $$;
create trigger stamp before insert on journals for each row execute function stamp_journal();

-- Entries belong to a journal of the same transaction, and move the cached balances with them.
create function apply_entries() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  if exists (
    select from new_entries e join journals j on j.id = e.journal_id where j.created_xid <> pg_current_xact_id()
  ) then
    raise exception 'a journal takes entries only in the transaction that wrote it'
      using errcode = 'restrict_violation';
  end if;
  -- Locked by id first: two transactions that touch the same accounts then wait for each other, never in a circle.
  perform from accounts where id in (select account_id from new_entries) order by id for no key update;
  update accounts a set balance_minor = a.balance_minor + moved.amount_minor
  from (select account_id, sum(amount_minor) as amount_minor from new_entries group by account_id) moved
  where a.id = moved.account_id and moved.amount_minor <> 0;
  return null;
end $$;
create trigger apply_entries after insert on entries referencing new table as new_entries
  for each statement execute function apply_entries();

create function check_journal_balance() returns trigger language plpgsql as $$
declare
  journal bigint;
  entry_count bigint;
  off_currency text;
begin
  if tg_table_name = 'entries' then
    journal := new.journal_id;
    -- The last entry checks for all of them: a payout of 10,000 items is summed once.
    if exists (select from entries where journal_id = journal and id > new.id) then
      return null;
    end if;
  else
    journal := new.id;
  end if;
  select count(*) into entry_count from entries where journal_id = journal;
  select currency into off_currency from entries where journal_id = journal
  group by currency having sum(amount_minor) <> 0 limit 1;
  if entry_count < 2 or off_currency is not null then
    raise exception 'journal % does not balance: % entries, currency %', journal, entry_count, off_currency
      using errcode = 'check_violation', constraint = 'journals_balance';
  end if;
  return null;
end $$;
create constraint trigger balance after insert on entries deferrable initially deferred
  for each row execute function check_journal_balance();
create constraint trigger balance after insert on journals deferrable initially deferred
  for each row execute function check_journal_balance();

-- The outside sees four words. The commission of level 1 says how far a credited conversion has come.
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
create view reported_conversions as
  select c.*, conversion_status(c.state, m.state) as status
  from conversions c left join commissions m on m.conversion_id = c.id and m.level = 1;
