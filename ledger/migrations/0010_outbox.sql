-- Conversions that the warehouse's mirror has still to read: a row for each change, written by the statement in the
-- transaction of the change itself, deleted once the mirror has it.

create table outbox (
  id bigint generated always as identity primary key,
  conversion_id bigint not null,
  created_at timestamptz not null default clock_timestamp()
);
grant select, insert, delete on outbox to afflux_app;

-- Each reading of the facts takes the next one: of two readings of a conversion the later one stays in the mirror.
create sequence outbox_versions;
grant usage on sequence outbox_versions to afflux_app;

create function note_new_conversions() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id) select id from new_rows order by id;
  return null;
end $$;
create trigger note_insert after insert on conversions referencing new table as new_rows
  for each statement execute function note_new_conversions();

create function note_changed_conversions() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id)
  select n.id from old_rows o join new_rows n on n.id = o.id
  where (n.state, n.reason, n.refunded_minor, n.campaign_id, n.affiliate_id, n.link_id, n.click_ts, n.click_ip)
    is distinct from (o.state, o.reason, o.refunded_minor, o.campaign_id, o.affiliate_id, o.link_id, o.click_ts, o.click_ip)
  order by n.id;
  return null;
end $$;
create trigger note_update after update on conversions referencing old table as old_rows new table as new_rows
  for each statement execute function note_changed_conversions();

create function note_commissions() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id) select distinct conversion_id from new_rows order by conversion_id;
  return null;
end $$;
create trigger note_insert after insert on commissions referencing new table as new_rows
  for each statement execute function note_commissions();

create function note_reversals() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id)
  select distinct n.conversion_id from old_rows o join new_rows n on n.id = o.id
  where n.reversed_minor <> o.reversed_minor order by n.conversion_id;
  return null;
end $$;
create trigger note_update after update on commissions referencing old table as old_rows new table as new_rows
  for each statement execute function note_reversals();
