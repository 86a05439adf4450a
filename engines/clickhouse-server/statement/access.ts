import { QueryError } from '../errors.ts';
import { type Token, tokens } from './lexer.ts';

/**
 * What a request may reach: the tables of this engine, and neither files nor the network. The engine's own access control
 * refuses every source that has a privilege of its own ({@link ACCESS_CONFIG}). What has none is refused here, by
 * lists of what is allowed. The server's own ways to move rows (INTO OUTFILE, FROM INFILE) need no privilege.
 */

/** Functions that make up their rows, or read them from tables and from the request. */
const TABLE_FUNCTIONS = ['dictionary', 'input', 'merge', 'numbers', 'numbers_mt', 'zeros', 'zeros_mt'];

const TABLE_ENGINES = [
  'MergeTree',
  'ReplacingMergeTree',
  'SummingMergeTree',
  'AggregatingMergeTree',
  'CollapsingMergeTree',
  'VersionedCollapsingMergeTree',
  'Memory',
  'Null',
  'Log',
];
const DATABASE_ENGINES = ['Atomic'];

/** Statements by their first word, beside those that only read. */
const COMMANDS = new Set([
  'ALTER',
  'CHECK',
  'CREATE',
  'DELETE',
  'DROP',
  'EXCHANGE',
  'INSERT',
  'KILL',
  'OPTIMIZE',
  'RENAME',
  'SET',
  'SYSTEM',
  'TRUNCATE',
  'UPDATE',
  'USE',
]);

/** Not WHERE and QUERY, whose texts are expressions. */
const DICTIONARY_SOURCE_KEYS = new Set(['TABLE', 'DB', 'USER', 'PASSWORD']);
const DICTIONARY_LAYOUTS = new Set([
  'FLAT',
  'HASHED',
  'HASHED_ARRAY',
  'SPARSE_HASHED',
  'COMPLEX_KEY_HASHED',
  'COMPLEX_KEY_HASHED_ARRAY',
  'COMPLEX_KEY_SPARSE_HASHED',
  'RANGE_HASHED',
  'IP_TRIE',
]);

/** Functions for expressions that reach files, programs or servers and need no privilege. */
const OUTSIDE_FUNCTIONS = new Set([
  'FILE',
  'CATBOOSTEVALUATE',
  'AICLASSIFY',
  'AIEMBED',
  'AIEXTRACT',
  'AIGENERATE',
  'AITRANSLATE',
]);

/**
 * Texts as settings that are harmless: names, representations, sizes. Every other setting that takes a text, an address or
 * a map is fixed, for it can name a file or a server, or hold an expression.
 */
export const FREE_TEXT_SETTINGS: readonly string[] = [
  // Expressions, which are checked like the query itself; Grafana sends them.
  'additional_table_filters',
  'bool_false_representation',
  'bool_true_representation',
  'count_distinct_implementation',
  'force_data_skipping_indices',
  'format_csv_null_representation',
  'format_tsv_null_representation',
  'ignore_data_skipping_indices',
  'insert_deduplication_token',
  'log_comment',
  'output_format_pretty_grid_charset',
];

/** The other settings that take a text, an address or a map, and three that change how a text is read. */
const FIXED_SETTINGS = [
  'additional_result_filter',
  'ai_function_embedding_default_credentials',
  'ai_function_text_default_credentials',
  'chdb_client_name',
  'cluster_for_parallel_replicas',
  'column_names_for_schema_inference',
  'compatibility',
  'default_view_definer',
  'dialect',
  'distributed_cache_file_cache_name',
  'distributed_plan_force_exchange_kind',
  'errors_output_format',
  'exclude_materialize_skip_indexes_on_insert',
  'filesystem_cache_name',
  'force_optimize_projection_name',
  'format_avro_schema_registry_url',
  'format_custom_field_delimiter',
  'format_custom_result_after_delimiter',
  'format_custom_result_before_delimiter',
  'format_custom_row_after_delimiter',
  'format_custom_row_before_delimiter',
  'format_custom_row_between_delimiter',
  'format_json_object_each_row_column_for_object_name',
  'format_regexp',
  'format_schema',
  'format_schema_message_name',
  'format_schema_source',
  'format_template_resultset',
  'format_template_resultset_format',
  'format_template_row',
  'format_template_row_format',
  'format_template_rows_between_delimiter',
  'function_implementation',
  'http_response_headers',
  'iceberg_metadata_compression_method',
  'implicit_table_at_top_level',
  'input_format_mysql_dump_table_name',
  'input_format_orc_reader_time_zone_name',
  'input_format_record_errors_file_path',
  'input_format_values_deduce_templates_of_expressions',
  'input_format_values_interpret_expressions',
  'local_filesystem_read_method',
  'metrics_perf_events_list',
  'network_compression_method',
  'output_format_avro_codec',
  'output_format_avro_confluent_subject',
  'output_format_avro_string_column_pattern',
  'output_format_image_terminal_mode',
  'output_format_orc_writer_time_zone_name',
  'output_format_schema',
  'output_format_sql_insert_table_name',
  'parallel_replicas_custom_key',
  'polyglot_dialect',
  'preferred_optimize_projection_name',
  'promql_database',
  'promql_table',
  'query_cache_tag',
  'remote_filesystem_read_method',
  'rename_files_after_processing',
  's3queue_default_zookeeper_path',
  'schema_inference_hints',
  'send_logs_source_regexp',
  'stream_like_engine_insert_queue',
  'temporary_files_codec',
  'trace_profile_events_list',
  'url_base',
  'workload',
];

/** Of tables, views, dictionaries and databases. Nothing for sources, users, functions, backups and the server itself. */
const PRIVILEGES = `SELECT, INSERT, ALTER, SHOW, TRUNCATE, OPTIMIZE, dictGet, SYSTEM RELOAD DICTIONARY, KILL QUERY,
  CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY,
  DROP DATABASE, DROP TABLE, DROP VIEW, DROP DICTIONARY`;

/**
 * The engine's configuration. Its only user has no password in here: the HTTP server asks for it, and a dictionary that
 * was created with an earlier one still reads its table.
 */
export const ACCESS_CONFIG = `<clickhouse>
  <profiles><default>
    <input_format_values_interpret_expressions>0</input_format_values_interpret_expressions>
    <input_format_values_deduce_templates_of_expressions>0</input_format_values_deduce_templates_of_expressions>
    <constraints>${FIXED_SETTINGS.map((name) => `<${name}><const/></${name}>`).join('')}</constraints>
  </default></profiles>
  <users><default>
    <no_password/>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants><query>GRANT ${PRIVILEGES} ON *.*</query></grants>
  </default></users>
  <quotas><default/></quotas>
</clickhouse>
`;

const FILTERS = 'ADDITIONAL_TABLE_FILTERS';

/** Checks each token of a query as it is read. @throws QueryError 497. */
export type TokenCheck = (token: Token, text: string) => void;

/**
 * Makes checks of single queries: each reads one query from its beginning.
 * @param tableFunctions all that the engine has; those not in {@link TABLE_FUNCTIONS} are refused.
 */
export function createTokenChecks(tableFunctions: readonly string[]): () => TokenCheck {
  // disk(…) describes a place for a table.
  const refusedCalls = new Set([...tableFunctions, 'disk'].map((name) => name.toUpperCase()));
  for (const name of TABLE_FUNCTIONS) refusedCalls.delete(name.toUpperCase());
  function newCheck(): TokenCheck {
    let previous: Token | undefined;
    let name = '';
    let readsFilters = false;
    let readsSettings = false;
    return (token, text) => {
      if (token.kind === '(' && refusedCalls.has(name)) throw refused(name);
      name = nameOf(token, text);
      readsSettings ||= token.word === 'SETTINGS' || (token.word === 'SET' && previous === undefined);
      // The engine checks a value against the fixed settings and readonly, but not their return to its own default.
      if (readsSettings && previous?.kind === '=' && token.word === 'DEFAULT') {
        throw refused('= DEFAULT for a setting');
      }
      if (OUTSIDE_FUNCTIONS.has(name)) throw refused(name);
      readsFilters ||= name === FILTERS;
      if (readsFilters && token.kind === 'text') {
        const expression = contentOf(text.slice(token.start, token.end));
        const check = newCheck();
        for (const part of tokens(expression)) check(part, expression);
      }
      // A parameter, whose value is not in the text.
      if (readsFilters && previous?.kind === '{' && name !== '') throw refused(`a parameter for ${FILTERS}`);
      previous = token;
    };
  }
  return newCheck;
}

/** The text of a string literal or heredoc. Escapes for control characters become blanks. */
export function contentOf(literal: string): string {
  if (literal.startsWith('$')) {
    const tag = literal.indexOf('$', 1) + 1;
    return literal.slice(tag, -tag);
  }
  return literal
    .slice(1, -1)
    .replaceAll(
      /\\x([0-9a-f]{2})|\\(.)|''/gis,
      (all, hex: string | undefined, escaped: string | undefined) => {
        if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
        return escaped === undefined ? all.slice(1) : /[a-z0]/i.test(escaped) ? ' ' : escaped;
      },
    );
}

/** A word or quoted name in capitals; '' for any other token. */
function nameOf(token: Token, text: string): string {
  if (token.kind !== 'name') return token.word;
  const name = text.slice(token.start + 1, token.end - 1);
  if (name.includes('\\')) throw refused('a quoted name with a backslash');
  return name.toUpperCase();
}

/** Whether a query has this name outside of texts, in quotes or not. @param text the query as latin1. */
export function hasName(text: string, name: string): boolean {
  for (const token of tokens(text)) if (nameOf(token, text) === name.toUpperCase()) return true;
  return false;
}

export function refused(what: string): QueryError {
  return new QueryError(
    ACCESS_DENIED,
    `The embedded engine reads and writes its own tables only: ${what} is not allowed`,
    'ACCESS_DENIED',
  );
}

const ACCESS_DENIED = 497;

/**
 * Checks a statement that is no mere reading, as the engine itself has written it out: one spelling, no comments. Returns its
 * first word. @throws QueryError 497.
 */
export function checkCommand(formatted: string): string {
  const list = [...tokens(formatted)];
  const first = list[0]?.word ?? '';
  if (!COMMANDS.has(first)) throw refused(`the statement ${first}`);
  for (const [i, token] of list.entries()) {
    const { word, depth } = token;
    const [next, second] = [list[i + 1], list[i + 2]];
    if (depth === 0 && (word === 'INFILE' || word === 'OUTFILE')) throw refused(word);
    if (word === 'ENGINE' && next?.kind === '=' && second)
      checkEngine(formatted.slice(second.start, second.end).replaceAll('`', ''));
    if (first === 'CREATE' && word === 'SOURCE' && next?.kind === '(') checkSource(list.slice(i + 2));
    if (
      first === 'CREATE' &&
      word === 'LAYOUT' &&
      next?.kind === '(' &&
      !DICTIONARY_LAYOUTS.has(second?.word ?? '')
    ) {
      throw refused(`the layout ${second?.word}`);
    }
  }
  return first;
}

function checkEngine(name: string): void {
  if (![...TABLE_ENGINES, ...DATABASE_ENGINES].includes(name)) throw refused(`the engine ${name}`);
}

/** `CLICKHOUSE(KEY 'value' …))`: a table of this engine, not of another server. */
function checkSource(list: readonly Token[]): void {
  const [source, open, ...rest] = list;
  if (source?.word !== 'CLICKHOUSE' || open?.kind !== '(')
    throw refused(`the dictionary source ${source?.word}`);
  for (const token of rest) {
    if (token.depth <= open.depth) return;
    if (token.kind === 'text') continue;
    if (!DICTIONARY_SOURCE_KEYS.has(token.word))
      throw refused(`${token.word || token.kind} of a dictionary source`);
  }
}
