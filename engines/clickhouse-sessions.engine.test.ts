import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askClickHouse, freshClickHouseDatabase, waitFor } from '../test/support/engines.ts';
import { decode, encode } from './clickhouse-server/bodies/encodings.ts';
import { packFrames, unpackFrames } from './clickhouse-server/bodies/frames.ts';

/** What clients make of a server beside plain queries: sessions, query ids, tables sent along, errors. */

let database: Awaited<ReturnType<typeof freshClickHouseDatabase>>;

beforeAll(async () => {
  database = await freshClickHouseDatabase();
});
afterAll(async () => {
  await database.drop();
});

async function ask(
  query: string,
  parameters: Record<string, string> = {},
  init: RequestInit = {},
): Promise<{ status: number; text: string; code: string | null; headers: Headers }> {
  const response = await askClickHouse(database.url, parameters, { method: 'POST', body: query, ...init });
  const { status, headers } = response;
  return { status, headers, code: headers.get('x-clickhouse-exception-code'), text: await response.text() };
}

let count = 0;
function newSession(): Record<string, string> {
  return { session_id: `session ${count++}`, session_timeout: '60' };
}

describe('a query without a session', () => {
  const own = () => new URL(database.url).pathname.slice(1);

  test('finds nothing of the queries before, whatever they said', async () => {
    const state = "SELECT getSetting('max_block_size') = 9, getSetting('max_threads') = 3, currentDatabase()";
    const said = { max_block_size: '9', max_threads: '3', param_x: 'one' };
    for (let i = 0; i < 2; i++) {
      expect((await ask(`${state}, {x:String}`, said)).text).toBe(`1\t1\t${own()}\tone\n`);
      expect((await ask(`${state}, {x:String}`, { ...said, param_x: 'two', max_threads: '4' })).text).toBe(
        `1\t0\t${own()}\ttwo\n`,
      );
      expect((await ask(state)).text).toBe(`0\t0\t${own()}\n`);
      expect((await ask(state, { database: 'system' })).text).toBe('0\t0\tsystem\n');
      expect((await ask(state, { database: '' })).text).toBe('0\t0\tdefault\n');
      expect((await ask(state, { max_threads: '3' })).text).toBe(`0\t1\t${own()}\n`);
      expect(await ask('SELECT {x:String}')).toMatchObject({ code: '456' });
      expect(await ask('SELECT {x:String}', { param_y: 'one' })).toMatchObject({ code: '456' });
      expect((await ask(`${state} SETTINGS max_block_size = 9, max_threads = 3`)).text).toContain('1\t1');
      expect((await ask(state, { readonly: '1' })).text).toBe(`0\t0\t${own()}\n`);
      expect(await ask(state, { max_threads: '3', no_such_setting: '1' })).toMatchObject({ code: '115' });
    }
  });

  test('knows no database that a command has dropped, and one of its name again', async () => {
    const name = `${own()}_other`;
    const count = 'SELECT count() FROM numbers';
    for (const rows of ['1', '2']) {
      expect(await ask('SELECT 1', { database: name })).toMatchObject({ code: '81' });
      await ask(`CREATE DATABASE ${name}`);
      await ask(`CREATE VIEW ${name}.numbers AS SELECT number FROM system.numbers LIMIT ${rows}`);
      expect((await ask(count, { database: name })).text).toBe(`${rows}\n`);
      await ask(`DROP DATABASE ${name}`);
    }
  });
});

describe('a query that reads a table by a function', () => {
  test('keeps no hold of it: the table can be dropped at once', async () => {
    const table = 'summed';
    await ask(
      `CREATE TABLE ${table} (n UInt64, PROJECTION sums (SELECT n ORDER BY n)) ENGINE = MergeTree ORDER BY ()`,
    );
    await ask(`INSERT INTO ${table} SELECT number FROM numbers(10)`);
    const read = `SELECT sum(n) FROM mergeTreeProjection(currentDatabase(), '${table}', 'sums')`;
    expect((await ask(read)).text).toBe('45\n');
    expect(await ask(`DROP TABLE ${table} SYNC`)).toMatchObject({ status: 200 });
  });
});

describe('a session', () => {
  test('keeps temporary tables, and what SET and USE change, for itself', async () => {
    const session = newSession();
    await ask('CREATE TEMPORARY TABLE kept (a UInt8)', session);
    await ask('INSERT INTO kept VALUES (1), (2)', session);
    await ask('SET max_block_size = 7', session);
    expect((await ask("SELECT sum(a), getSetting('max_block_size') FROM kept", session)).text).toBe('3\t7\n');
    expect(await ask('SELECT * FROM kept')).toMatchObject({ status: 404, code: '60' });
    expect(await ask('SELECT * FROM kept', newSession())).toMatchObject({ status: 404, code: '60' });
    expect((await ask("SELECT getSetting('max_block_size') = 7")).text).toBe('0\n');
    await ask('USE system', session);
    expect((await ask('SELECT currentDatabase()', { ...session, database: '' })).text).toBe('system\n');
  });

  test('forgets what a request says of itself: settings, database, Native of a protocol version', async () => {
    const session = newSession();
    await ask('SET max_block_size = 7', session);
    const state = "SELECT getSetting('max_block_size'), getSetting('max_threads') = 3, currentDatabase()";
    const own = new URL(database.url).pathname.slice(1);
    expect((await ask(state, { ...session, max_block_size: '9', max_threads: '3' })).text).toBe(
      `9\t1\t${own}\n`,
    );
    expect((await ask(state, { ...session, database: 'system' })).text).toBe('7\t0\tsystem\n');
    expect((await ask(state, { ...session, database: '' })).text).toBe('7\t0\tdefault\n');
    const native = await ask('SELECT 1 AS a FORMAT Native', { ...session, client_protocol_version: '54460' });
    expect(native.text).toContain('UInt8');
    expect((await ask('SELECT 1 AS a FORMAT Native', session)).text).toContain('UInt8');
    // Also after a failure, in which part of it may have come into force.
    const failing = { ...session, max_threads: '3', no_such_setting: '1' };
    expect(await ask(state, failing)).toMatchObject({ status: 404, code: '115' });
    expect((await ask(state, { ...session, database: '' })).text).toBe('7\t0\tdefault\n');
  });

  test('is read-only for GET, and afterwards not', async () => {
    const session = newSession();
    const get = { method: 'GET', body: undefined } as unknown as RequestInit;
    expect((await ask('', { ...session, query: 'SELECT 1' }, get)).text).toBe('1\n');
    for (const query of [
      'CREATE TEMPORARY TABLE t (a Int8)',
      'SET max_threads = 1',
      'INSERT INTO t SELECT 1',
    ]) {
      expect(await ask('', { ...session, query }, get)).toMatchObject({ status: 500, code: '164' });
      expect(await ask(query, { ...session, readonly: '1' })).toMatchObject({ status: 500, code: '164' });
    }
    expect(await ask('CREATE TEMPORARY TABLE t (a Int8)', session)).toMatchObject({ status: 200 });
  });

  test('is locked while a query uses it', async () => {
    const session = newSession();
    const running = ask('SELECT sleep(1)', session);
    await waitFor(async () => (await ask('SELECT 1', session)).code === '373', {
      deadlineMs: 5_000,
      what: 'the lock',
    });
    expect(await ask('SELECT 1', session)).toMatchObject({
      status: 500,
      text: expect.stringMatching(
        /Session session \d+ is locked by a concurrent client\. \(SESSION_IS_LOCKED\)/,
      ),
    });
    expect(await running).toMatchObject({ status: 200 });
    expect(await ask('SELECT 1', session)).toMatchObject({ status: 200 });
  });

  test('ends after its time-out, and can be asked for', async () => {
    const session = { session_id: `short ${count++}`, session_timeout: '1' };
    expect(await ask('SELECT 1', { ...session, session_check: '1' })).toMatchObject({
      status: 500,
      code: '372',
    });
    await ask('CREATE TEMPORARY TABLE kept (a UInt8)', session);
    expect(await ask('SELECT 1', { ...session, session_check: '1' })).toMatchObject({ status: 200 });
    await waitFor(
      async () =>
        (
          await ask('SELECT 1', {
            session_id: session.session_id,
            session_timeout: '0',
            session_check: '1',
          })
        ).code === '372',
      { deadlineMs: 10_000, what: 'the session to end' },
    );
    expect(await ask('SELECT * FROM kept', session)).toMatchObject({ code: '60' });
  });

  test.each(['x', '-1', '3601', '1.5'])('refuses the time-out %s', async (session_timeout) => {
    expect(await ask('SELECT 1', { session_id: 'x', session_timeout })).toMatchObject({ code: '374' });
  });

  test('takes rows through input() and tables that are sent along, again and again', async () => {
    const session = newSession();
    await ask('CREATE TABLE IF NOT EXISTS read_as (n UInt8) ENGINE = MergeTree ORDER BY n');
    for (let i = 0; i < 2; i++) {
      const query = "INSERT INTO read_as SELECT n FROM input('n UInt8') FORMAT CSV\n1\n";
      expect(await ask(query, session)).toMatchObject({ status: 200 });
      const form = new FormData();
      form.append('sent', new Blob(['1\n2\n']), 'rows');
      const parameters = { ...session, query: 'SELECT sum(n) FROM sent', sent_structure: 'n UInt8' };
      expect((await ask('', parameters, { body: form })).text).toBe('3\n');
    }
    expect((await ask('SELECT count() FROM read_as')).text).toBe('2\n');
  });
});

describe('the id of a query', () => {
  const endless = 'SELECT sum(sipHash64(number)) FROM numbers(100000000000)';

  test.each(["query_id = '#'", "`query_id` IN ('#') SYNC", "query LIKE '%numbers%' AND query_id = '#' SYNC"])(
    'ends it: KILL QUERY WHERE %s',
    async (condition) => {
      const query_id = `it's ${count++}`;
      const running = ask(endless, { query_id });
      const kill = `KILL QUERY WHERE ${condition.replace('#', query_id.replace("'", "\\'"))}`;
      await waitFor(async () => (await ask(kill)).text.length > 0, { deadlineMs: 10_000, what: 'the query' });
      expect(await running).toMatchObject({ status: 500, code: '394' });
    },
  );

  test('ends it while queries take all slots, and although its reader pauses', async () => {
    const gone = new AbortController();
    const ids = Array.from({ length: 16 }, () => `paused ${count++}`);
    try {
      for (const query_id of ids) {
        const query = 'SELECT number FROM numbers(100000000000)';
        await askClickHouse(database.url, { query, query_id }, { signal: gone.signal });
      }
      const waiting = ask('SELECT 1');
      expect((await ask(`KILL QUERY WHERE query_id = '${ids[7]}'`)).text).toContain('numbers(100000000000)');
      expect((await waiting).text).toBe('1\n');
      // Its id is free again, those of the others are not.
      expect((await ask('SELECT 2', { query_id: ids[7] ?? '' })).text).toBe('2\n');
      expect((await ask('SELECT 2', { query_id: ids[8] ?? '' })).code).toBe('216');
    } finally {
      gone.abort();
    }
  });

  test('belongs to one query at a time', async () => {
    const query_id = `twice ${count++}`;
    const running = ask('SELECT sleep(1)', { query_id });
    await waitFor(async () => (await ask('SELECT 1', { query_id })).code === '216', {
      deadlineMs: 5_000,
      what: 'the refusal',
    });
    expect(await running).toMatchObject({ status: 200 });
    const again = await ask('SELECT 1', { query_id });
    expect([again.text, again.headers.get('x-clickhouse-query-id')]).toEqual(['1\n', query_id]);
  });
});

describe('a form', () => {
  test('has parameters and settings in its fields', async () => {
    const form = new FormData();
    form.append('query', "SELECT {a:UInt8} + 1, getSetting('max_threads') = 3, {s:String}");
    form.append('param_a', '1');
    form.append('param_s', "it's");
    form.append('max_threads', '3');
    expect((await ask('', {}, { body: form })).text).toBe("2\t1\tit\\'s\n");
  });

  test('has tables in its files', async () => {
    const form = new FormData();
    form.append('first', new Blob(['1,a\n2,b\n']), 'rows');
    form.append('first_structure', "n UInt8, s Enum8('a' = 1, 'b' = 2)");
    form.append('first_format', 'CSV');
    form.append('second', new Blob(['2\t(x,y)\n']), 'rows');
    const query = 'SELECT s, _2 FROM first JOIN second ON n = _1';
    const parameters = { query, second_types: 'UInt8,Tuple(FixedString(1), String)' };
    expect(await ask('', parameters, { body: form })).toMatchObject({ status: 400 });
    form.set('second', new Blob(["2\t('x','y')\n"]), 'rows');
    expect((await ask('', parameters, { body: form })).text).toBe("b\t('x','y')\n");
    form.delete('first_structure');
    expect(await ask('', parameters, { body: form })).toMatchObject({
      code: '36',
      text: expect.stringContaining('first_structure'),
    });
  });

  test('runs no statement by the format of a table', { tags: ['attack'] }, async () => {
    await ask('CREATE TABLE IF NOT EXISTS victim (n UInt8) ENGINE = Memory');
    const form = new FormData();
    form.append('t', new Blob(['1\n']), 'rows');
    const injected = {
      query: 'SELECT 1',
      t_structure: 'n UInt8',
      t_format: 'CSV; DROP TABLE victim; SELECT 1',
    };
    expect(await ask('', injected, { body: form })).toMatchObject({ status: 400, code: '36' });
    expect((await ask('EXISTS TABLE victim')).text).toBe('1\n');
  });

  test("takes no table of the session's for its own", async () => {
    const session = newSession();
    await ask('CREATE TEMPORARY TABLE t (n UInt8)', session);
    await ask('INSERT INTO t VALUES (7)', session);
    const form = new FormData();
    form.append('t', new Blob(['1\n']), 'rows');
    const same = { ...session, query: 'SELECT * FROM t', t_structure: 'n UInt8' };
    expect(await ask('', same, { body: form })).toMatchObject({ code: '57' });
    expect((await ask('SELECT * FROM t', session)).text).toBe('7\n');
  });

  test('opens no file by the structure of a table', { tags: ['attack'] }, async () => {
    const form = new FormData();
    form.append('t', new Blob(['{"n":1}']), 'rows');
    form.append('t_format', 'JSONEachRow');
    for (const t_structure of [
      "n UInt8, s String DEFAULT file('/etc/hostname')",
      "n UInt8) ENGINE = File(CSV, '/etc/hostname') AS SELECT * FROM null('n UInt8'",
      "n UInt8'), file('/etc/hostname",
    ]) {
      const { text } = await ask('', { query: 'SELECT * FROM t', t_structure }, { body: form });
      expect(text).toContain('is not allowed');
    }
    const types = await ask(
      '',
      { query: 'SELECT 1', t_types: "UInt8 DEFAULT toUInt8(file('/etc/hostname'))" },
      { body: form },
    );
    expect(types.text).toContain('DEFAULT in a structure is not allowed');
    const named = new FormData();
    named.append("x` (n UInt8) ENGINE = File(CSV, '/etc/hostname') --", new Blob(['1']), 'rows');
    expect((await ask('', { query: 'SELECT 1' }, { body: named })).status).not.toBe(200);
  });

  test('is refused when it is none', async () => {
    const headers = { 'Content-Type': 'multipart/form-data; boundary=x' };
    expect(await ask('nothing of the kind', { query: 'SELECT 1' }, { headers })).toMatchObject({
      code: '36',
    });
  });
});

describe('an error', () => {
  test.each([
    ['SELEC 1', 'failed at position 1 (SELEC)'],
    ['SELECT 1 FROM FORMAT JSON', 'takes the last FORMAT for the clause'],
    ['SELECT 1 FORMAT JSON FORMAT X', 'failed at position 22 (FORMAT)'],
    ['SELECT 1\nFROM numbers(1)\n WHERE )', 'failed at position 33 ()) (line 3, col 8)'],
    ['SELECT 1\n\n FORMAT JSON\n FORMAT X', 'failed at position 25 (FORMAT) (line 4, col 2)'],
    ["SELECT 'äöü' FORMAT JSON FORMAT X", 'failed at position 29 (FORMAT)'],
    ['CREATE TABLE x y z', 'failed at position 16 (y)'],
    ['INSERT INTO x y FORMAT CSV\n1', 'failed at position 15 (y)'],
  ])('of %j says where it is in this text', async (query, position) => {
    for (const parameters of [{}, { max_threads: '1', param_x: '1' }, newSession()]) {
      const { text, status } = await ask(query, parameters);
      expect([status, text]).toEqual([400, expect.stringContaining(position)]);
      expect(text).not.toMatch(/OUTFILE '|INFILE '|query_id|formatQuery|\/pipe-|\/dev\/shm/);
    }
  });

  test('says its code and its name once', async () => {
    const { text } = await ask('SELECT 1 FORMAT Nope');
    expect(text).toBe(
      "Code: 73. DB::Exception: Unknown format Nope. Maybe you meant: ['One','Npy']. (UNKNOWN_FORMAT)\n",
    );
  });

  test('comes for a role that there is not, and for a protocol version that is none', async () => {
    expect(await ask('SELECT 1', { role: 'nope' })).toMatchObject({ status: 404, code: '511' });
    expect(await ask('SELECT 1', { client_protocol_version: 'x' })).toMatchObject({
      status: 400,
      code: '72',
    });
  });
});

test('answers HEAD and OPTIONS', async () => {
  expect(await ask('', {}, { method: 'HEAD', body: null })).toMatchObject({ status: 200, text: '' });
  const options = await ask('', {}, { method: 'OPTIONS', body: null });
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, POST, OPTIONS']);
  expect(options.headers.get('access-control-allow-origin')).toBeNull();
});

test('reports the progress of a query that takes a while, when it is asked to', async () => {
  const query = 'SELECT sum(sleepEachRow(0.01)) FROM numbers(60) SETTINGS max_block_size = 10';
  const { headers } = await ask(query, { send_progress_in_http_headers: '1' });
  const progress = JSON.parse(headers.get('x-clickhouse-progress') ?? '{}');
  expect(Number(progress.read_rows)).toBeGreaterThan(0);
  expect(Number(progress.elapsed_ns)).toBeGreaterThan(50_000_000);
  expect((await ask(query)).headers.get('x-clickhouse-progress')).toBeNull();
});

describe('Native format of a protocol version', () => {
  test('is what default_format or FORMAT say', async () => {
    const text = 'SELECT 1 AS a';
    const info = '\x01\0\x02';
    for (const parameters of [{}, { wait_end_of_query: '1' }, { readonly: '1' }]) {
      const version = { client_protocol_version: '54460', ...parameters };
      expect((await ask(text, { default_format: 'Native', ...version })).text.startsWith(info)).toBe(true);
      expect((await ask(`${text} FORMAT Native`, version)).text.startsWith(info)).toBe(true);
      expect((await ask(`${text} FORMAT CSV`, version)).text).toBe('1\n');
    }
    expect((await ask(text, { default_format: 'Native' })).text).toBe('\x01\x01\x01a\x05UInt8\x01');
  });

  test('refuses a query that sets how types are written', async () => {
    const setting = 'output_format_native_encode_types_in_binary_format';
    for (const name of [setting, `\`${setting}\``, `"${setting}"`]) {
      const query = `SELECT 1 AS a FORMAT Native SETTINGS ${name} = 0`;
      const { code, text } = await ask(query, { client_protocol_version: '54460' });
      expect([code, text]).toEqual(['36', expect.stringContaining(setting)]);
      expect(await ask(query)).toMatchObject({ status: 200 });
    }
    const asked = { client_protocol_version: '54460', [setting]: '0' };
    const usual = await ask('SELECT 1 AS a FORMAT Native', { client_protocol_version: '54460' });
    expect((await ask('SELECT 1 AS a FORMAT Native', asked)).text).toBe(usual.text);
  });

  test('refuses a type whose layout is not known, with its column, at once or in the middle', async () => {
    const version = { client_protocol_version: '54460', default_format: 'Native' };
    expect(await ask('SELECT uniqState(number) AS u FROM numbers(3)', version)).toMatchObject({
      status: 501,
      code: '48',
      text: expect.stringMatching(/AggregateFunction .*column `u`/),
    });
  });
});

describe('bodies', () => {
  const rows = Buffer.from(Array.from({ length: 3_000 }, (_, i) => `${i}\trow ${i}\n`).join(''));
  async function* whole(bytes: Buffer): AsyncGenerator<Buffer> {
    yield bytes;
  }
  async function all(source: AsyncIterable<Buffer>): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of source) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  test.each(['lz4', 'gzip', 'deflate', 'br'] as const)('are unpacked and packed by %s', async (encoding) => {
    const table = `packed_${encoding}`;
    await ask(`CREATE TABLE ${table} (n UInt32, s String) ENGINE = MergeTree ORDER BY n`);
    const body = await all(encode(encoding, whole(Buffer.concat([Buffer.from('FORMAT TSV\n'), rows]))));
    const headers = { 'Content-Encoding': encoding };
    expect(await ask('', { query: `INSERT INTO ${table}` }, { body, headers })).toMatchObject({
      status: 200,
    });
    const answer = await askRaw(
      `SELECT * FROM ${table} ORDER BY n`,
      { enable_http_compression: '1' },
      encoding,
    );
    expect(answer.encoding).toBe(encoding);
    expect((await all(decode(encoding, whole(answer.bytes)))).equals(rows)).toBe(true);
  });

  test('are in frames of the native protocol when the URL says so', async () => {
    await ask('CREATE TABLE framed (n UInt32, s String) ENGINE = MergeTree ORDER BY n');
    const body = await all(packFrames(whole(rows)));
    const insert = { query: 'INSERT INTO framed FORMAT TSV', decompress: '1' };
    expect(await ask('', insert, { body })).toMatchObject({ status: 200 });
    expect(await ask('', insert, { body: body.subarray(0, -1) })).toMatchObject({ code: '271' });
    const answer = await askRaw('SELECT * FROM framed ORDER BY n', { compress: '1' }, 'identity');
    expect((await all(unpackFrames(whole(answer.bytes)))).equals(rows)).toBe(true);
    expect((await ask('SELECT count() FROM framed')).text).toBe('3000\n');
    const query_id = `framed ${count++}`;
    const running = ask('SELECT sum(sipHash64(number)) FROM numbers(100000000000)', { query_id });
    const killed = await waitFor(
      async () => {
        const kill = `KILL QUERY WHERE query_id = '${query_id}'`;
        const { bytes } = await askRaw(kill, { compress: '1' }, 'identity');
        return bytes.length > 0 && bytes;
      },
      { deadlineMs: 10_000, what: 'the query' },
    );
    expect((await all(unpackFrames(whole(killed)))).toString()).toContain('numbers(100000000000)');
    expect(await running).toMatchObject({ code: '394' });
  });

  /** fetch unpacks by itself what it knows. */
  async function askRaw(
    query: string,
    parameters: Record<string, string>,
    accepted: string,
  ): Promise<{ encoding: string | undefined; bytes: Buffer }> {
    const url = new URL(database.url);
    const path = `/?${new URLSearchParams({ database: url.pathname.slice(1), ...parameters })}`;
    const headers = { 'X-ClickHouse-Key': decodeURIComponent(url.password), 'Accept-Encoding': accepted };
    return await new Promise((resolve, reject) => {
      const asking = request({ hostname: url.hostname, port: url.port, path, method: 'POST', headers });
      asking.on('error', reject);
      asking.on('response', (response) => {
        all(response).then(
          (bytes) => resolve({ encoding: response.headers['content-encoding'], bytes }),
          reject,
        );
      });
      asking.end(query);
    });
  }
});
