import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { askClickHouse } from '../test/support/engines.ts';
import { hasGo } from '../test/support/go/go.ts';
import { reportMissing } from '../test/support/programs.ts';
import { type AnalystEngine, startAnalystEngine } from '../test/support/servers/analysts.ts';
import { freshWarehouse } from '../test/support/warehouse.ts';
import { ANALYST_READS } from '../warehouse/analysts/reads.ts';

/**
 * Other people's clients with the options that their users have: that of Grafana's plugin always, those of Python and Java in
 * the long run, which installs them; by hand `AFFLUX_TEST_CLIENTS=1 npx vitest run engines/clickhouse-clients`.
 */
const isLong = Number(process.env.AFFLUX_TEST_CLIENTS ?? 0) > 0;
const PYPI = ['clickhouse-connect[arrow]==1.12.0'];
/** To fetch, compile and run: clickhouse-go takes 40 s of a core the first time. */
const CLIENT_MS = 400_000;

let engine: AnalystEngine;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let folder: string;

beforeAll(async () => {
  engine = await startAnalystEngine(ANALYST_READS);
  warehouse = await freshWarehouse(engine.url);
  folder = mkdtempSync(join(tmpdir(), 'afflux-clickhouse-clients-'));
  cpSync(fromProject('test/fixtures/clickhouse-clients'), folder, { recursive: true });
});
afterAll(async () => {
  await warehouse?.close();
  await engine?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env } });
    let [out, all] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += chunk;
      all += chunk;
    });
    child.stderr.on('data', (chunk) => {
      all += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve(out)
        : reject(new Error(`${command} ${args.join(' ')}: ${code}\n${all.slice(-4_000)}`)),
    );
  });
}

function lastLine(output: string): Record<string, unknown> {
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
}

async function post(query: string): Promise<string> {
  const response = await askClickHouse(warehouse.url, {}, { method: 'POST', body: query });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

/** Expressions, and their values as Go writes them. */
const TYPED: readonly (readonly [string, string])[] = [
  ['toUInt8(255)', '255'],
  ['toInt64(-9223372036854775808)', '-9223372036854775808'],
  ['toUInt256(7)', '7'],
  ['1.5', '1.5'],
  ["'äöü'", 'äöü'],
  ["toFixedString('ab', 2)", 'ab'],
  ["toDateTime(0, 'Europe/Berlin')", '1970-01-01 01:00:00 +0100 CET'],
  ["toDateTime64(0.123, 3, 'Asia/Kolkata')", '1970-01-01 05:30:00.123 +0530 IST'],
  ["toDate('2026-11-29')", '2026-11-29 00:00:00 +0000 UTC'],
  ['toDecimal128(12345.6789, 4)', '12345.6789'],
  ["['a', 'b']", '[a b]'],
  ['[[1, 2], []]', '[[1 2] []]'],
  ["map('a', [1])", 'map[a:[1]]'],
  ["(1, 'x')", '[1 x]'],
  ["toUUID('00000000-0000-0000-0000-000000000001')", '00000000-0000-0000-0000-000000000001'],
  ["CAST('a' AS Enum8('a' = 1))", 'a'],
  ["toIPv4('203.0.113.7')", '203.0.113.7'],
  ["toIPv6('2001:db8::1')", '2001:db8::1'],
  ['true', 'true'],
  ["toLowCardinality('low')", 'low'],
  ["[toLowCardinality(toNullable('low'))] = ['low']", '1'],
  ['CAST(NULL AS Nullable(UInt8))', '<nil>'],
];

test('clickhouse-go as Grafana’s plugin uses it', { timeout: CLIENT_MS }, async ({ skip }) => {
  if (!hasGo('the embedded ClickHouse with the client of Grafana’s plugin')) skip('no go');
  const day = Array.from({ length: 500 }, (_, n) => ({
    ts: '2026-11-22 12:00:00',
    program_id: 1,
    campaign_id: n % 3,
    affiliate_id: 1,
    link_id: 1,
    node: 1,
    seq: n,
  }));
  await post(`INSERT INTO clicks FORMAT JSONEachRow\n${day.map((row) => JSON.stringify(row)).join('\n')}`);
  await run('go', ['build', '-o', 'client', '.'], { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' });
  const typed = `SELECT ${TYPED.map(([expression], i) => `${expression} AS c${i}`).join(', ')}`;
  const said = lastLine(await run('./client', [], { CLICKHOUSE_URL: warehouse.url, TYPED: typed }));
  expect(said).toMatchObject({
    Version: (await post('SELECT version()')).trim(),
    Rows: 300_000,
    Sum: (300_000 * 299_999) / 2,
    Typed: TYPED.map(([, value]) => value),
    Error: expect.stringContaining('Code: 47. DB::Exception: Unknown expression identifier `nope`'),
    LateError: expect.stringContaining('Code: 395. DB::Exception: Value passed to'),
  });
  const tables = said.Tables as Record<string, number>;
  expect(Object.keys(tables).length).toBeGreaterThan(20);
  for (const [table, rows] of Object.entries(tables)) {
    expect([table, rows]).toEqual([
      table,
      Number(await post(`SELECT least(count(), 10000) FROM \`${table}\``)),
    ]);
  }
  expect(tables.clicks).toBe(500);
  // The driver has no such type either; its error names the column.
  const unread = Object.values(said.Unread as Record<string, string>).filter((reason) => reason !== '<nil>');
  expect(unread.length).toBeGreaterThan(0);
  for (const reason of unread) expect(reason).toMatch(/Code: 48.*AggregateFunction.*column/);

  const { tables: readable, views } = ANALYST_READS;
  for (const [url, names] of [
    [engine.analystUrl, [...readable, ...views]],
    [engine.programUrl(1), views],
  ] as const) {
    const env = { CLICKHOUSE_URL: url, TYPED: typed, REFUSED: 'SELECT * FROM signed_counts' };
    const asAnalyst = lastLine(await run('./client', [], env));
    expect(asAnalyst).toMatchObject({
      Version: said.Version,
      Rows: 300_000,
      Typed: said.Typed,
      Error: said.Error,
      LateError: expect.stringContaining('Code: 395'),
      Refused: expect.stringMatching(/Code: 497.*SELECT.* ON afflux.signed_counts/s),
    });
    const seen = asAnalyst.Tables as Record<string, number>;
    expect(Object.keys(seen).sort()).toEqual([...names].sort());
    expect(seen.analyst_clicks).toBe(500);
  }
});

describe.runIf(isLong)('in the long run', () => {
  test('clickhouse-connect with its defaults', { timeout: CLIENT_MS }, async ({ skip }) => {
    if (spawnSync('python3', ['--version']).status !== 0) {
      reportMissing('python3', 'the embedded ClickHouse with clickhouse-connect');
      skip('no python3');
    }
    await run('python3', ['-m', 'venv', 'venv']);
    await run('venv/bin/pip', ['install', '--quiet', ...PYPI]);
    const said = lastLine(await run('venv/bin/python', ['main.py'], { CLICKHOUSE_URL: warehouse.url }));
    expect(said).toMatchObject({
      protocol: 54_405,
      compression: 'lz4',
      same: true,
      session: [[3]],
      rows: 300_000,
      bound: [[2 ** 60, "it's"]],
      sent: [
        [1, 'x'],
        [2, 'y'],
      ],
      error: expect.stringContaining('Code: 47. DB::Exception: Unknown expression identifier `nope`'),
    });
  });

  test('clickhouse-connect as an analyst', { timeout: CLIENT_MS }, async ({ skip }) => {
    if (spawnSync('python3', ['--version']).status !== 0) skip('no python3');
    await run('python3', ['-m', 'venv', 'venv']);
    await run('venv/bin/pip', ['install', '--quiet', ...PYPI]);
    const env = { CLICKHOUSE_URL: engine.analystUrl };
    const said = lastLine(await run('venv/bin/python', ['analyst.py'], env));
    expect(said).toEqual({
      tables: [...ANALYST_READS.tables, ...ANALYST_READS.views].sort(),
      rows: 300_000,
      limited: 7,
      refused: expect.stringContaining('Code: 497'),
      written: expect.stringContaining('Code: 497'),
    });
  });

  test('clickhouse-jdbc with its defaults', { timeout: CLIENT_MS }, async ({ skip }) => {
    if ([['java'], ['mvn']].some(([name]) => spawnSync(name ?? '', ['-version']).status !== 0)) {
      reportMissing('java', 'the embedded ClickHouse with clickhouse-jdbc');
      skip('no java');
    }
    await run('mvn', ['--quiet', '--batch-mode', 'dependency:copy-dependencies', '-DoutputDirectory=lib']);
    const { host, pathname, username, password } = new URL(warehouse.url);
    const jdbc = [`jdbc:clickhouse://${host}${pathname}`, username, decodeURIComponent(password)];
    const said = lastLine(await run('java', ['-cp', 'lib/*', 'Main.java', ...jdbc]));
    expect(said).toEqual({ rows: 300_000, inserted: 100, tables: 1, error: 47, cancelled: 394 });

    const analyst = new URL(engine.analystUrl);
    const login = [analyst.username, decodeURIComponent(analyst.password)];
    const asAnalyst = await run('java', ['-cp', 'lib/*', 'Analyst.java', jdbc[0] ?? '', ...login]);
    expect(lastLine(asAnalyst)).toEqual({
      rows: 300_000,
      tables: ANALYST_READS.tables.length + ANALYST_READS.views.length,
      clicks: expect.any(Number),
      refused: 497,
      written: 497,
    });
  });
});

test.skipIf(isLong)(
  'clients of Python and Java are tested in the long run: AFFLUX_TEST_CLIENTS=1',
  ({ skip }) => {
    skip('it installs them');
  },
);
