-- When the password, and the second factor where there is one, was last given in a session.

alter table sessions add column authenticated_at timestamptz;
update sessions set authenticated_at = created_at;
alter table sessions alter column authenticated_at set default clock_timestamp();
alter table sessions alter column authenticated_at set not null;
grant update (authenticated_at) on sessions to afflux_app;
