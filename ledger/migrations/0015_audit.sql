-- The audit log (who changed what), and the results of `afflux audit`.

create table audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null check (length(actor) between 1 and 200),
  action text not null check (length(action) between 1 and 100),
  subject text not null check (length(subject) between 1 and 100),
  before jsonb,
  after jsonb,
  program_id integer
);
create index on audit_log (subject, id);
create index on audit_log (program_id, id);
create trigger append_only before update or delete on audit_log for each row execute function refuse_change();
create trigger no_truncate before truncate on audit_log for each statement execute function refuse_change();
grant select, insert on audit_log to afflux_app;

-- The program of a thing, by its prefixed id: who appends to the audit log need not name it.
create function program_of(subject text) returns integer language plpgsql stable as $$
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
    when 'usr' then (select program_id from users where id = number)
    when 'whk' then (select program_id from webhook_endpoints where id = number)
    when 'dlv' then (
      select e.program_id from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id where d.id = number)
  end;
end $$;

create function stamp_audit_program() returns trigger language plpgsql as $$
begin
  new.program_id := coalesce(new.program_id, program_of(new.subject));
  return new;
end $$;
create trigger stamp_program before insert on audit_log for each row execute function stamp_audit_program();

-- Results of audits, a row for each check: dashboards show them beside the money.
create table audit_checks (
  at timestamptz not null,
  store text not null check (store in ('clicks', 'ledger')),
  name text not null check (length(name) between 1 and 100),
  ok boolean not null,
  detail text not null check (length(detail) <= 2000),
  primary key (at, store, name)
);
create trigger append_only before update or delete on audit_checks for each row execute function refuse_change();
create trigger no_truncate before truncate on audit_checks for each statement execute function refuse_change();
grant select, insert on audit_checks to afflux_app;
