-- People who use the portal: their passwords (argon2id), sessions, and the guesses at a password.

create table users (
  id integer generated always as identity primary key,
  email text not null constraint users_email_unique unique check (email = lower(email) and length(email) between 3 and 254),
  name text not null check (length(name) between 1 and 200),
  role text not null check (role in ('operator', 'finance', 'fraud', 'affiliate', 'advertiser')),
  program_id integer constraint users_program_known references programs,
  affiliate_id integer,
  -- Null until the invitation is accepted.
  password_hash text check (length(password_hash) <= 500),
  status text not null default 'active' check (status in ('active', 'disabled')),
  created_at timestamptz not null default clock_timestamp(),
  last_login_at timestamptz,
  constraint users_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  constraint users_scope check (
    (role = 'affiliate') = (affiliate_id is not null)
    and (role in ('operator', 'finance', 'fraud') or program_id is not null)
  )
);
create index on users (program_id, id);

create table sessions (
  id bigint generated always as identity primary key,
  user_id integer not null references users,
  token_hash bytea not null unique check (length(token_hash) = 32),
  created_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
create index on sessions (user_id);
create index on sessions (expires_at);

-- By address, whether there is such a user or not: what is not there locks as what is.
create table login_failures (
  email_hash bytea primary key check (length(email_hash) = 32),
  failures integer not null,
  locked_until timestamptz not null,
  last_at timestamptz not null default clock_timestamp()
);

create or replace function program_of(subject text) returns integer language plpgsql stable as $$
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

grant select, insert, update (name, status, password_hash, last_login_at) on users to afflux_app;
grant select, insert, update (last_seen_at), delete on sessions to afflux_app;
grant select, insert, update, delete on login_failures to afflux_app;
