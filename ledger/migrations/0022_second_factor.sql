-- Second factors of users: codes by time (RFC 6238), and recovery codes for a lost device.

create table second_factors (
  user_id integer primary key references users,
  -- Encrypted: codes are computed from it.
  secret bytea not null check (length(secret) <= 500),
  -- Null until a first code has shown that the authenticator holds the secret.
  confirmed_at timestamptz,
  -- The step of 30 seconds of the code accepted last: no code is accepted twice.
  last_step bigint not null default 0
);
grant select, insert, update (secret, confirmed_at, last_step), delete on second_factors to afflux_app;

create table recovery_codes (
  user_id integer not null references second_factors on delete cascade,
  code_hash bytea not null check (length(code_hash) = 32),
  primary key (user_id, code_hash)
);
grant select, insert, delete on recovery_codes to afflux_app;

-- Whether operators and finance must have a second factor before anything else is allowed.
alter table programs add column require_second_factor boolean not null default false;
grant update (require_second_factor) on programs to afflux_app;
