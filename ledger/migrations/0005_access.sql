-- Access: users of the portal (passwords as argon2id), sessions, failed sign-ins, API keys, Idempotency-Keys.

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
grant select, insert, update (name, status, password_hash, last_login_at) on users to afflux_app;

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
grant select, insert, update (last_seen_at), delete on sessions to afflux_app;

-- By address, whether there is such a user or not: a lock must not tell which addresses have users.
create table login_failures (
  email_hash bytea primary key check (length(email_hash) = 32),
  failures integer not null,
  locked_until timestamptz not null,
  last_at timestamptz not null default clock_timestamp()
);
grant select, insert, update, delete on login_failures to afflux_app;

create table api_keys (
  id integer generated always as identity primary key,
  role text not null check (role in ('operator', 'finance', 'fraud', 'affiliate', 'advertiser')),
  program_id integer constraint api_keys_program_known references programs,
  affiliate_id integer,
  name text not null check (length(name) between 1 and 200),
  key_hash bytea not null unique check (length(key_hash) = 32),
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  -- "links:read" and the like; null: all that the role may do.
  scopes text[] check (cardinality(scopes) between 1 and 100),
  -- Encrypted: shops that sign their calls share it with us.
  signing_secret bytea,
  replaces integer constraint api_keys_replaces_known references api_keys,
  constraint api_keys_affiliate_known foreign key (program_id, affiliate_id) references affiliates (program_id, id),
  -- An affiliate's key is for one affiliate, a shop's for one program; the operator's staff may see every program.
  constraint api_keys_scope check (
    (role = 'affiliate') = (affiliate_id is not null)
    and (role in ('operator', 'finance', 'fraud') or program_id is not null)
  )
);
grant select, insert, update (expires_at, revoked_at, last_used_at, scopes, signing_secret) on api_keys to afflux_app;

-- Signatures of calls already made: each is good once.
create table seen_signatures (
  key_id integer not null references api_keys,
  message_id text not null check (length(message_id) between 1 and 200),
  signed_at timestamptz not null,
  primary key (key_id, message_id, signed_at)
);
create index on seen_signatures (signed_at);
grant select, insert, delete on seen_signatures to afflux_app;

-- Written in the transaction of the change it answers for: a second request with the key waits for the first here.
create table idempotency_keys (
  actor text not null check (length(actor) between 1 and 200),
  key text not null check (length(key) between 1 and 255),
  request_hash bytea not null check (length(request_hash) = 32),
  status integer,
  -- Encrypted: it may hold a key that is shown only once.
  answer bytea,
  created_at timestamptz not null default clock_timestamp(),
  primary key (actor, key)
);
create index on idempotency_keys (created_at);
grant select, insert, update (status, answer), delete on idempotency_keys to afflux_app;
