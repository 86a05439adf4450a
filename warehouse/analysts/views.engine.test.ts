import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { currencyExponent, formatAmount, UNUSUAL_EXPONENTS } from '../../core/money.ts';
import { askClickHouse } from '../../test/support/engines.ts';
import { type AnalystEngine, startAnalystEngine } from '../../test/support/servers/analysts.ts';
import { clickRecords, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { ANALYST_READS } from './reads.ts';

/** Clicks and orders of two programs, as the analysts of both and of one see them. */

let engine: AnalystEngine;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

const CURRENCIES = ['EUR', ...UNUSUAL_EXPONENTS.keys()];
const AMOUNT = 123_456_789n;

beforeAll(async () => {
  engine = await startAnalystEngine(ANALYST_READS);
  warehouse = await freshWarehouse(engine.url);
  for (const [program_id, count] of [
    [1, 60],
    [2, 40],
  ] as const) {
    const records = clickRecords(program_id, 0, count, { program_id, ts: Date.now() - 3_600_000 });
    const body = encodeClicks(
      records.map((record, i) => ({ ...record, flags: FLAGS[i % FLAGS.length] ?? 0 })),
    );
    const response = await askClickHouse(
      engine.url,
      { query: `INSERT INTO clicks (${Object.keys(records[0] ?? {}).join(', ')}) FORMAT RowBinary` },
      { method: 'POST', body },
    );
    expect(await response.text()).toBe('');
    await warehouse.insertRows('names', [
      { kind: 'program', id: program_id, program_id, name: `Program ${program_id}`, version: 1 },
      { kind: 'campaign', id: program_id * 100, program_id, name: 'Old', version: 1 },
      { kind: 'campaign', id: program_id * 100, program_id, name: `Campaign of ${program_id}`, version: 2 },
    ]);
    await warehouse.insertRows(
      'conversions',
      CURRENCIES.map((currency, i) => ({
        conversion_id: program_id * 1_000 + i,
        version: 1,
        program_id,
        campaign_id: program_id * 100,
        affiliate_id: 10,
        link_id: 100,
        state: 'attributed',
        currency,
        amount_minor: String(AMOUNT),
        occurred_at: '2026-11-22 12:00:00.000',
        received_at: '2026-11-22 12:00:00.000',
        ip: '::ffff:203.0.113.7',
        fingerprint: program_id,
      })),
    );
  }
});
afterAll(async () => {
  await warehouse?.close();
  await engine?.stop();
});

/** One for every group, and some with two bits. */
const FLAGS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 1 | 8, 8 | 128];

async function ask(url: string, query: string, parameters: Record<string, string> = {}): Promise<string> {
  const response = await askClickHouse(url, parameters, { method: 'POST', body: query });
  return await response.text();
}
const all = (query: string) => ask(engine.analystUrl, query);
const ofProgram = (id: number, query: string, parameters?: Record<string, string>) =>
  ask(engine.programUrl(id), query, parameters);

describe('an analyst of one program', () => {
  test.each(ANALYST_READS.views)('reads of %s its own rows', async (view) => {
    expect(await all(`SELECT arraySort(groupUniqArray(program_id)) FROM ${view}`)).toBe('[1,2]\n');
    for (const id of [1, 2]) {
      expect(await ofProgram(id, `SELECT groupUniqArray(program_id) FROM ${view}`)).toBe(`[${id}]\n`);
    }
    expect(await ofProgram(3, `SELECT count() FROM ${view}`)).toBe('0\n');
    // Not the platform's user, who has no program.
    expect(await ask(engine.url, `SELECT count() FROM ${view}`)).toBe('0\n');
  });

  test('sees the views and nothing else', async () => {
    expect((await ofProgram(1, 'SHOW TABLES')).trim().split('\n')).toEqual([...ANALYST_READS.views].sort());
    for (const name of [
      ...ANALYST_READS.tables,
      ...ANALYST_READS.dictionaries,
      'signed_counts',
      'migrations',
    ]) {
      expect(await ofProgram(1, `SELECT * FROM ${name} LIMIT 1`)).toContain('ACCESS_DENIED');
    }
    expect(await ofProgram(1, "SELECT dictGet('geo', 'country', toIPv6('::1'))")).toContain('ACCESS_DENIED');
  });

  test('has a password that no other has', async () => {
    const other = new URL(engine.programUrl(1));
    for (const user of [
      'analyst',
      'analyst_prg_2',
      'analyst_prg_01',
      'analyst_prg_',
      'analyst_prg_1x',
      'default',
    ]) {
      other.username = user;
      expect([user, await ask(other.href, 'SELECT 1')]).toEqual([
        user,
        expect.stringContaining('AUTHENTICATION_FAILED'),
      ]);
    }
  });
});

describe('somebody with the password of one program’s analyst', { tags: ['attack'] }, () => {
  const other = 'throwIf(program_id = 2)';
  /** Some of them move conditions to where rows are read, and so may the reader. */
  const OPTIMISATIONS = [
    'max_threads = 1',
    'enable_analyzer = 0',
    'query_plan_enable_optimizations = 0',
    'move_all_conditions_to_prewhere = 1, allow_reorder_prewhere_conditions = 1',
    'optimize_move_to_prewhere_if_final = 1, enable_multiple_prewhere_read_steps = 0',
    'apply_prewhere_after_final = 1',
    "query_plan_merge_filters = 1, short_circuit_function_evaluation = 'disable'",
  ];
  test.each([
    "SELECT count() FROM analyst_clicks SETTINGS query_cache_tag = 'analyst_prg_2'",
    "SELECT count() FROM analyst_clicks SETTINGS query_cache_tag = 'analyst'",
    "SELECT count() FROM analyst_clicks SETTINGS additional_table_filters = {'afflux.clicks': 'throwIf(program_id = 2) = 0'}",
    "SELECT count() FROM analyst_clicks SETTINGS additional_table_filters = {'clicks': '1'}",
    "SELECT count() FROM analyst_clicks SETTINGS profile = 'analyst'",
    "SET query_cache_tag = 'analyst_prg_2'",
    "SET additional_table_filters = {'clicks': '1'}",
    "SET profile = 'analyst'",
    'SET ROLE analyst',
    "SELECT count() FROM merge(currentDatabase(), '^clicks$')",
    'SELECT count() FROM clicks',
    'SELECT count() FROM clicks_hourly',
    'CREATE VIEW mine DEFINER = default SQL SECURITY DEFINER AS SELECT * FROM clicks',
    'SELECT count() FROM analyst_clicks WHERE program_id IN (SELECT program_id FROM clicks)',
  ])('is refused %s', async (query) => {
    const session = { session_id: query };
    const answer = await ofProgram(1, query, session);
    expect(answer).toMatch(/^Code: (?:497|452|636)\b/);
    expect(await ofProgram(1, 'SELECT groupUniqArray(program_id) FROM analyst_clicks', session)).toBe(
      '[1]\n',
    );
  });

  test.each(['EXPLAIN ESTIMATE', 'EXPLAIN indexes = 1', '/**/ explain', 'EXPLAIN AST'])(
    'learns nothing of the rows below a view by %s',
    async (explain) => {
      const query = `${explain} SELECT count() FROM analyst_clicks`;
      expect(await ofProgram(1, query)).toContain('ACCESS_DENIED');
      expect(await ofProgram(1, `SELECT * FROM (${query})`)).toContain('ACCESS_DENIED');
      expect(await all(query)).not.toContain('ACCESS_DENIED');
    },
  );

  test.each([
    ['analyst_clicks', `${other} = 0`],
    ['analyst_clicks', 'throwIf(seq = 1 AND node = 2) = 0'],
    ['analyst_orders', `${other} = 0`],
    ['analyst_orders', 'throwIf(fingerprint = 2) = 0'],
    ['analyst_orders', "throwIf(campaign = 'Campaign of 2') = 0"],
    ['analyst_campaigns_hourly', `${other} = 0`],
    ['analyst_campaigns_daily', `${other} = 0`],
    ['analyst_names', `${other} = 0`],
    ['analyst_names', "throwIf(name = 'Program 2') = 0"],
  ])('learns nothing of other rows by the errors of a condition on %s: %s', async (view, condition) => {
    for (const settings of OPTIMISATIONS) {
      const count = `SELECT count() FROM ${view} WHERE`;
      const whole = await ofProgram(1, `${count} 1 SETTINGS ${settings}`);
      expect([settings, await ofProgram(1, `${count} ${condition} SETTINGS ${settings}`)]).toEqual([
        settings,
        whole,
      ]);
      expect(whole).toMatch(/^[1-9]\d*\n$/);
    }
  });
});

describe('somebody with the password of the analyst of every program', { tags: ['attack'] }, () => {
  test.each(ANALYST_READS.views)('filters %s with the rights of its owner', async (view) => {
    const secret = 'afflux.signed_counts';
    expect(await all(`SELECT count() FROM ${secret}`)).toContain('ACCESS_DENIED');
    const count = `SELECT count() FROM ${view}`;
    const whole = await all(count);
    expect(whole).toMatch(/^[1-9]\d*\n$/);
    for (const condition of [
      `(SELECT count() FROM ${secret}) = 77`,
      'throwIf(1) = 0',
      "1 IN (SELECT 2 FROM system.processes WHERE query LIKE \\'%afflux%\\')",
    ]) {
      const filters = ANALYST_READS.tables.flatMap((table) =>
        [table, `afflux.${table}`].map((name) => `'${name}': '${condition}'`),
      );
      const setting = `additional_table_filters = {${filters.join(', ')}}`;
      for (const analyzer of [0, 1]) {
        const settings = `SETTINGS enable_analyzer = ${analyzer}, ${setting}`;
        expect(await all(`${count} ${settings}`)).toBe(whole);
        expect(await all(`SELECT sum(n) FROM (SELECT count() AS n FROM ${view}) ${settings}`)).toBe(whole);
      }
      const session = { session_id: `${view} ${condition}` };
      await ask(engine.analystUrl, `SET ${setting}`, session);
      expect(await ask(engine.analystUrl, count, session)).toBe(whole);
      const merged = `SELECT count() FROM merge('afflux', '^${view}$')`;
      expect(await ask(engine.analystUrl, merged, session)).toBe(whole);
    }
    const plain = "SELECT count() FROM names SETTINGS additional_table_filters = {'names': 'program_id = 1'}";
    expect(await all(plain)).toBe('2\n');
  });
});

test('amounts are in units of their currency, exact', async () => {
  const rows = (
    await ofProgram(1, 'SELECT currency, toString(amount) FROM analyst_orders ORDER BY conversion_id')
  )
    .trim()
    .split('\n');
  expect(rows.map((row) => row.split('\t'))).toEqual(
    CURRENCIES.map((currency) => [currency, expect.stringMatching(/^\d+(\.\d+)?$/)]),
  );
  for (const row of rows) {
    const [currency = '', amount] = row.split('\t');
    const [whole, part = ''] = formatAmount(AMOUNT, currency).split('.');
    expect([currency, amount]).toEqual([
      currency,
      [whole, part.replace(/0+$/, '')].filter(Boolean).join('.'),
    ]);
    expect(part.length).toBe(currencyExponent(currency));
  }
});

test('clicks are counted as the rollups count them, and names are the newest', async () => {
  const byView = await all('SELECT counted_as AS g, count() FROM analyst_clicks GROUP BY g ORDER BY g');
  const byRollup = await all(
    'SELECT toString(flag_group) AS g, sum(clicks) FROM clicks_hourly GROUP BY g ORDER BY g',
  );
  expect(byView).toBe(byRollup);
  expect(await all('SELECT countIf(is_valid) FROM analyst_clicks')).toBe(
    await all('SELECT sum(valid_clicks) FROM analyst_campaigns_hourly'),
  );
  expect(await all('SELECT sum(clicks), sum(impressions) FROM analyst_campaigns_daily')).toBe(
    await all('SELECT sum(clicks), sum(impressions) FROM campaigns_hourly'),
  );
  expect(await ofProgram(2, 'SELECT DISTINCT program, campaign FROM analyst_orders')).toBe(
    'Program 2\tCampaign of 2\n',
  );
});
