-- Limits of guesses at passwords and codes, and what a list of sessions shows.

-- One row for what somebody has guessed at lately: a device, an account, a network. It holds no more than the time at
-- which all guesses are free again, so that a guess is one update and rows that are over can be deleted.
create table guess_limits (
  -- SHA-256 of what is limited: the table names neither users nor addresses.
  key bytea primary key check (length(key) = 32),
  free_at timestamptz not null
);
create index on guess_limits (free_at);
grant select, insert, update (free_at), delete on guess_limits to afflux_app;

drop table login_failures;

-- By which a user recognises the session: such as "Firefox on Linux", and the address of the sign-in.
alter table sessions
  add column device text not null default '' check (length(device) <= 100),
  add column address text not null default '' check (length(address) <= 45);
