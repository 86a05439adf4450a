-- What the warehouse's mirror of conversions has still to be told: a row for each change, written in the transaction
-- of the change itself, deleted once the mirror has it.

create table outbox (
  id bigint generated always as identity primary key,
  conversion_id bigint not null,
  created_at timestamptz not null default clock_timestamp()
);
-- Each reading of the facts takes the next one: of two readings of a conversion the later one stays in the mirror.
create sequence outbox_versions;

create function note_conversion() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id) values (new.id);
  return null;
end $$;
create trigger note_insert after insert on conversions for each row execute function note_conversion();
create trigger note_update after update of state, reason, refunded_minor, campaign_id, affiliate_id, link_id,
  click_ts, click_ip on conversions for each row execute function note_conversion();

create function note_commission() returns trigger language plpgsql as $$
begin
  insert into outbox (conversion_id) values (new.conversion_id);
  return null;
end $$;
create trigger note_change after insert or update of reversed_minor on commissions
  for each row execute function note_commission();

insert into outbox (conversion_id) select id from conversions order by id;

grant select, insert, delete on outbox to afflux_app;
grant usage on sequence outbox_versions to afflux_app;
