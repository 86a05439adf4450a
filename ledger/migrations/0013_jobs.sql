-- Work of users that outlasts a request, with its progress: imports, large reports, audits.

create table jobs (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('import', 'report', 'audit')),
  program_id integer,
  actor text not null check (length(actor) between 1 and 200),
  state text not null default 'running' check (state in ('running', 'done', 'failed')),
  request jsonb not null,
  rows_total bigint not null default 0,
  rows_done bigint not null default 0,
  -- Of an import: the results of its rows; of a report: its file; of an audit: whether all its checks are ok.
  result jsonb,
  failure text check (length(failure) <= 1000),
  created_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
create index on jobs (program_id, id);
create index on jobs (created_at);
create index jobs_audits on jobs (id) where kind = 'audit';
grant select, insert, update (state, rows_total, rows_done, result, failure, finished_at), delete on jobs to afflux_app;
