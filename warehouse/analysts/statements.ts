import { ANALYST_USER, programAnalyst } from '../../core/config/analysts.ts';
import { ANALYST_READS } from './reads.ts';

/**
 * The most that one query of an analyst may cost on a server: seconds, bytes, rows. As in the embedded engine; but a server lets
 * its user undo them by SET … = DEFAULT, which it compares with no constraint. The quota bounds all queries together then.
 */
const LIMITS = [
  'max_execution_time = 60 MIN 1 MAX 300',
  'max_memory_usage = 4000000000 MIN 1 MAX 4000000000',
  'max_result_rows = 10000000 MIN 1 MAX 10000000',
] as const;

/** What all queries of a user may cost in an hour: seconds of work, and queries. */
const QUOTA = 'FOR INTERVAL 1 hour MAX queries = 20000, execution_time = 7200';

/**
 * What an administrator of a ClickHouse server runs to make an analyst: of every program, or of one, which reads the
 * views alone and can set neither what they take the program from nor a filter on the tables below them. A user of this name
 * that there is gets this password, these settings and no other right than these.
 */
export function analystUserStatements(options: {
  database: string;
  password: string;
  programId: number | undefined;
}): string[] {
  const { database, password, programId } = options;
  const user = programId === undefined ? ANALYST_USER : programAnalyst(programId);
  const settings = [
    `query_cache_tag = '${user}' CONST`,
    'use_query_cache = 0 CONST',
    ...(programId === undefined ? [] : ['additional_table_filters CONST']),
    ...LIMITS,
    // Last, as in a session: 2 lets its reader change the other settings.
    'readonly = 2',
  ];
  const { tables, views, dictionaries } = ANALYST_READS;
  const readable = programId === undefined ? [...tables, ...views] : views;
  const looked = programId === undefined ? dictionaries : [];
  const name = (of: string): string => `${quoted(database)}.${of}`;
  return [
    `CREATE USER OR REPLACE ${user} IDENTIFIED WITH sha256_password BY ${text(password)}\nSETTINGS ${settings.join(',\n  ')}`,
    ...readable.map((table) => `GRANT SELECT ON ${name(table)} TO ${user}`),
    ...looked.map((dictionary) => `GRANT dictGet ON ${name(dictionary)} TO ${user}`),
    `CREATE QUOTA OR REPLACE ${user} KEYED BY user_name ${QUOTA} TO ${user}`,
  ];
}

function quoted(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}

function text(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
