import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askClickHouse, waitFor } from '../test/support/engines.ts';
import {
  ANALYST_PASSWORD,
  type AnalystEngine,
  startAnalystEngine,
} from '../test/support/servers/analysts.ts';
import { MAX_HEAD_BYTES } from './clickhouse-server/statement/query-text.ts';
import { CLOSED_SYSTEM_TABLES, OPEN_SYSTEM_TABLES } from './clickhouse-server/users/system-tables.ts';

/** What an analyst of the embedded engine may do, and what somebody with an analyst's password tries beyond that. */

let engine: AnalystEngine;

beforeAll(async () => {
  engine = await startAnalystEngine({ tables: ['clicks'], dictionaries: ['owners'], views: ['not made'] });
  for (const statement of [
    'CREATE TABLE clicks (id UInt64, ip String) ENGINE = MergeTree ORDER BY id',
    'CREATE TABLE leases (id UInt64, secret String, PROJECTION by_secret (SELECT id ORDER BY secret)) ENGINE = MergeTree ORDER BY id',
    "INSERT INTO clicks VALUES (1, '203.0.113.7'), (2, '203.0.113.8')",
    "INSERT INTO leases VALUES (1, 'hidden')",
    "CREATE DICTIONARY owners (id UInt64, secret String) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 'leases' DB 'afflux')) LAYOUT(HASHED()) LIFETIME(0)",
    "ALTER TABLE clicks UPDATE ip = '' WHERE ip = '203.0.113.9'",
  ]) {
    expect(await owner(statement)).toMatchObject({ status: 200 });
  }
});
afterAll(async () => {
  await engine.stop();
});

interface Answer {
  status: number;
  text: string;
  code: string | null;
}

async function ask(
  url: string,
  query: string,
  parameters: Record<string, string> = {},
  init: RequestInit = {},
): Promise<Answer> {
  const response = await askClickHouse(url, parameters, { method: 'POST', body: query, ...init });
  const code = response.headers.get('x-clickhouse-exception-code');
  return { status: response.status, code, text: await response.text().catch(String) };
}

const owner = (query: string, parameters?: Record<string, string>, init?: RequestInit) =>
  ask(engine.url, query, parameters, init);
const analyst = (query: string, parameters?: Record<string, string>, init?: RequestInit) =>
  ask(engine.analystUrl, query, parameters, init);

describe('an analyst', () => {
  test('reads what it may, looks into dictionaries, and sees no more', async () => {
    expect((await analyst('SELECT count() FROM clicks')).text).toBe('2\n');
    expect((await analyst("SELECT dictGet('owners', 'secret', 1)")).text).toBe('hidden\n');
    expect((await analyst('SHOW TABLES')).text).toBe('clicks\n');
    expect((await analyst('SELECT name FROM system.dictionaries')).text).toBe('owners\n');
    expect((await analyst('SHOW DATABASES')).text).toBe('afflux\ndefault\n');
    // The platform's audit reads them.
    const projection = "SELECT secret FROM mergeTreeProjection('afflux', 'leases', 'by_secret')";
    expect((await owner(projection)).text).toBe('hidden\n');
    expect((await analyst("SELECT DISTINCT table FROM system.columns WHERE database = 'afflux'")).text).toBe(
      'clicks\n',
    );
    expect((await analyst('SELECT sum(number) FROM numbers(10)')).text).toBe('45\n');
    const byGet = await askClickHouse(engine.analystUrl, { query: 'SELECT 1' });
    expect([byGet.status, await byGet.text()]).toEqual([200, '1\n']);
  });

  test('has its own password, which is not the platform’s', async () => {
    const basic = (user: string, password: string): RequestInit => ({
      headers: { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
    });
    const tried = [
      ['analyst', ANALYST_PASSWORD, 200],
      ['analyst', 'test', 403],
      ['analyst', '', 403],
      ['default', ANALYST_PASSWORD, 403],
      ['default', 'test', 200],
      ['', ANALYST_PASSWORD, 403],
      ['Analyst', ANALYST_PASSWORD, 403],
    ] as const;
    for (const [user, password, status] of tried) {
      expect([user, password, (await owner('SELECT 1', {}, basic(user, password))).status]).toEqual([
        user,
        password,
        status,
      ]);
    }
  });

  test('sets limits below its own, filters, formats; in a session and for a query', async () => {
    const session = { session_id: 'limits' };
    expect((await analyst('SELECT 1', { max_execution_time: '300', max_threads: '1' })).status).toBe(200);
    await analyst('SET max_execution_time = 7', session);
    const read = "SELECT getSetting('max_execution_time'), getSetting('readonly')";
    expect((await analyst(read, session)).text).toBe('7\t2\n');
    expect((await analyst(read, { ...session, max_execution_time: '9' })).text).toBe('9\t2\n');
    expect((await analyst(read, session)).text).toBe('7\t2\n');
    expect((await analyst(read)).text).toBe('60\t2\n');
    const filtered =
      "SELECT count() FROM clicks SETTINGS additional_table_filters = {'afflux.clicks': 'id = 1'}";
    expect((await analyst(filtered)).text).toBe('1\n');
    expect((await analyst('SELECT 1', { output_format_json_quote_64bit_integers: '0' })).status).toBe(200);
  });

  test('is stopped by each of them', async () => {
    const refused = [
      ['SELECT count() FROM numbers(1e12)', { max_execution_time: '1' }, '159'],
      ['SELECT * FROM numbers(10000001) FORMAT Null', {}, '396'],
      ['SELECT groupArray(number) FROM numbers(1e9)', {}, '241'],
    ] as const;
    for (const [query, parameters, code] of refused) {
      expect([query, await analyst(query, parameters)]).toEqual([query, expect.objectContaining({ code })]);
    }
  });
});

describe('somebody with an analyst’s password', { tags: ['attack'] }, () => {
  test.each([
    'SELECT * FROM leases',
    'SELECT * FROM afflux.leases',
    "SELECT * FROM merge('afflux', '^leases$')",
    "SELECT * FROM mergeTreeProjection('afflux', 'leases', 'by_secret')",
    "SELECT * FROM `MergeTreeProjection` /**/ ('afflux', 'leases', 'by_secret')",
    "SELECT * FROM dictionary('afflux.owners')",
    'SELECT * FROM owners',
    'SELECT count() FROM clicks WHERE id IN (SELECT id FROM leases)',
    "SELECT * FROM clicks SETTINGS additional_table_filters = {'clicks': 'throwIf((SELECT any(secret) FROM leases) = \\'hidden\\')'}",
    'SELECT joinGet(leases, secret, 1)',
    'DESCRIBE leases',
    'SHOW CREATE TABLE leases',
    'EXPLAIN SELECT * FROM leases',
    'EXISTS leases',
    'SELECT * FROM system.users',
    'SELECT * FROM system.roles',
    'SELECT * FROM system.row_policies',
    'SHOW CREATE USER default',
  ])('reads %s', async (query) => {
    const answer = await analyst(query);
    expect([answer.text === '0\n' || answer.status !== 200, answer.text]).toEqual([true, answer.text]);
    expect(answer.text).not.toContain('hidden');
  });

  test.each([
    "INSERT INTO clicks VALUES (3, 'x')",
    "INSERT INTO clicks SELECT 3, 'x'",
    "INSERT INTO clicks SELECT id, ip FROM input('id UInt64, ip String') FORMAT CSV\n3,x",
    "INSERT INTO clicks SETTINGS readonly = 0 VALUES (3, 'x')",
    'CREATE TABLE mine (a UInt8) ENGINE = Memory',
    'CREATE TEMPORARY TABLE mine (a UInt8)',
    'CREATE VIEW mine AS SELECT 1',
    'CREATE DATABASE mine',
    'DROP TABLE clicks',
    'TRUNCATE TABLE clicks',
    'ALTER TABLE clicks DELETE WHERE 1',
    'DELETE FROM clicks WHERE 1',
    "UPDATE clicks SET ip = '' WHERE 1",
    'OPTIMIZE TABLE clicks FINAL',
    'RENAME TABLE clicks TO mine',
    'SYSTEM RELOAD DICTIONARY owners',
    'SYSTEM STOP MERGES',
    'CHECK TABLE clicks',
    'SET ROLE owner',
    'SET ROLE ALL',
    'SET ROLE DEFAULT',
    'SET/**/ROLE owner',
    'set role owner',
    'SET DEFAULT ROLE owner TO default',
    'SET readonly = 0',
    'SET readonly = 1',
    'SET readonly = DEFAULT',
    "SET profile = 'default'",
    "SET `profile` = 'default'",
    "SET query_cache_tag = ''",
    'SET max_execution_time = 0',
    'SET max_execution_time = 301',
    'SET max_execution_time = DEFAULT',
    'SET max_memory_usage = 0',
    'SET max_memory_usage = 100000000000',
    'SET max_result_rows = 0',
    'SET max_threads = 64',
    'SET use_query_cache = 1',
    "SELECT 1 SETTINGS profile = 'default'",
    "SELECT * FROM (SELECT 1 SETTINGS profile = 'default')",
    'SELECT 1 SETTINGS "profile" = \'default\'',
    "SELECT 1 SETTINGS query_cache_tag = ''",
    'SELECT 1 SETTINGS readonly = 0',
    'SELECT 1 PARALLEL WITH SET ROLE owner',
    'SELECT 1; SET ROLE owner',
    'EXECUTE AS default SELECT 1',
    'GRANT owner TO default',
  ])('changes something by %s', async (query) => {
    const session = { session_id: query.slice(0, 40) };
    expect(await analyst(query, session)).not.toMatchObject({ status: 200 });
    // Nor has it gained anything for what follows.
    expect(await analyst('SELECT * FROM leases', session)).toMatchObject({ status: 403, code: '497' });
    const kept = "SELECT currentRoles(), getSetting('readonly'), getSetting('max_execution_time')";
    expect((await analyst(kept, session)).text).toBe("['analyst']\t2\t60\n");
    expect((await owner('SELECT count(), groupArray(ip) FROM clicks')).text).toBe(
      "2\t['203.0.113.7','203.0.113.8']\n",
    );
  });

  test('gains something by a parameter of the URL', async () => {
    for (const parameters of [
      { role: 'owner' },
      { profile: 'default' },
      { readonly: '0' },
      { query_cache_tag: 'x' },
      { max_execution_time: '0' },
      { max_threads: '64' },
      { user: 'default' },
      { additional_table_filters: "{'clicks': '1'}" },
    ]) {
      const { status, text } = await analyst('SELECT * FROM leases', parameters);
      expect([parameters, status, text.includes('hidden')]).toEqual([parameters, expect.any(Number), false]);
      expect(status).not.toBe(200);
    }
    for (const method of ['GET', 'HEAD']) {
      const response = await askClickHouse(engine.analystUrl, { query: 'SET ROLE owner' }, { method });
      expect([method, response.status]).toEqual([method, 403]);
    }
  });

  test('enters a session of the platform, or one that the platform enters later', async () => {
    const session = { session_id: 'shared' };
    await owner('CREATE TEMPORARY TABLE kept AS SELECT 1 AS a', session);
    expect(await analyst('SELECT * FROM kept', session)).toMatchObject({ status: 404 });
    await analyst('SET max_block_size = 7', { session_id: 'first' });
    expect(
      (await owner("SELECT currentRoles(), getSetting('max_block_size')", { session_id: 'first' })).text,
    ).toBe("['analyst','owner','program_analyst']\t65409\n");
    expect((await owner('SELECT count() FROM leases')).text).toBe('1\n');
  });

  test('reads a system table that is neither open nor closed, or one that is closed', async () => {
    const { text } = await owner("SELECT name FROM system.tables WHERE database = 'system' ORDER BY name");
    expect([...OPEN_SYSTEM_TABLES, ...CLOSED_SYSTEM_TABLES].sort()).toEqual(text.trim().split('\n'));
    expect((await owner('SELECT count() > 0 FROM system.mutations')).text).toBe('1\n');
    // The engine waits ten seconds for a program of its own that is not there.
    for (const table of CLOSED_SYSTEM_TABLES.filter((name) => name !== 'models')) {
      const { status, text: rows } = await analyst(`SELECT * FROM system.${table} FORMAT TSV`);
      expect([table, status === 200 ? rows : '']).toEqual([table, '']);
    }
  });

  test('sees or ends queries of others, and its own end', async () => {
    const slow =
      "SELECT 'of the platform', sum(sleepEachRow(0.1)) FROM numbers(600) SETTINGS max_block_size = 1";
    const gone = new AbortController();
    const running = owner(slow, { query_id: 'same id' }, { signal: gone.signal }).catch(() => undefined);
    const own = analyst(slow.replace('platform', 'analyst'), { query_id: 'same id' });
    const seen = 'SELECT query FROM system.processes FORMAT TSV';
    for (const whose of ['platform', 'analyst']) {
      await waitFor(async () => (await owner(seen)).text.includes(`of the ${whose}`), {
        deadlineMs: 10_000,
        what: `the query of the ${whose} to run`,
      });
    }
    for (const query of [seen, 'SHOW PROCESSLIST', 'SELECT * FROM system.user_processes']) {
      expect((await analyst(query)).text).not.toContain('of the platform');
    }
    expect((await analyst(seen)).text).toContain('of the analyst');
    await analyst("KILL QUERY WHERE query LIKE '%of the platform%'");
    await analyst("KILL QUERY WHERE query_id = 'same id'");
    expect(await own).toMatchObject({ code: '394' });
    await analyst('KILL QUERY WHERE 1');
    await analyst("KILL QUERY WHERE user = 'default' OR 1 = 1 ASYNC");
    expect((await owner(seen)).text).toContain('of the platform');
    gone.abort();
    await running;
  });

  test('occupies the engine with commands that take long to parse', async () => {
    const nested = `KILL QUERY WHERE ${'CASE WHEN (SELECT ('.repeat(60)}`;
    const refused = `CREATE VIEW a AS SELECT ${'CASE WHEN (SELECT ('.repeat(60)}`;
    expect(await ask(engine.programUrl(7), refused)).toMatchObject({ code: '497' });
    let done = 0;
    const flood = Array.from({ length: 24 }, () => ask(engine.programUrl(7), nested).finally(() => done++));
    // The platform's waits for none of them, of whatever kind it is.
    for (const query of ['SELECT 1', 'SET max_threads = 1', 'KILL QUERY WHERE 0']) {
      expect(await owner(query)).toMatchObject({ status: 200 });
    }
    expect(done).toBeLessThan(flood.length);
    const own = await Promise.all(flood);
    expect(new Set(own.map(({ code }) => code))).toEqual(new Set(['718']));
  });

  test('keeps the engine reading a long query', async () => {
    const long = `SELECT ${'1,'.repeat(MAX_HEAD_BYTES / 2)}1`;
    expect(await analyst(long)).toMatchObject({ status: 413, code: '266' });
    const form = new FormData();
    form.set('query', long);
    expect(await analyst('', {}, { body: form })).toMatchObject({ code: '307' });
  });

  test.each(['throwIf(number = 3)', 'nope', "toUInt8(concat('x', toString(number)))"])(
    'keeps failed queries %s beside one that runs',
    async (expression) => {
      const gone = new AbortController();
      const slow = 'SELECT sum(sleepEachRow(0.1)) FROM numbers(600) SETTINGS max_block_size = 1';
      const running = owner(slow, {}, { signal: gone.signal }).catch(() => undefined);
      const count =
        "SELECT count() FROM system.processes WHERE query LIKE '%FROM numbers(%' AND query NOT LIKE '%LIKE%'";
      await waitFor(async () => (await owner(count)).text === '1\n', {
        deadlineMs: 10_000,
        what: 'the slow query to run',
      });
      for (const who of [analyst, owner]) {
        for (let i = 0; i < 10; i++) {
          expect((await who(`SELECT ${expression} FROM numbers(10)`)).status).not.toBe(200);
        }
      }
      expect((await owner(count)).text).toBe('1\n');
      gone.abort();
      await running;
    },
  );

  test('shuts out others by answers that it does not read', async () => {
    const endless = 'SELECT number, repeat(toString(number), 100) FROM numbers(1e9)';
    const limits = { max_execution_time: '1', max_result_rows: '10000000' };
    const unread = await Promise.all(
      [1, 2, 3, 4].map(() => askClickHouse(engine.analystUrl, limits, { method: 'POST', body: endless })),
    );
    expect(unread.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const startedAt = performance.now();
    // Programs have slots of their own, and one program's analyst takes one of them.
    const waiting = Promise.all([1, 2].map(() => ask(engine.programUrl(7), 'SELECT sleep(1)')));
    expect(await ask(engine.programUrl(8), 'SELECT 1')).toMatchObject({ status: 200 });
    expect((await waiting).map(({ status }) => status)).toEqual([200, 200]);
    expect(await analyst('SELECT 1')).toMatchObject({ status: 200 });
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    for (const answer of unread) await expect(answer.text()).rejects.toThrow();
  });

  test('sends a large body that nothing can come of', async () => {
    const rows = `INSERT INTO clicks FORMAT CSV\n${'1,x\n'.repeat(100_000)}`;
    expect(await analyst(rows)).toMatchObject({ status: 403, code: '497' });
    const form = new FormData();
    form.set('query', 'SELECT * FROM sent');
    form.set('sent_structure', 'a UInt8');
    form.set('sent', new Blob(['1\n']));
    expect(await analyst('', {}, { body: form })).toMatchObject({ status: 403, code: '497' });
  });
});

test('40 slow queries of analysts keep neither an insert nor a look-up of the platform waiting', async () => {
  const row = '1,203.0.113.7\n'.repeat(5_000);
  await owner('CREATE TABLE loaded (id UInt64, ip String) ENGINE = MergeTree ORDER BY id');
  async function work(): Promise<{ insertMs: number; lookUpMs: number }> {
    const times = { insertMs: 0, lookUpMs: 0 };
    for (let i = 0; i < 20; i++) {
      const startedAt = performance.now();
      expect((await owner(`INSERT INTO loaded FORMAT CSV\n${row}`)).status).toBe(200);
      const insertedAt = performance.now();
      expect((await owner("SELECT count() FROM clicks WHERE ip = '203.0.113.7'")).text).toBe('1\n');
      times.insertMs = Math.max(times.insertMs, insertedAt - startedAt);
      times.lookUpMs = Math.max(times.lookUpMs, performance.now() - insertedAt);
    }
    return times;
  }
  const alone = await work();
  const gone = new AbortController();
  const slow = 'SELECT sum(cityHash64(number)) FROM numbers(1e12)';
  const running = Array.from({ length: 40 }, () =>
    analyst(slow, { max_execution_time: '60' }, { signal: gone.signal }).catch(() => undefined),
  );
  const count = "SELECT count() FROM system.processes WHERE query LIKE '%1e12%' AND query NOT LIKE '%LIKE%'";
  await waitFor(async () => (await owner(count)).text === '4\n', {
    deadlineMs: 10_000,
    what: 'the queries to run',
  });
  const beside = await work();
  process.stderr.write(
    `slowest alone ${JSON.stringify(alone)}, beside 40 queries ${JSON.stringify(beside)}\n`,
  );
  expect((await owner(count)).text).toBe('4\n');
  gone.abort();
  await Promise.all(running);
  // With a share of the engine they wait for the processor, and not for the end of a query.
  expect(beside.insertMs).toBeLessThan(5_000);
  expect(beside.lookUpMs).toBeLessThan(5_000);
});
