import { availableParallelism, totalmem } from 'node:os';
import { quoteName } from '../sessions/context.ts';
import { FIXED_SETTINGS } from './fixed-settings.ts';
import { CLOSED_SYSTEM_TABLES } from './system-tables.ts';

/**
 * The engine's own access control. The library runs every session as one user, and has no way to change it (`--user`
 * is ignored, EXECUTE AS is switched off). So that user has no privilege but by its roles: a session begins with
 * all of them, and one of an analyst gives the owner's up before its first query (users.ts).
 */

/** What analysts may read: names in a database. */
export interface AnalystReads {
  readonly database: string;
  readonly tables: readonly string[];
  readonly dictionaries: readonly string[];
  /** Views that show an analyst of one program the rows of it, by {@link USER_SETTING}. */
  readonly views: readonly string[];
}

const OWNER_ROLE = 'owner';
/** Of each kind of analyst the name of its role, and of the profile that bounds it. */
export type AnalystRole = 'analyst' | 'program_analyst';

/** Of tables, views, dictionaries and databases. Nothing for sources, users, functions, backups and the server itself. */
const PRIVILEGES = `SELECT, INSERT, ALTER, SHOW, TRUNCATE, OPTIMIZE, dictGet, SYSTEM RELOAD DICTIONARY, KILL QUERY,
  CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY,
  DROP DATABASE, DROP TABLE, DROP VIEW, DROP DICTIONARY`;

/** Together the six queries of analysts (shares.ts) take half of the memory: the other half is left for the loader's. */
const MEMORY_SHARE = 12;
const MAX_MEMORY_BYTES = 4_000_000_000;

interface Limit {
  readonly value: number;
  /** 1 where 0 means without a limit. */
  readonly min: number;
  readonly max: number;
}

export const MAX_EXECUTION_TIME: Limit = { value: 60, min: 1, max: 300 };

/** What one query of an analyst may cost: seconds, threads, bytes of memory, of temporary files and of its result. */
export const ANALYST_LIMITS: Readonly<Record<string, Limit>> = {
  max_execution_time: MAX_EXECUTION_TIME,
  // One in two cores: the loader's inserts and the look-ups get the other.
  ...upTo('max_threads', Math.max(1, Math.floor(availableParallelism() / 2))),
  ...upTo('max_memory_usage', Math.min(MAX_MEMORY_BYTES, Math.floor(memoryBytes() / MEMORY_SHARE))),
  ...upTo('max_temporary_data_on_disk_size_for_query', 10_000_000_000),
  ...upTo('max_result_rows', 10_000_000),
  ...upTo('max_result_bytes', 4_000_000_000),
};

/**
 * The setting that says whose session it is. The engine itself uses it to tell cached results of one user from those of
 * another; an analyst's profile fixes it, so views and policies can rely on it. `getSetting` reads no setting of one's own.
 */
export const USER_SETTING = 'query_cache_tag';

/** Beside the owner's. A query cache would keep results that may not be read any more. */
const FIXED_FOR_ANALYSTS = [USER_SETTING, 'use_query_cache'];
/** A filter is computed of a table's rows, also below a view that shows some of them. */
const FIXED_FOR_PROGRAMS = ['additional_table_filters'];

function upTo(name: string, max: number): Record<string, Limit> {
  return { [name]: { value: max, min: 1, max } };
}

/** Of this machine, or of the container. */
function memoryBytes(): number {
  const bound = process.constrainedMemory();
  return bound > 0 ? Math.min(totalmem(), bound) : totalmem();
}

/**
 * The engine's configuration. Its only user has no password in here: the HTTP server asks for it, and a dictionary that
 * was created with an earlier one still reads its table. Rows are formatted by the thread that reads them: the threads that
 * would do it in parallel cost a short query more than they save a long one (`SELECT 1`: 0.81 of the CPU, four at a time 1.24
 * times as many a second).
 */
export function accessConfig(reads: AnalystReads | undefined): string {
  return `<clickhouse>
  <profiles>
    <default>
      <output_format_parallel_formatting>0</output_format_parallel_formatting>
      <query_profiler_real_time_period_ns>0</query_profiler_real_time_period_ns>
      <query_profiler_cpu_time_period_ns>0</query_profiler_cpu_time_period_ns>
      <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>
      <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>
      <constraints>${FIXED_SETTINGS.map(fixed).join('')}</constraints>
    </default>
    <analyst>
      <profile>default</profile>
      <constraints>${FIXED_FOR_ANALYSTS.map(fixed).join('')}${Object.entries(ANALYST_LIMITS).map(bounded).join('')}</constraints>
    </analyst>
    <program_analyst>
      <profile>analyst</profile>
      <constraints>${FIXED_FOR_PROGRAMS.map(fixed).join('')}</constraints>
    </program_analyst>
  </profiles>
  <roles>
    <${OWNER_ROLE}><grants>${query(`GRANT ${PRIVILEGES} ON *.*`)}</grants></${OWNER_ROLE}>
    ${grantsOf(reads)
      .map(([role, grants]) => `<${role}><grants>${grants.map(query).join('')}</grants></${role}>`)
      .join('')}
  </roles>
  <users><default>
    <no_password/>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>${query(`GRANT ${OWNER_ROLE}, analyst, program_analyst`)}</grants>
    <databases><system>${systemPolicies()}</system></databases>
  </default></users>
  <quotas><default/></quotas>
</clickhouse>
`;
}

function grantsOf(reads: AnalystReads | undefined): [AnalystRole, string[]][] {
  // KILL reaches what the policy of system.processes shows. Clients name the database default where they are given none.
  const own = ['GRANT KILL QUERY ON *.*', 'GRANT SHOW DATABASES ON default.*'];
  const { database = '', tables = [], dictionaries = [], views = [] } = reads ?? {};
  const grantAll = (privileges: string, names: readonly string[]): string[] =>
    names.map((name) => `GRANT ${privileges} ON ${quoteName(database)}.${quoteName(name)}`);
  return [
    [
      'analyst',
      [
        ...own,
        ...grantAll('SELECT', [...tables, ...views]),
        ...grantAll('SHOW DICTIONARIES, dictGet', dictionaries),
      ],
    ],
    ['program_analyst', [...own, ...grantAll('SELECT', views)]],
  ];
}

/** Every user could read the system tables: an analyst sees its own queries, and nothing of what is closed. */
function systemPolicies(): string {
  const isOwner = `has(currentRoles(), '${OWNER_ROLE}')`;
  const isOwn = `Settings['${USER_SETTING}'] = getSetting('${USER_SETTING}')`;
  const policy = (table: string, condition: string): string =>
    `<${table}><filter>${condition}</filter></${table}>`;
  return [
    policy('processes', `${isOwner} OR ${isOwn}`),
    ...CLOSED_SYSTEM_TABLES.map((table) => policy(table, isOwner)),
  ].join('');
}

/** Statements by which a session becomes that of an analyst of this name: the engine lets it take none of them back. */
export function analystStatements(name: string, role: AnalystRole): string[] {
  const limits = Object.entries(ANALYST_LIMITS).map(([limit, { value }]) => `${limit} = ${value}`);
  return [
    `SET ${USER_SETTING} = '${name}', ${limits.join(', ')}, readonly = 2`,
    `SET profile = '${role}'`,
    `SET ROLE ${role}`,
  ];
}

/** The settings that {@link analystStatements} leave. */
export function analystSettings(name: string): [name: string, value: string][] {
  const limits = Object.entries(ANALYST_LIMITS).map(([limit, { value }]): [string, string] => [
    limit,
    String(value),
  ]);
  return [...limits, [USER_SETTING, name], ['readonly', '2']];
}

function fixed(name: string): string {
  return `<${name}><const/></${name}>`;
}

function bounded([name, { min, max }]: [string, Limit]): string {
  return `<${name}><min>${min}</min><max>${max}</max></${name}>`;
}

function query(statement: string): string {
  return `<query>${statement.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</query>`;
}
