-- Reports that are kept by name, and made again by the clock.

create table saved_reports (
  id integer generated always as identity primary key,
  program_id integer not null constraint saved_reports_program_known references programs,
  -- As the audit log names them: each run has the rights that they have then.
  owner text not null check (length(owner) between 1 and 200),
  -- Whom a limit counts: an affiliate with all its keys and users, a user, or the keys of a role.
  party text not null check (length(party) between 1 and 200),
  name text not null check (length(name) between 1 and 200),
  -- The team of the program may read it; each sees what its own rights show.
  shared boolean not null,
  -- Parameters of GET /v1/reports without a range and a zone.
  query jsonb not null check (jsonb_typeof(query) = 'object'),
  range text not null
    check (range in ('yesterday', 'last_7_days', 'last_30_days', 'last_90_days', 'last_week', 'last_month')),
  time_zone text not null check (length(time_zone) between 1 and 64),
  format text not null check (format in ('csv', 'arrow', 'parquet')),
  -- The schedule: null without one. The day of the week from Monday, 1, or of the month: the last one of shorter months.
  every text check (every in ('day', 'week', 'month')),
  on_day smallint check (on_day between 1 and 31),
  at_hour smallint check (at_hour between 0 and 23),
  -- To the user who owns it, or who is behind the key that does.
  mail boolean not null,
  webhook_id integer constraint saved_reports_webhook_known references webhook_endpoints on delete set null,
  next_run_at timestamptz,
  -- Why it is not made any more, until it is changed.
  stopped text check (length(stopped) <= 500),
  created_at timestamptz not null default clock_timestamp(),
  check ((every is null) = (at_hour is null)),
  check ((every in ('week', 'month')) = (on_day is not null)),
  check (every is not null or next_run_at is null)
);
create index on saved_reports (owner, id);
create index on saved_reports (party);
create index on saved_reports (program_id, id) where shared;
create index on saved_reports (webhook_id);
create index on saved_reports (next_run_at) where next_run_at is not null;
-- A key that is rotated hands its reports on: the owner changes.
grant select, insert, delete, update (owner, name, shared, query, range, time_zone, format, every, on_day, at_hour, mail,
  webhook_id, next_run_at, stopped) on saved_reports to afflux_app;

-- A run that is due, once, whichever process comes first.
create table report_runs (
  job_id bigint primary key constraint report_runs_job_known references jobs on delete cascade,
  saved_report_id integer not null constraint report_runs_report_known references saved_reports on delete cascade,
  due_at timestamptz not null,
  -- What is counted, half-open.
  from_at timestamptz not null,
  to_at timestamptz not null,
  -- The report as it was when the run began: a change is for the runs after it.
  query jsonb not null check (jsonb_typeof(query) = 'object'),
  time_zone text not null check (length(time_zone) between 1 and 64),
  format text not null check (format in ('csv', 'arrow', 'parquet')),
  -- So often it has failed for a reason that may pass.
  tries integer not null default 0 check (tries >= 0),
  -- Done, failed or given up: its mail and its event were written then.
  ended_at timestamptz,
  constraint report_runs_once unique (saved_report_id, due_at)
);
create index on report_runs (job_id) where ended_at is null;
create index on report_runs (ended_at);
grant select, insert, delete, update (tries, ended_at) on report_runs to afflux_app;

-- An event for which no body could be written waits, so that those after it are delivered.
alter table webhook_events add column postponed_until timestamptz;
grant update (postponed_until) on webhook_events to afflux_app;
