-- Processes log in as afflux_app. It creates nothing, not even a temporary table: PostgreSQL would find that before the
-- table of the same name, so that a trigger's look-up could be answered by the process it guards against.
do $$ begin
  execute format('revoke temporary on database %I from public', current_database());
end $$;
revoke create on schema public from public;

-- What runs with the owner's rights looks into the schema of temporary tables last.
alter function keep_rules() set search_path = pg_catalog, public, pg_temp;
alter function open_program_accounts() set search_path = pg_catalog, public, pg_temp;
alter function open_affiliate_accounts() set search_path = pg_catalog, public, pg_temp;
alter function apply_entries() set search_path = pg_catalog, public, pg_temp;
alter function end_payout_items() set search_path = pg_catalog, public, pg_temp;
