-- Keys with scopes, rotation and a secret to sign with; the audit log by program; what an Idempotency-Key answered.

alter table api_keys
  -- "links:read" and the like; null: all that the role may do.
  add scopes text[] check (cardinality(scopes) between 1 and 100),
  -- Sealed: shops that sign their calls share it with us.
  add signing_secret bytea,
  add replaces integer constraint api_keys_replaces_known references api_keys;

alter table audit_log add program_id integer;
create index on audit_log (program_id, id);

-- The program of a thing, by its prefixed id: whoever appends to the audit log need not say it.
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
  end;
end $$;

create function stamp_audit_program() returns trigger language plpgsql as $$
begin
  new.program_id := coalesce(new.program_id, program_of(new.subject));
  return new;
end $$;
create trigger stamp_program before insert on audit_log for each row execute function stamp_audit_program();

-- Written in the transaction of the change it answers for: a second request with the key waits for the first here.
create table idempotency_keys (
  actor text not null check (length(actor) between 1 and 200),
  key text not null check (length(key) between 1 and 255),
  request_hash bytea not null check (length(request_hash) = 32),
  status integer,
  -- Sealed: it may show a key that is shown only once.
  answer bytea,
  created_at timestamptz not null default clock_timestamp(),
  primary key (actor, key)
);
create index on idempotency_keys (created_at);

grant update (scopes, signing_secret) on api_keys to afflux_app;
grant select, insert, update (status, answer), delete on idempotency_keys to afflux_app;
