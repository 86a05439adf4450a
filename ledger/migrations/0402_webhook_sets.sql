-- Webhook events by the statement: one look for listeners and one insert, however many rows a batch writes.

drop trigger webhook_created on conversions;
drop trigger webhook_changed on conversions;
drop trigger webhook_paid on commissions;
drop trigger webhook_created on payouts;
drop trigger webhook_changed on payouts;
drop trigger webhook_created on affiliates;
drop trigger webhook_changed on affiliates;
drop function note_conversion_event, note_conversion_paid, note_payout_event, note_affiliate_event;
drop function note_webhook_event;

-- Programs somebody listens to; for the others there is nothing to write.
create function listened_programs() returns setof integer language sql stable as $$
  select distinct program_id from webhook_endpoints where status = 'active'
$$;

create function note_conversions_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.created', program_id, affiliate_id, 'cnv_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on conversions referencing new table as new_rows
  for each statement execute function note_conversions_created();

create function note_conversions_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.changed', n.program_id, n.affiliate_id, 'cnv_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs())
    and (o.state, o.refunded_minor) is distinct from (n.state, n.refunded_minor)
  order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on conversions referencing old table as old_rows new table as new_rows
  for each statement execute function note_conversions_changed();

create function note_conversions_paid() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'conversion.paid', n.program_id, n.affiliate_id, 'cnv_' || n.conversion_id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and n.level = 1 and n.state = 'paid' and o.state <> 'paid'
  order by n.id;
  return null;
end $$;
create trigger webhook_paid after update on commissions referencing old table as old_rows new table as new_rows
  for each statement execute function note_conversions_paid();

create function note_payouts_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'payout.created', program_id, affiliate_id, 'pay_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on payouts referencing new table as new_rows
  for each statement execute function note_payouts_created();

create function note_payouts_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'payout.changed', n.program_id, n.affiliate_id, 'pay_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and o.state <> n.state order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on payouts referencing old table as old_rows new table as new_rows
  for each statement execute function note_payouts_changed();

create function note_affiliates_created() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'affiliate.created', program_id, id, 'aff_' || id from new_rows
  where program_id in (select listened_programs()) order by id;
  return null;
end $$;
create trigger webhook_created after insert on affiliates referencing new table as new_rows
  for each statement execute function note_affiliates_created();

create function note_affiliates_changed() returns trigger language plpgsql as $$
begin
  insert into webhook_events (type, program_id, affiliate_id, subject)
  select 'affiliate.status_changed', n.program_id, n.id, 'aff_' || n.id
  from new_rows n join old_rows o on o.id = n.id
  where n.program_id in (select listened_programs()) and o.status <> n.status order by n.id;
  return null;
end $$;
create trigger webhook_changed after update on affiliates referencing old table as old_rows new table as new_rows
  for each statement execute function note_affiliates_changed();
