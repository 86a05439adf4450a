import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';

/** A column that is carried: generated ones are not. */
export interface LedgerColumn {
  readonly name: string;
  /** As PostgreSQL writes it, such as `numeric(10,2)`. */
  readonly type: string;
}

/** A table of the database as a copy has it. */
export interface LedgerTable {
  readonly name: string;
  readonly columns: readonly LedgerColumn[];
}

/**
 * Numbers of transactions, which begin again in another server: restored as expressions instead. Collectors find changed
 * rows by `change_xid`; a call is `due` once a transaction has ended. `journals.created_xid` is covered by the hash chain,
 * and stays.
 */
export const RENEWED_COLUMNS: Readonly<Record<string, string>> = {
  change_xid: 'pg_current_xact_id()',
  due: "case when $ is not null then '0'::xid8 end",
};

export async function listLedgerTables(sql: DatabaseSql): Promise<LedgerTable[]> {
  return await sql<LedgerTable[]>`
    select c.relname as name,
      json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod)) order by attnum) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''
    where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition
    group by c.relname order by c.relname collate "C"`;
}

/** Texts that mean the same in every session, whatever the server's settings are. */
export async function fixTextForms(tx: DatabaseTransaction): Promise<void> {
  await tx.unsafe(
    "set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; " +
      "set local extra_float_digits = 1; set local bytea_output = 'hex'",
  );
}

/** Names in SQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** A row as one text: its values, as PostgreSQL writes them, in a JSON array. */
export function rowText({ columns }: Pick<LedgerTable, 'columns'>): string {
  return `to_json(array[${columns.map(({ name }) => `${quoted(name)}::text`).join(', ')}])::text`;
}

/** Number of rows, and a sum over them in any order, of all columns but those that a restore renews. */
export async function measureTable(
  sql: DatabaseSql,
  table: LedgerTable,
): Promise<{ rows: string; checksum: string }> {
  const kept = table.columns.filter(({ name }) => !(name in RENEWED_COLUMNS));
  const [measured] = await sql.unsafe<{ rows: string; checksum: string }[]>(
    `select count(*)::text as rows, coalesce(sum(('x' || left(md5(${rowText({ columns: kept })}), 15))::bit(60)::bigint), 0)::text as checksum
     from ${quoted(table.name)}`,
  );
  return measured ?? { rows: '0', checksum: '0' };
}
