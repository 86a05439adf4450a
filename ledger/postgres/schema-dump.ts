import type { DatabaseSql } from './db.ts';

/**
 * The schema as text, read from PostgreSQL's catalog: columns, constraints, indexes, triggers, functions, grants.
 * Two databases with the same text have the same schema, whatever way they came to it.
 */
export async function dumpSchema(owner: DatabaseSql): Promise<string> {
  const lines = await owner<{ line: string }[]>`
    with tables as (
      select c.oid, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'v')
    )
    select format('%s / %s column %s %s%s%s%s', relname, to_char(attnum, 'FM000'), attname,
      format_type(atttypid, atttypmod), case when attnotnull then ' not null' else '' end,
      coalesce(' default ' || pg_get_expr(adbin, adrelid), ''),
      case attidentity when 'a' then ' identity' else '' end) as line
    from tables t join pg_attribute a on a.attrelid = t.oid and attnum > 0 and not attisdropped
    left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
    union all
    select format('%s / constraint %s %s', relname, conname, pg_get_constraintdef(c.oid))
    from tables t join pg_constraint c on c.conrelid = t.oid where contype <> 'n'
    union all
    select format('%s / index %s', tablename, indexdef) from pg_indexes where schemaname = 'public'
    union all
    select format('%s / trigger %s', relname, pg_get_triggerdef(g.oid))
    from tables t join pg_trigger g on g.tgrelid = t.oid where not tgisinternal
    union all
    select format('%s / view %s', relname, pg_get_viewdef(c.oid))
    from tables t join pg_class c using (oid, relname) where c.relkind = 'v'
    union all
    select format('%s / grant %s to %s', table_name, privilege_type, grantee)
    from information_schema.role_table_grants
    where table_schema = 'public' and grantee in ('afflux_app', 'afflux_grafana')
    union all
    select format('%s / grant UPDATE (%s) to %s', table_name, string_agg(column_name, ', ' order by column_name), grantee)
    from information_schema.column_privileges
    where table_schema = 'public' and grantee = 'afflux_app' and privilege_type = 'UPDATE'
    group by table_name, grantee
    union all
    select format('function %s', pg_get_functiondef(p.oid))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public' and prokind <> 'a'
    union all
    select format('aggregate %s(%s) by %s', proname, pg_get_function_arguments(p.oid), aggtransfn)
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_aggregate a on a.aggfnoid = p.oid
    where n.nspname = 'public'
    union all
    select format('function %s / grant EXECUTE to %s', routine_name, grantee)
    from information_schema.role_routine_grants
    where specific_schema = 'public' and grantee = 'afflux_app'`;
  // Sorted here: the database's order depends on its collation.
  return `${lines
    .map(({ line }) => line.trimEnd())
    .sort()
    .join('\n')}\n`;
}
