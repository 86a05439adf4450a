-- The status of an affiliate moves along edges as the states of conversions do: a terminated one stays terminated.
insert into state_edges (entity, from_state, to_state)
select 'affiliates', from_state, unnest(to_states) from (values
  ('pending', array['active', 'suspended', 'terminated']),
  ('active', array['suspended', 'terminated']),
  ('suspended', array['active', 'terminated'])
) as edges (from_state, to_states);

create function check_affiliate_status() returns trigger language plpgsql as $$
begin
  if old.status <> new.status and not exists (
    select from state_edges where entity = 'affiliates' and from_state = old.status and to_state = new.status
  ) then
    raise exception 'an affiliate cannot go from % to %', old.status, new.status
      using errcode = 'check_violation', constraint = 'affiliates_transition';
  end if;
  return new;
end $$;
create trigger transition before update of status on affiliates
  for each row execute function check_affiliate_status();
