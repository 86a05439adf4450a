import type { Dashboard, Panel, RowPanel, VariableModel } from '@grafana/grafana-foundation-sdk/dashboard';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INVALID_CLICK_FLAGS } from '../../core/click-record.ts';
import { currencyExponent, UNUSUAL_EXPONENTS } from '../../core/money.ts';
import {
  expandClickHouse,
  expandPostgres,
  playScene,
  publishWatermark,
  type Scene,
  type Situation,
} from '../../test/support/grafana.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { timeText } from '../../warehouse/client.ts';
import { ALERT_GROUPS, type Alert } from './alerts.ts';
import { INVALID_FLAGS } from './boards/fraud.ts';
import { allBoards } from './boards/index.ts';
import { clickhouseUserStatements, READ_TABLES } from './provisioning.ts';
import { CLICKHOUSE, POSTGRES } from './sources.ts';
import { chosen, major } from './sql.ts';

/**
 * No Grafana runs here. What it would send is expanded and asked of the real engines, and what comes back must be what
 * the panel can draw.
 */

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let scene: Scene;
let behindBefore: Answer;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 4 }), freshWarehouse()]);
  scene = await playScene({ books, warehouse });
  await publishWatermark(warehouse, scene.now - HOUR_MS);
  behindBefore = await askAlert('loader-lag');
  await publishWatermark(warehouse, scene.now);
});
afterAll(async () => {
  await Promise.all([books?.close(), warehouse?.drop()]);
});

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type Kind = 'text' | 'number' | 'time';
interface Answer {
  readonly columns: readonly { readonly name: string; readonly kind: Kind }[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** What Grafana makes of ClickHouse's types; others are not to be sent. */
function clickhouseKind(type: string): Kind {
  const plain = type.replace(/^(?:Nullable|LowCardinality)\((.*)\)$/, '$1');
  if (plain === 'String') return 'text';
  if (/^(U?Int(8|16|32|64)|Float64)$/.test(plain)) return 'number';
  if (/^DateTime(64\(\d.*\)|\('UTC'\))?$/.test(plain)) return 'time';
  throw new Error(`no panel reads a ${type}`);
}

const POSTGRES_KINDS: Readonly<Record<number, Kind>> = {
  20: 'number',
  23: 'number',
  701: 'number',
  25: 'text',
  1184: 'time',
  1114: 'time',
};

/** Unix milliseconds of what ClickHouse prints. */
const millis = (value: string | number | null): number => Date.parse(`${value}Z`.replace(' ', 'T'));

async function askClickHouse(sql: string): Promise<Answer> {
  const url = new URL(warehouse.url);
  const database = url.pathname.slice(1);
  const response = await fetch(`${url.origin}/?database=${database}&default_format=JSONCompact`, {
    method: 'POST',
    body: sql,
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${text}\n${sql}`);
  const { meta, data } = JSON.parse(text) as {
    meta: { name: string; type: string }[];
    data: (string | number | null)[][];
  };
  return { columns: meta.map(({ name, type }) => ({ name, kind: clickhouseKind(type) })), rows: data };
}

/** As the role that Grafana has. */
async function askPostgres(sql: string): Promise<Answer> {
  return await books.owner.begin('read only', async (tx) => {
    await tx`set local role afflux_grafana`;
    const result = await tx.unsafe(sql).values();
    const columns = result.columns.map(({ name, type }) => {
      const kind = POSTGRES_KINDS[type];
      if (!kind) throw new Error(`no panel reads type ${type} of ${String(name)}\n${sql}`);
      return { name: String(name), kind };
    });
    return { columns, rows: result as unknown as Answer['rows'] };
  });
}

interface Target {
  readonly refId: string;
  readonly datasource: { readonly uid: string };
  readonly rawSql: string;
  readonly format: number | string;
}

async function ask(target: Pick<Target, 'datasource' | 'rawSql'>, situation: Situation): Promise<Answer> {
  return target.datasource.uid === CLICKHOUSE.uid
    ? await askClickHouse(expandClickHouse(target.rawSql, situation))
    : await askPostgres(expandPostgres(target.rawSql, situation));
}

/**
 * `what`: every variable at All; at one value, with a filter by hand; or at a value with a quote. The affiliate's board
 * always has one affiliate.
 */
function situation(board: Dashboard, what: 'all' | 'one' | 'quote' | 'filtered'): Situation {
  const { shop, now } = scene;
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

const kinds = ({ columns }: Answer, kind: Kind): string[] =>
  columns.filter((column) => column.kind === kind).map(({ name }) => name);

/** What a panel of that type needs of its answer. */
function expectShape(panel: Panel, target: Target, answer: Answer): void {
  const names = answer.columns.map(({ name }) => name);
  const [texts, numbers, times] = [kinds(answer, 'text'), kinds(answer, 'number'), kinds(answer, 'time')];
  expect(new Set(names).size, 'names of columns are distinct').toBe(names.length);
  const isSeries = target.format === 0 || target.format === 'time_series';
  expect(isSeries, 'series over time are read as such').toBe(panel.type === 'timeseries');
  if (panel.type === 'timeseries') {
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
    expect(texts).toHaveLength(values ? 1 : 0);
    expect(times).toHaveLength(panel.options.showPercentChange ? 1 : 0);
  }
  if (panel.type === 'barchart') expect(texts).toEqual([panel.options.xField]);
  if (panel.type === 'geomap') {
    const [layer] = panel.options.layers;
    expect(texts).toEqual([layer.location.lookup]);
    expect(numbers).toEqual([layer.config.style.size.field]);
  }
  if (panel.type === 'table' || panel.type === 'stat') {
    for (const { matcher } of panel.fieldConfig?.overrides ?? []) expect(names).toContain(matcher.options);
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
  const answer = await ask(target, situation(board, 'all'));
  expectShape(panel, target, answer);
  expect(answer.rows.length, 'has something to show').toBeGreaterThan(0);
  expectShape(panel, target, await ask(target, situation(board, 'one')));
  const nobody = await ask(target, situation(board, 'quote'));
  expectShape(panel, target, nobody);
  const counted = nobody.rows.flatMap((row) =>
    row.filter((value, i) => nobody.columns[i]?.kind === 'number' && Number(value) !== 0),
  );
  const isFiltered = /\$\{\w+:/.test(target.rawSql);
  expect(isFiltered ? counted : [], 'nothing has a name that nothing has').toEqual([]);
});

test('a number with the period before has both, in order', async () => {
  const board = allBoards()[0] as Dashboard;
  const { shop, now } = scene;
  const clicks = PANELS.find(({ name }) => name === 'Campaigns: Clicks A')?.target as Target;
  // A day, and the day before it.
  const range = {
    ...situation(board, 'one'),
    fromMs: Math.floor((now - DAY_MS) / HOUR_MS) * HOUR_MS,
    toMs: now,
  };
  const { rows } = await ask(clicks, {
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

test('a filter by one value leaves what has it, and a filter by hand holds in both tables', async () => {
  const board = allBoards()[0] as Dashboard;
  const devices = PANELS.find(({ name }) => name === 'Campaigns: Devices A')?.target as Target;
  const shown = (await ask(devices, situation(board, 'one'))).rows.map(([device]) => device);
  expect(shown).toEqual(['desktop']);
  const funnel = PANELS.find(({ name }) => name === 'Campaigns: From click to payment A')?.target as Target;
  const steps = async (given: Situation) => new Map((await ask(funnel, given)).rows as [string, number][]);
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
    Number((await askClickHouse(`SELECT count() AS n FROM ${table} WHERE ${condition}`)).rows[0]?.[0]);
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
    const { columns, rows } = await ask({ datasource: CLICKHOUSE, rawSql }, situation(board, what));
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
  const { columns, rows } = await askClickHouse(String(choices?.query));
  expect(rows.length).toBeGreaterThan(0);
  for (const table of ['clicks_hourly', 'conversions', 'clicks', 'clicks_minutely']) {
    await askClickHouse(
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
  const { columns, rows } = await ask(target, situation(board, 'all'));
  expect(columns).toEqual([
    { name: 'time', kind: 'time' },
    { name: 'text', kind: 'text' },
    { name: 'tags', kind: 'text' },
  ]);
  expect(rows.length).toBeGreaterThan(0);
});

const ALERTS = ALERT_GROUPS.flatMap(({ alerts }) => alerts);
const SQL_ALERTS = ALERTS.filter(({ question }) => question.store !== 'prometheus');

async function askAlert(uid: string, toMs = Date.now()): Promise<Answer> {
  const question = ALERTS.find((alert) => alert.uid === uid)?.question;
  if (!question || question.store === 'prometheus') throw new Error(`no question of SQL: ${uid}`);
  const { store, sql, fromSeconds, toSeconds = 0 } = question;
  const range = {
    fromMs: toMs - fromSeconds * 1_000,
    toMs: toMs - toSeconds * 1_000,
    intervalS: 60,
    values: {},
  };
  return await ask({ datasource: store === 'clickhouse' ? CLICKHOUSE : POSTGRES, rawSql: sql }, range);
}

/** The labels and values for which it fires. */
function firing(uid: string, answer: Answer): [label: string, value: number][] {
  const alert = ALERTS.find((each) => each.uid === uid) as Alert;
  const number = answer.columns.findIndex(({ kind }) => kind === 'number');
  const label = answer.columns.findIndex(({ kind }) => kind === 'text');
  return answer.rows
    .map((row): [string, number] => [String(row[label] ?? ''), Number(row[number])])
    .filter(([, value]) => value > alert.above);
}

test.each(SQL_ALERTS)('the alert $uid answers one number, for each text', async ({ uid, summary }) => {
  const answer = await askAlert(uid);
  expect(kinds(answer, 'number')).toHaveLength(1);
  expect(kinds(answer, 'time')).toEqual([]);
  const labels = kinds(answer, 'text');
  expect(labels.length).toBeLessThanOrEqual(1);
  expect([...summary.matchAll(/\$labels\.(\w+)/g)].map(([, name]) => name)).toEqual(labels);
  const texts = answer.rows.map((row) => row[answer.columns.findIndex(({ kind }) => kind === 'text')]);
  expect(labels.length === 0 ? answer.rows.length <= 1 : new Set(texts).size === texts.length).toBe(true);
});

describe('an alert fires', () => {
  test('for the address and the affiliate that became fast, and for nobody else', async () => {
    const { shop, now } = scene;
    const later = now + 1_000;
    expect(firing('velocity-address', await askAlert('velocity-address', later)).map(([who]) => who)).toEqual(
      ['198.51.100.9'],
    );
    // The minute of the burst may have begun before it.
    const minutes = [0, 1].map((n) => askAlert('velocity-affiliate', later + 30_000 + n * 60_000));
    const fast = (await Promise.all(minutes)).flatMap((answer) =>
      firing('velocity-affiliate', answer).map(([who]) => who),
    );
    expect(new Set(fast)).toEqual(new Set([`affiliate (${shop.chain[0]})`]));
  });

  test('when the watermark is behind, and is over when it has caught up', async () => {
    expect(firing('loader-lag', behindBefore)).toHaveLength(1);
    await publishWatermark(warehouse, Date.now());
    expect(firing('loader-lag', await askAlert('loader-lag'))).toEqual([]);
  });

  test('for the lease with a gap, and the one with a click twice', async () => {
    expect(firing('gap', await askAlert('gap'))).toEqual([]);
    const at = Date.now() - 60_000;
    const row = (node: number, seq: number) => ({
      ts: timeText(at + seq),
      node,
      seq,
      campaign_id: 900 + node,
    });
    await warehouse.insertRows('clicks', [
      row(70, 0),
      row(70, 3),
      row(71, 0),
      row(71, 0),
      row(72, 5),
      row(72, 6),
    ]);
    await publishWatermark(warehouse, Date.now());
    expect(firing('gap', await askAlert('gap'))).toEqual([
      ['70', 2],
      ['71', 1],
    ]);
  });

  test('when nobody clicks in a quarter of an hour that has clicks on other days', async () => {
    const at = Date.now() + 3 * HOUR_MS;
    expect(firing('no-clicks', await askAlert('no-clicks', at))).toEqual([]);
    const days = [1, 2, 3, 4, 5, 6].map((day) => ({
      minute: timeText(at - day * DAY_MS - 5 * 60_000).slice(0, 19),
      campaign_id: 800,
      clicks: 100,
    }));
    await warehouse.insertRows('clicks_minutely', days);
    expect(firing('no-clicks', await askAlert('no-clicks', at))).toEqual([['', expect.any(Number)]]);
  });

  test('for the campaign whose clicks stopped to bring orders', async () => {
    expect(firing('conversion-rate', await askAlert('conversion-rate'))).toEqual([]);
    const now = Math.floor(Date.now() / 1_000);
    await warehouse.command(
      `INSERT INTO campaigns_hourly (hour, campaign_id, clicks)
       SELECT toDateTime(${now} - 3600 - number * 86400), 801, 1000 FROM numbers(14)`,
    );
    await warehouse.command(
      `INSERT INTO conversions (conversion_id, version, campaign_id, state, currency, occurred_at)
       SELECT 1000000 + number, 1, 801, 'attributed', 'EUR', toDateTime64(${now} - 90000 - number * 2500, 3) FROM numbers(400)`,
    );
    const [fired] = firing('conversion-rate', await askAlert('conversion-rate'));
    expect(fired?.[0]).toBe('801 (801)');
  });

  test('for payouts without an outcome, and for a proof that fails', async () => {
    expect(firing('payout-unknown', await askAlert('payout-unknown'))).toMatchObject([
      ['test', expect.any(Number)],
    ]);
    expect(firing('proof-fails', await askAlert('proof-fails'))).toEqual([['ledger: balances_agree', 1]]);
    expect(firing('proof-stale', await askAlert('proof-stale'))).toEqual([]);
  });
});

describe('what Grafana may read', () => {
  const GRAFANA_VIEWS = ['balances', 'commissions', 'movements', 'payouts', 'proofs'].map(
    (name) => `grafana_${name}`,
  );

  test('in the ledger is its views and nothing else', async () => {
    const readable = await books.owner<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'v', 'm', 'p')
        and has_table_privilege('afflux_grafana', c.oid, 'select') order by 1`;
    expect(readable.map(({ name }) => name)).toEqual(GRAFANA_VIEWS);
    const writable = await books.owner<{ name: string }[]>`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind in ('r', 'v', 'm', 'p')
        and has_table_privilege('afflux_grafana', c.oid, 'insert, update, delete, truncate')`;
    expect(writable).toEqual([]);
  });

  test('in ClickHouse is what the statements for its user name, and ClickHouse can read them', async () => {
    const asked = [...PANELS.map(({ target }) => target), ...ANNOTATIONS.map(({ target }) => target)]
      .filter(({ datasource }) => datasource.uid === CLICKHOUSE.uid)
      .map(({ rawSql }) => rawSql);
    const questions = SQL_ALERTS.flatMap(({ question }) =>
      question.store === 'clickhouse' ? [question.sql] : [],
    );
    const tables = [
      ...asked,
      ...questions,
      ...VARIABLES.map(({ variable }) => JSON.stringify(variable.query)),
    ].flatMap((sql) => [...sql.matchAll(/\b(?:FROM|LEFT JOIN) ([a-z_]+)/g)].map(([, name]) => name));
    expect([...new Set(tables)].sort()).toEqual([...READ_TABLES].sort());
    for (const statement of clickhouseUserStatements('afflux')) {
      await warehouse.query(`EXPLAIN AST ${statement}`);
    }
    await expect(warehouse.query('EXPLAIN AST CREATE USER grafana IDENTIFIED WIT x')).rejects.toThrow();
  });
});

test('amounts are shown in units of their currency by both stores as core/money.ts says', async () => {
  const currencies = [...UNUSUAL_EXPONENTS.keys(), 'EUR', 'USD'];
  const list = currencies.map((code) => `'${code}'`).join(', ');
  const expected = currencies.map((code) => [code, 12_345 / 10 ** (currencyExponent(code) ?? Number.NaN)]);
  const { rows } = await askClickHouse(
    `SELECT currency, ${major('12345')} AS amount FROM (SELECT arrayJoin([${list}]) AS currency)`,
  );
  expect(rows).toEqual(expected);
  const booked = await books.owner<{ currency: string; amount: number }[]>`
    select currency, in_major_units(12345, currency)::float8 as amount from unnest(${currencies}::text[]) as currency`;
  expect(booked.map(({ currency, amount }) => [currency, amount])).toEqual(expected);
});

test('clicks are invalid here by the bits by which they are invalid everywhere', () => {
  expect(INVALID_FLAGS).toBe(INVALID_CLICK_FLAGS);
});
