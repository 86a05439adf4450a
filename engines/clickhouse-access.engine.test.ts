import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askClickHouse } from '../test/support/engines.ts';
import { type AnalystEngine, startAnalystEngine } from '../test/support/servers/analysts.ts';
import { FREE_TEXT_SETTINGS } from './clickhouse-server/statement/access.ts';

/** Somebody who has a password of ClickHouse, the platform's or an analyst's, and wants more than its tables. */

const MARK = 'a line of a file that is none of the engine’s';
let database: AnalystEngine;
let folder: string;
let secret: string;
let target: string;

beforeAll(async () => {
  database = await startAnalystEngine({ tables: ['own'], dictionaries: [], views: [] });
  folder = mkdtempSync(join(tmpdir(), 'afflux-access-'));
  // As root the engine has an account of its own: that it cannot reach the files would prove nothing.
  chmodSync(folder, 0o777);
  secret = join(folder, 'secret.txt');
  target = join(folder, 'written.txt');
  writeFileSync(secret, MARK);
  expect((await post('CREATE TABLE own (s String) ENGINE = MergeTree ORDER BY s')).status).toBe(200);
  expect((await post("INSERT INTO own VALUES ('mine')")).status).toBe(200);
});
afterAll(async () => {
  await database.stop();
  rmSync(folder, { recursive: true });
});

type User = 'default' | 'analyst';
const USERS: readonly User[] = ['default', 'analyst'];

async function post(
  query: string,
  parameters: Record<string, string> = {},
  user: User = 'default',
): Promise<{ status: number; text: string }> {
  const url = user === 'analyst' ? database.analystUrl : database.url;
  const response = await askClickHouse(url, parameters, { method: 'POST', body: query });
  // A refusal in the middle of an answer cuts it.
  return { status: response.status, text: await response.text().catch(String) };
}

/** `@` is the path of a file, `#` one to write to. */
const filled = (query: string) => query.replaceAll('@', secret).replaceAll('#', target);

describe.each(USERS)('%s reads a file or a server through', { tags: ['attack'] }, (user) => {
  test.each([
    "SELECT * FROM file('@', 'LineAsString')",
    "SELECT*FROM/**/FiLe/*x*/('@','LineAsString')",
    "SELECT * FROM `file`('@', 'LineAsString')",
    "SELECT * FROM \"fi\\x6ce\"('@', 'LineAsString')",
    "SELECT file('@')",
    "SELECT `file` ('@')",
    "SELECT\n-- '\nfile\n(\n'@'\n)",
    "SELECT 1 // '\n, file('@') // '",
    "SELECT 1 /* /* */ ' */, file('@') /* ' */",
    "SELECT $a$'$a$, file('@'), $a$'$a$",
    "SELECT ‘'’, file('@'), ‘'’",
    "SELECT arrayMap(file, ['@'])",
    "SELECT * APPLY file FROM (SELECT '@' AS x)",
    "SELECT * APPLY(file) FROM (SELECT '@' AS x)",
    "WITH (SELECT file('@')) AS x SELECT x",
    "SELECT s FROM own WHERE s IN (SELECT * FROM file('@', 'LineAsString'))",
    "SELECT s FROM own WHERE s IN file('@', 'LineAsString')",
    "EXPLAIN SELECT * FROM file('@', 'LineAsString')",
    "DESCRIBE file('@')",
    "DESCRIBE TABLE (SELECT * FROM file('@', 'LineAsString'))",
    "SELECT * FROM view(SELECT * FROM file('@', 'LineAsString'))",
    "SELECT * FROM loop(file('@', 'LineAsString'))",
    "SELECT * FROM fileCluster('default', '@', 'LineAsString')",
    "SELECT * FROM filesystem('/etc')",
    'SELECT * FROM default."@"',
    "SELECT * FROM '@'",
    "SELECT x FROM values('s UInt8, x String ALIAS file(''@'')', 1)",
    "SELECT x FROM format(JSONEachRow, 's UInt8, x String DEFAULT file(''@'')', '{\"s\":1}')",
    "SELECT x FROM generateRandom('s UInt8, x String ALIAS file(''@'')') LIMIT 1",
    "SELECT * FROM eval('SELECT file(''@'')') SETTINGS allow_experimental_eval_table_function = 1",
    "SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(''@''))'",
    "SELECT * FROM own SETTINGS additional_table_filters = {'own': 'throwIf(1, file(''@''))'}",
    "SELECT * FROM own SETTINGS additional_table_filters = {'own': 'throwIf(1, fi\\x6ce(''@''))'}",
    "SELECT * FROM own SETTINGS additional_table_filters = {'own': $x$throwIf(1, file('@'))$x$}",
    "SELECT * FROM own SETTINGS `additional_table_filters` = {'own': 's IN (SELECT * FROM url(''http://127.0.0.1:1/'', ''LineAsString''))'}",
    'SELECT * FROM own SETTINGS additional_table_filters = {f:String}',
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '@'",
    "SELECT formatRow('Template', 1) SETTINGS format_template_row = '@'",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = DEFAULT, format_template_row = '@'",
    "SELECT catboostEvaluate('@', 1)",
    "SELECT * FROM executable('x', 'LineAsString', 's String')",
    "SELECT * FROM arrowstream('1')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 's String')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'LineAsString', 's String')",
    "SELECT * FROM remote('127.0.0.1:1', 'system.one')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('@', 'x')",
    "SELECT * FROM iceberg('http://127.0.0.1:1/x')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
    "SELECT * FROM cluster('default', 'system.one')",
    'kusto | take 1',
  ])('%s', async (query) => {
    const answer = await post(filled(query), {}, user);
    expect(answer.status, answer.text).not.toBe(200);
    expect(answer.text).not.toContain(MARK);
    expect(answer.text).not.toContain('Connection refused');
  });

  test.each([
    "INSERT INTO own VALUES (file('@'))",
    "INSERT INTO own SETTINGS input_format_values_interpret_expressions = DEFAULT VALUES (file('@'))",
    "INSERT INTO own SETTINGS `input_format_values_interpret_expressions` == /**/ default VALUES (file('@'))",
    "INSERT INTO own SELECT file('@')",
    "INSERT INTO own SELECT * FROM file('@', 'LineAsString')",
    "INSERT INTO own FROM INFILE '@' FORMAT LineAsString",
    "INSERT INTO own FROM\u00a0INFILE '@' FORMAT LineAsString\n",
    "INSERT INTO own FROM\u00a0INFILE '@'",
    "INSERT INTO own FROM /* /* */ ' */ INFILE '@' /* ' */",
    "INSERT INTO own FROM // '\nINFILE '@' // ' FORMAT LineAsString\n",
    "INSERT INTO own SELECT s FROM input('n UInt8, s String DEFAULT file(''@'')') FORMAT JSONEachRow\n{\"n\":1}",
    "INSERT INTO own SELECT s FROM input('s String') WHERE s != file('@') FORMAT LineAsString\nx",
    "INSERT INTO own FORMAT Template SETTINGS format_template_row = '@'\nx",
    "ALTER TABLE own UPDATE s = file('@') WHERE 1",
    "DELETE FROM own WHERE s != file('@')",
    "KILL QUERY WHERE query = file('@')",
  ])('%s', async (query) => {
    await post(filled(query), {}, user);
    const { text } = await post('SELECT s FROM own ORDER BY s FORMAT TSVRaw');
    expect(text).not.toContain(MARK);
    expect(text).toContain('mine');
  });
});

describe.each(USERS)('%s writes a file through', { tags: ['attack'] }, (user) => {
  test.each([
    "SELECT 1 INTO OUTFILE '#'",
    "SELECT 1 INTO\u00a0OUTFILE '#'",
    "SELECT 1 INTO /* /* */ ' */ OUTFILE '#' /* ' */",
    "SELECT 1 INTO // '\nOUTFILE '#' // '",
    "SHOW TABLES INTO OUTFILE '#'",
    "CREATE TABLE outfile (a Int8) ENGINE = Memory INTO OUTFILE '#'",
    "CREATE TABLE outfile (a Int8) ENGINE = Memory INTO\u00a0OUTFILE '#'",
    "CHECK TABLE own INTO OUTFILE '#'",
    "INSERT INTO FUNCTION file('#', 'LineAsString', 's String') SELECT 'x'",
    "INSERT INTO TABLE FUNCTION `file`('#', 'LineAsString', 's String') VALUES ('x')",
    "BACKUP TABLE own TO File('#')",
    "CREATE TABLE rocks (k UInt64, v String) ENGINE = EmbeddedRocksDB(0, '#') PRIMARY KEY k",
    "CREATE TABLE ssd (k UInt64) ENGINE = MergeTree ORDER BY k SETTINGS disk = disk(type = local, path = '#')",
  ])('%s', async (query) => {
    const answer = await post(filled(query), {}, user);
    expect(answer.status, answer.text).not.toBe(200);
    expect(existsSync(target)).toBe(false);
  });
});

describe.each(USERS)('%s makes the engine open a file or a server by', { tags: ['attack'] }, (user) => {
  test.each([
    "CREATE TABLE f (s String) ENGINE = File(LineAsString, '@')",
    "CREATE TABLE f (s String) ENGINE File(LineAsString, '@')",
    "CREATE TABLE f (s String)\nengine/**/=`File`(LineAsString, '@')",
    "CREATE TABLE u (s String) ENGINE = URL('http://127.0.0.1:1/', LineAsString)",
    "CREATE TABLE f AS file('@', 'LineAsString')",
    "CREATE TABLE f ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM file('@', 'LineAsString')",
    "CREATE TABLE f (a UInt8, s String DEFAULT file('@')) ENGINE = MergeTree ORDER BY a",
    "CREATE VIEW f AS SELECT * FROM file('@', 'LineAsString')",
    "CREATE VIEW f AS SELECT file('@')",
    "CREATE MATERIALIZED VIEW f ENGINE = Memory AS SELECT file('@') FROM own",
    "CREATE MATERIALIZED VIEW f REFRESH EVERY 1 SECOND ENGINE = Memory AS SELECT file('@')",
    "CREATE TABLE e (s String) ENGINE = Executable('x', LineAsString)",
    "CREATE TABLE k (s String) ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'LineAsString')",
    "CREATE TABLE n (s String) ENGINE = NATS SETTINGS nats_url = '127.0.0.1:1', nats_subjects = 'x', nats_format = 'CSV'",
    "CREATE TABLE w (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:1/x/')",
    "ALTER TABLE own MODIFY SETTING disk = disk(type = web, endpoint = 'http://127.0.0.1:1/x/')",
    "CREATE DATABASE fs ENGINE = Filesystem('/etc')",
    "CREATE DATABASE my ENGINE = MySQL('127.0.0.1:1', 'a', 'b', 'c')",
    "CREATE DATABASE lite ENGINE = SQLite('@')",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(FILE(path '@' format 'LineAsString')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(HTTP(url 'http://127.0.0.1:1/' format 'LineAsString')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(EXECUTABLE(command 'cat @' format 'LineAsString')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(CLICKHOUSE(host '127.0.0.1' port 1 table 'own')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(CLICKHOUSE(table 'own' where 's != file(''@'')')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (s String) PRIMARY KEY s SOURCE(CLICKHOUSE(query 'SELECT file(''@'')')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
    "CREATE DICTIONARY d (a UInt64, s String) PRIMARY KEY a SOURCE(CLICKHOUSE(table 'own')) LAYOUT(SSD_CACHE(path '#')) LIFETIME(1)",
    "ATTACH TABLE a FROM '@' (s String) ENGINE = MergeTree ORDER BY s",
    "CREATE TABLE a (x Int8) ENGINE = Memory PARALLEL WITH CREATE TABLE b (x Int8) ENGINE = File(CSV, '@')",
    "CREATE FUNCTION f AS () -> file('@')",
    'CREATE USER u IDENTIFIED WITH no_password',
    'GRANT READ ON FILE TO default',
    'GRANT ALL ON *.* TO default',
    "CREATE NAMED COLLECTION c AS url = 'http://127.0.0.1:1/'",
    'EXECUTE AS default SELECT 1',
    "RESTORE TABLE own FROM File('@')",
    'SYSTEM SHUTDOWN',
    'SYSTEM RELOAD CONFIG',
    'DETACH TABLE own PERMANENTLY',
  ])('%s', async (query) => {
    const answer = await post(filled(query), {}, user);
    expect(answer.status, answer.text).not.toBe(200);
    expect(answer.text).not.toContain('Connection refused');
    expect((await post('SHOW TABLES')).text).toBe('own\n');
  });
});

test('changes a setting that names a file or a server, or holds an expression', {
  tags: ['attack'],
}, async () => {
  const { text } = await post(
    "SELECT name FROM system.settings WHERE type IN ('String', 'URI', 'Map', 'Dialect') AND NOT readonly ORDER BY name",
  );
  expect(text.trim().split('\n')).toEqual([...FREE_TEXT_SETTINGS].sort());
  for (const [name, value] of [
    ['format_avro_schema_registry_url', 'http://127.0.0.1:1/'],
    ['dialect', 'kusto'],
    ['input_format_values_interpret_expressions', '1'],
  ] as const) {
    expect(await post('SELECT 1', { [name]: value })).toMatchObject({
      status: 500,
      text: expect.stringContaining('should not be changed'),
    });
  }
});

test('has a file shown by the error of a structure', { tags: ['attack'] }, async () => {
  const read = "a UInt64 DEFAULT toUInt64(file('@'))";
  for (const structure of [read, read.replace('DEFAULT', 'DEF\\x41ULT'), read.replace('toUInt64(', '(')]) {
    const literal = structure.replaceAll("'", "\\'");
    const { text } = await post(filled(`INSERT INTO own SELECT a FROM input('${literal}') FORMAT CSV\n1`));
    expect(text).toContain('DEFAULT in a structure is not allowed');
    expect(text).not.toContain(MARK);
  }
});

test('takes the fixing off a setting, in a session or for a query', { tags: ['attack'] }, async () => {
  const name = 'input_format_values_interpret_expressions';
  const session = { session_id: 'takes the fixing off' };
  const insert = filled("INSERT INTO own VALUES (file('@'))");
  for (const query of [
    `SET ${name} = DEFAULT`,
    `SET max_threads = 1, ${name} = DEFAULT`,
    `SELECT 1 SETTINGS ${name} = DEFAULT`,
    `SELECT * FROM (SELECT 1 SETTINGS ${name} = DEFAULT)`,
    `CREATE VIEW v AS SELECT 1 SETTINGS ${name} = DEFAULT`,
    'SET readonly = DEFAULT',
  ]) {
    const answer = await post(query, session);
    expect([query, answer.text]).toEqual([query, expect.stringContaining('= DEFAULT for a setting')]);
  }
  // What the server itself takes back, after a success and after a failure.
  for (const value of ['0', '1']) {
    await post('SELECT 1', { ...session, [name]: value });
    await post('SELECT 1', session);
    expect((await post(`SELECT getSetting('${name}')`, session)).text).toBe('false\n');
    expect((await post(insert, session)).status).not.toBe(200);
  }
  expect((await post('SELECT count() FROM own', session)).text).toBe('1\n');
  // Where no setting is named it is a name like any other.
  expect((await post('SELECT 1 AS default WHERE 1 = default')).text).toBe('1\n');
});

/** A request with any headers: fetch sets Host itself. */
async function statusOf(path: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  const { hostname, port, password } = new URL(database.url);
  return await new Promise((resolve, reject) => {
    const asking = request({
      hostname,
      port,
      path,
      method,
      headers: { 'X-ClickHouse-Key': password, ...headers },
    });
    asking.on('error', reject);
    asking.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asking.end();
  });
}

test('is a web page, or a name that has been led to this machine', { tags: ['attack'] }, async () => {
  const query = '/?query=SELECT+1';
  for (const host of [
    'rebind.evil.example',
    'localhost.evil.example',
    'host.docker.internal.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1',
  ]) {
    expect([host, await statusOf(query, { Host: host })]).toEqual([host, 403]);
  }
  for (const origin of ['https://evil.example', 'null', 'http://localhost:8081']) {
    expect([origin, await statusOf(query, { Host: 'localhost', Origin: origin })]).toEqual([origin, 403]);
  }
  expect(await statusOf('/ping', { Host: 'rebind.evil.example' })).toBe(403);
  for (const host of [
    'localhost',
    'LOCALHOST:18123',
    '127.0.0.1:1',
    '[::1]:8123',
    'host.docker.internal:18123',
  ]) {
    expect([host, await statusOf(query, { Host: host })]).toEqual([host, 200]);
  }
});

test('writes by GET, whatever the URL says of readonly', { tags: ['attack'] }, async () => {
  const write = 'CREATE TABLE by_get (a Int8) ENGINE = Memory';
  for (const readonly of [undefined, '0', '1', '2', '-1', '3', 'false', '']) {
    const answer = await askClickHouse(database.url, {
      query: write,
      ...(readonly !== undefined && { readonly }),
    });
    expect([readonly, answer.status === 200]).toEqual([readonly, false]);
    await answer.text();
  }
  for (const query of [
    "INSERT INTO own SELECT 'by get'",
    'SELECT 1 SETTINGS readonly = 0',
    'INSERT INTO own SETTINGS readonly = DEFAULT SELECT 1',
    'CREATE TABLE by_get ENGINE = Memory AS SELECT 1 SETTINGS readonly = DEFAULT',
    'SET readonly = 0',
  ]) {
    const answer = await askClickHouse(database.url, { query });
    expect([query, answer.status === 200]).toEqual([query, false]);
    await answer.text();
  }
  expect((await post('SHOW TABLES')).text).toBe('own\n');
  expect((await askClickHouse(database.url, { query: 'SELECT 1', readonly: '1' })).status).toBe(200);
  // Only a GET is read-only, and a POST can be made so.
  expect((await post(write, { readonly: '1' })).status).not.toBe(200);
});
