-- Which parameters of a link's address its redirect passes on to the landing page: names, or '*' alone for all. A link
-- without a list of its own has its program's.
create function is_list_of_parameters(names text[]) returns boolean language sql immutable parallel safe
  set search_path = pg_catalog, public, pg_temp as $$
  select cardinality(names) <= 50
    and array_to_string(names, '&', '') ~ '^(\*|[A-Za-z0-9_.~-]{1,64}(&[A-Za-z0-9_.~-]{1,64})*)?$'
$$;

alter table programs
  add pass_parameters text[] not null default '{gclid,fbclid,ttclid,msclkid,wbraid,gbraid}'
    check (is_list_of_parameters(pass_parameters));
alter table links add pass_parameters text[] check (is_list_of_parameters(pass_parameters));

grant update (pass_parameters) on programs, links to afflux_app;
