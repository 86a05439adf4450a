-- Evidence is what a decision is recomputed from. It is written with the decision, and later only removed, where a
-- customer is erased: whatever happens to a decided order afterwards leaves it alone.
create function keep_evidence() returns trigger language plpgsql as $$
begin
  raise exception 'the evidence of decided conversion % is kept as it was written', old.id
    using errcode = 'restrict_violation';
end $$;
create trigger evidence_stays before update of evidence on conversions for each row
  when (old.state not in ('received', 'awaiting_click', 'unattributed') and new.evidence is not null
    and new.evidence::text is distinct from old.evidence::text)
  execute function keep_evidence();

-- Volumes count all credited orders of an affiliate's month (UTC), whatever their terms; until now they counted those under
-- tiers alone. An order that was refunded wholly while it was in review was never credited.
insert into affiliate_volumes (affiliate_id, month, volume_minor)
select c.affiliate_id, date_trunc('month', c.occurred_at at time zone 'UTC')::date, sum(c.amount_minor)
from conversions c
where c.state in ('attributed', 'partially_refunded')
  or c.state = 'refunded' and (c.reason is null
    or exists (select from audit_log where subject = 'cnv_' || c.id and action = 'conversion.approve'))
group by 1, 2
on conflict (affiliate_id, month) do update set volume_minor = excluded.volume_minor;

-- Customers that are known by their e-mail address alone have subscriptions too.
create index on conversions (program_id, customer_email_hash, received_at) where customer_email_hash is not null;

-- Paid before its order was imported, outside these books: earned and paid at once, and in no payout.
alter table commissions add paid_outside boolean not null default false,
  add constraint commissions_paid_outside check (state = 'paid' or not paid_outside);
insert into transitions (entity, from_state, to_state) values ('commissions', 'new', 'paid');
create function check_paid_from_start() returns trigger language plpgsql as $$
begin
  raise exception 'a commission begins as paid only where it was paid outside'
    using errcode = 'check_violation', constraint = 'commissions_transition';
end $$;
create trigger paid_from_start before insert on commissions for each row
  when (new.state = 'paid' and not new.paid_outside) execute function check_paid_from_start();

-- A fixed commission is a promise whatever the amount of the order, also of 0.00; terms may cut it to that amount.
alter table terms add fixed_within_order boolean not null default false;

-- Where values come from that terms do not name: the id of wider terms, or "default". Terms of before keep every value they
-- have, as if they had named it, also the minimum of 1,000 units that was a default.
alter table terms add origins jsonb not null default '{}' check (jsonb_typeof(origins) = 'object'),
  -- Terms that are not in force yet can be withdrawn: then they are in force at no time.
  add withdrawn_at timestamptz,
  drop constraint terms_validity_check,
  add constraint terms_withdrawn check (isempty(validity) = (withdrawn_at is not null));
grant update (withdrawn_at) on terms to afflux_app;

-- Terms end, are withdrawn before they begin, or go on because those after them were: the past is never rewritten.
create or replace function check_terms_change() returns trigger language plpgsql as $$
declare
  ends boolean := upper(old.validity) is null and upper(new.validity) is not null
    and lower(new.validity) is not distinct from lower(old.validity) and new.withdrawn_at is null;
  is_withdrawn boolean := lower(old.validity) > clock_timestamp() and old.withdrawn_at is null
    and isempty(new.validity) and new.withdrawn_at is not null;
  goes_on boolean := upper(old.validity) > clock_timestamp()
    and coalesce(upper(new.validity), 'infinity') > upper(old.validity)
    and lower(new.validity) is not distinct from lower(old.validity) and new.withdrawn_at is null;
begin
  if (ends or is_withdrawn or goes_on) is not true
    or to_jsonb(new) - array['validity', 'withdrawn_at'] is distinct from to_jsonb(old) - array['validity', 'withdrawn_at'] then
    raise exception 'terms % can only be ended, or withdrawn before they begin', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

-- SHA-256 of the mailbox behind the customer's address, without its tag and the like (ledger/conversions/emails.ts).
alter table conversions add customer_mailbox_hash bytea check (length(customer_mailbox_hash) = 32);
drop view conversions_with_status;
create view conversions_with_status as
  select c.*, conversion_status(c.state, (
    select m.state from commissions m where m.conversion_id = c.id and m.level = 1
    order by array_position(
      array['held', 'pending', 'available', 'in_payout', 'paid', 'rejected', 'reversed'], m.state) limit 1
  )) as status
  from conversions c;
grant select on conversions_with_status to afflux_app;
