import type { Dashboard, Panel, RowPanel, VariableModel } from '@grafana/grafana-foundation-sdk/dashboard';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DAY_MS, HOUR_MS } from '../../core/time.ts';
import { type Answer, columnsOf, createAsker, type Target } from '../../test/support/grafana/answers.ts';
import {
  expandClickHouse,
  insertSampleData,
  publishWatermark,
  type SampleData,
  type Situation,
} from '../../test/support/grafana/sample-data.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { allBoards } from './boards/index.ts';
import { CLICKHOUSE, POSTGRES } from './data-source-ids.ts';
import { chosen } from './sql.ts';

/**
 * No Grafana runs here. What it would send is expanded and asked of the real engines, and what comes back must be what
 * the panel can draw.
 */

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let sample: SampleData;
let asker: ReturnType<typeof createAsker>;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 4 }), freshWarehouse()]);
  sample = await insertSampleData({ books, warehouse });
  asker = createAsker({ books, warehouse });
  await publishWatermark(warehouse, sample.now);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

/** Unix milliseconds of what ClickHouse prints. */
const millis = (value: string | number | null): number => Date.parse(`${value}Z`.replace(' ', 'T'));

/**
 * `what`: every variable at All; at one value, with a filter by hand; or at a value with a quote. The affiliate's board
 * always has one affiliate.
 */
function situation(board: Dashboard, what: 'all' | 'one' | 'quote' | 'filtered'): Situation {
  const { shop, now } = sample;
  const one: Record<string, string> = {
    program: String(shop.programId),
    campaign: String(shop.campaignId),
    affiliate: String(shop.chain[0]),
    country: 'DE',
    device: 'desktop',
  };
  const names = (board.templating?.list ?? []).filter(({ type }) => type === 'query').map(({ name }) => name);
  const single = new Set(
    (board.templating?.list ?? []).filter((v) => v.type === 'query' && !v.includeAll).map(({ name }) => name),
  );
  const value = (name: string): string | undefined => {
    if (what === 'quote') return "o'x";
    return what === 'one' || single.has(name) ? one[name] : undefined;
  };
  return {
    fromMs: now - 7 * DAY_MS,
    toMs: now + 60_000,
    intervalS: 3_600,
    values: Object.fromEntries(names.map((name) => [name, value(name)])),
    ...((what === 'one' || what === 'filtered') && { adHoc: [{ key: 'country', value: 'DE' }] }),
  };
}

const isPanel = (panel: Panel | RowPanel): panel is Panel => panel.type !== 'row';
const sqlTargets = (panel: Panel): Target[] =>
  ((panel.targets ?? []) as unknown as Target[]).filter(({ datasource }) =>
    [CLICKHOUSE.uid as string, POSTGRES.uid].includes(datasource.uid),
  );

const PANELS = allBoards().flatMap((board) =>
  (board.panels ?? []).filter(isPanel).flatMap((panel) =>
    sqlTargets(panel).map((target) => ({
      name: `${board.title}: ${panel.title} ${target.refId}`,
      board,
      panel,
      target,
    })),
  ),
);

/** What a panel of that type needs of its answer. */
function expectShape(panel: Panel, target: Target, answer: Answer): void {
  const names = answer.columns.map(({ name }) => name);
  const [texts, numbers, times] = [
    columnsOf(answer, 'text'),
    columnsOf(answer, 'number'),
    columnsOf(answer, 'time'),
  ];
  expect(new Set(names).size, 'names of columns are distinct').toBe(names.length);
  const isSeries = target.format === 0 || target.format === 'time_series';
  if (panel.type !== 'stat')
    expect(isSeries, 'series over time are read as such').toBe(panel.type === 'timeseries');
  if (isSeries) {
    expect(times).toEqual(['time']);
    expect(texts.length).toBeLessThanOrEqual(1);
    expect(numbers).toHaveLength(1);
    const at = answer.rows.map((row) => String(row[0]));
    expect(at, 'sorted by time').toEqual([...at].sort());
    const keys = answer.rows.map((row) => row.filter((_, i) => answer.columns[i]?.kind !== 'number').join());
    expect(new Set(keys).size, 'one value for each time and series').toBe(keys.length);
    const label = /\{__field\.labels\.(\w+)\}/.exec(panel.fieldConfig?.defaults.displayName ?? '')?.[1];
    expect(label === undefined ? [] : [label]).toEqual(texts);
  }
  if (['bargauge', 'piechart', 'barchart'].includes(panel.type)) {
    expect([texts.length, numbers.length, times.length]).toEqual([1, 1, 0]);
  }
  if (panel.type === 'stat') {
    expect(numbers.length).toBeGreaterThan(0);
    const { values } = panel.options.reduceOptions;
    expect(texts.length > 0).toBe(values || isSeries);
    expect(times).toHaveLength(panel.options.showPercentChange || isSeries ? 1 : 0);
  }
  if (panel.type === 'barchart') expect(texts).toEqual([panel.options.xField]);
  if (panel.type === 'geomap') {
    const [layer] = panel.options.layers;
    expect(texts).toEqual([layer.location.lookup]);
    expect(numbers).toEqual([layer.config.style.size.field]);
  }
  if (panel.type === 'table' || panel.type === 'stat') {
    for (const { matcher } of panel.fieldConfig?.overrides ?? []) {
      if (matcher.id === 'byName') expect(names).toContain(matcher.options);
    }
  }
  if (panel.type === 'table') {
    const linked = JSON.stringify(panel.fieldConfig?.overrides ?? []).matchAll(
      /__data\.fields\[\\+"([^\\]+)\\+"\]/g,
    );
    for (const [, field] of linked) expect(names).toContain(field);
    for (const { displayName } of panel.options.sortBy ?? []) expect(names).toContain(displayName);
  }
}

test.concurrent.each(PANELS)('$name draws what the engine answers', async ({ board, panel, target }) => {
  const answer = await asker.ask(target, situation(board, 'all'));
  expectShape(panel, target, answer);
  expect(answer.rows.length, 'has something to show').toBeGreaterThan(0);
  expectShape(panel, target, await asker.ask(target, situation(board, 'one')));
  const unknown = await asker.ask(target, situation(board, 'quote'));
  expectShape(panel, target, unknown);
  const counted = unknown.rows.flatMap((row) =>
    row.filter((value, i) => unknown.columns[i]?.kind === 'number' && Number(value) !== 0),
  );
  const isFiltered = /\$\{\w+:/.test(target.rawSql);
  expect(isFiltered ? counted : [], 'nothing has a name that nothing has').toEqual([]);
});

test('a number with the period before has both, in order', async () => {
  const board = allBoards()[0] as Dashboard;
  const { shop, now } = sample;
  const clicks = PANELS.find(({ name }) => name === 'Campaigns: Clicks A')?.target as Target;
  // A day, and the day before it.
  const range = {
    ...situation(board, 'one'),
    fromMs: Math.floor((now - DAY_MS) / HOUR_MS) * HOUR_MS,
    toMs: now,
  };
  const { rows } = await asker.ask(clicks, {
    ...range,
    values: { ...range.values, country: undefined, device: undefined },
    adHoc: [],
  });
  const count = async (from: string, to: string): Promise<number> =>
    Number(
      (
        await warehouse.query<{ n: string }>(
          `SELECT count() AS n FROM clicks WHERE campaign_id = {campaign:UInt32} AND affiliate_id = {affiliate:UInt32}
           AND toStartOfHour(ts) >= ${from} AND toStartOfHour(ts) < ${to}`,
          { campaign: shop.campaignId, affiliate: shop.chain[0] },
        )
      ).rows[0]?.n,
    );
  const start = `toDateTime(${range.fromMs / 1_000})`;
  const length = Math.floor(now / 1_000) - range.fromMs / 1_000;
  expect(rows.map((row) => Number(row[1]))).toEqual([
    await count(`${start} - ${length}`, start),
    await count(start, 'now() + 3600'),
  ]);
  expect(millis(rows[1]?.[0] ?? null)).toBe(range.fromMs);
});

test('where there was nothing in this range, the one before is not taken for it', async () => {
  const board = allBoards()[0] as Dashboard;
  const { now } = sample;
  const tomorrow = {
    ...situation(board, 'all'),
    fromMs: now + 2 * HOUR_MS,
    toMs: now + 2 * HOUR_MS + 2 * DAY_MS,
  };
  const empty = { Clicks: 0, 'Credited conversions': 0, 'Conversion rate': null, Revenue: 0, EPC: null };
  for (const [title, value] of Object.entries(empty)) {
    const { target } = PANELS.find(({ name }) => name === `Campaigns: ${title} A`) ?? {};
    const { rows } = await asker.ask(target as Target, tomorrow);
    const values = rows.map((row) => row.at(-1));
    expect([title, Number(values[0]) > 0, values[1]]).toEqual([title, true, value]);
  }
});

test('a filter by one value leaves what has it, and a filter by hand holds in both tables', async () => {
  const board = allBoards()[0] as Dashboard;
  const devices = PANELS.find(({ name }) => name === 'Campaigns: Devices A')?.target as Target;
  const shown = (await asker.ask(devices, situation(board, 'one'))).rows.map(([device]) => device);
  expect(shown).toEqual(['desktop']);
  const funnel = PANELS.find(({ name }) => name === 'Campaigns: From click to payment A')?.target as Target;
  const steps = async (given: Situation) =>
    new Map((await asker.ask(funnel, given)).rows as [string, number][]);
  const all = await steps(situation(board, 'all'));
  expect(all.get('Orders')).toBeGreaterThan(0);
  const nowhere = await steps({ ...situation(board, 'all'), adHoc: [{ key: 'country', value: "X'X" }] });
  expect([...nowhere.values()]).toEqual([0, 0, 0]);
  const german = await steps(situation(board, 'filtered'));
  expect(german.get('Valid clicks')).toBeLessThan(Number(all.get('Valid clicks')));
});

test.each([
  ['program', 'clicks_hourly'],
  ['campaign', 'clicks_hourly'],
  ['affiliate', 'clicks_hourly'],
  ['country', 'clicks_hourly'],
  ['device', 'clicks_hourly'],
  ['program', 'conversions FINAL'],
  ['campaign', 'conversions FINAL'],
  ['affiliate', 'conversions FINAL'],
  ['country', 'conversions FINAL'],
] as const)('the variable %s alone tells the rows of %s apart', async (filter, table) => {
  const { fromMs, toMs, intervalS, values } = situation(allBoards()[0] as Dashboard, 'one');
  const column =
    { program: 'program_id', campaign: 'campaign_id', affiliate: 'affiliate_id' }[filter as string] ?? filter;
  const count = async (condition: string): Promise<number> =>
    Number((await asker.clickhouse(`SELECT count() AS n FROM ${table} WHERE ${condition}`)).rows[0]?.[0]);
  const only = { fromMs, toMs, intervalS, values: { [filter]: values[filter] } };
  const shown = await count(expandClickHouse(chosen(filter), only));
  expect(shown).toBeGreaterThan(0);
  expect(shown).toBe(await count(`toString(${column}) = '${values[filter]}'`));
  expect(await count(expandClickHouse(chosen(filter), { ...only, values: { [filter]: undefined } }))).toBe(
    await count('1'),
  );
  expect(await count(expandClickHouse(chosen(filter), { ...only, values: { [filter]: "o'x" } }))).toBe(0);
});

const VARIABLES = allBoards().flatMap((board) =>
  (board.templating?.list ?? [])
    .filter(({ type }) => type === 'query')
    .map((variable) => ({ name: `${board.title}: ${variable.name}`, board, variable })),
);

test.each(VARIABLES)('the choices of $name are values and texts', async ({ board, variable }) => {
  const { rawSql } = (variable as VariableModel & { query: { rawSql: string } }).query;
  for (const what of ['all', 'one', 'quote'] as const) {
    const { columns, rows } = await asker.ask({ datasource: CLICKHOUSE, rawSql }, situation(board, what));
    expect(columns).toEqual([
      { name: 'value', kind: 'text' },
      { name: 'text', kind: 'text' },
    ]);
    if (what === 'all') expect(rows.length).toBeGreaterThan(0);
    expect(new Set(rows.map(([value]) => value)).size).toBe(rows.length);
    expect(rows.every(([value]) => value !== '')).toBe(true);
  }
});

test('filters by hand are offered by columns that both tables have', async () => {
  const [board] = allBoards();
  const choices = board?.templating?.list?.find(({ name }) => name === 'clickhouse_adhoc_query');
  const { columns, rows } = await asker.clickhouse(String(choices?.query));
  expect(rows.length).toBeGreaterThan(0);
  for (const table of ['clicks_hourly', 'conversions', 'clicks', 'clicks_minutely']) {
    await asker.clickhouse(
      `SELECT ${columns.map(({ name }) => `toString(${name}) AS ${name}`).join(', ')} FROM ${table} LIMIT 1`,
    );
  }
});

const ANNOTATIONS = allBoards().flatMap((board) =>
  (board.annotations?.list ?? []).flatMap((annotation) => {
    const target = annotation.target as unknown as Target | undefined;
    return target ? [{ name: `${board.title}: ${annotation.name}`, board, target }] : [];
  }),
);

test.each(ANNOTATIONS)('the annotations of $name have a time and a text', async ({ board, target }) => {
  const { columns, rows } = await asker.ask(target, situation(board, 'all'));
  expect(columns).toEqual([
    { name: 'time', kind: 'time' },
    { name: 'text', kind: 'text' },
    { name: 'tags', kind: 'text' },
  ]);
  expect(rows.length).toBeGreaterThan(0);
});
