-- Hash chains over the audit log and the journals with their entries: the hash of a row covers its text and the hash of
-- the row before it, so that a row that is changed, removed or put in between changes every hash after it.
--
-- The chain is extended after the commit, in the order of ids: a chain in the transaction of the row would let each
-- transaction wait for the one before it. Only the owner's function writes it, and only from the rows themselves.

create function link_hash(head bytea, start bytea, content text) returns bytea
  language sql immutable parallel safe
  return sha256(coalesce(head, start) || convert_to(content, 'UTF8'));

-- The hash of the last of several rows in order; `start` is the hash of the row before them.
create aggregate chain_hash(start bytea, content text) (sfunc = link_hash, stype = bytea);

-- The rows of a chain with after_id < id <= up_to_id, each as the text that is hashed: JSON, because it separates the
-- columns and does not depend on the settings of a session.
create function chained_rows(chain_name text, after_id bigint, up_to_id bigint)
  returns table (row_id bigint, content text) language plpgsql stable as $$
begin
  if chain_name = 'audit_log' then
    return query
      select r.id, jsonb_build_array(r.id, extract(epoch from r.at), r.actor, r.action, r.subject, r.before, r.after,
        r.program_id)::text
      from audit_log r where r.id > after_id and r.id <= up_to_id;
  else
    return query
      select j.id, jsonb_build_array(j.id, j.idempotency_key, j.kind, j.program_id, j.conversion_id, j.payout_id,
        extract(epoch from j.created_at), j.created_xid::text, e.of_journal)::text
      from journals j
      left join (
        select journal_id, jsonb_agg(jsonb_build_array(id, account_id, currency, amount_minor, commission_id) order by id)
          as of_journal
        from entries where journal_id > after_id and journal_id <= up_to_id group by journal_id
      ) e on e.journal_id = j.id
      where j.id > after_id and j.id <= up_to_id;
  end if;
end $$;

-- The hash at the end of each stretch of rows that was chained at once. A stretch begins after the one before it; the
-- first has no hash before it.
create table hash_chain (
  chain text not null check (chain in ('audit_log', 'journals')),
  last_id bigint not null,
  row_count bigint not null check (row_count > 0),
  head bytea not null check (length(head) = 32),
  at timestamptz not null default clock_timestamp(),
  primary key (chain, last_id)
);
create trigger append_only before update or delete on hash_chain for each row execute function refuse_change();
create trigger no_truncate before truncate on hash_chain for each statement execute function refuse_change();
grant select on hash_chain to afflux_app;

-- Chains the rows that are committed, and returns how many; 0 as well when another session is at it, or when a
-- transaction that writes the table takes longer than `patience`.
create function extend_hash_chain(chain_name text, patience interval) returns bigint
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  deadline constant timestamptz := clock_timestamp() + patience;
  newest_id bigint;
  writers text[];
  previous_id bigint := 0;
  previous_head bytea := '';
  link record;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('hash_chain:' || chain_name, 0)) then
    return 0;
  end if;
  execute format('select last_value from %s', pg_get_serial_sequence(chain_name, 'id')) into newest_id;
  -- An id up to it belongs to a row that is committed or given up, or to one of these transactions: each has locked the
  -- table before it got an id.
  writers := array(
    select virtualtransaction from pg_locks
    where locktype = 'relation' and relation = chain_name::regclass and mode = 'RowExclusiveLock' and granted
      and database = (select oid from pg_database where datname = current_database())
      and pid is distinct from pg_backend_pid()
  );
  while exists (select from pg_locks where virtualtransaction = any (writers)) loop
    if clock_timestamp() > deadline then
      return 0;
    end if;
    perform pg_sleep(0.02);
  end loop;
  select last_id, head into previous_id, previous_head from (
    select last_id, head from hash_chain where chain = chain_name
    union all select 0, ''::bytea
    order by last_id desc limit 1
  ) newest;
  select max(row_id) as last_id, count(*) as row_count, chain_hash(previous_head, content order by row_id) as head
  into link from chained_rows(chain_name, previous_id, newest_id);
  if link.row_count > 0 then
    insert into hash_chain (chain, last_id, row_count, head)
    values (chain_name, link.last_id, link.row_count, link.head);
  end if;
  return link.row_count;
end $$;
revoke execute on function extend_hash_chain(text, interval) from public;
grant execute on function extend_hash_chain(text, interval) to afflux_app;

-- What was written before there were chains.
select extend_hash_chain('audit_log', interval '1 minute'), extend_hash_chain('journals', interval '1 minute');
