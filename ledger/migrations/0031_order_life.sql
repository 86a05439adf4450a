-- What happens to an order after it was reported: approved, raised, lowered, cancelled, restored.

alter table conversions
  -- The shop has reported it as pending: its commissions are held until the shop approves it.
  add column awaits_shop boolean not null default false,
  -- Nothing is earned by it while this is set.
  add column cancelled_at timestamptz,
  -- When a reviewer approved it.
  add column reviewed_at timestamptz;
grant update (amount_minor, order_amount_minor, awaits_shop, cancelled_at, reviewed_at) on conversions to afflux_app;
update conversions c set reviewed_at = a.at
from audit_log a where a.subject = 'cnv_' || c.id and a.action = 'conversion.approve';

-- An order is raised, and lowered by what is taken off it: its amount never shrinks.
create function check_amount_grows() returns trigger language plpgsql as $$
begin
  raise exception 'the amount of order % never shrinks', new.order_id
    using errcode = 'check_violation', constraint = 'conversions_amount_grows';
end $$;
create trigger amount_grows before update of amount_minor, order_amount_minor on conversions for each row
  when (new.amount_minor < old.amount_minor or new.order_amount_minor < old.order_amount_minor)
  execute function check_amount_grows();
create trigger raised_exchange after update of amount_minor, order_amount_minor on conversions for each row
  when (new.rate_id is not null) execute function check_exchange();

alter table refunds add column charged_back boolean not null default false;

-- Append-only, as refunds are: with them it gives what is left of an order.
create table order_changes (
  id bigint generated always as identity primary key,
  conversion_id bigint not null references conversions,
  kind text not null check (kind in ('approved', 'changed', 'cancelled', 'rejected', 'restored', 'refund_restored')),
  -- In the order's currency: what was added to its amount, and what was taken off it (below zero: given back).
  raised_minor bigint not null default 0 check (raised_minor >= 0),
  lowered_minor bigint not null default 0,
  -- The refund that was taken back.
  refund_id bigint references refunds,
  received_at timestamptz not null default clock_timestamp(),
  constraint order_changes_amounts check ((kind = 'changed') = (raised_minor <> 0 or lowered_minor <> 0)),
  constraint order_changes_refund check ((kind = 'refund_restored') = (refund_id is not null)),
  constraint order_changes_refund_once unique (refund_id)
);
create index on order_changes (conversion_id);
create trigger append_only before update or delete on order_changes for each row execute function refuse_change();
create trigger no_truncate before truncate on order_changes for each statement execute function refuse_change();
grant select, insert on order_changes to afflux_app;

insert into transitions (entity, from_state, to_state)
select 'conversions', from_state, unnest(to_states) from (values
  ('refunded', array['attributed', 'partially_refunded', 'review']),
  ('partially_refunded', array['attributed']),
  ('review', array['partially_refunded'])
) as allowed (from_state, to_states);

-- A level earns in parts: the first by the order as it was decided, further ones where it was raised, or where
-- something was restored that had been taken back. Each part is vested, paid and taken back by itself.
alter table commissions
  add column part smallint not null default 1 check (part >= 1),
  add column cause text not null default 'order' check (cause in ('order', 'raise', 'restoration')),
  drop constraint commissions_level_once,
  drop constraint commissions_affiliate_once,
  add constraint commissions_part_once unique (conversion_id, level, part),
  add constraint commissions_affiliate_once unique (conversion_id, affiliate_id, part);

alter table journals
  drop constraint journals_kind_check,
  add constraint journals_kind_check check (kind in (
    'earning', 'vesting', 'rejection', 'refund', 'restoration', 'payout_build', 'payout_paid', 'payout_failure',
    'payout_cancellation', 'payout_return', 'debt_write_off'
  ));

-- Of several parts of level 1 the one that is least far says how far the conversion has come.
drop view conversions_with_status;
create view conversions_with_status as
  select c.*, conversion_status(c.state, (
    select m.state from commissions m where m.conversion_id = c.id and m.level = 1
    order by array_position(
      array['held', 'pending', 'available', 'in_payout', 'paid', 'rejected', 'reversed'], m.state) limit 1
  )) as status
  from conversions c;
grant select on conversions_with_status to afflux_app;

create or replace function note_changed_conversions() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id)
  select n.id
  from old_rows o join new_rows n on n.id = o.id
  where (n.state, n.reason, n.amount_minor, n.refunded_minor, n.campaign_id, n.affiliate_id, n.link_id, n.click_ts, n.click_ip)
    is distinct from
    (o.state, o.reason, o.amount_minor, o.refunded_minor, o.campaign_id, o.affiliate_id, o.link_id, o.click_ts, o.click_ip)
  order by n.id;
  return null;
end $$;

create or replace function note_conversions_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.changed', n.program_id, n.affiliate_id, 'cnv_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs())
    and (o.state, o.amount_minor, o.refunded_minor, o.awaits_shop)
      is distinct from (n.state, n.amount_minor, n.refunded_minor, n.awaits_shop)
  order by n.id;
  return null;
end $$;
