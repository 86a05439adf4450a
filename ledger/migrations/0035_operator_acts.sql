-- Ids that mean the same, money without an order, affiliates that are merged or erased, and pseudonyms in the audit log.

-- What stands around an id says nothing, letters are composed (core/text/plain-text.ts). Ids of before are stored as they are
-- looked for now; where two orders of a program would be one, the later one keeps its text and is found by its conversion.
create function pg_temp.plain(value text) returns text language sql immutable as $$
  select coalesce(nullif(btrim(normalize(value, nfc),
    E' \t\n\u000b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff'
  ), ''), value)
$$;
update conversions c set order_id = p.plain
from (
  select id, program_id, pg_temp.plain(order_id) as plain,
    row_number() over (partition by program_id, pg_temp.plain(order_id) order by id) as place
  from conversions where order_id <> pg_temp.plain(order_id)
) p
where c.id = p.id and p.place = 1
  and not exists (select from conversions o where o.program_id = p.program_id and o.order_id = p.plain);
update conversions set customer_id = pg_temp.plain(customer_id) where customer_id <> pg_temp.plain(customer_id);
update affiliates set customer_ref = pg_temp.plain(customer_ref) where customer_ref <> pg_temp.plain(customer_ref);
alter table refunds disable trigger append_only;
update refunds r set refund_ref = p.plain
from (
  select id, conversion_id, pg_temp.plain(refund_ref) as plain,
    row_number() over (partition by conversion_id, pg_temp.plain(refund_ref) order by id) as place
  from refunds where refund_ref <> pg_temp.plain(refund_ref)
) p
where r.id = p.id and p.place = 1
  and not exists (select from refunds o where o.conversion_id = p.conversion_id and o.refund_ref = p.plain);
alter table refunds enable trigger append_only;

-- What an affiliate has without an order, above or below zero: bonuses less deductions. The next payout takes it up.
alter table accounts drop constraint accounts_kind, add constraint accounts_kind check (
  case when affiliate_id is null
    then kind in ('commission_expense', 'cash_clearing')
    else kind in ('pending', 'available', 'in_transit', 'paid', 'debt', 'adjustments')
  end
);
create or replace function open_affiliate_accounts() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public as $$
begin
  insert into accounts (program_id, affiliate_id, currency, kind)
  select new.program_id, new.id, p.currency,
    unnest(array['pending', 'available', 'in_transit', 'paid', 'debt', 'adjustments'])
  from programs p where p.id = new.program_id;
  return null;
end $$;
insert into accounts (program_id, affiliate_id, currency, kind)
select f.program_id, f.id, p.currency, 'adjustments' from affiliates f join programs p on p.id = f.program_id;

alter table journals
  drop constraint journals_kind_check,
  add constraint journals_kind_check check (kind in (
    'earning', 'vesting', 'rejection', 'refund', 'restoration', 'payout_build', 'payout_paid', 'payout_failure',
    'payout_cancellation', 'payout_return', 'debt_write_off', 'bonus', 'deduction', 'forfeiture', 'merge'
  ));

create table adjustments (
  id bigint generated always as identity primary key,
  program_id integer not null,
  affiliate_id integer not null,
  currency text not null,
  kind text not null check (kind in ('bonus', 'deduction', 'forfeiture', 'merge')),
  -- What the affiliate gains; below zero: what it loses.
  amount_minor bigint not null,
  -- Why, for the affiliate as well.
  note text not null check (length(note) between 1 and 2000),
  actor text not null check (length(actor) between 1 and 200),
  -- Of a merge: who has the opposite.
  other_affiliate_id integer,
  journal_id bigint not null references journals,
  created_at timestamptz not null default clock_timestamp(),
  constraint adjustments_sign check (
    case kind when 'bonus' then amount_minor > 0 when 'deduction' then amount_minor < 0 else amount_minor <> 0 end
  ),
  constraint adjustments_other check ((kind = 'merge') = (other_affiliate_id is not null)),
  constraint adjustments_journal_once unique (journal_id, affiliate_id),
  foreign key (program_id, currency) references programs (id, currency),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  foreign key (program_id, other_affiliate_id) references affiliates (program_id, id)
);
create index on adjustments (affiliate_id, id);
create index on adjustments (program_id, id);
create trigger append_only before update or delete on adjustments for each row execute function refuse_change();
create trigger no_truncate before truncate on adjustments for each statement execute function refuse_change();
grant select, insert on adjustments to afflux_app;

alter table payout_items
  drop constraint payout_items_kind_check,
  drop constraint payout_items_check,
  add constraint payout_items_kind_check check (kind in ('commission', 'debt', 'rest', 'adjustment')),
  add constraint payout_items_check check (
    case kind when 'commission' then amount_minor > 0 when 'debt' then amount_minor < 0 else amount_minor <> 0 end
  );
create index payout_items_adjustment on payout_items (payout_id) where kind = 'adjustment' and live;

alter table affiliates
  -- Who has taken its place: its links, its recruits, what it has, and the orders of its clicks from then on.
  add column merged_into integer,
  add column merged_at timestamptz,
  -- Who it was is not known any more.
  add column erased_at timestamptz,
  add constraint affiliates_merged_into_known foreign key (program_id, merged_into) references affiliates (program_id, id),
  add constraint affiliates_merged check (
    (merged_into is null) = (merged_at is null) and merged_into is distinct from id
    and (merged_into is null or status = 'terminated')
  ),
  add constraint affiliates_erased check (erased_at is null or status = 'terminated');
create index on affiliates (merged_into) where merged_into is not null;
create index on affiliates (program_id, lower(email));
grant update (merged_into, merged_at, erased_at) on affiliates to afflux_app;
grant update (affiliate_id) on links to afflux_app;

-- A payout method can be removed. The versions count on: a payout that was built for the removed one never goes to another.
grant delete on payout_methods to afflux_app;
grant delete on affiliate_sessions to afflux_app;
create or replace function hold_payout_method() returns trigger language plpgsql as $$
declare
  affiliate_program_id integer;
begin
  -- Payouts lock the affiliate while they are built and while they are handed over: they see this change or come first.
  select program_id into affiliate_program_id from affiliates where id = new.affiliate_id for no key update;
  if tg_op = 'UPDATE' and new.kind = old.kind and new.account_hash = old.account_hash then
    new.version := old.version;
    new.updated_at := old.updated_at;
    new.changed_by := old.changed_by;
    new.held_until := greatest(old.held_until, new.held_until);
    return new;
  end if;
  new.version := 1 + case tg_op when 'UPDATE' then old.version
    else coalesce((select max(method_version) from payouts where affiliate_id = new.affiliate_id), 0) end;
  new.updated_at := clock_timestamp();
  new.held_until := destination_held_until(affiliate_program_id);
  new.refused_at := null;
  return new;
end $$;

-- A merge sends one affiliate's money to another one's account: that is held as a changed account is.
create function hold_after_merge() returns trigger language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  update payout_methods set held_until = destination_held_until(new.program_id) where affiliate_id = new.merged_into;
  return null;
end $$;
create trigger merge_holds after update of merged_into on affiliates
  for each row when (old.merged_into is null and new.merged_into is not null) execute function hold_after_merge();

-- The audit log has pseudonyms for what it says of affiliates, users and their keys: a hash of the value and a salt, which stand here by whom they are
-- of. Erasing a person deletes them, and leaves the log and its chain as they are.
create table audit_values (
  pseudonym text primary key,
  subject text not null,
  salt bytea not null check (length(salt) = 16),
  value text not null,
  constraint audit_values_pseudonym check (
    pseudonym = 'pseudonym:' || encode(sha256(salt || convert_to(value, 'UTF8')), 'hex')
  )
);
create index on audit_values (subject);
create trigger stays before update on audit_values for each row execute function refuse_change();
grant select on audit_values to afflux_app;

create function keep_audit_value(value_subject text, personal_value text) returns text language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  new_salt bytea := uuid_send(gen_random_uuid());
  new_pseudonym text := 'pseudonym:' || encode(sha256(new_salt || convert_to(personal_value, 'UTF8')), 'hex');
begin
  insert into audit_values (pseudonym, subject, salt, value)
  values (new_pseudonym, value_subject, new_salt, personal_value);
  return new_pseudonym;
end $$;

revoke execute on function keep_audit_value(text, text) from public;
grant execute on function keep_audit_value(text, text) to afflux_app;

-- JSON with pseudonyms for the names, addresses and accounts in it.
create function with_pseudonyms(value_subject text, given jsonb) returns jsonb language plpgsql as $$
begin
  return case jsonb_typeof(given)
    when 'object' then (
      select coalesce(jsonb_object_agg(name, case
        when name in ('name', 'email', 'customer_ref', 'hint') and jsonb_typeof(member) = 'string'
          then to_jsonb(keep_audit_value(value_subject, member #>> '{}'))
        else with_pseudonyms(value_subject, member) end), '{}')
      from jsonb_each(given) as members (name, member))
    when 'array' then (
      select coalesce(jsonb_agg(with_pseudonyms(value_subject, member) order by place), '[]')
      from jsonb_array_elements(given) with ordinality as members (member, place))
    else given end;
end $$;

-- The other way round; what was erased reads "erased".
create function without_pseudonyms(given jsonb) returns jsonb language plpgsql stable as $$
begin
  return case jsonb_typeof(given)
    when 'object' then (
      select coalesce(jsonb_object_agg(name, without_pseudonyms(member)), '{}') from jsonb_each(given) as members (name, member))
    when 'array' then (
      select coalesce(jsonb_agg(without_pseudonyms(member) order by place), '[]')
      from jsonb_array_elements(given) with ordinality as members (member, place))
    when 'string' then case when given #>> '{}' ~ '^pseudonym:[0-9a-f]{64}$'
      then to_jsonb(coalesce((select value from audit_values where pseudonym = given #>> '{}'), 'erased')) else given end
    else given end;
end $$;

create function use_pseudonyms() returns trigger language plpgsql as $$
begin
  new.before := with_pseudonyms(new.subject, new.before);
  new.after := with_pseudonyms(new.subject, new.after);
  return new;
end $$;
create trigger pseudonyms before insert on audit_log for each row
  when (new.subject ~ '^(aff|usr|key)_') execute function use_pseudonyms();

-- The rows of before get pseudonyms too. What they lead to now stands beside the head that was taken of them, and only where
-- they led there until now: what was signed stays, and what was forged before still shows.
alter table hash_chain add column rewritten_head bytea check (length(rewritten_head) = 32);
do $$
declare
  link record;
  was_right boolean;
begin
  alter table audit_log disable trigger append_only;
  alter table hash_chain disable trigger append_only;
  for link in
    select last_id, head, lag(last_id, 1, 0::bigint) over following as after_id,
      lag(head, 1, ''::bytea) over following as start
    from hash_chain where chain = 'audit_log' window following as (order by last_id)
  loop
    continue when not exists (
      select from audit_log where id > link.after_id and id <= link.last_id and subject ~ '^(aff|usr|key)_'
    );
    select chain_hash(link.start, content order by row_id) = link.head into was_right
    from chained_rows('audit_log', link.after_id, link.last_id);
    update audit_log set before = with_pseudonyms(subject, before), after = with_pseudonyms(subject, after)
    where id > link.after_id and id <= link.last_id and subject ~ '^(aff|usr|key)_';
    if was_right then
      update hash_chain set rewritten_head = (
        select chain_hash(link.start, content order by row_id)
        from chained_rows('audit_log', link.after_id, link.last_id))
      where chain = 'audit_log' and last_id = link.last_id;
    end if;
  end loop;
  update audit_log set before = with_pseudonyms(subject, before), after = with_pseudonyms(subject, after)
  where id > (select coalesce(max(last_id), 0) from hash_chain where chain = 'audit_log') and subject ~ '^(aff|usr|key)_';
  alter table audit_log enable trigger append_only;
  alter table hash_chain enable trigger append_only;
end $$;

-- Removes who a terminated affiliate was, with its users: names, addresses, accounts, tax data (0036) and sign-ins. The books, its payouts
-- with where they went, and its orders stay under its id.
create function erase_affiliate(erased integer) returns void language plpgsql
  security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  user_ids integer[] := array(select id from users where affiliate_id = erased);
begin
  update affiliates set ref_code = 'erased-' || id, name = 'erased', email = 'erased-' || id || '@erased.invalid',
    customer_ref = null, email_changed_by = null, erased_at = clock_timestamp()
  where id = erased and status = 'terminated';
  if not found then
    raise exception 'affiliate % is not terminated', erased
      using errcode = 'check_violation', constraint = 'affiliates_erased';
  end if;
  delete from payout_methods where affiliate_id = erased;
  delete from tax_data where affiliate_id = erased;
  delete from affiliate_sessions where affiliate_id = erased;
  delete from sessions where user_id = any (user_ids);
  delete from recovery_codes where user_id = any (user_ids);
  delete from second_factors where user_id = any (user_ids);
  update users set name = 'erased', email = 'erased-' || id || '@erased.invalid', password_hash = null,
    status = 'disabled', last_login_at = null
  where id = any (user_ids);
  update api_keys set name = 'erased', revoked_at = coalesce(revoked_at, clock_timestamp()) where affiliate_id = erased;
  delete from audit_values
  where subject = 'aff_' || erased or subject in (select 'usr_' || id from unnest(user_ids) as u (id))
    or subject in (select 'key_' || id from api_keys where affiliate_id = erased);
end $$;
revoke execute on function erase_affiliate(integer) from public;
grant execute on function erase_affiliate(integer) to afflux_app;
