-- Affiliates, their tree, and the addresses they use the platform from.

create table affiliates (
  id integer generated always as identity primary key,
  program_id integer not null constraint affiliates_program_known references programs,
  ref_code text not null check (ref_code ~ '^[A-Za-z0-9_-]{1,64}$'),
  name text not null check (length(name) between 1 and 200),
  email text not null check (length(email) between 3 and 254),
  -- The affiliate's own customer id at the shop: an order by it is a self-referral.
  customer_ref text check (length(customer_ref) between 1 and 200),
  status text not null default 'pending' check (status in ('pending', 'active', 'suspended', 'terminated')),
  parent_id integer,
  approved_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  change_xid xid8 not null,
  unique (program_id, id),
  constraint affiliates_ref_code_unique unique (program_id, ref_code),
  constraint affiliates_parent_known foreign key (program_id, parent_id) references affiliates (program_id, id)
);
create index on affiliates (change_xid);
create index on affiliates (parent_id) where parent_id is not null;
create trigger stamp before insert or update on affiliates for each row execute function stamp_change();
-- The books refer to affiliates without foreign keys (0008).
create trigger stays before delete on affiliates for each row execute function refuse_change();
grant select, insert, update (ref_code, name, email, customer_ref, status, parent_id, approved_at)
  on affiliates to afflux_app;

-- An affiliate may begin with any status, as one does that comes from another platform; a terminated one stays terminated.
insert into transitions (entity, from_state, to_state)
select 'affiliates', from_state, unnest(to_states) from (values
  ('pending', array['active', 'suspended', 'terminated']),
  ('active', array['suspended', 'terminated']),
  ('suspended', array['active', 'terminated'])
) as allowed (from_state, to_states);
create trigger transition before update of status on affiliates
  for each row execute function check_status_change();

-- Refuses a cycle, and a tree deeper than 20, in the parents of a program.
create function check_affiliate_parent() returns trigger language plpgsql as $$
declare
  above integer;
  below integer;
  meets boolean;
begin
  if new.parent_id is null then
    return new;
  end if;
  -- Two transactions that each hang one under the other would both see no cycle: one waits for the other here.
  perform pg_advisory_xact_lock(hashtextextended('affiliates.parent', new.program_id));
  with recursive up (id, parent_id, depth) as (
    select id, parent_id, 1 from affiliates where id = new.parent_id
    union all
    select a.id, a.parent_id, up.depth + 1 from up join affiliates a on a.id = up.parent_id where up.depth <= 20
  )
  select max(depth), bool_or(id = new.id) into above, meets from up;
  if meets or new.parent_id = new.id then
    raise exception 'affiliate % would be its own ancestor', new.id
      using errcode = 'check_violation', constraint = 'affiliates_no_cycle';
  end if;
  with recursive down (id, depth) as (
    select new.id, 1
    union all
    select a.id, down.depth + 1 from down join affiliates a on a.parent_id = down.id where down.depth <= 20
  )
  select max(depth) into below from down;
  if coalesce(above, 0) + below > 20 then
    raise exception 'the tree above and below affiliate % would be deeper than 20', new.id
      using errcode = 'check_violation', constraint = 'affiliates_depth';
  end if;
  return new;
end $$;
create trigger parent before insert or update of parent_id on affiliates
  for each row execute function check_affiliate_parent();

-- An order from an address that an affiliate itself uses the platform from is its own.
create table affiliate_sessions (
  program_id integer not null,
  affiliate_id integer not null,
  ip inet not null,
  fingerprint bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (affiliate_id, ip, fingerprint),
  foreign key (program_id, affiliate_id) references affiliates (program_id, id)
);
grant select, insert, update (seen_at) on affiliate_sessions to afflux_app;
