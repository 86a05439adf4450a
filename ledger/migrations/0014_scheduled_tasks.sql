-- Work by the clock: a row for each task and stretch of time, made when the stretch's work may begin.
create table scheduled_tasks (
  task text not null check (length(task) between 1 and 40),
  -- The beginning of the stretch.
  stretch_at timestamptz not null,
  -- When it is to be begun, or begun again: by another process while one is at it, after a failure by any.
  due_at timestamptz not null default clock_timestamp(),
  tries integer not null default 0 check (tries >= 0),
  -- Of the last failure, until it is done.
  error text,
  done_at timestamptz,
  primary key (task, stretch_at)
);
grant select, insert, update, delete on scheduled_tasks to afflux_app;
